// The files of TLS: CA, our certificate and its key, read again when they change, so that a renewed certificate needs no
// restart. A file that is wrong in the meantime (half written, key and certificate apart) keeps the last good set in use.
import { X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import type { Clock } from '../core/clock.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';

/** Files are looked at no more often than this. */
export const lookEveryMs = 5_000;
const fileBytesMax = 1024 * 1024;

export type TlsPaths = { ca?: string | undefined; cert?: string | undefined; key?: string | undefined };

export type TlsMaterial = {
  ca?: string;
  cert?: string;
  key?: string;
  /** Of our certificate, wall milliseconds. */
  certExpiresAtMs?: number;
};

const variables = {
  ca: 'AGENT_SSL_CA_PATH',
  cert: 'AGENT_SSL_CERT_PATH',
  key: 'AGENT_SSL_KEY_PATH',
} as const;
type Kind = keyof typeof variables;
const kinds = Object.keys(variables) as Kind[];

export class TlsFiles {
  #material: TlsMaterial;
  #stamp: string;
  #lookedAtMs: number;
  #looking: Promise<boolean> | undefined;
  readonly #paths: TlsPaths;
  readonly #clock: Clock;
  readonly #log: Log;

  private constructor(paths: TlsPaths, clock: Clock, log: Log, material: TlsMaterial, stamp: string) {
    this.#paths = paths;
    this.#clock = clock;
    this.#log = log;
    this.#material = material;
    this.#stamp = stamp;
    this.#lookedAtMs = clock.monotonicMs();
  }

  /** Throws HostError SETTINGS that names the variable and what is wrong with its file. */
  static async open(paths: TlsPaths, clock: Clock, log: Log): Promise<TlsFiles> {
    const stamp = await stampOf(paths);
    return new TlsFiles(paths, clock, log, await load(paths), stamp);
  }

  get material(): TlsMaterial {
    return this.#material;
  }

  /** True when there is new material. Never throws. */
  look(): Promise<boolean> {
    if (this.#looking) return this.#looking;
    if (this.#clock.monotonicMs() - this.#lookedAtMs < lookEveryMs) return Promise.resolve(false);
    this.#lookedAtMs = this.#clock.monotonicMs();
    this.#looking = this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #look(): Promise<boolean> {
    const stamp = await stampOf(this.#paths);
    if (stamp === this.#stamp) return false;
    this.#stamp = stamp;
    try {
      this.#material = await load(this.#paths);
      this.#log.info('took the changed TLS files for the backend');
      return true;
    } catch (error) {
      this.#log.warn(
        { error },
        'the changed TLS files for the backend are not taken: the last good ones stay',
      );
      return false;
    }
  }
}

async function stampOf(paths: TlsPaths): Promise<string> {
  const stamps = kinds.map(async (kind) => {
    const path = paths[kind];
    if (!path) return '';
    const at = await stat(path).catch(() => undefined);
    return at ? `${at.dev}.${at.ino}.${at.size}.${at.mtimeMs}.${at.ctimeMs}` : 'missing';
  });
  return (await Promise.all(stamps)).join(' ');
}

async function load(paths: TlsPaths): Promise<TlsMaterial> {
  const material: TlsMaterial = {};
  for (const kind of kinds) {
    const path = paths[kind];
    if (path) material[kind] = await read(kind, path);
  }
  if (material.ca !== undefined) certificateIn('ca', paths, material.ca);
  if (material.cert !== undefined) {
    material.certExpiresAtMs = Date.parse(certificateIn('cert', paths, material.cert).validTo);
  }
  try {
    createSecureContext({
      ...(material.ca !== undefined && { ca: material.ca }),
      ...(material.cert !== undefined && { cert: material.cert }),
      ...(material.key !== undefined && { key: material.key }),
    });
  } catch (cause) {
    throw new HostError('SETTINGS', {
      message: `${variables.cert} and ${variables.key} do not make a pair: ${paths.cert} and ${paths.key}`,
      hint: 'Give the PEM certificate and its own PEM key, without a passphrase.',
      cause,
    });
  }
  return material;
}

async function read(kind: Kind, path: string): Promise<string> {
  try {
    if ((await stat(path)).size > fileBytesMax) throw new Error('it is larger than 1 MiB');
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new HostError('SETTINGS', { message: `${variables[kind]} cannot be read: ${path}`, cause });
  }
}

function certificateIn(kind: Kind, paths: TlsPaths, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new HostError('SETTINGS', {
      message: `${variables[kind]} holds no PEM certificate: ${paths[kind]}`,
      hint: 'Give a file that begins with -----BEGIN CERTIFICATE-----.',
      cause,
    });
  }
}
