// The agents' tokens on disk, so that a restart registers nothing again: readable by the service alone, replaced whole, and
// never given to another backend than the one they came from. A file that cannot be read costs a registration, no more.
import { chmod, mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { Secret } from '../core/secret.js';

const fileBytesMax = 256 * 1024 * 1024;

const StoredAgent = z.object({
  id: z.string(),
  name: z.string(),
  access: z.string(),
  refresh: z.string().optional(),
  /** Wall milliseconds. */
  expires_at_ms: z.number(),
  life_ms: z.number().positive(),
});

const Stored = z.object({ version: z.literal(1), backend: z.string(), agents: z.array(StoredAgent) });

export type StoredToken = {
  id: string;
  name: string;
  access: Secret;
  refresh: Secret | undefined;
  expiresAtMs: number;
  lifeMs: number;
};

export class TokenFile {
  readonly #folder: string;
  readonly #path: string;
  readonly #backend: string;
  readonly #log: Log;
  #contents: (() => StoredToken[]) | undefined;
  #writing: Promise<void> | undefined;

  /** `folder`: made 0700 when missing. */
  constructor(folder: string, backend: string, log: Log) {
    this.#folder = folder;
    this.#path = join(folder, 'tokens.json');
    this.#backend = backend;
    this.#log = log;
  }

  /** Throws HostError STORE when the folder cannot be made. */
  async load(): Promise<StoredToken[]> {
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    } catch (cause) {
      throw new HostError('STORE', { message: `${this.#folder} cannot be made`, cause });
    }
    try {
      if ((await stat(this.#path)).size > fileBytesMax)
        throw new HostError('STORE', { message: 'it is too large' });
      await chmod(this.#path, 0o600);
      const stored = Stored.parse(JSON.parse(await readFile(this.#path, 'utf8')));
      if (stored.backend !== this.#backend) return [];
      return stored.agents.map(({ id, name, access, refresh, expires_at_ms, life_ms }) => ({
        ...{ id, name, access: new Secret(access), refresh: refresh ? new Secret(refresh) : undefined },
        ...{ expiresAtMs: expires_at_ms, lifeMs: life_ms },
      }));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      // What a parser says of a file of tokens may quote it.
      const reason =
        error instanceof HostError ? error.message : ((error as NodeJS.ErrnoException).code ?? 'no JSON');
      this.#log.warn(
        { file: this.#path, reason },
        'stored tokens cannot be read: agents are registered again',
      );
      return [];
    }
  }

  /** Writes soon; several changes in a row are one write. Resolves when all is written that was asked for until now. */
  save(contents: () => StoredToken[]): Promise<void> {
    this.#contents = contents;
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
    return this.#writing;
  }

  async #writeAll(): Promise<void> {
    for (let next = this.#contents; next; next = this.#contents) {
      await new Promise((resolve) => setImmediate(resolve));
      this.#contents = undefined;
      try {
        await this.#write(next());
      } catch (error) {
        this.#log.error(
          { file: this.#path, error },
          'tokens cannot be stored: a restart registers agents again',
        );
      }
    }
  }

  async #write(tokens: readonly StoredToken[]): Promise<void> {
    const agents = tokens.map(({ id, name, access, refresh, expiresAtMs, lifeMs }) => ({
      ...{ id, name, access: access.expose() },
      ...(refresh && { refresh: refresh.expose() }),
      ...{ expires_at_ms: expiresAtMs, life_ms: lifeMs },
    }));
    const made = `${this.#path}.new`;
    const file = await open(made, 'w', 0o600);
    try {
      await file.chmod(0o600);
      await file.writeFile(`${JSON.stringify({ version: 1, backend: this.#backend, agents })}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(made, this.#path);
  }
}
