// Access to the HTTP side as the service sees it: opened from the settings, read again on SIGHUP, closed. It puts the parts of
// this folder together and refuses to judge anything itself.
import cookie from '@fastify/cookie';
import formbody from '@fastify/formbody';
import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify';
import { type Clock, systemClock } from '../../core/clock.js';
import { type Log, silentLog } from '../../core/log.js';
import type { Settings } from '../../core/settings.js';
import { formatProblem } from '../../inventory/problem.js';
import { AccessAudit, type AuditSink } from './access-audit.js';
import { Authenticator } from './authenticate.js';
import { addGuard } from './guard.js';
import { addSecurityHeaders } from './headers.js';
import { JwtVerifier } from './jwt.js';
import { addConnectionLimit, addRateLimit } from './limits.js';
import { addLogin, type LoginView } from './login.js';
import { Sessions } from './sessions.js';
import { TokenStore } from './token-store.js';

export type AccessSettings = Pick<
  Settings,
  'apiTokensFile' | 'jwksUrl' | 'jwtIssuer' | 'jwtAudience' | 'jwtRoleClaim' | 'jwtRoleMap' | 'jwtHostsClaim'
>;

export type AccessOptions = {
  settings: AccessSettings;
  /** Undefined until the audit log is open: writes are refused until then. */
  audit: () => AuditSink | undefined;
  clock?: Clock;
  log?: Log;
};

/** Lower ones, for tests. */
export type AccessLimits = { requestsPerMinute?: number; connections?: number; requestTimeoutMs?: number };

export class AccessControl {
  readonly #tokens: TokenStore | undefined;
  readonly #authenticator: Authenticator;
  readonly #sessions: Sessions;
  readonly #audit: AccessAudit;
  readonly #clock: Clock;
  readonly #log: Log;
  #routes: readonly RouteOptions[] = [];

  private constructor({ settings, audit, clock, log }: AccessOptions, tokens: TokenStore | undefined) {
    this.#clock = clock ?? systemClock;
    this.#log = log ?? silentLog;
    this.#tokens = tokens;
    this.#sessions = new Sessions(this.#clock);
    this.#audit = new AccessAudit(audit, this.#clock, this.#log);
    this.#authenticator = new Authenticator({
      tokens,
      jwt: verifierOf(settings, this.#clock, this.#log),
      sessions: this.#sessions,
    });
  }

  /** Throws HostError SETTINGS when the tokens file is not good. */
  static async open(options: AccessOptions): Promise<AccessControl> {
    const { clock, log } = options;
    const file = options.settings.apiTokensFile;
    const tokens = file
      ? await TokenStore.open({ file, ...(clock && { clock }), ...(log && { log }) })
      : undefined;
    return new AccessControl(options, tokens);
  }

  /** For /readyz; undefined when no tokens file is configured. */
  get detail(): string | undefined {
    if (!this.#tokens) return undefined;
    const { size, problems } = this.#tokens;
    const [first, ...more] = problems;
    const inForce = `${size} API ${size === 1 ? 'token' : 'tokens'}`;
    if (!first) return inForce;
    const others = more.length > 0 ? ` (and ${more.length} more)` : '';
    return `${inForce}; the file now has a problem and is not taken: ${formatProblem(first)}${others}`;
  }

  /** What is wrong with the tokens file now, and since when (wall milliseconds). */
  get problem(): { what: string; sinceMs: number | undefined } | undefined {
    const [first] = this.#tokens?.problems ?? [];
    return first && { what: formatProblem(first), sinceMs: this.#tokens?.problemsSinceMs };
  }

  /** Every route behind the guard, with what it needs. */
  get routes(): readonly RouteOptions[] {
    return this.#routes;
  }

  /** Before any route: headers, cookies, forms, the guard and the limits. */
  async protect(app: FastifyInstance, { requestsPerMinute, connections }: AccessLimits = {}): Promise<void> {
    await addSecurityHeaders(app);
    addConnectionLimit(app, connections);
    await app.register(cookie);
    await app.register(formbody);
    this.#routes = addGuard(app, {
      ...{ authenticator: this.#authenticator, audit: this.#audit },
      ...{ clock: this.#clock, log: this.#log },
    });
    await addRateLimit(app, requestsPerMinute);
  }

  /** `render` makes the login page. */
  addLogin(app: FastifyInstance, render: (view: LoginView, request: FastifyRequest) => string): void {
    addLogin(app, {
      ...{ authenticator: this.#authenticator, sessions: this.#sessions, audit: this.#audit },
      ...{ clock: this.#clock, render },
    });
  }

  /** Reads the tokens file again. */
  async reload(): Promise<void> {
    await this.#tokens?.reload();
  }

  close(): void {
    this.#tokens?.close();
    this.#audit.flush();
  }
}

function verifierOf(settings: AccessSettings, clock: Clock, log: Log): JwtVerifier | undefined {
  const { jwksUrl, jwtIssuer, jwtAudience, jwtRoleClaim, jwtRoleMap, jwtHostsClaim } = settings;
  if (!jwksUrl || !jwtIssuer || !jwtAudience) return undefined;
  return new JwtVerifier({
    ...{ jwksUrl, issuer: jwtIssuer, audience: jwtAudience },
    ...{ roleClaim: jwtRoleClaim, roleMap: jwtRoleMap, hostsClaim: jwtHostsClaim },
    ...{ clock, log },
  });
}
