// libvirt's connection URIs, read as libvirt reads them, without any I/O. It refuses what would weaken the connection
// (unchecked host keys, passwords in the text), what would need another transport, and every parameter it does not know.
import { HostError } from '../core/errors.js';
import { didYouMean } from '../core/suggest.js';

type Driver = 'qemu' | 'test';

export type LibvirtUri =
  | {
      transport: 'ssh';
      driver: Driver;
      user?: string;
      /** Host name, IPv4 or IPv6 address, the latter without brackets. */
      address: string;
      port?: number;
      /** `/system` or `/session` (qemu), `/default` or a file (test). */
      path: string;
      /** The daemon's own URI when it is not driver + path (libvirt's `name=`). */
      name?: string;
      keyFile?: string;
      knownHostsFile?: string;
      socket?: string;
      /** Which libvirt daemon: `direct` = the modular one, `legacy` = libvirtd or virtproxyd. */
      mode?: Mode;
      /** `native` = virt-ssh-helper only. */
      proxy?: Proxy;
      auth?: SshAuth[];
    }
  | { transport: 'local'; driver: Driver; path: string; socket?: string; mode?: Mode };

type Mode = 'auto' | 'legacy' | 'direct';
type Proxy = 'auto' | 'native';
type SshAuth = 'agent' | 'privkey';

