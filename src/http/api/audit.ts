// The audit log over HTTP, the newest line first. Viewers may not read it: it tells who did what. It shows a confined caller only
// what is about its hosts, and refuses to judge whether the log is whole.
import { z } from 'zod';
import type { AuditLine } from '../../audit/line.js';
import { masked } from '../mask.js';
import { type ApiApp, type ApiDeps, maySee, principalOf } from './context.js';
import { ok, problems } from './docs.js';
import { cursorParam, decodeCursor, encodeCursor, limitParam, linkNext } from './paging.js';
import { AuditEntry, pageOf } from './schemas.js';

export const auditLimitMax = 500;
const textLengthMax = 255;

const AuditPage = pageOf(AuditEntry, 'AuditPage');
const AuditFilter = z.strictObject({
  limit: limitParam(auditLimitMax),
  cursor: cursorParam,
  host: z.string().min(1).max(textLengthMax).optional(),
  requestedBy: z.string().min(1).max(textLengthMax).optional(),
  op: z.string().min(1).max(textLengthMax).optional(),
  kind: z.string().min(1).max(textLengthMax).optional(),
  requestId: z.string().min(1).max(textLengthMax).optional(),
});
const Place = z.tuple([z.number().int().nonnegative(), z.number().int().nonnegative()]);

export function addAudit(app: ApiApp, deps: ApiDeps): void {
  app.get(
    '/audit',
    {
      config: { need: 'operate' },
      schema: {
        tags: ['record'],
        summary: 'The audit log, the newest entry first',
        description:
          'For operators and admins. Looks at 16 MiB of the log at most for one page: with a filter that few pass, a page may be short, or empty, and still have a `next`.',
        querystring: AuditFilter,
        response: { 200: ok(AuditPage, 'A page of entries'), ...problems('busy') },
      },
    },
    async (request, reply) => {
      const { limit, cursor, ...filter } = request.query;
      const place = decodeCursor(cursor, Place);
      const principal = principalOf(request);
      const { lines, next } = await deps.audit({
        limit,
        ...(place && { before: { file: place[0], offset: place[1] } }),
        matches: ({ fields }) =>
          Object.entries(filter).every(([name, wanted]) => wanted === undefined || fields[name] === wanted) &&
          maySee(deps, principal, textOf(fields.host) || undefined),
      });
      const nextCursor = next && encodeCursor([next.file, next.offset]);
      linkNext(request, reply, nextCursor);
      return reply.send({ items: lines.map(entryOf), ...(nextCursor && { next: nextCursor }) });
    },
  );
}

const texts = ['requestId', 'op', 'act', 'host', 'requestedBy', 'reason', 'outcome', 'error'] as const;

function entryOf({ seq, at, kind, hash, fields }: AuditLine): AuditEntry {
  const entry: AuditEntry = { seq, at, kind, hash };
  for (const name of texts) {
    const text = textOf(fields[name]);
    if (text !== undefined) entry[name] = text;
  }
  const vm = vmOf(fields.vm);
  if (vm) entry.vm = vm;
  if (fields.before !== undefined) entry.before = masked(fields.before);
  if (fields.after !== undefined) entry.after = masked(fields.after);
  return entry;
}

function vmOf(value: unknown): AuditEntry['vm'] {
  const { name, uuid } = (value ?? {}) as Record<string, unknown>;
  return typeof name === 'string' && typeof uuid === 'string' ? { name, uuid } : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
