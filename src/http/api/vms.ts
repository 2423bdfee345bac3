// Routes about VMs of the whole fleet: found by name, UUID, host, label and state. It looks at what the newest polls brought and
// refuses to ask a host while somebody waits.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { domainStates } from '../../libvirt/procedures.js';
import { HttpProblem } from '../problem.js';
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
import { pageOf, Vm } from './schemas.js';
import { compare, type VmRef } from './views.js';
import { vmState, vmView } from './vm-view.js';

export const vmLimitMax = 1_000;
const nameLengthMax = 255;

export const VmPage = pageOf(Vm, 'VmPage');
export const VmQuery = z.strictObject({
  limit: limitParam(vmLimitMax),
  cursor: cursorParam,
  host: z.string().min(1).max(nameLengthMax).optional().describe('Name of a host'),
  state: z.enum([...domainStates, 'unknown']).optional(),
  label: labelParam.describe('A label of the host'),
  q: searchParam.describe("Text in the VM's name, its UUID or its host's name"),
});
type VmQuery = z.infer<typeof VmQuery>;

const VmParams = z.object({
  name: z.string().min(1).max(nameLengthMax).describe('Name of the host'),
  vm: z.string().min(1).max(nameLengthMax).describe('UUID or name of the VM'),
});

const VmCursor = z.tuple([z.string(), z.string(), z.string()]);
type Place = z.infer<typeof VmCursor>;

export function addVms(app: ApiApp, deps: ApiDeps): void {
  app.get(
    '/vms',
    {
      config: { need: 'read' },
      schema: {
        tags: ['fleet'],
        summary: 'VMs of all hosts, by host and name',
        querystring: VmQuery,
        response: {
          200: ok(VmPage, 'A page of VMs'),
          304: notModified,
          ...problems('host-unknown'),
        },
      },
    },
    async (request, reply) => listVms(deps, request, reply, request.query),
  );

  app.get(
    '/hosts/:name/vms/:vm',
    {
      config: { need: 'read' },
      schema: {
        tags: ['fleet'],
        summary: 'One VM',
        params: VmParams,
        response: { 200: ok(Vm, 'The VM'), ...problems('host-unknown', 'vm-unknown') },
      },
    },
    async (request) => {
      const { name, vm } = request.params;
      const may = gateOf(request);
      const found = deps.view.vm(name, vm, may);
      if (found) return found;
      if (!deps.view.host(name, may)) throw hostUnknown(deps, name, may);
      throw new HttpProblem('vm-unknown', `${name} has no VM ${JSON.stringify(vm)}`);
    },
  );
}

export function listVms(
  deps: ApiDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  query: Omit<VmQuery, 'label'> & Partial<Pick<VmQuery, 'label'>>,
): FastifyReply {
  const { limit, cursor, host, state, label, q } = query;
  const { view } = deps;
  const may = gateOf(request);
  if (host !== undefined && !view.host(host, may)) throw hostUnknown(deps, host, may);
  const after = decodeCursor(cursor, VmCursor);
  const page: VmRef[] = [];
  const wanted = q?.toLowerCase();
  let total = 0;
  let more = false;
  for (const ref of view.vmRefs((one) => may(one) && hasLabels(one.labels, label), host)) {
    if (state && vmState(ref.sample) !== state) continue;
    if (wanted && !isFound(ref, wanted)) continue;
    total++;
    if (after && comparePlaces(placeOf(ref), after) <= 0) continue;
    if (page.length < limit) page.push(ref);
    else more = true;
  }
  const last = page.at(-1);
  const next = last && more ? encodeCursor(placeOf(last)) : undefined;
  if (isKnown(request, reply, versions(deps, page, total))) return reply.code(304).send();
  linkNext(request, reply, next);
  return reply.send({ items: page.map(vmView), ...(next && { next }), total });
}

function isFound({ host, sample: { domain } }: VmRef, wanted: string): boolean {
  return (
    domain.name.toLowerCase().includes(wanted) ||
    domain.uuid.includes(wanted) ||
    host.name.toLowerCase().includes(wanted)
  );
}

/** A page changes when a host on it does, or when it has others. */
function* versions({ view }: ApiDeps, page: readonly VmRef[], total: number): Generator<string> {
  yield String(total);
  for (const name of new Set(page.map(({ host }) => host.name))) {
    const session = view.find(name);
    if (session) yield view.version(session);
  }
  for (const { sample } of page) yield sample.domain.uuid;
}

function placeOf({ host, sample: { domain } }: VmRef): Place {
  return [host.name, domain.name, domain.uuid];
}

function comparePlaces(a: Place, b: Place): number {
  return compare(a[0], b[0]) || compare(a[1], b[1]) || compare(a[2], b[2]);
}