const uriCharsMax = 2048;
const form = /^([^:/?#]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?$/;
const supported = 'supported are qemu+ssh://, test+ssh:// and, on this machine, qemu:///system';
const drivers: readonly Driver[] = ['qemu', 'test'];

/** Throws BAD_REQUEST that names the wrong part and, as its hint, the mend. */
export function parseLibvirtUri(text: string): LibvirtUri {
  if (text.length > uriCharsMax) throw refuse(`a libvirt URI has at most ${uriCharsMax} characters`);
  const [, scheme, authority, path, query] = form.exec(text) ?? [];
  if (scheme === undefined || authority === undefined || path === undefined) {
    throw refuse(
      `${quote(text)} is not a libvirt URI`,
      'write qemu+ssh://user@host/system, or qemu:///system',
    );
  }
  const { driver, ssh } = parseScheme(scheme, authority);
  const place = { driver, path: parsePath(driver, decode('path', path)) };
  const parameters = new Parameters(query ?? '', ssh ? sshParameters : localParameters);
  const socket = parameters.path('socket');
  const mode = parameters.oneOf('mode', ['auto', 'legacy', 'direct']);
  if (!ssh) return { transport: 'local', ...place, ...defined({ socket, mode }) };
  requireHostKeyChecks(parameters);
  return {
    transport: 'ssh',
    ...place,
    ...parseAuthority(authority),
    ...defined({
      socket,
      mode,
      name: parameters.daemonName(),
      keyFile: parameters.path('keyfile'),
      knownHostsFile: parameters.path('known_hosts'),
      proxy: parseProxy(parameters),
      auth: parseSshAuth(parameters),
    }),
  };
}

/** What the daemon at the other end is asked to open: `qemu:///system`, `test:///default`. */
export function daemonUri(uri: LibvirtUri): string {
  if (uri.transport === 'ssh' && uri.name !== undefined) return uri.name;
  return `${uri.driver}://${uri.path.split('/').map(encodeURIComponent).join('/')}`;
}

function parseScheme(scheme: string, authority: string): { driver: Driver; ssh: boolean } {
  const [name = '', transport, ...rest] = scheme.toLowerCase().split('+');
  const driver = drivers.find((known) => known === name);
  if (driver === undefined || rest.length > 0) {
    throw refuse(`driver ${quote(name)} is not supported`, didYouMean(name, drivers) ?? supported);
  }
  if (transport === 'ssh') return { driver, ssh: true };
  if (transport !== undefined) {
    throw refuse(
      `transport ${quote(transport)} is not supported`,
      transportHint(driver, transport, authority),
    );
  }
  if (authority !== '') {
    throw refuse(
      `${driver}://${shown(authority)} means TLS to libvirt, which is not supported`,
      `write ${driver}+ssh://${shown(authority)}/…`,
    );
  }
  return { driver, ssh: false };
}

function transportHint(driver: Driver, transport: string, authority: string): string {
  if (transport === 'unix') return `write ${driver}:///… without +unix; the socket's path goes in ?socket=`;
  if (authority === '') return supported;
  return `write ${driver}+ssh://${shown(authority)}/…; ${supported}`;
}

function parsePath(driver: Driver, path: string): string {
  if (driver === 'qemu') {
    const paths = ['/system', '/session'];
    if (paths.includes(path)) return path;
    throw refuse(`qemu has no ${quote(path)}`, didYouMean(path, paths) ?? 'end the URI in /system');
  }
  if (path.length > 1) return path;
  throw refuse('a test URI needs a path', 'end the URI in /default');
}

function parseAuthority(authority: string): { user?: string; address: string; port?: number } {
  const at = authority.lastIndexOf('@');
  const userInfo = at < 0 ? undefined : authority.slice(0, at);
  if (userInfo?.includes(':')) {
    throw refuse('a URI must not hold a password', 'use a key file (?keyfile=) or the SSH agent');
  }
  const place = authority.slice(at + 1);
  const [, bracketed, plain, portText] = /^(?:\[([^\]]*)\]|([^:]*))(?::([^:]*))?$/.exec(place) ?? [];
  const address = decode('host', bracketed ?? plain ?? '');
  if (bracketed === undefined ? !isHostName(address) : !isIpv6(address)) {
    throw refuse(
      place === '' ? 'the URI names no host' : `${quote(place)} is not a host`,
      'write //user@host, //host:port or, for IPv6, //[address]:port',
    );
  }
  const user = userInfo === undefined ? undefined : decode('user', userInfo);
  if (user === '') throw refuse('the user before @ is empty', 'write //user@host, or leave the @ out');
  return { address, ...defined({ user, port: parsePort(portText) }) };
}

function parsePort(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw refuse(`${quote(text)} is not a port`, 'a port is a number from 1 to 65535');
}

function isHostName(address: string): boolean {
  return address.length <= 253 && /^[a-z0-9_]([a-z0-9._-]*[a-z0-9_.])?$/i.test(address);
}

function isIpv6(address: string): boolean {
  return /^[0-9a-f:.]+(%[a-z0-9._-]+)?$/i.test(address) && address.includes(':');
}

const sshParameters = [
  'keyfile',
  'known_hosts',
  'known_hosts_verify',
  'socket',
  'mode',
  'proxy',
  'netcat',
  'name',
  'no_tty',
  'no_verify',
  'sshauth',
] as const;
const localParameters = ['socket', 'mode'] as const;

/** What libvirt knows and this client cannot honour, with the reason. */
const refusedParameters = new Map([
  ['command', 'no ssh program is started: Outrigger speaks SSH itself'],
  ['pkipath', 'TLS is not supported'],
  ['tls_priority', 'TLS is not supported'],
]);

class Parameters {
  readonly #values = new Map<string, string>();

  constructor(query: string, known: readonly string[]) {
    for (const part of query.split(/[&;]/).filter((part) => part !== '')) {
      const equals = part.indexOf('=');
      const name = decode('parameter', equals < 0 ? part : part.slice(0, equals));
      const reason = refusedParameters.get(name);
      if (reason) throw refuse(`parameter ${quote(name)} is not supported`, `remove it: ${reason}`);
      if (!known.includes(name)) {
        const hint = didYouMean(name, known) ?? `known are ${known.join(', ')}`;
        throw refuse(`unknown parameter ${quote(name)}`, hint);
      }
      if (this.#values.has(name)) throw refuse(`parameter ${quote(name)} is given twice`, 'keep one of them');
      this.#values.set(name, equals < 0 ? '' : decode(name, part.slice(equals + 1)));
    }
  }

  path(name: string): string | undefined {
    const value = this.#values.get(name);
    if (value === '') throw refuse(`parameter ${quote(name)} is empty`, 'give it a path, or remove it');
    return value;
  }

  oneOf<T extends string>(name: string, words: readonly T[]): T | undefined {
    const value = this.#values.get(name);
    const word = words.find((known) => known === value);
    if (value === undefined || word !== undefined) return word;
    throw refuse(
      `${name}=${value} is not known`,
      didYouMean(value, words) ?? `use one of ${words.join(', ')}`,
    );
  }

  list(name: string): string[] | undefined {
    return this.#values.get(name)?.split(',');
  }

  daemonName(): string | undefined {
    const name = this.path('name');
    if (name === undefined || /^(qemu:\/\/\/(system|session)|test:\/\/\/.+)$/.test(name)) return name;
    throw refuse(`name=${name} is not a daemon's URI`, 'write name=qemu:///system, or remove it');
  }
}

function requireHostKeyChecks(parameters: Parameters): void {
  const checks = 'host keys are always verified';
  if (parameters.oneOf('no_verify', ['0', '1']) === '1') {
    throw refuse(`no_verify=1 is refused: ${checks}`, 'remove it and store the key with `outrigger enroll`');
  }
  const verify = parameters.oneOf('known_hosts_verify', ['normal', 'auto', 'ignore']);
  if (verify === 'ignore' || verify === 'auto') {
    throw refuse(
      `known_hosts_verify=${verify} is refused: ${checks}, and new ones are learnt only on request`,
      'remove it and store the key with `outrigger enroll`',
    );
  }
}

function parseProxy(parameters: Parameters): Proxy | undefined {
  const proxy = parameters.oneOf('proxy', ['auto', 'native', 'netcat']);
  if (proxy !== 'netcat') return proxy;
  throw refuse(
    'proxy=netcat is not supported',
    'remove it: the socket is reached through SSH itself, or virt-ssh-helper',
  );
}

function parseSshAuth(parameters: Parameters): SshAuth[] | undefined {
  const given = parameters.list('sshauth');
  const usable = (['agent', 'privkey'] as const).filter((method) => given?.includes(method));
  if (given === undefined || usable.length > 0) return given && usable;
  throw refuse(`sshauth=${given.join(',')} is not supported`, 'use sshauth=privkey or sshauth=agent');
}

function decode(part: string, text: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    throw refuse(`the ${part} has a broken %-escape`, 'write a literal % as %25');
  }
  if (/\p{Cc}/u.test(decoded)) throw refuse(`the ${part} holds a control character`);
  return decoded;
}

/** The authority without what stands before the @, which may be a secret. */
function shown(authority: string): string {
  return authority.slice(authority.lastIndexOf('@') + 1);
}

function quote(text: string): string {
  return JSON.stringify(text.replace(/[^/]*@/, '…@'));
}

function defined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function refuse(message: string, hint?: string): HostError {
  return new HostError('BAD_REQUEST', { message, outcome: 'not-sent', ...(hint !== undefined && { hint }) });
}
