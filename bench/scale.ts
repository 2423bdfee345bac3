// What one process carries: the built service on simulated fleets of several sizes, each with a store of its own, all on this
// machine. Prints tables, what of the bounds held, and writes JSON and CPU profiles. Ends with 1 when a bound did not hold.
//   npm run bench:scale -- --hosts 100,300,1000 --minutes 5 --case all      (--help tells the rest)
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runSize, type SizeFigures } from './scale/cases.js';
import { readOptions, usage } from './scale/options.js';
import { machine } from './scale/proc.js';
import { figuresTable, partsTable, topFunctions } from './scale/report.js';

if (process.argv.includes('--help')) {
  console.log(usage);
  process.exit(0);
}
const options = readOptions(process.argv.slice(2));
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stop.abort());

const sizes: SizeFigures[] = [];
const say = (line: string) =>
  void process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);
await mkdir(options.out, { recursive: true });
try {
  for (const hosts of options.hosts) sizes.push(await runSize(hosts, options, say, stop.signal));
} catch (error) {
  if (!stop.signal.aborted) throw error;
  say('stopped');
  process.exitCode = 130;
}
if (sizes.length > 0) {
  const { cores, cpu, kernel, node } = machine();
  console.log(`${cores} cores (${cpu}), Linux ${kernel}, Node ${node}\n`);
  console.log(`${figuresTable(sizes)}\n`);
  if (sizes.some(({ profile }) => profile)) console.log(`${partsTable(sizes)}\n`);
  if (!options.markdown) for (const size of sizes) if (size.profile) console.log(`${topFunctions(size)}\n`);
  const file = join(options.out, 'scale.json');
  await writeFile(
    file,
    `${JSON.stringify({ machine: machine(), options: { ...options, cases: [...options.cases] }, sizes }, plain, 2)}\n`,
  );
  say(`figures: ${file}`);
}

function plain(_: string, value: unknown): unknown {
  return value instanceof Map ? Object.fromEntries(value) : value;
}
