// One value of the inventory at a time: raw YAML value → what the service uses, or a complaint that says what is wrong
// and how to mend it. Pure: it refuses to look at files, the environment or other keys.
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { HostError, hintOf } from '../core/errors.js';
import { didYouMean } from '../core/suggest.js';
import { daemonUri, type LibvirtUri, parseLibvirtUri } from '../libvirt/uri.js';
import { type JumpHost, libvirtTransports } from './host.js';

/** Not a value: why the raw one was refused. The message goes after the name of the key. */
export class Refusal {
  constructor(
    readonly message: string,
    readonly hint?: string,
  ) {}
}

const nameCharsMax = 253;
const textCharsMax = 4096;
const labelValueCharsMax = 1024;
const jumpsMax = 8;
const hostGroupsMax = 64;
const shownCharsMax = 60;

const secondMs = 1000;
const unitMs: Record<string, number> = { ms: 1, s: secondMs, m: 60 * secondMs, h: 3600 * secondMs };
export const pollIntervalMinMs = 100;
export const pollIntervalMaxMs = 3600 * secondMs;
export const detailsIntervalMaxMs = 24 * 3600 * secondMs;
/** Guests' agents are asked one after another, and a dead one takes seconds. */
const guestIntervalMinMs = 5 * secondMs;

/** Text of a raw value for people, never long and never a key that was pasted by mistake. */
export function shown(raw: unknown): string {
  if (typeof raw === 'string') {
    if (looksLikeKey(raw)) return 'the text of a key';
    return JSON.stringify(raw.length > shownCharsMax ? `${raw.slice(0, shownCharsMax)}…` : raw);
  }
  if (Array.isArray(raw)) return 'a list';
  if (raw !== null && typeof raw === 'object') return 'a mapping';
  return String(raw);
}

function absent(raw: unknown): Refusal | undefined {
  if (raw === undefined) return new Refusal('is missing');
  if (raw === null) return new Refusal('is empty', 'Give it a value, or take the line out.');
  return undefined;
}

function text(raw: unknown): string | Refusal {
  const missing = absent(raw);
  if (missing) return missing;
  if (typeof raw === 'number' || typeof raw === 'boolean') {
    return new Refusal(`must be text, not ${shown(raw)}`, `Write it in quotes: "${raw}".`);
  }
  if (typeof raw !== 'string') return new Refusal(`must be text, not ${shown(raw)}`);
  if (raw.trim() === '') return new Refusal('is empty', 'Give it a value, or take the line out.');
  if (raw.length > textCharsMax) return new Refusal(`is longer than ${textCharsMax} characters`);
  if (looksLikeKey(raw)) return keyInline();
  if (hasControlCharacter(raw)) return new Refusal('holds a line break or control character');
  return raw;
}

export function hostName(raw: unknown): string | Refusal {
  if (raw === undefined) return new Refusal('is missing', 'Write name: kvm-01.');
  const name = text(raw);
  if (name instanceof Refusal) return name;
  if (name.length > nameCharsMax) return new Refusal(`is longer than ${nameCharsMax} characters`);
  if (/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name)) return name;
  const mended = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9.-]+/g, '-')
    .replaceAll(/^[.-]+|[.-]+$/g, '');
  return new Refusal(
    `must be lower-case letters, digits, dots and dashes, and begin and end with a letter or digit, not ${shown(name)}`,
    mended ? `Write ${mended}.` : undefined,
  );
}

export function agentId(raw: unknown): string | Refusal {
  const id = text(raw);
  if (id instanceof Refusal) return id;
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(id)) return id;
  return new Refusal(
    `must be a UUID, or up to 128 letters, digits, dots, dashes and underscores, not ${shown(id)}`,
  );
}

