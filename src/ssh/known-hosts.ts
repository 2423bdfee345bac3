// Which host keys are trusted: the verdict of known_hosts files as OpenSSH with StrictHostKeyChecking=yes gives it.
// Files are parsed once and again when they change, so that a thousand reconnects do not read them a thousand times.
// It refuses to learn by itself: only `KnownHosts.append`, called for an explicit enrolment, writes.
import { statSync } from 'node:fs';
import { mkdir, open, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HostError } from '../core/errors.js';
import { keyTypeOf } from './host-key.js';
import {
  type KnownHost,
  type KnownHostsNote,
  type KnownHostsText,
  parseKnownHosts,
} from './known-hosts-file.js';

export type KnownHostsVerdict = {
  standing: 'match' | 'unknown' | 'mismatch' | 'revoked';
  /** What says so: the matching entry, the one that differs, the revoking one. */
  entry?: KnownHost;
  /** Where that is: `file:line`. */
  at?: string;
};

const fileBytesMax = 16 * 1024 * 1024;
const filesCachedMax = 64;
const namesCachedMax = 16_384;
const defaultPort = 22;

type CachedFile = { stamp: string; text: KnownHostsText; byName: Map<string, readonly KnownHost[]> };
const cache = new Map<string, CachedFile>();

export class KnownHosts {
  readonly #files: readonly CachedFile[];
  /** Files that do not exist: OpenSSH passes over them, people want to hear of them. */
  readonly missing: readonly string[];

  private constructor(files: readonly CachedFile[], missing: readonly string[]) {
    this.#files = files;
    this.missing = missing;
  }

  /** Reads the files; those that do not exist are passed over. Throws KNOWN_HOSTS for one that cannot be read. */
  static async load(files: readonly string[]): Promise<KnownHosts> {
    const texts: CachedFile[] = [];
    const missing: string[] = [];
    for (const file of files) {
      const text = await loadFile(file);
      if (text) texts.push(text);
      else missing.push(file);
    }
    return new KnownHosts(texts, missing);
  }

  /**
   * Adds a key for a host; true when it was written, false when exactly this key is there already. One write with
   * O_APPEND: a file that others append to at the same time stays whole. Throws KNOWN_HOSTS.
   */
  static append(file: string, address: string, port: number, key: Buffer, comment = ''): Promise<boolean> {
    return appendKnownHost(file, address, port, key, comment);
  }

  /** Lines that do not count, with why. */
  get notes(): readonly KnownHostsNote[] {
    return this.#files.flatMap(({ text }) => text.notes);
  }

  /** A revoked key is refused whatever else is on file; then a match anywhere counts, then a difference. */
  check(address: string, port: number, key: Buffer): KnownHostsVerdict {
    const entries = this.#entries(address, port);
    const same = entries.filter((entry) => entry.blob.equals(key));
    const revoked = same.find(({ marker }) => marker === 'revoked');
    if (revoked) return verdict('revoked', revoked);
    const match = same.find(({ marker }) => marker === undefined);
    if (match) return verdict('match', match);
    const plain = entries.filter(({ marker }) => marker === undefined);
    const type = keyTypeOf(key);
    const differs = plain.find((entry) => entry.type === type) ?? plain[0];
    return differs ? verdict('mismatch', differs) : { standing: 'unknown' };
  }

  /** Types of the keys on file for this host, in the order of the files. */
  algorithms(address: string, port: number): string[] {
    const plain = this.#entries(address, port).filter(({ marker }) => marker === undefined);
    return [...new Set(plain.map(({ type }) => type))];
  }

  /** Entries of `[host]:port`; when it has no key there, those of the bare host count, as with OpenSSH. */
  #entries(address: string, port: number): KnownHost[] {
    const named = this.#lookup(knownHostsName(address, port));
    if (port === defaultPort || named.some(({ marker }) => marker === undefined)) return named;
    return [...named, ...this.#lookup(knownHostsName(address, defaultPort))];
  }

  #lookup(name: string): KnownHost[] {
    return this.#files.flatMap(({ text, byName }) => {
      let found = byName.get(name);
      if (!found) {
        found = text.entries.filter((entry) => entry.matches(name));
        if (byName.size >= namesCachedMax) byName.clear();
        byName.set(name, found);
      }
      return [...found];
    });
  }
}

function verdict(standing: 'match' | 'mismatch' | 'revoked', entry: KnownHost): KnownHostsVerdict {
  return { standing, entry, at: `${entry.file}:${entry.line}` };
}

/** The name a host has in known_hosts: `host`, or `[host]:port` off port 22. */
export function knownHostsName(address: string, port: number): string {
  const host = address.toLowerCase();
  return port === defaultPort ? host : `[${host}]:${port}`;
}

async function loadFile(file: string): Promise<CachedFile | undefined> {
  try {
    // At once, as with keys: this is done at each connection.
    const { mtimeMs, ctimeMs, size, ino } = statSync(file);
    const stamp = `${mtimeMs} ${ctimeMs} ${size} ${ino}`;
    const cached = cache.get(file);
    if (cached?.stamp === stamp) return cached;
    if (size > fileBytesMax) {
      throw new HostError('KNOWN_HOSTS', {
        message: `${file}: larger than ${fileBytesMax} bytes`,
        outcome: 'not-sent',
      });
    }
    const text = await readFile(file, 'utf8');
    // Hosts connect many at a time: another may have parsed it meanwhile, and each keeps what it has as long as it is connected.
    const meanwhile = cache.get(file);
    if (meanwhile?.stamp === stamp) return meanwhile;
    const loaded = { stamp, text: parseKnownHosts(text, file), byName: new Map() };
    if (cache.size >= filesCachedMax) cache.clear();
    cache.set(file, loaded);
    return loaded;
  } catch (error) {
    if (error instanceof HostError) throw error;
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    throw new HostError('KNOWN_HOSTS', {
      message: `${file}: cannot be read`,
      hint: `Make ${file} readable by the user that outrigger runs as.`,
      outcome: 'not-sent',
      cause: error,
    });
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

async function appendKnownHost(
  file: string,
  address: string,
  port: number,
  key: Buffer,
  comment: string,
): Promise<boolean> {
  const type = keyTypeOf(key);
  const name = knownHostsName(address, port);
  if (!type || !/^[^\s,*?!|#@]+$/.test(name) || /[\r\n]/.test(comment)) {
    throw new HostError('KNOWN_HOSTS', { message: `${name}: not a host name and key that can be stored` });
  }
  const known = await KnownHosts.load([file]);
  if (known.check(address, port, key).standing === 'match') return false;
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await using handle = await open(file, 'a+', 0o644);
    const { size } = await handle.stat();
    const last = Buffer.alloc(1, '\n');
    if (size > 0) await handle.read(last, 0, 1, size - 1);
    const line = `${name} ${type} ${key.toString('base64')}${comment ? ` ${comment}` : ''}\n`;
    await handle.write(last.toString() === '\n' ? line : `\n${line}`);
    await handle.sync();
  } catch (error) {
    throw new HostError('KNOWN_HOSTS', {
      message: `${file}: cannot be written`,
      hint: `Make ${file} writable for the user that enrols hosts.`,
      cause: error,
    });
  }
  return true;
}
