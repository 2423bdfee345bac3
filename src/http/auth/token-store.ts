// The API tokens in force. The file is compared often and read again when it changed; a bad one changes nothing and is told in
// the log and in `problems`. It refuses to start with a bad file, and to let the time of a look-up tell how near a guess was.
import { timingSafeEqual } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { type Clock, systemClock, type Timer } from '../../core/clock.js';
import { HostError } from '../../core/errors.js';
import { type Log, silentLog } from '../../core/log.js';
import { formatProblem, makeProblem, type Problem } from '../../inventory/problem.js';
import { type ApiToken, hashToken, parseTokens } from './tokens.js';

/** A changed file is read when it was the same at two looks: its writer may be in the middle of it. */
const compareEveryMs = 1_000;
const fileBytesMax = 1024 * 1024;
/** Compared with when no token has the hash, so that both ways are one way. */
const nobody = Buffer.alloc(32);

export type TokenStoreOptions = { file: string; clock?: Clock; log?: Log; compareEveryMs?: number };

export class TokenStore {
  readonly #options: TokenStoreOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  #byHash: ReadonlyMap<string, ApiToken>;
  #problems: readonly Problem[] = [];
  #problemsSinceMs: number | undefined;
  /** Of the file that was read last. */
  #read: string;
  #seen: string;
  #timer: Timer | undefined;
  #closed = false;

  private constructor(options: TokenStoreOptions, tokens: readonly ApiToken[], fingerprint: string) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLog;
    this.#byHash = index(tokens);
    this.#read = this.#seen = fingerprint;
    this.#plan();
  }

  /** Throws HostError SETTINGS that names every problem of the file. */
  static async open(options: TokenStoreOptions): Promise<TokenStore> {
    const fingerprint = await fingerprintOf(options.file);
    const { tokens, problems } = await readTokensFile(options.file);
    if (!tokens) {
      throw new HostError('SETTINGS', {
        message: `AGENT_API_TOKENS_FILE: ${problems.map(formatProblem).join('; ')}`,
        hint: '`outrigger token create` makes an entry.',
      });
    }
    return new TokenStore(options, tokens, fingerprint);
  }

  get size(): number {
    return this.#byHash.size;
  }

  /** What is wrong with the file now; empty when the tokens in force are those in it. */
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Wall milliseconds: when the file began to have problems. Undefined while it has none. */
  get problemsSinceMs(): number | undefined {
    return this.#problemsSinceMs;
  }

  /** The token with this text. One hash, one look-up and one comparison, whatever was given. */
  find(text: string): ApiToken | undefined {
    const hash = hashToken(text);
    const token = this.#byHash.get(hash);
    const same = timingSafeEqual(Buffer.from(hash, 'hex'), token ? Buffer.from(token.sha256, 'hex') : nobody);
    return same ? token : undefined;
  }

  /** For a session: the entry as it is now. Undefined when it was taken out or has expired. */
  current(sha256: string): ApiToken | undefined {
    const token = this.#byHash.get(sha256);
    return token && !this.isExpired(token) ? token : undefined;
  }

  isExpired({ expiresMs }: ApiToken): boolean {
    return expiresMs !== undefined && this.#clock.wallMs() > expiresMs;
  }

  /** Reads the file now, whether it seems changed or not. */
  async reload(): Promise<void> {
    const fingerprint = await fingerprintOf(this.#options.file);
    const { tokens, problems } = await readTokensFile(this.#options.file);
    if (this.#closed) return;
    this.#read = this.#seen = fingerprint;
    this.#problems = problems;
    this.#problemsSinceMs = problems.length > 0 ? (this.#problemsSinceMs ?? this.#clock.wallMs()) : undefined;
    if (tokens) {
      this.#byHash = index(tokens);
      this.#log.info({ file: this.#options.file, tokens: tokens.length }, 'API tokens read');
    } else {
      const told = problems.map(formatProblem);
      this.#log.error(
        { problems: told },
        'the API tokens file is not taken: the tokens before stay in force',
      );
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  #plan(): void {
    if (this.#closed) return;
    this.#timer = this.#clock.after(this.#options.compareEveryMs ?? compareEveryMs, () => {
      void this.#compare()
        .catch((error) => this.#log.error({ error }, 'the API tokens file could not be compared'))
        .finally(() => this.#plan());
    });
  }

  async #compare(): Promise<void> {
    const now = await fingerprintOf(this.#options.file);
    const settled = now === this.#seen;
    this.#seen = now;
    if (now !== this.#read && settled) await this.reload();
  }
}

function index(tokens: readonly ApiToken[]): ReadonlyMap<string, ApiToken> {
  return new Map(tokens.map((token) => [token.sha256, token]));
}

async function fingerprintOf(file: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
  } catch {
    return 'none';
  }
}

export async function readTokensFile(file: string): Promise<ReturnType<typeof parseTokens>> {
  const problem = (message: string) => ({
    problems: [makeProblem(file, { line: 0, column: 0 }, { message })],
  });
  try {
    if ((await stat(file)).size > fileBytesMax) return problem(`is larger than ${fileBytesMax / 1024} KiB`);
    return parseTokens(await readFile(file, 'utf8'), file);
  } catch (error) {
    return problem(`cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}
