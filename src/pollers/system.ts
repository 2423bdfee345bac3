// Polls a host's own figures from /proc and /sys, with the collectors that the inventory wants. A file that the kernel does not
// have is an absent part of the sample, never a zero; what cannot be read is a problem in it, and the rest still counts. It
// refuses to touch network and FUSE filesystems: a server that went away would hang the host's one SFTP process, and every poll
// behind it.
import { setMaxListeners } from 'node:events';
import type { Figures } from '../core/figures.js';
import { type CollectorName, collectorNames } from '../inventory/collectors.js';
import type { CollectorRun, Kernel, SystemFigures } from './collect.js';
import { collectors } from './collectors.js';
import { PartReader, PollReads } from './part-reader.js';
import type { HostFiles, PollContext, Poller } from './poller.js';
import { Problems } from './problems.js';
import type { KernelStat } from './proc/stat.js';
import { Rare } from './rare.js';

export type SystemSample = Partial<Omit<SystemFigures, 'cpus' | 'counts'>> & {
  /** Wall milliseconds when the sample was complete. */
  takenAtMs: number;
  stat?: KernelStat;
  pressure: SystemFigures['pressure'];
  netstat: Figures;
  sockstat: Figures;
  kernel: Kernel;
  collectors?: CollectorRun[];
  /** What could not be read or understood, for people. */
  problems: string[];
  /** For the next poll. */
  rare?: Rare;
};

const pollTimeoutMs = 12_000;

/** Last and alone: the one request that may hang must not have others waiting behind it. */
const last: CollectorName = 'filesystem';

/**
 * Of a connection, which the host cannot outlive: its boot is asked for once. What a poll that failed has read stays, so that a host
 * that is too slow for its first poll is ready for the next.
 */
const ofConnection = new WeakMap<HostFiles, Rare>();

export const systemPoller: Poller<SystemSample> = {
  name: 'system',
  part: 'files',
  judgesPart: true,
  followsEvents: false,
  intervalMs: ({ poll }) => poll.intervalMs,
  timeoutMs: pollTimeoutMs,
  async poll(readers, context) {
    const { clock, host, signal, previous } = context;
    // Without Node's warning of a leak: each of some hundred reads may listen to it.
    setMaxListeners(0, signal);
    const problems = new Problems();
    const reads = new PollReads(readers.files(), problems, signal);
    const rare = await rareOf(reads, previous?.rare);
    rare.begin({ clock, everyMs: host.poll.detailsMs });
    // What a collector waits for begins here.
    const startedMs = clock.monotonicMs();
    await reads.ahead(rare.often);
    const wanted = host.poll.collectors ?? collectorNames;
    const first = wanted.filter((name) => name !== last);
    const parts = await Promise.all(first.map((name) => run(name, reads, rare, context, startedMs)));
    if (wanted.includes(last)) parts.push(await run(last, reads, rare, context, startedMs));
    rare.end(reads.wanted());
    const { cpus, counts, ...figures } = merged(parts.map(({ figures }) => figures));
    return {
      pressure: {},
      netstat: {},
      sockstat: {},
      kernel: {},
      ...figures,
      ...((cpus || counts) && { stat: { cpus: cpus ?? [], ...counts } }),
      takenAtMs: clock.wallMs(),
      collectors: parts.map(({ collector, ok, durationMs }) => ({ collector, ok, durationMs })),
      problems: problems.list,
      rare,
    };
  },
};

async function rareOf(reads: PollReads, before: Rare | undefined): Promise<Rare> {
  const known = ofConnection.get(reads.files);
  if (known) return known;
  const bootId = await new PartReader(reads).attribute('/proc/sys/kernel/random/boot_id');
  const rare = before && before.bootId === bootId ? before : new Rare(bootId);
  ofConnection.set(reads.files, rare);
  return rare;
}

async function run(
  collector: CollectorName,
  reads: PollReads,
  rare: Rare,
  poll: PollContext,
  startedMs: number,
) {
  const reader = new PartReader(reads);
  const figures = await collectors[collector]({ reader, rare, reads, poll });
  const durationMs = poll.clock.monotonicMs() - startedMs;
  return { collector, ok: figures !== undefined && !reader.troubled, durationMs, figures };
}

function merged(parts: readonly (Partial<SystemFigures> | undefined)[]): Partial<SystemFigures> {
  return Object.assign({}, ...parts);
}