export function address(raw: unknown): string | Refusal {
  if (Array.isArray(raw)) {
    return new Refusal('must be text, not a list', 'Write an IPv6 address without brackets.');
  }
  const given = text(raw);
  if (given instanceof Refusal) return given;
  const bare = given.replace(/^\[(.*)\]$/, '$1');
  if (isIPv6(bare)) return bare.toLowerCase();
  if (given.includes('://'))
    return new Refusal(`is a URI: ${shown(given)}`, 'Write it as uri instead of address.');
  if (given.includes('@')) {
    return new Refusal(`holds a user: ${shown(given)}`, 'Write the user as ssh.user.');
  }
  if (/^[^:]+:\d+$/.test(given)) {
    return new Refusal(`holds a port: ${shown(given)}`, 'Write the port as ssh.port.');
  }
  return isAddress(given) ? given.toLowerCase() : notAnAddress(given);
}

function isAddress(given: string): boolean {
  if (isIP(given)) return true;
  // Digits and dots alone are an IPv4 address with a slip in it, never a name.
  if (/^[\d.]+$/.test(given)) return false;
  return given.length <= nameCharsMax && /^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?$/.test(given);
}

function notAnAddress(given: string): Refusal {
  const almost = /^[\d.]+$/.test(given) && !isIPv4(given);
  return new Refusal(
    `must be a DNS name or an IP address, not ${shown(given)}`,
    almost ? 'Check the digits of the IPv4 address.' : undefined,
  );
}

export function port(raw: unknown): number | Refusal {
  const missing = absent(raw);
  if (missing) return missing;
  if (typeof raw === 'number' && Number.isInteger(raw) && raw >= 1 && raw <= 65_535) return raw;
  const quoted = typeof raw === 'string' && /^\d{1,5}$/.test(raw);
  return new Refusal(
    `must be a whole number from 1 to 65535, not ${shown(raw)}`,
    quoted ? `Write ${raw} without quotes.` : undefined,
  );
}

export function flag(raw: unknown): boolean | Refusal {
  const missing = absent(raw);
  if (missing) return missing;
  if (typeof raw === 'boolean') return raw;
  const word = String(raw).toLowerCase();
  const meant = ['yes', 'on', '1', 'y'].includes(word)
    ? 'true'
    : ['no', 'off', '0', 'n'].includes(word)
      ? 'false'
      : undefined;
  const hint = meant ? `Write ${meant}.` : didYouMean(word, ['true', 'false']);
  return new Refusal(`must be true or false, not ${shown(raw)}`, hint);
}

