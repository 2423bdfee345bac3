// One known_hosts file as OpenSSH reads it: lines become entries, and a name is matched against an entry (plain,
// wildcards, negation, hashed). No I/O and no verdict. Lines that OpenSSH would skip are kept as notes, so that a person
// can be told why an entry that is plainly there does not count.
import { createHmac } from 'node:crypto';
import { keyTypeOf } from './host-key.js';

export type Marker = 'revoked' | 'cert-authority' | undefined;
export type KnownHost = {
  file: string;
  line: number;
  marker: Marker;
  type: string;
  blob: Buffer;
  matches(name: string): boolean;
};
export type KnownHostsNote = { file: string; line: number; message: string };
export type KnownHostsText = { entries: readonly KnownHost[]; notes: readonly KnownHostsNote[] };

const lineLengthMax = 32 * 1024;

export function parseKnownHosts(text: string, file: string): KnownHostsText {
  const entries: KnownHost[] = [];
  const notes: KnownHostsNote[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = index + 1;
    const trimmed = raw.replace(/^[ \t]+/, '').replace(/\r$/, '');
    if (trimmed === '' || trimmed.startsWith('#')) continue;
    const parsed = trimmed.length > lineLengthMax ? 'the line is too long' : parseLine(trimmed);
    if (typeof parsed === 'string') notes.push({ file, line, message: parsed });
    else {
      entries.push({ file, line, ...parsed });
      if (parsed.marker === 'cert-authority') {
        notes.push({
          file,
          line,
          message: '@cert-authority is ignored: host certificates are not supported',
        });
      }
    }
  }
  return { entries, notes };
}

function parseLine(text: string): Omit<KnownHost, 'file' | 'line'> | string {
  let fields = text.split(/[ \t]+/);
  let marker: Marker;
  const first = fields[0] ?? '';
  if (first.startsWith('@')) {
    if (first !== '@revoked' && first !== '@cert-authority') return `unknown marker ${first}`;
    marker = first === '@revoked' ? 'revoked' : 'cert-authority';
    fields = fields.slice(1);
  }
  const [names, type, encoded] = fields;
  if (!names || !type || !encoded) return 'a host name, a key type and a key are wanted';
  const blob = decodeBase64(encoded);
  if (blob === undefined) return 'the key is not base64';
  if (keyTypeOf(blob) !== type) return `the key is not of the type ${type} that the line names`;
  const matches = names.startsWith('|') ? hashedMatcher(names) : listMatcher(names);
  if (!matches) return 'the hashed host name is malformed';
  return { marker, type, blob, matches };
}

export function decodeBase64(text: string): Buffer | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return undefined;
  return Buffer.from(text, 'base64');
}

const sha1Bytes = 20;

/** `|1|salt|hash`: HMAC-SHA1 of the name, the salt as key. */
function hashedMatcher(names: string): ((name: string) => boolean) | undefined {
  const [before, version, saltText, hashText, rest] = names.split('|');
  if (before !== '' || version !== '1' || rest !== undefined) return undefined;
  const salt = decodeBase64(saltText ?? '');
  const hash = decodeBase64(hashText ?? '');
  if (salt?.length !== sha1Bytes || hash?.length !== sha1Bytes) return undefined;
  return (name) => createHmac('sha1', salt).update(name).digest().equals(hash);
}

/** A comma list: one positive match and no negated match. */
function listMatcher(names: string): (name: string) => boolean {
  const patterns = names
    .toLowerCase()
    .split(',')
    .map((pattern) => {
      const negated = pattern.startsWith('!');
      return { negated, matches: patternMatcher(negated ? pattern.slice(1) : pattern) };
    });
  return (name) => {
    let found = false;
    for (const { negated, matches } of patterns) {
      if (!matches(name)) continue;
      if (negated) return false;
      found = true;
    }
    return found;
  };
}

function patternMatcher(pattern: string): (name: string) => boolean {
  if (!/[*?]/.test(pattern)) return (name) => name === pattern;
  return (name) => wildcardMatches(pattern, name);
}

/** `*` and `?` as in ssh_config(5), in time linear in pattern × name: a file may hold what it likes. */
export function wildcardMatches(pattern: string, name: string): boolean {
  let p = 0;
  let n = 0;
  let star = -1;
  let retry = 0;
  while (n < name.length) {
    if (pattern[p] === '*') {
      star = p++;
      retry = n;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === name[n])) {
      p++;
      n++;
    } else if (star >= 0) {
      p = star + 1;
      n = ++retry;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
