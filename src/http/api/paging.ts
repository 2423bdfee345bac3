// What all lists share: limits, cursors, the Link to the next page, and ETags. A cursor is the place of the last item, so that
// a page stays the same when items come and go before it. It refuses cursors that it did not make.
import { createHash, randomBytes } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { HttpProblem } from '../problem.js';

export const pageLimitDefault = 100;
export const cursorLengthMax = 1_000;
export const searchLengthMax = 200;
const labelsMax = 16;

/** What an ETag begins with: another process counts its versions anew. */
const boot = randomBytes(6).toString('base64url');

export function limitParam(max: number) {
  return z.coerce
    .number()
    .int()
    .min(1)
    .max(max)
    .default(Math.min(pageLimitDefault, max))
    .describe('Items a page')
    .meta({ examples: [max] });
}

export const cursorParam = z.string().max(cursorLengthMax).optional().describe('`next` of the page before');

export const searchParam = z
  .string()
  .max(searchLengthMax)
  .optional()
  .describe('Text that is looked for, whatever its case');

const oneLabel = z
  .string()
  .max(searchLengthMax)
  .regex(/^[^=]+=/, 'must be key=value');

/** `label=dc=ams1`, several times: all of them must hold. */
export const labelParam = z
  .union([oneLabel, z.array(oneLabel).max(labelsMax)])
  .optional()
  .describe('key=value; may be repeated, then all must hold')
  .meta({ examples: ['dc=ams1'] });

/** Whether the labels hold all that is asked for. */
export function hasLabels(
  labels: Readonly<Record<string, string>>,
  asked: string | readonly string[] | undefined,
): boolean {
  const wanted = asked === undefined ? [] : typeof asked === 'string' ? [asked] : asked;
  return wanted.every((one) => {
    const at = one.indexOf('=');
    const key = one.slice(0, at);
    return Object.hasOwn(labels, key) && labels[key] === one.slice(at + 1);
  });
}

export function encodeCursor(place: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url');
}

/** Throws the problem `validation`. */
export function decodeCursor<T>(text: string | undefined, schema: z.ZodType<T>): T | undefined {
  if (text === undefined) return undefined;
  let given: unknown;
  try {
    given = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    given = undefined;
  }
  const place = schema.safeParse(given);
  if (place.success) return place.data;
  const message = 'must be `next` of a page of this list';
  throw new HttpProblem('validation', {
    detail: `cursor: ${message}`,
    errors: [{ field: 'query.cursor', message }],
  });
}

/** `Link: <…>; rel="next"`: this request's URL with the cursor of the next page. */
export function linkNext(request: FastifyRequest, reply: FastifyReply, next: string | undefined): void {
  if (next === undefined) return;
  const [path = '', query = ''] = request.url.split('?', 2);
  const params = new URLSearchParams(query);
  params.set('cursor', next);
  reply.header('link', `<${path}?${params}>; rel="next"`);
}

/**
 * Sets a weak ETag from what the answer is made of, and tells whether the caller has it already. Who asks is part of it: two
 * may see different hosts at one URL.
 */
export function isKnown(request: FastifyRequest, reply: FastifyReply, parts: Iterable<string>): boolean {
  const hash = createHash('sha1').update(`${boot} ${request.principal?.name} ${request.url}`);
  for (const part of parts) hash.update(`\0${part}`);
  const tag = `W/"${hash.digest('base64url')}"`;
  reply.header('etag', tag);
  const asked = request.headers['if-none-match'];
  return asked !== undefined && (asked.trim() === '*' || asked.split(',').some((one) => one.trim() === tag));
}
