// A private key file, read, checked and decrypted. Each way in which it can be wrong is a KEY_FILE error with its mend.
// The result is kept until the file changes, a wrong passphrase too: undoing bcrypt stops everything for a good part of a
// second, and a fleet shares one key. It refuses to ask for a passphrase and to use a key that others on this machine can read, as ssh does.
import { createPrivateKey, sign } from 'node:crypto';
import { type Stats, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import ssh2, { type ParsedKey } from 'ssh2';
import { asHostError, HostError } from '../core/errors.js';
import { Secret } from '../core/secret.js';
import { fingerprintOf } from './host-key.js';

export type PrivateKey = { file: string; type: string; fingerprint: string; key: ParsedKey };

const keyBytesMax = 64 * 1024;
const keysCachedMax = 256;
const cache = new Map<string, { stamp: string; key: Promise<PrivateKey> }>();

/**
 * The public half as a line for authorized_keys, without options: from the private key, or from FILE.pub beside it when
 * that is encrypted and no passphrase is given. Throws KEY_FILE.
 */
export async function readPublicKey(
  host: string,
  file: string,
  passphraseFile?: string | undefined,
): Promise<string> {
  try {
    const { key, type } = await loadPrivateKey(host, file, passphraseFile);
    return [type, key.getPublicSSH().toString('base64'), key.comment].filter(Boolean).join(' ');
  } catch (error) {
    const beside = await readFile(`${file}.pub`, 'utf8').catch(() => '');
    const parsed = parseText(beside, undefined);
    if (parsed instanceof Error) throw error;
    return beside.trim();
  }
}

/** Throws KEY_FILE. */
export async function loadPrivateKey(
  host: string,
  file: string,
  passphraseFile?: string | undefined,
): Promise<PrivateKey> {
  try {
    const stamp = `${stampOf(file)} ${passphraseFile ? stampOf(passphraseFile) : ''}`;
    const cacheKey = `${file}\0${passphraseFile ?? ''}`;
    const cached = cache.get(cacheKey);
    if (cached?.stamp === stamp) return await cached.key;
    const reading = readBoth(file, passphraseFile);
    reading.catch(() => cache.delete(cacheKey));
    const key = reading.then(({ text, passphrase }) => parsePrivateKey(file, text, passphrase));
    if (cache.size >= keysCachedMax) cache.clear();
    cache.set(cacheKey, { stamp, key });
    return await key;
  } catch (error) {
    const { code, message, hint, outcome, cause } = asHostError(error);
    throw new HostError(code, { host, message, outcome, cause, ...(hint && { hint }) });
  }
}

function fault(message: string, hint: string, cause?: unknown): HostError {
  return new HostError('KEY_FILE', { message, hint, outcome: 'not-sent', cause });
}

async function readBoth(file: string, passphraseFile: string | undefined) {
  const passphrase = passphraseFile ? await readPassphrase(passphraseFile) : undefined;
  return { text: await readText(file), passphrase };
}

function stampOf(file: string): string {
  const found = statOf(file);
  if (!found.isFile()) throw fault(`${file}: not a file`, 'Name a private key file.');
  if (found.size > keyBytesMax) throw fault(`${file}: too large to be a key`, 'Name a private key file.');
  const mode = found.mode & 0o777;
  if (found.uid === process.getuid?.() && (mode & 0o077) !== 0) {
    const shown = mode.toString(8).padStart(4, '0');
    throw fault(`${file}: permissions ${shown} are too open, others can read it`, `Run: chmod 600 ${file}`);
  }
  return `${found.mtimeMs} ${found.ctimeMs} ${found.size} ${found.ino} ${mode}`;
}

/** At once: a thread that looks at a local file, at each connection, costs ten times as much as looking. */
function statOf(file: string): Stats {
  try {
    return statSync(file);
  } catch (error) {
    throw unreadable(file, error);
  }
}

async function readText(file: string): Promise<string> {
  return await readFile(file, 'utf8').catch((error: unknown) => {
    throw unreadable(file, error);
  });
}

function unreadable(file: string, error: unknown): HostError {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    const hint = `Put the key there or correct ssh.keyFile; a new key is made with: ssh-keygen -t ed25519 -N '' -f ${file}`;
    return fault(`${file}: no such file`, hint);
  }
  if (code === 'EACCES' || code === 'EPERM') {
    const { username } = userInfo();
    return fault(
      `${file}: ${username} may not read it`,
      `Make it the key of that user: chown ${username} ${file}`,
    );
  }
  return fault(`${file}: cannot be read`, 'Name a private key file that can be read.', error);
}

async function readPassphrase(file: string): Promise<Secret> {
  return new Secret((await readText(file)).replace(/\r?\n$/, ''));
}

function parsePrivateKey(file: string, text: string, passphrase: Secret | undefined): PrivateKey {
  const parsed = parseText(text, passphrase);
  if (parsed instanceof Error) throw unusable(file, text, passphrase !== undefined, parsed);
  // ssh2's types promise one key; files in OpenSSH's form give a list of one.
  const key = Array.isArray(parsed) ? (parsed[0] as ParsedKey | undefined) : parsed;
  if (!key?.isPrivateKey()) {
    const named = file.endsWith('.pub') ? file.slice(0, -4) : 'the private key file';
    throw fault(`${file}: a public key; a private key is wanted`, `Name ${named} instead.`);
  }
  return { file, type: key.type, fingerprint: fingerprintOf(key.getPublicSSH()), key: signingFast(key) };
}

/** ssh2 takes the key apart anew for each signature, which is most of what an ed25519 signature costs. */
function signingFast(key: ParsedKey): ParsedKey {
  if (key.type !== 'ssh-ed25519') return key;
  const parsed = createPrivateKey(key.getPrivatePEM());
  return Object.defineProperty(key, 'sign', {
    value: (data: Buffer | string) => sign(null, Buffer.from(data), parsed),
  });
}

function parseText(text: string, passphrase: Secret | undefined): ParsedKey | ParsedKey[] | Error {
  try {
    return ssh2.utils.parseKey(text, passphrase?.expose());
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function unusable(file: string, text: string, withPassphrase: boolean, why: Error): HostError {
  if (/no passphrase given/i.test(why.message)) {
    const hint = `Set ssh.keyPassphraseFile, load the key into an agent, or take the passphrase off: ssh-keygen -p -f ${file}`;
    return fault(`${file}: encrypted, and no passphrase is given`, hint);
  }
  if (withPassphrase && /integrity|passphrase|decrypt|malformed/i.test(why.message)) {
    return fault(`${file}: the passphrase is wrong`, 'Correct the file that ssh.keyPassphraseFile names.');
  }
  if (/BEGIN (ENCRYPTED )?PRIVATE KEY/.test(text)) {
    return fault(`${file}: a PKCS#8 key, which is not supported`, `Convert it: ssh-keygen -p -f ${file}`);
  }
  if (/\b(sk-ssh-|sk-ecdsa-)/.test(why.message)) {
    return fault(
      `${file}: a security-key (FIDO) key needs a touch`,
      'Use an ed25519 key without a security key.',
    );
  }
  return fault(
    `${file}: not a private key that can be read (${why.message})`,
    'Name a key made by ssh-keygen.',
  );
}
