// Callers who bring a JWT of an identity provider. Its signature is checked with the provider's published keys (JWKS); issuer,
// audience and algorithms are pinned, and it must expire. While the provider is away its last keys go on being good for a day.
// It refuses symmetric algorithms and `none`, an answer that is too large, and to ask a provider that is away again and again.
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  customFetch,
  errors,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose';
import { type Clock, systemClock } from '../../core/clock.js';
import { type Log, silentLog } from '../../core/log.js';
import { type Confinement, makePrincipal, type Principal } from './principal.js';
import { highest, isRole, type Role } from './roles.js';

/** Signed with a key that only the provider has. */
const algorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];
const clockSkewSeconds = 30;
const fetchTimeoutMs = 5_000;
/** Keys are asked for again after this, and no more often for a key that is not among them. */
const keysFreshMs = 600_000;
const keysAgainMs = 30_000;
/** After a failure the provider is left alone for this long. */
const failurePauseMs = 5_000;
/** Keys of a provider that is away are still good for this long. */
const keysKeptMs = 24 * 3_600_000;
const keysBytesMax = 256 * 1024;
export const jwtLengthMax = 8_192;
const nameLengthMax = 128;
const hostsMax = 1_000;
const rolesMax = 1_000;

export type JwtOptions = {
  jwksUrl: string;
  issuer: string;
  audience: string;
  /** The claim with the role or roles; dots lead into objects. */
  roleClaim: string;
  /** From what the claim says to a role; undefined: it says the role itself. */
  roleMap?: ReadonlyMap<string, Role> | undefined;
  /** The claim with the hosts a caller is confined to. When set, a token without it may see no host. */
  hostsClaim?: string | undefined;
  clock?: Clock;
  log?: Log;
};

export type JwtVerdict =
  | { kind: 'good'; principal: Principal }
  | { kind: 'bad'; why: string }
  | { kind: 'no-role'; name: string; why: string }
  /** The provider cannot be asked. */
  | { kind: 'away' };

export function looksLikeJwt(text: string): boolean {
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text);
}

export class JwtVerifier {
  readonly #options: JwtOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #keys: JWTVerifyGetKey;
  #failedMs = Number.NEGATIVE_INFINITY;
  #reachedMs = Number.NEGATIVE_INFINITY;
  #away = false;

  constructor(options: JwtOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log ?? silentLog;
    const remote = createRemoteJWKSet(new URL(options.jwksUrl), {
      timeoutDuration: fetchTimeoutMs,
      cooldownDuration: keysAgainMs,
      cacheMaxAge: keysFreshMs,
      [customFetch]: (url, init) => this.#fetch(url, init),
    });
    this.#keys = async (header, token) => {
      try {
        return await remote(header, token);
      } catch (error) {
        const last = remote.jwks();
        const good = this.#clock.monotonicMs() - this.#reachedMs <= keysKeptMs;
        if (isOfTheToken(error) || !last || !good) throw error;
        return createLocalJWKSet(last)(header, token);
      }
    };
  }

  async verify(token: string): Promise<JwtVerdict> {
    if (token.length > jwtLengthMax) return { kind: 'bad', why: 'the token is too long' };
    const { issuer, audience } = this.#options;
    let payload: JWTPayload;
    try {
      ({ payload } = await jwtVerify(token, this.#keys, {
        ...{ algorithms, issuer, audience },
        clockTolerance: clockSkewSeconds,
        requiredClaims: ['exp', 'sub'],
        currentDate: new Date(this.#clock.wallMs()),
      }));
    } catch (error) {
      if (!(error instanceof errors.JOSEError) || isOfTheProvider(error)) return { kind: 'away' };
      // With keys that may be old, a key that is not among them says nothing about the token.
      if (error instanceof errors.JWKSNoMatchingKey && this.#away) return { kind: 'away' };
      return { kind: 'bad', why: reasonOf(error) };
    }
    return this.#judge(payload);
  }

  #judge(payload: JWTPayload): JwtVerdict {
    const { roleClaim, roleMap, hostsClaim } = this.#options;
    const name = printable(payload.sub ?? '');
    if (name === '') return { kind: 'bad', why: 'its sub claim is empty' };
    const said = texts(claim(payload, roleClaim), rolesMax);
    const found = said.flatMap((text) => (roleMap ? (roleMap.get(text) ?? []) : isRole(text) ? text : []));
    const role = highest(found);
    if (!role) return { kind: 'no-role', name, why: `its claim ${roleClaim} gives no role here` };
    const confinement: Confinement = hostsClaim ? { hosts: texts(claim(payload, hostsClaim), hostsMax) } : {};
    const endsMs = (payload.exp ?? 0) * 1_000 + clockSkewSeconds * 1_000;
    const isCurrent = () => this.#clock.wallMs() < endsMs;
    return { kind: 'good', principal: makePrincipal({ name, role, via: 'jwt', confinement, isCurrent }) };
  }

  async #fetch(url: string, init: RequestInit): Promise<Response> {
    if (this.#clock.monotonicMs() - this.#failedMs < failurePauseMs)
      throw new Error('the key server was away a moment ago');
    try {
      const response = await fetch(url, init);
      const text = response.status === 200 ? await boundedText(response) : '';
      if (response.status !== 200) throw new Error(`the key server answered ${response.status}`);
      // What is no set of keys counts as a failure too, before jose sees it.
      createLocalJWKSet(JSON.parse(text));
      this.#reachedMs = this.#clock.monotonicMs();
      if (this.#away) this.#log.info('the key server for JWTs answers again');
      this.#away = false;
      return new Response(text, { status: 200 });
    } catch (error) {
      this.#failedMs = this.#clock.monotonicMs();
      if (!this.#away) this.#log.error({ error }, 'the key server for JWTs is away');
      this.#away = true;
      throw error;
    }
  }
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > keysBytesMax) throw new Error('the answer of the key server is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Fetching went wrong; says nothing about the token. */
function isOfTheProvider(error: unknown): boolean {
  return (
    error instanceof errors.JWKSTimeout ||
    error instanceof errors.JWKSInvalid ||
    (error instanceof errors.JOSEError && error.code === 'ERR_JOSE_GENERIC')
  );
}

function isOfTheToken(error: unknown): boolean {
  return error instanceof errors.JOSEError && !isOfTheProvider(error);
}

/** Never the token's own text. */
function reasonOf(error: errors.JOSEError): string {
  if (error instanceof errors.JWTExpired) return 'the token has expired';
  if (error instanceof errors.JWTClaimValidationFailed)
    return `its claim ${printable(error.claim)} is not accepted here`;
  if (error instanceof errors.JOSEAlgNotAllowed) return 'its algorithm is not accepted here';
  return 'its signature cannot be verified';
}

function claim(payload: JWTPayload, path: string): unknown {
  if (Object.hasOwn(payload, path)) return payload[path];
  let at: unknown = payload;
  for (const key of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<string, unknown>)[key];
  }
  return at;
}

function texts(value: unknown, max: number): string[] {
  const list = Array.isArray(value) ? value.slice(0, max) : [value];
  return list.filter((entry): entry is string => typeof entry === 'string');
}

function printable(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '')
    .trim()
    .slice(0, nameLengthMax);
}
