// Routes about hosts. It reads the view of the fleet and refuses to show a host that the caller is confined away from.
import { z } from 'zod';
import { sessionStates } from '../../fleet/session.js';
import { type ApiApp, type ApiDeps, gateOf, hostUnknown } from './context.js';
import { notModified, ok, problems } from './docs.js';
import {
  cursorParam,
  decodeCursor,
  encodeCursor,
  hasLabels,
  isKnown,
  labelParam,
  limitParam,
  linkNext,
  searchParam,
} from './paging.js';
import { Host, pageOf } from './schemas.js';
import { listVms, VmPage, VmQuery } from './vms.js';

export const hostLimitMax = 1_000;
export const nameLengthMax = 255;

const HostPage = pageOf(Host, 'HostPage');
const HostQuery = z.strictObject({
  limit: limitParam(hostLimitMax),
  cursor: cursorParam,
  state: z.enum(sessionStates).optional(),
  label: labelParam,
  q: searchParam.describe('Text in the name, the address, a group or a label'),
});
export const HostParams = z.object({ name: z.string().min(1).max(nameLengthMax) });

const HostCursor = z.tuple([z.string()]);

export function addHosts(app: ApiApp, deps: ApiDeps): void {
  const { view } = deps;

  app.get(
    '/hosts',
    {
      config: { need: 'read' },
      schema: {
        tags: ['fleet'],
        summary: 'Hosts, by name',
        querystring: HostQuery,
        response: {
          200: ok(HostPage, 'A page of hosts'),
          304: notModified,
          ...problems(),
        },
      },
    },
    async (request, reply) => {
      const { limit, cursor, state, label, q } = request.query;
      const after = decodeCursor(cursor, HostCursor)?.[0];
      const found = view.sessions(gateOf(request)).filter(({ host, status }) => {
        if (state && status.state !== state) return false;
        if (!hasLabels(host.labels, label)) return false;
        return !q || contains([host.name, host.address, ...host.groups, ...Object.values(host.labels)], q);
      });
      const rest = after === undefined ? found : found.filter(({ host }) => host.name > after);
      const page = rest.slice(0, limit);
      const last = page.at(-1);
      const next = last && rest.length > page.length ? encodeCursor([last.host.name]) : undefined;
      if (isKnown(request, reply, [String(found.length), ...page.map((one) => view.version(one))])) {
        return reply.code(304).send();
      }
      linkNext(request, reply, next);
      const items = page.map((session) => view.view(session));
      return reply.send({ items, ...(next && { next }), total: found.length });
    },
  );

  app.get(
    '/hosts/:name',
    {
      config: { need: 'read' },
      schema: {
        tags: ['fleet'],
        summary: 'One host',
        params: HostParams,
        response: { 200: ok(Host, 'The host'), ...problems('host-unknown') },
      },
    },
    async (request) => {
      const { name } = request.params;
      const may = gateOf(request);
      const host = view.host(name, may);
      if (!host) throw hostUnknown(deps, name, may);
      return host;
    },
  );

  app.get(
    '/hosts/:name/vms',
    {
      config: { need: 'read' },
      schema: {
        tags: ['fleet'],
        summary: 'The VMs of one host, by name',
        params: HostParams,
        querystring: VmQuery.omit({ host: true, label: true }),
        response: {
          200: ok(VmPage, 'A page of VMs'),
          304: notModified,
          ...problems('host-unknown'),
        },
      },
    },
    async (request, reply) => listVms(deps, request, reply, { ...request.query, host: request.params.name }),
  );
}

export function contains(texts: readonly string[], q: string): boolean {
  const wanted = q.toLowerCase();
  return texts.some((text) => text.toLowerCase().includes(wanted));
}
