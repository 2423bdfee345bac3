// list: every VM of the host, in one look, with its state. It needs no jobs key and changes nothing.
import { z } from 'zod';
import { procedures } from '../../libvirt/procedures.js';
import { bounded, readTimeoutMs } from '../bounds.js';
import { onlyReads } from '../only-reads.js';
import type { Facts, Operation } from '../operation.js';
import { stateWords } from '../vm.js';

const Params = z.strictObject({});
type Params = z.infer<typeof Params>;

type ListedVm = {
  name: string;
  uuid: string;
  /** Only while it runs. */
  id?: number;
  state: string;
  reason: string;
  vcpus?: number;
  memoryBytes?: number;
};

type ListFacts = Facts & { vms: ListedVm[] };

export const operation: Operation<Params, ListFacts> = {
  name: 'list',
  needsVm: false,
  params: Params,

  async read(ctx) {
    const client = ctx.readers.libvirt();
    const options = bounded(ctx, readTimeoutMs);
    const args = { needResults: 1, flags: 0 };
    const [{ domains }, stats] = await Promise.all([
      client.call(procedures.connectListAllDomains, args, options),
      client.domainStats(options),
    ]);
    const byUuid = new Map(stats.map((record) => [record.domain.uuid, record]));
    const vms = domains.map((dom): ListedVm => {
      const { state, vcpu, balloon } = byUuid.get(dom.uuid) ?? { state: {}, vcpu: {}, balloon: {} };
      return {
        name: dom.name,
        uuid: dom.uuid,
        ...(dom.id >= 0 && { id: dom.id }),
        ...stateWords(state.state ?? 0, state.reason ?? 0),
        ...(vcpu.current !== undefined && { vcpus: vcpu.current }),
        ...(balloon.current !== undefined && { memoryBytes: balloon.current * 1024 }),
      };
    });
    vms.sort((a, b) => (a.name < b.name ? -1 : 1));
    return { vm: null, summary: null, vms };
  },

  decide: ({ vms }) => ({ kind: 'unchanged', data: { count: vms.length, vms } }),
  ...onlyReads,
};
