// Signing in to the pages with a token, and signing out. The token is checked like a bearer token and then forgotten: the browser
// keeps the id of a session. It refuses to lead to another site afterwards, and to be asked too often.
import type {} from '@fastify/cookie';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Clock } from '../../core/clock.js';
import { problemTypes } from '../problem.js';
import type { AccessAudit } from './access-audit.js';
import { type Authenticator, sessionCookie } from './authenticate.js';
import { isCrossSite } from './csrf.js';
import { FailureWindow } from './failure-window.js';
import { type Sessions, sessionMsMax } from './sessions.js';

const failuresMax = 10;
const failureWindowMs = 300_000;
const formBytesMax = 16 * 1024;
const nextLengthMax = 2_000;

export type LoginView = {
  /** Where to go afterwards: a path of ours. */
  next: string;
  /** What went wrong. */
  message?: string | undefined;
  hint?: string | undefined;
};

export type LoginOptions = {
  authenticator: Authenticator;
  sessions: Sessions;
  audit: AccessAudit;
  clock: Clock;
  /** The page as HTML. */
  render: (view: LoginView, request: FastifyRequest) => string;
};

type Form = { token?: unknown; next?: unknown } | null | undefined;

export function addLogin(app: FastifyInstance, options: LoginOptions): void {
  const { authenticator, sessions, audit, clock, render } = options;
  const failures = new FailureWindow(clock, failuresMax, failureWindowMs);
  const show = (reply: FastifyReply, status: number, view: LoginView) =>
    reply.code(status).type('text/html; charset=utf-8').send(render(view, reply.request));
  const refuse = (request: FastifyRequest, reply: FastifyReply, status: number, view: LoginView) => {
    request.refusal = view.message;
    return show(reply, status, view);
  };
  const open = { need: 'none', page: true } as const;

  app.get('/login', { config: open }, async (request, reply) =>
    show(reply, 200, { next: safeNext((request.query as { next?: unknown }).next) }),
  );

  app.post('/login', { config: open, bodyLimit: formBytesMax }, async (request, reply) => {
    const form = request.body as Form;
    const next = safeNext(form?.next);
    if (isCrossSite(request))
      return refuse(request, reply, 403, { next, message: 'Another site sent this form. Sign in here.' });
    const waitMs = failures.waitMs(request.ip);
    if (waitMs > 0) {
      reply.header('retry-after', Math.ceil(waitMs / 1_000));
      const minutes = Math.ceil(waitMs / 60_000);
      const message = `Too many wrong tokens came from your address. Try again in ${minutes} minutes.`;
      return refuse(request, reply, 429, { next, message });
    }
    const verdict = await authenticator.byToken(typeof form?.token === 'string' ? form.token.trim() : '');
    if ('refusal' in verdict) {
      const { type, detail, hint } = verdict.refusal;
      if (type !== 'identity-provider-away') failures.count(request.ip);
      return refuse(request, reply, problemTypes[type][0], { next, message: sentence(detail), hint });
    }
    const { principal, grant } = verdict;
    if (!grant) throw new Error('a token without a grant');
    await audit.written(
      { actor: principal.name, via: principal.via, address: request.ip, action: 'login' },
      'signed in',
    );
    reply.setCookie(sessionCookie, sessions.create(grant).expose(), {
      ...cookieOf(request),
      maxAge: Math.floor(sessionMsMax / 1_000),
    });
    return reply.redirect(next, 303);
  });

  app.post(
    '/logout',
    { config: { need: 'read', page: true }, bodyLimit: formBytesMax },
    async (request, reply) => {
      const id = request.cookies[sessionCookie];
      if (id) sessions.end(id);
      reply.clearCookie(sessionCookie, cookieOf(request));
      return reply.redirect('/login', 303);
    },
  );
}

function cookieOf(request: FastifyRequest) {
  const secure = request.protocol === 'https';
  return { path: '/', httpOnly: true, sameSite: 'strict', secure } as const;
}

/** A path of ours, or the fleet page. What browsers take for another host (`//x`, `/\x`) is not one. */
export function safeNext(given: unknown): string {
  if (typeof given !== 'string' || given.length > nextLengthMax) return '/';
  if (!/^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/.test(given)) return '/';
  const home = 'http://home.invalid';
  if (!URL.canParse(given, home)) return '/';
  const { origin, pathname, search, hash } = new URL(given, home);
  // Dots may have folded a path into one that begins with two slashes.
  if (origin !== home || pathname.startsWith('//') || /^\/log(in|out)\b/.test(pathname)) return '/';
  return pathname + search + hash;
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
