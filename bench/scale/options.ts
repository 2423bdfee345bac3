// What the scale benchmark is asked for on its command line. It refuses what it does not know.
import { parseArgs } from 'node:util';

export const caseNames = ['steady', 'cold', 'jobs', 'half-dead', 'all-back'] as const;
export type CaseName = (typeof caseNames)[number];

export type ScaleOptions = {
  hosts: readonly number[];
  vms: number;
  /** Of the steady window. */
  windowMs: number;
  intervalMs: number;
  /** Each host's page is asked for once in so long; 0: never. */
  scrapeMs: number;
  cases: ReadonlySet<CaseName>;
  /** How often each size is run. */
  runs: number;
  markdown: boolean;
  /** Results and CPU profiles go here. */
  out: string;
};

export const usage = `npm run bench:scale -- [options]
  --hosts 100,300,1000,3000   sizes of the simulated fleet, one after another
  --vms 50                    of each host
  --minutes 5                 of the steady window
  --interval 15               seconds between polls
  --scrape 60                 seconds in which each host's page is asked for once, 60 as Prometheus does by itself; 0: never
  --case all                  ${caseNames.join(', ')} or all; several with commas
  --runs 1                    all sizes so often: figures are medians then, with the least and the most
  --markdown                  tables alone, for docs/performance.md
  --out bench/results         folder for JSON and CPU profiles`;

/** Throws TypeError with what is wrong. */
export function readOptions(args: readonly string[]): ScaleOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      hosts: { type: 'string', default: '100,300,1000,3000' },
      vms: { type: 'string', default: '50' },
      minutes: { type: 'string', default: '5' },
      interval: { type: 'string', default: '15' },
      scrape: { type: 'string', default: '60' },
      case: { type: 'string', default: 'all' },
      runs: { type: 'string', default: '1' },
      markdown: { type: 'boolean', default: false },
      out: { type: 'string', default: 'bench/results' },
    },
  });
  const intervalS = number('--interval', values.interval, 1, 3600);
  return {
    hosts: values.hosts.split(',').map((text) => number('--hosts', text, 1, 10_000)),
    vms: number('--vms', values.vms, 1, 1_000),
    windowMs: number('--minutes', values.minutes, 0.1, 600) * 60_000,
    intervalMs: intervalS * 1000,
    scrapeMs: number('--scrape', values.scrape, 0, 3600) * 1000,
    cases: casesOf(values.case),
    runs: number('--runs', values.runs, 1, 100),
    markdown: values.markdown,
    out: values.out,
  };
}

function casesOf(text: string): ReadonlySet<CaseName> {
  const names = text.split(',').flatMap((name) => (name === 'all' ? caseNames : [name as CaseName]));
  const unknown = names.find((name) => !caseNames.includes(name));
  if (unknown !== undefined)
    throw new TypeError(`--case: ${unknown} is none of ${caseNames.join(', ')}, all`);
  return new Set(names);
}

function number(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= min && value <= max) return value;
  throw new TypeError(`${name}: ${text} is not a number from ${min} to ${max}`);
}
