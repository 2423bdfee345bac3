// What one process carries: the built service on simulated fleets of several sizes, each with a store of its own, all on this
// machine. Prints tables and what of the bounds held; JSON and CPU profiles go beside. Ends with 1 when a bound did not hold, and
// takes everything away that it started, on Ctrl-C too.
//   npm run bench:scale -- --hosts 100,300,1000 --minutes 5 --case all      (--help tells the rest)
import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findStoreBinary } from '../src/queue/store-files.js';
import { judge } from './scale/bounds.js';
import { runSize, type SizeFigures } from './scale/cases.js';
import { ofRuns, type Runs } from './scale/median.js';
import { readOptions, type ScaleOptions, usage } from './scale/options.js';
import { machine } from './scale/proc.js';
import { figuresTable, growthTable, partsTable, topFunctions, verdictTable } from './scale/report.js';

const stoppedExitCode = 130;
/** Of a core: more is said beside the figures. */
const stolenShareMax = 0.05;
const say = (line: string) =>
  void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

async function main(): Promise<number> {
  if (process.argv.includes('--help')) {
    console.log(usage);
    return 0;
  }
  const options = readOptions(process.argv.slice(2));
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());
  await mkdir(options.out, { recursive: true });
  const runs: SizeFigures[] = [];
  try {
    // Size after size in each run, so that a machine that slows down meets all of them.
    for (let run = 1; run <= options.runs; run++)
      for (const hosts of options.hosts) runs.push(await runSize({ hosts, run }, options, say, stop.signal));
  } catch (error) {
    // A size that broke leaves the figures of those before it.
    if (!stop.signal.aborted) say(String(error instanceof Error ? error.stack : error));
    say('stopped: taken down');
    await tell(runs, options);
    return stop.signal.aborted ? stoppedExitCode : 1;
  }
  return (await tell(runs, options)) ? 0 : 1;
}

/** False when a bound did not hold. */
async function tell(runs: readonly SizeFigures[], options: ScaleOptions): Promise<boolean> {
  if (runs.length === 0) return false;
  const bySize = [...new Set(runs.map(({ hosts }) => hosts))].map((hosts) =>
    ofRuns(runs.filter((run) => run.hosts === hosts)),
  );
  const sizes = bySize.map((size) => size.median);
  const versions = { ...machine(), store: await storeVersion(), commit: commit() };
  const verdicts = judge(sizes, options);
  const { vms, intervalMs, windowMs, scrapeMs } = options;
  const scraped = scrapeMs > 0 ? `each host's page scraped every ${scrapeMs / 1000} s` : 'nothing scraped';
  const paragraphs = [
    `${versions.cores} cores (${versions.cpu}), Linux ${versions.kernel}, Node ${versions.node}, ${versions.store}, commit ${versions.commit}; ` +
      `${vms} VMs a host, polled every ${intervalMs / 1000} s, ${scraped}, for ${windowMs / 60_000} minutes${often(bySize)}:`,
    disturbed(runs),
    figuresTable(bySize),
    sizes.filter(({ steady }) => steady).length > 1 && growthTable(sizes, intervalMs),
    sizes.some(({ profile }) => profile) && partsTable(sizes),
    verdicts.length > 0 && verdictTable(verdicts),
    ...(options.markdown ? [] : sizes.map((size) => size.profile && topFunctions(size))),
  ];
  console.log(paragraphs.filter((text) => text).join('\n\n'));
  const file = join(options.out, 'scale.json');
  const told = { versions, options: { ...options, cases: [...options.cases] }, sizes, runs, verdicts };
  await writeFile(file, `${JSON.stringify(told, plain, 2)}\n`);
  say(`figures: ${file}`);
  return verdicts.every(({ held }) => held);
}

function often(bySize: readonly Runs[]): string {
  const counts = [...new Set(bySize.map(({ all }) => all.length))];
  return Math.max(...counts) > 1 ? `, median (least–most) of ${counts.join(' and ')} runs` : '';
}

/** Undefined where the machine was these runs' alone. */
function disturbed(runs: readonly SizeFigures[]): string | undefined {
  const windows = runs.flatMap(({ steady, halfDead }) => [steady, halfDead]);
  const most = Math.max(0, ...windows.map((window) => window?.cpu.stolen ?? 0));
  if (most < stolenShareMax) return undefined;
  return `While this was measured a hypervisor took up to ${(most * 100).toFixed(0)} % of a core away: on a machine of its own the same code does better.`;
}

async function storeVersion(): Promise<string> {
  const text = execFileSync(await findStoreBinary(), ['--version'], { encoding: 'utf8' });
  return text.replace(/^(\w+).*? v=(\S+).*$/s, '$1 $2').trim();
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}

function plain(_: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value;
}

process.exitCode = await main();
