// What a write that came with a cookie must carry, so that another site cannot send it in the user's name: the session's token in
// a form field or a header. The cookie is SameSite=Strict and the browser's own word on who sent the request is heeded; each of
// the three would do alone. It refuses to guard bearer tokens: a browser never adds those by itself.
import { timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';

export const csrfFieldName = '_csrf';
export const csrfHeaderName = 'x-csrf-token';

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

export function isWrite({ method }: Pick<FastifyRequest, 'method'>): boolean {
  return !safeMethods.has(method);
}

/** The hidden field that every form of a signed-in page needs; undefined without a session. */
export function csrfField(request: FastifyRequest): { name: string; value: string } | undefined {
  return request.session && { name: csrfFieldName, value: request.session.csrf };
}

/** The browser says that another site sent it. */
export function isCrossSite(request: FastifyRequest): boolean {
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined) return site !== 'same-origin' && site !== 'none';
  const { origin } = request.headers;
  return origin !== undefined && !isOwn(origin, request.host);
}

/** The browser says that our own page sent it. */
export function isSameOrigin(request: FastifyRequest): boolean {
  const { 'sec-fetch-site': site, origin } = request.headers;
  return site === undefined ? origin !== undefined && isOwn(origin, request.host) : site === 'same-origin';
}

/** Takes the field out of the body: whoever reads the form next need not know it. */
export function carriesToken(request: FastifyRequest, wanted: string): boolean {
  const header = request.headers[csrfHeaderName];
  if (typeof header === 'string') return same(header, wanted);
  const body = request.body as Record<string, unknown> | null | undefined;
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, csrfFieldName)) return false;
  const field = body[csrfFieldName];
  delete body[csrfFieldName];
  return typeof field === 'string' && same(field, wanted);
}

function isOwn(origin: string, host: string): boolean {
  return URL.canParse(origin) && new URL(origin).host === host.toLowerCase();
}

function same(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
