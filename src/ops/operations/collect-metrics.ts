// collect_metrics: polls the host now, as the schedule would, and answers with the samples. The pages that Prometheus reads get
// them too. A poller that fails is named with its reason; the job fails when none succeeds.
import { z } from 'zod';
import { describe } from '../../core/errors.js';
import { asJobError } from '../failure.js';
import { onlyReads } from '../only-reads.js';
import type { Facts, Operation } from '../operation.js';

const pollers = ['vms', 'system'] as const;

const Params = z.strictObject({
  pollers: z
    .array(z.enum(pollers))
    .min(1)
    .max(2)
    .default([...pollers]),
});
type Params = z.infer<typeof Params>;

type CollectFacts = Facts & { samples: Record<string, unknown>; problems: Record<string, string> };

export const operation: Operation<Params, CollectFacts> = {
  name: 'collect_metrics',
  needsVm: false,
  params: Params,

  async read(ctx) {
    const asked = [...new Set(ctx.params.pollers)];
    const ends = await Promise.allSettled(asked.map((poller) => ctx.readers.pollNow(poller, ctx.signal)));
    ctx.signal.throwIfAborted();
    const samples: Record<string, unknown> = {};
    const problems: Record<string, string> = {};
    for (const [index, end] of ends.entries()) {
      const poller = asked[index] ?? '';
      // Of properties of its own, as it will be sent: a VM's records are views (libvirt/stats-record.ts).
      if (end.status === 'fulfilled') samples[poller] = JSON.parse(JSON.stringify(end.value));
      else problems[poller] = describe(end.reason);
    }
    const [first] = ends;
    if (Object.keys(samples).length === 0 && first?.status === 'rejected') throw asJobError(first.reason);
    return { vm: null, summary: null, samples, problems };
  },

  decide: ({ samples, problems }) => ({ kind: 'unchanged', data: { ...samples, problems } }),
  ...onlyReads,
};
