// What must hold, judged by the figures of the same run. The bounds are for fleets of up to 1,000 hosts with 50 VMs, polled every 15 s;
// it refuses to judge others.
import type { SizeFigures } from './cases.js';
import type { ScaleOptions } from './options.js';

export type Verdict = { bound: string; figure: string; held: boolean };

const judgedHostsMax = 1_000;
const judgedVms = 50;
const judgedIntervalMs = 15_000;
const freshSlackMs = 2_000;
const cpuMax = 0.6;
const residentBytesMax = 600e6;
const loopP99MsMax = 50;
const halfDeadFactorMax = 1.1;
const allBackMsMax = 60_000;
const growthMax = 1.15;

export function judge(sizes: readonly SizeFigures[], { vms, intervalMs }: ScaleOptions): Verdict[] {
  if (vms > judgedVms || intervalMs < judgedIntervalMs) return [];
  const judged = sizes.filter(({ hosts }) => hosts <= judgedHostsMax);
  return [...judged.flatMap((size) => judgeSize(size, intervalMs)), ...judgeGrowth(judged)];
}

function judgeSize({ hosts, steady, halfDead, ...size }: SizeFigures, intervalMs: number): Verdict[] {
  const verdicts: Verdict[] = [];
  const add = (bound: string, value: number, max: number, figure: string) =>
    verdicts.push({ bound: `${hosts} hosts: ${bound}`, figure, held: value <= max });
  if (steady) {
    const freshMax = intervalMs + freshSlackMs;
    const { p99 } = steady.freshness.all;
    add(`freshness p99 at most ${freshMax / 1000} s`, p99, freshMax, `${(p99 / 1000).toFixed(2)} s`);
    const cpu = steady.cpu.service;
    add(`collector at most ${cpuMax * 100} % of a core`, cpu, cpuMax, `${(cpu * 100).toFixed(1)} %`);
    const resident = steady.residentBytes.service;
    const megabytes = `${(resident / 1e6).toFixed(0)} MB`;
    add(`collector at most ${residentBytesMax / 1e6} MB`, resident, residentBytesMax, megabytes);
    const { p99Ms } = steady.loop;
    add(`event-loop delay p99 at most ${loopP99MsMax} ms`, p99Ms, loopP99MsMax, `${p99Ms.toFixed(1)} ms`);
  }
  if (steady && halfDead) {
    const factor = halfDead.freshness.all.p99 / steady.freshness.all.p99;
    const figure = `${((factor - 1) * 100).toFixed(1)} %`;
    add('half the fleet dead: healthy hosts’ p99 within 10 % of before', factor, halfDeadFactorMax, figure);
  }
  const { allBackMs } = size;
  if (allBackMs !== undefined) {
    const figure = Number.isFinite(allBackMs) ? `${(allBackMs / 1000).toFixed(1)} s` : 'never';
    add(`all back at once: fresh within ${allBackMsMax / 1000} s`, allBackMs, allBackMsMax, figure);
  }
  return verdicts;
}

/** From the smallest to the largest size; that a host costs less in a larger fleet is no fault. */
function judgeGrowth(sizes: readonly SizeFigures[]): Verdict[] {
  const costs = sizes
    .filter(({ steady }) => steady)
    .sort((a, b) => a.hosts - b.hosts)
    .map(({ hosts, steady }) => ({ hosts, cpu: (steady?.cpu.service ?? 0) / hosts }));
  const [first, last] = [costs.at(0), costs.at(-1)];
  if (!first || !last || first === last) return [];
  const factor = last.cpu / first.cpu;
  return [
    {
      bound: `CPU a host from ${first.hosts} to ${last.hosts} hosts: grows by at most 15 %`,
      figure: `${((factor - 1) * 100).toFixed(1)} %`,
      held: factor <= growthMax,
    },
  ];
}
