// Which proxy, if any, stands between us and the backend: HTTPS_PROXY, HTTP_PROXY and NO_PROXY as curl reads them. It
// refuses to guess: a proxy that is no http(s) URL is an error that names the variable.
import { BlockList, isIP } from 'node:net';
import { HostError } from '../core/errors.js';

type Env = Readonly<Record<string, string | undefined>>;

/** Throws HostError SETTINGS. HTTP_PROXY counts in small letters only, as with curl: CGI sets the other one from a header. */
export function proxyFor(url: string, env: Env): URL | undefined {
  const target = new URL(url);
  const names = target.protocol === 'https:' ? ['https_proxy', 'HTTPS_PROXY'] : ['http_proxy'];
  const name = [...names, 'all_proxy', 'ALL_PROXY'].find((candidate) => env[candidate]?.trim());
  const given = name && env[name]?.trim();
  if (!name || !given || isExempt(target, env.no_proxy?.trim() || env.NO_PROXY?.trim() || ''))
    return undefined;
  const text = given.includes('://') ? given : `http://${given}`;
  const proxy = URL.canParse(text) ? new URL(text) : undefined;
  if (proxy?.hostname && (proxy.protocol === 'http:' || proxy.protocol === 'https:')) return proxy;
  throw new HostError('SETTINGS', {
    message: `${name} is not the URL of an HTTP proxy`,
    hint: `Set ${name} to a URL such as http://proxy.example.net:3128, or name the backend in NO_PROXY.`,
  });
}

/** `*`, `example.net` (and all below it), `.example.net`, `host:port`, an address, or addresses as 10.0.0.0/8. */
function isExempt(target: URL, list: string): boolean {
  const host = target.hostname.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  const port = target.port || (target.protocol === 'https:' ? '443' : '80');
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .filter((entry) => entry !== '')
    .some((entry) => entry === '*' || matches(entry, host, port));
}

function matches(entry: string, host: string, port: string): boolean {
  const [, network, bits] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(entry) ?? [];
  if (network && bits) return inNetwork(network, Number(bits), host);
  const bare = entry.replace(/^\[(.*)\]$/, '$1');
  if (isIP(bare)) return bare === host;
  const [, name = entry, onPort] = /^(.*?)(?::(\d{1,5}))?$/.exec(entry) ?? [];
  if (onPort !== undefined && onPort !== port) return false;
  const domain = name.replace(/^\[(.*)\]$/, '$1').replace(/^\*?\./, '');
  return host === domain || (!isIP(host) && host.endsWith(`.${domain}`));
}

function inNetwork(network: string, bits: number, host: string): boolean {
  const family = isIP(host);
  if (family === 0 || isIP(network) !== family || bits > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  const kind = family === 4 ? 'ipv4' : 'ipv6';
  list.addSubnet(network, bits, kind);
  return list.check(host, kind);
}
