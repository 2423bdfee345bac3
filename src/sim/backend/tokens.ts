// The tokens of the sample backend: access tokens are JWTs that carry the agent's id and live for minutes; refresh tokens
// are random, kept here, and good for one use. Whoever holds the bootstrap token may register.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { jwtVerify, SignJWT } from 'jose';
import type { Tokens } from '../../backend/api.js';

const issuer = 'outrigger-sample-backend';
const audience = 'outrigger';
const lifeSecondsDefault = 900;

export class TokenDesk {
  /** A new one for each run: tokens of an earlier run are refused, and every agent registers again. */
  #key = randomBytes(32);
  readonly #refresh = new Map<string, string>();
  readonly #bootstrap: string;
  #lifeSeconds: number;

  constructor(bootstrap: string, lifeSeconds = lifeSecondsDefault) {
    this.#bootstrap = bootstrap;
    this.#lifeSeconds = lifeSeconds;
  }

  /** Of the tokens that are made from now on. */
  set lifeSeconds(seconds: number) {
    this.#lifeSeconds = seconds;
  }

  mayRegister(token: string | undefined): boolean {
    return token !== undefined && timingSafeEqual(digest(token), digest(this.#bootstrap));
  }

  async issue(agentId: string): Promise<Tokens & { refresh_token: string }> {
    const access_token = await new SignJWT({})
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject(agentId)
      .setIssuer(issuer)
      .setAudience(audience)
      .setIssuedAt()
      .setJti(randomBytes(8).toString('hex'))
      .setExpirationTime(`${this.#lifeSeconds} seconds`)
      .sign(this.#key);
    const refresh_token = randomBytes(32).toString('base64url');
    this.#refresh.set(refresh_token, agentId);
    return { agent_id: agentId, access_token, expires_in: this.#lifeSeconds, refresh_token };
  }

  /** The agent whose refresh token this was; it is used up. */
  redeem(refreshToken: string): string | undefined {
    const agentId = this.#refresh.get(refreshToken);
    this.#refresh.delete(refreshToken);
    return agentId;
  }

  revokeRefreshTokens(): void {
    this.#refresh.clear();
  }

  revokeAccessTokens(): void {
    this.#key = randomBytes(32);
  }

  /** The agent that a good access token stands for. */
  async agentOf(accessToken: string | undefined): Promise<string | undefined> {
    if (accessToken === undefined) return undefined;
    try {
      const options = { issuer, audience, algorithms: ['HS256'] };
      return (await jwtVerify(accessToken, this.#key, options)).payload.sub;
    } catch {
      return undefined;
    }
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
