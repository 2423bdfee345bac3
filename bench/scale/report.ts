// The figures as tables: a row for a figure, a column for a size.
import type { SizeFigures } from './cases.js';

const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(0)} MiB`;
const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
const millis = (ms: number) => `${ms.toFixed(1)} ms`;

type Row = readonly [what: string, figure: (size: SizeFigures) => string | undefined];

const rows: readonly Row[] = [
  ['cold start until all are fresh', ({ coldMs }) => (coldMs === undefined ? 'never' : seconds(coldMs))],
  ['freshness p50', ({ steady }) => steady && seconds(steady.freshness.all.p50)],
  ['freshness p99', ({ steady }) => steady && seconds(steady.freshness.all.p99)],
  ['freshness max', ({ steady }) => steady && seconds(steady.freshness.all.max)],
  ['samples of VMs and of hosts', ({ steady }) => steady && String(steady.freshness.all.count)],
  ['collector CPU, of a core', ({ steady }) => steady && percent(steady.cpu.service)],
  [
    'CPU a host and round',
    ({ steady, hosts }) => steady && `${((steady.cpu.service * 15_000) / hosts).toFixed(2)} ms`,
  ],
  ['collector RSS, most', ({ steady }) => steady && mib(steady.residentBytes.service)],
  ['event-loop delay p50', ({ steady }) => steady && millis(steady.loop.p50Ms)],
  ['event-loop delay p99', ({ steady }) => steady && millis(steady.loop.p99Ms)],
  ['event-loop delay max', ({ steady }) => steady && millis(steady.loop.maxMs)],
  ['store CPU, of a core', ({ steady }) => steady && percent(steady.cpu.store)],
  ['store RSS, most', ({ steady }) => steady && mib(steady.residentBytes.store)],
  ['page of a host p50', ({ steady }) => steady && millis(steady.hostPage.ms.p50)],
  ['page of a host p99', ({ steady }) => steady && millis(steady.hostPage.ms.p99)],
  ['page of the fleet', ({ fleetPage }) => fleetPage && `${seconds(fleetPage.ms)}, ${mib(fleetPage.bytes)}`],
  ['simulated fleet CPU, of a core', ({ steady }) => steady && percent(steady.cpu.sim)],
  ['others on the machine, of a core', ({ steady }) => steady && percent(steady.cpu.others)],
];

export function figuresTable(sizes: readonly SizeFigures[]): string {
  const body = rows
    .map(([what, figure]) => [what, ...sizes.map((size) => figure(size))])
    .filter(([, ...figures]) => figures.some((text) => text !== undefined));
  return table(['', ...sizes.map(({ hosts }) => `${hosts.toLocaleString('en')} hosts`)], body);
}

export function partsTable(sizes: readonly SizeFigures[]): string {
  const names = [...new Set(sizes.flatMap(({ profile }) => [...(profile?.parts.keys() ?? [])]))];
  const row = (what: string, figure: (size: SizeFigures) => number | undefined) => [
    what,
    ...sizes.map((size) => {
      const share = figure(size);
      return share === undefined ? undefined : percent(share);
    }),
  ];
  return table(
    ['CPU by part, of a core', ...sizes.map(({ hosts }) => `${hosts.toLocaleString('en')} hosts`)],
    [
      ...names.map((name) => row(name, ({ profile }) => profile?.parts.get(name))),
      row('other threads', ({ profile }) => profile?.otherThreads),
      row('all, while profiled', ({ profile }) => profile?.coreShare),
    ],
  );
}

export function topFunctions({ profile, hosts }: SizeFigures): string {
  const lines = (profile?.top ?? []).map(
    ({ what, ms, part }) => `  ${percent(ms / 1000).padStart(7)}  ${part.padEnd(26)} ${what}`,
  );
  return [`Self time, ${hosts} hosts (${profile?.file}):`, ...lines].join('\n');
}

/** Markdown that a terminal shows as well. */
function table(head: readonly string[], body: readonly (readonly (string | undefined)[])[]): string {
  const cells = [head, ...body].map((row) => row.map((text) => text ?? '–'));
  const widths = head.map((_, column) => Math.max(3, ...cells.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `| ${row.map((text, column) => (column === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, column) => (column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  const [first = [], ...rest] = cells;
  return [line(first), rule, ...rest.map(line)].join('\n');
}
