// The tables, and what of the bounds held. It only prints what was measured: a bound without its figures is "not measured".
import type { Costs, Ground, Memory, Names } from './measure.js';

export type Result = {
  machine: Record<string, string>;
  lab?: Ground;
  sim?: Ground;
  memory: { [K in Names]?: Memory };
};

export type Verdict = { bound: string; figure: number | undefined; most: number; held: boolean | undefined };

const titles: Record<Names, string> = {
  ours: 'Outrigger',
  go: 'go-libvirt + x/crypto/ssh',
  c: 'libvirt C library, qemu+ssh',
};
const memoryBytesMax = 200_000;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const [low = Number.NaN, high = Number.NaN] = [
    sorted[sorted.length % 2 ? middle : middle - 1],
    sorted[middle],
  ];
  return (low + high) / 2;
}

function spread(values: readonly number[], digits = 2): string {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return `${median(values).toFixed(digits)} (${low.toFixed(digits)}–${high.toFixed(digits)})`;
}

export function groundTable(title: string, { domains, fields, costs }: Ground): string {
  const rows = Object.entries(costs).map(([name, { connect, poll, cycle }]) =>
    [titles[name as Names], spread(connect), spread(poll), spread(cycle)].join(' | '),
  );
  return [
    `${title}: ${domains} VMs, ${fields} fields a poll; CPU ms, median (least–most) of ${costs.ours?.poll.length} rounds`,
    '',
    '| client | connect | poll | connect, poll, close |',
    '|---|---|---|---|',
    ...rows.map((row) => `| ${row} |`),
    ...Object.keys(costs).flatMap((name) => (name === 'ours' ? [] : [ratioRow(name as Names, costs)])),
  ].join('\n');
}

function ratioRow(name: Names, costs: Ground['costs']): string {
  const ratio = (part: keyof Costs) => quotient(costs, part, 'ours', name, part)?.toFixed(2) ?? '';
  return `| Outrigger / ${titles[name]} | ${ratio('connect')} | ${ratio('poll')} | ${ratio('cycle')} |`;
}

export function memoryTable(memory: Result['memory']): string {
  const rows = Object.entries(memory).map(([name, { resident, heap }]) => {
    const kb = (values: number[]) =>
      values.length
        ? spread(
            values.map((bytes) => bytes / 1000),
            0,
          )
        : '–';
    return `| ${titles[name as Names]} | ${kb(resident)} | ${kb(heap)} |`;
  });
  return [
    'KB for each further host of 50 VMs, connected, polled, last sample kept',
    '',
    '| client | resident | heap and buffers |',
    '|---|---|---|',
    ...rows,
  ].join('\n');
}

function quotient(
  costs: Ground['costs'] | undefined,
  part: keyof Costs,
  a: Names,
  b: Names,
  partOfB: keyof Costs,
): number | undefined {
  const [first, second] = [costs?.[a]?.[part], costs?.[b]?.[partOfB]];
  return first && second ? median(first) / median(second) : undefined;
}

export function judge({ lab, memory }: Result): Verdict[] {
  const { costs } = lab ?? {};
  const bounds: [string, number | undefined, number][] = [
    ['poll, of go-libvirt’s', quotient(costs, 'poll', 'ours', 'go', 'poll'), 0.5],
    ['poll, of the C library’s connecting for each', quotient(costs, 'poll', 'ours', 'c', 'cycle'), 0.2],
    ['poll, of the C library’s persistent', quotient(costs, 'poll', 'ours', 'c', 'poll'), 1],
    ['connect, of the C library’s', quotient(costs, 'connect', 'ours', 'c', 'connect'), 0.12],
    ['connect, of Go’s', quotient(costs, 'connect', 'ours', 'go', 'connect'), 2.5],
    ['bytes a host, resident', memory.ours && median(memory.ours.resident), memoryBytesMax],
  ];
  return bounds.map(([bound, figure, most]) => ({
    bound,
    figure,
    most,
    held: figure === undefined ? undefined : figure <= most,
  }));
}

export function verdictTable(verdicts: readonly Verdict[]): string {
  const number = (value: number) => (value > 1_000 ? value.toFixed(0) : value.toFixed(2));
  return [
    '| bound | at most | is | |',
    '|---|---|---|---|',
    ...verdicts.map(({ bound, figure, most, held }) => {
      const word = held === undefined ? 'not measured' : held ? 'held' : 'NOT HELD';
      return `| ${bound} | ${number(most)} | ${figure === undefined ? '–' : number(figure)} | ${word} |`;
    }),
  ].join('\n');
}