export function user(raw: unknown): string | Refusal {
  const name = text(raw);
  if (name instanceof Refusal) return name;
  if (/^[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?$/.test(name) && name.length <= nameCharsMax) return name;
  return new Refusal(`must be a user name, not ${shown(name)}`);
}

/** A path of a file on this machine, as written; the loader makes it absolute. */
export function filePath(raw: unknown): string | Refusal {
  const path = text(raw);
  if (path instanceof Refusal) return path;
  if (/^~[^/]/.test(path)) {
    return new Refusal(
      `names another user's home: ${shown(path)}`,
      'Write the whole path, or ~/… for your own home.',
    );
  }
  if (/^[a-z]+:\/\//i.test(path)) return new Refusal(`must be the path of a file, not ${shown(path)}`);
  return path;
}

export function agent(raw: unknown): boolean | string | Refusal {
  if (typeof raw === 'string' && /^(yes|no|on|off|true|false)$/i.test(raw)) return flag(raw);
  return typeof raw === 'boolean' ? raw : filePath(raw);
}

/** A libvirt socket on the host: `auto` or an absolute path. */
export function socket(raw: unknown): string | Refusal {
  const path = text(raw);
  if (path instanceof Refusal) return path;
  if (path === 'auto' || path.startsWith('/')) return path;
  return new Refusal(
    `must be auto or an absolute path on the host, not ${shown(path)}`,
    didYouMean(path, ['auto']) ?? 'Write auto, or a path such as /run/libvirt/libvirt-sock-ro.',
  );
}

export function transport(raw: unknown): (typeof libvirtTransports)[number] | Refusal {
  const word = text(raw);
  if (word instanceof Refusal) return word;
  const known = libvirtTransports.find((candidate) => candidate === word);
  return (
    known ??
    new Refusal(`must be auto, socket or helper, not ${shown(word)}`, didYouMean(word, libvirtTransports))
  );
}

/** A whole URI as `virsh -c` takes it. */
export function uri(raw: unknown): LibvirtUri | Refusal {
  const given = text(raw);
  if (given instanceof Refusal) return given;
  try {
    const parsed = parseLibvirtUri(given);
    if (parsed.transport === 'local') return parsed;
    const target = address(parsed.address);
    return target instanceof Refusal ? target : { ...parsed, address: target };
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return new Refusal(`cannot be used: ${error.message}`, asSentence(hintOf(error)));
  }
}

function asSentence(hint: string | undefined): string | undefined {
  if (!hint) return undefined;
  const begun = hint.charAt(0).toUpperCase() + hint.slice(1);
  return /[.?!]$/.test(begun) ? begun : `${begun}.`;
}

/** The daemon's URI as seen on the host itself. */
export function daemonUriText(raw: unknown): string | Refusal {
  const parsed = uri(raw);
  if (parsed instanceof Refusal) return parsed;
  if (parsed.transport !== 'local') {
    return new Refusal(
      'must be the URI on the host itself, such as qemu:///system',
      'Write a URI that reaches the host by SSH as the uri of the host.',
    );
  }
  if (parsed.socket !== undefined) {
    return new Refusal('holds a socket', 'Write the socket as libvirt.socket.');
  }
  return daemonUri(parsed);
}

/** `15s`, `5m`, `1h`, `500ms` or plain seconds → milliseconds. */
export function duration(minMs: number, maxMs: number): (raw: unknown) => number | Refusal {
  return (raw) => {
    const missing = absent(raw);
    if (missing) return missing;
    const match = /^(\d{1,9}(?:\.\d{1,6})?)\s?(ms|s|m|h)?$/.exec(String(raw));
    if (!match || (typeof raw !== 'string' && typeof raw !== 'number')) {
      return new Refusal(
        `must be a duration, not ${shown(raw)}`,
        'Write it like 15s, 5m, 1h, 500ms or 15 (seconds).',
      );
    }
    const ms = Number(match[1]) * (unitMs[match[2] ?? 's'] ?? secondMs);
    if (ms >= minMs && ms <= maxMs) return Math.round(ms);
    return new Refusal(`must be from ${formatMs(minMs)} to ${formatMs(maxMs)}, not ${shown(raw)}`);
  };
}

/** How often guests' agents are asked, milliseconds; `off` is what a host may say over its groups. */
export function guestInterval(raw: unknown): number | 'off' | Refusal {
  if (raw === 'off' || raw === false) return 'off';
  const ms = duration(guestIntervalMinMs, detailsIntervalMaxMs)(raw);
  if (!(ms instanceof Refusal) || typeof raw === 'number') return ms;
  return new Refusal(ms.message, ms.hint && 'Write it like 60s or 5m, or off.');
}

/** How often guests report their memory, seconds; `off` is what a host may say over its groups. */
export function balloonPeriod(raw: unknown): number | 'off' | Refusal {
  if (raw === 'off' || raw === false) return 'off';
  const ms = duration(secondMs, pollIntervalMaxMs)(raw);
  if (!(ms instanceof Refusal) && ms % secondMs === 0) return ms / secondMs;
  const message = ms instanceof Refusal ? ms.message : `must be whole seconds, not ${shown(raw)}`;
  return new Refusal(message, 'Write it like 5s, or off.');
}

function formatMs(ms: number): string {
  for (const unit of ['h', 'm', 's'] as const) {
    const size = unitMs[unit] ?? 1;
    if (ms >= size && ms % size === 0) return `${ms / size}${unit}`;
  }
  return `${ms}ms`;
}

/** `user@host:port`, or a list of those; IPv6 addresses in brackets. */
export function jump(raw: unknown): JumpHost[] | Refusal {
  const missing = absent(raw);
  if (missing) return missing;
  const items = Array.isArray(raw) ? raw : String(raw).split(',');
  if (items.length > jumpsMax) return new Refusal(`has more than ${jumpsMax} jump hosts`);
  const hops: JumpHost[] = [];
  for (const item of items) {
    const hop = jumpHost(item);
    if (hop instanceof Refusal) return hop;
    const again = hops.some(({ address, port }) => address === hop.address && port === hop.port);
    if (again)
      return new Refusal(
        `goes through ${hop.address} twice`,
        'Name each jump host once, the first one dialled first.',
      );
    hops.push(hop);
  }
  return hops;
}

const jumpForm = 'Write user@host:port; user and port may be left out; an IPv6 address stands in brackets.';

function jumpHost(raw: unknown): JumpHost | Refusal {
  const given = text(raw);
  if (given instanceof Refusal) return new Refusal(given.message, given.hint ?? jumpForm);
  const match = /^(?:([^@]*)@)?(\[[^\]]*\]|[^:[\]]+)(?::(\d+))?$/.exec(given.trim());
  if (!match?.[2]) return new Refusal(`must be user@host:port, not ${shown(given)}`, jumpForm);
  const hopUser = match[1] === undefined ? undefined : user(match[1]);
  if (hopUser instanceof Refusal) return new Refusal(`user ${hopUser.message}`, jumpForm);
  const hopAddress = address(match[2]);
  if (hopAddress instanceof Refusal) return hopAddress;
  const hopPort = port(match[3] === undefined ? 22 : Number(match[3]));
  if (hopPort instanceof Refusal) return new Refusal(`port ${hopPort.message}`);
  return { ...(hopUser !== undefined && { user: hopUser }), address: hopAddress, port: hopPort };
}

export function groupList(raw: unknown): string[] | Refusal {
  const missing = absent(raw);
  if (missing) return missing;
  if (typeof raw === 'string')
    return new Refusal('must be a list', `Write groups: [${raw.slice(0, shownCharsMax)}].`);
  if (!Array.isArray(raw)) return new Refusal(`must be a list of group names, not ${shown(raw)}`);
  if (raw.length > hostGroupsMax) return new Refusal(`names more than ${hostGroupsMax} groups`);
  const names: string[] = [];
  for (const item of raw) {
    const name = text(item);
    if (name instanceof Refusal)
      return new Refusal(`must be a list of group names; one of them ${name.message}`, name.hint);
    if (names.includes(name)) return new Refusal(`names ${name} twice`, 'Keep one of the two.');
    names.push(name);
  }
  return names;
}

/** Labels that Prometheus or our own series use; an inventory label of that name would be lost or would break joins. */
const reservedLabels = new Set(
  'instance job domain target_device device vcpu cpu mode mountpoint fstype poller le quantile'.split(' '),
);

export function labelName(name: string): string | Refusal {
  if (name.startsWith('__'))
    return new Refusal('is reserved by Prometheus', 'Choose a name that does not begin with __.');
  if (reservedLabels.has(name)) {
    return new Refusal(
      'is a label that the metrics use themselves',
      `Choose another name, such as host_${name}.`,
    );
  }
  if (/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) && name.length <= nameCharsMax) return name;
  const mended = name.replaceAll(/[^a-zA-Z0-9_]+/g, '_').replace(/^\d/, '_$&');
  return new Refusal('is not a Prometheus label name', `Use letters, digits and underscores: ${mended}.`);
}

export function labelValue(raw: unknown): string | Refusal {
  const value = text(raw);
  if (value instanceof Refusal || value.length <= labelValueCharsMax) return value;
  return new Refusal(`is longer than ${labelValueCharsMax} characters`);
}

function looksLikeKey(given: string): boolean {
  return /-----BEGIN |PuTTY-User-Key-File|^\s*(ssh-(ed25519|rsa|dss)|ecdsa-sha2-\S+|sk-\S+)\s+AAAA/.test(
    given,
  );
}

function keyInline(): Refusal {
  return new Refusal(
    'holds the text of a key; the inventory never holds secrets',
    'Put the key in a file that only the service may read, and write the path of that file here.',
  );
}

function hasControlCharacter(given: string): boolean {
  for (let index = 0; index < given.length; index++) {
    const code = given.charCodeAt(index);
    if (code < 0x20 || code === 0x7f) return true;
  }
  return false;
}
