// What the guard adds to fastify's types: who asks, and what a route asks for. It holds no code that runs.
import type { Principal } from './principal.js';
import type { Need } from './roles.js';
import type { Session } from './sessions.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set on every route that needs something; undefined where the need is `none`. */
    principal: Principal | undefined;
    /** Set when the caller came with the cookie of the pages. */
    session: Session | undefined;
    /** Why the guard refused, for the audit log. */
    refusal: string | undefined;
  }
  interface FastifyContextConfig {
    /** What the route asks for. A route without it stops the start. */
    need?: Need;
    /** For people: who is not signed in is sent to the login page instead of getting a problem. */
    page?: boolean;
    /** How a write that came with a cookie proves that our own page sent it. Default: `token`. */
    csrf?: 'token' | 'origin';
    /** Which content security policy the answer has. Default: `strict`. */
    csp?: 'strict' | 'queues' | 'docs';
  }
}
