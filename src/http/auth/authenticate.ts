// Who asks: the bearer token or the pages' cookie of a request → a principal, or why not. Without any token or key server
// configured, whoever is on this very machine may read. It refuses to take a proxy's word, or a name that somebody gave this
// address, for being on this machine.
import type {} from '@fastify/cookie';
import type { FastifyRequest } from 'fastify';
import type { ProblemDetails, ProblemType } from '../problem.js';
import { type JwtVerifier, looksLikeJwt } from './jwt.js';
import { makePrincipal, type Principal } from './principal.js';
import type { Grant, Session, Sessions } from './sessions.js';
import type { TokenStore } from './token-store.js';
import type { ApiToken } from './tokens.js';

export type Refusal = ProblemDetails & {
  type: Extract<
    ProblemType,
    | 'unauthenticated'
    | 'forbidden'
    | 'writes-disabled'
    | 'cross-site'
    | 'rate-limited'
    | 'identity-provider-away'
  >;
};

export type Verdict =
  | { principal: Principal; session?: Session | undefined; grant?: Grant }
  | { refusal: Refusal; name?: string };

export type AuthenticatorOptions = {
  tokens?: TokenStore | undefined;
  jwt?: JwtVerifier | undefined;
  sessions: Sessions;
};

export const sessionCookie = 'outrigger_session';
const bearerLengthMax = 8_192;
const jwksRetrySeconds = 10;

export const noTokens = 'no API token is configured';
export const setTokens =
  'Make a token with `outrigger token create --name NAME --role operator --file FILE`, name the file in AGENT_API_TOKENS_FILE, and start the service again.';

export class Authenticator {
  readonly #options: AuthenticatorOptions;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** Nothing is configured: this machine may read. */
  get isOpen(): boolean {
    return !this.#options.tokens && !this.#options.jwt;
  }

  async identify(request: FastifyRequest): Promise<Verdict> {
    const { authorization } = request.headers;
    if (authorization !== undefined) return this.#byHeader(authorization);
    const id = request.cookies[sessionCookie];
    const session = id ? this.#options.sessions.find(id) : undefined;
    if (session) return { principal: session.principal, session };
    if (!this.isOpen)
      return unauthenticated(
        'a token is needed',
        'Send `Authorization: Bearer TOKEN`, or sign in at /login.',
      );
    const why = whyNotLocal(request);
    return why ? unauthenticated(`${noTokens}, and ${why}`, setTokens) : { principal: local };
  }

  /** What a token is good for, from a header or the login form. */
  async byToken(text: string): Promise<Verdict> {
    const { tokens, jwt } = this.#options;
    if (this.isOpen) return unauthenticated(noTokens, setTokens);
    if (text.length > bearerLengthMax) return unauthenticated('the token is too long');
    if (jwt && looksLikeJwt(text)) return this.#byJwt(jwt, text);
    const token = tokens?.find(text);
    if (!tokens || !token) return unauthenticated('the token is not known here');
    if (tokens.isExpired(token)) return unauthenticated('the token has expired');
    const grant = this.#grantOf(tokens, token);
    const principal = grant.principal();
    return principal ? { principal, grant } : unauthenticated('the token has expired');
  }

  async #byHeader(header: string): Promise<Verdict> {
    const text = /^Bearer +([\x21-\x7e]+) *$/i.exec(header)?.[1];
    if (text === undefined)
      return unauthenticated('the Authorization header must be: Bearer, a space, and the token');
    return this.byToken(text);
  }

  async #byJwt(jwt: JwtVerifier, text: string): Promise<Verdict> {
    const verdict = await jwt.verify(text);
    switch (verdict.kind) {
      case 'good': {
        const { principal } = verdict;
        const key = `jwt ${principal.name}`;
        return {
          principal,
          grant: { key, principal: () => (principal.isCurrent() ? principal : undefined) },
        };
      }
      case 'no-role':
        return { refusal: { type: 'forbidden', detail: verdict.why }, name: verdict.name };
      case 'bad':
        return unauthenticated(verdict.why);
      case 'away': {
        const detail = 'the token cannot be checked now: the key server of AGENT_JWKS_URL does not answer';
        return { refusal: { type: 'identity-provider-away', detail, retryAfterSeconds: jwksRetrySeconds } };
      }
    }
  }

  #grantOf(tokens: TokenStore, { sha256 }: ApiToken): Grant {
    const isCurrent = () => tokens.current(sha256) !== undefined;
    return {
      key: sha256,
      principal: () => {
        const token = tokens.current(sha256);
        if (!token) return undefined;
        const { name, role, confinement } = token;
        return makePrincipal({ name, role, via: 'token', confinement, isCurrent });
      },
    };
  }
}

const local = makePrincipal({ name: 'local', role: 'viewer', via: 'loopback' });

function unauthenticated(detail: string, hint?: string): Verdict {
  return { refusal: { type: 'unauthenticated', detail, hint } };
}

const proxyHeaders = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
  'via',
];

/** The caller is a process on this machine that asked for this machine by its own name. */
function whyNotLocal(request: FastifyRequest): string | undefined {
  const address = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
  if (address !== '::1' && !/^127(\.\d{1,3}){3}$/.test(address))
    return 'only this machine may read without a token';
  if (proxyHeaders.some((name) => request.headers[name] !== undefined))
    return 'the request came through a proxy, so it may be from anywhere';
  // A page on the internet can have its own name lead to 127.0.0.1; it cannot change the name that the browser sends.
  const name = (request.headers.host ?? '').replace(/:\d+$/, '').toLowerCase();
  if (name !== 'localhost' && name !== '[::1]' && !/^127(\.\d{1,3}){3}$/.test(name))
    return 'the request asks for another name than localhost, 127.0.0.1 or [::1]';
  return undefined;
}
