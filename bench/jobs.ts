// How long a VM job waits between a caller's add and the operation's first libvirt call, in the built service against lab
// hosts: with idle polls and with busy ones. The job's result tells how long the operation itself took; what is left of
// the way from add to end, its last store write included, is counted as waiting, so the figures are upper bounds.
//   npm run build && npx tsx bench/jobs.ts [hosts] [jobs a phase]
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import { type LabHost, raiseLab } from '../lab/lab.js';
import { Service } from '../test/support/outrigger.js';
import { until } from '../test/support/until.js';

const hosts = Number(process.argv[2] ?? 24);
const jobsPerPhase = Number(process.argv[3] ?? 200);
const p50TargetMs = 15;
const p99TargetMs = 60;
const phases = [
  { name: 'idle polls (every 60 s)', pollSeconds: '60' },
  { name: 'busy polls (every 1 s)', pollSeconds: '1' },
];

const vm = 'bench-1';

/** A VM that is defined and never started: its autostart can be switched for ever. */
async function define(host: LabHost): Promise<void> {
  const xml = `<domain type='qemu'><name>${vm}</name><memory>16384</memory><os><type>hvm</type></os></domain>`;
  const made = await host.exec(['sh', '-c', `echo "$0" > /tmp/${vm}.xml`, xml]);
  if (made.code !== 0) throw new Error(`${host.name}: ${made.stderr}`);
  await host.virsh('define', `/tmp/${vm}.xml`);
}

type Sample = { waitedMs: number; tookMs: number };

async function ask(
  client: Redis,
  queue: Queue,
  host: string,
  enabled: boolean,
  requestId: string,
): Promise<Sample> {
  const startMs = performance.now();
  const { id = '' } = await queue.add('set_autostart', { host, vm, params: { enabled }, requestId });
  const key = queue.toKey(id);
  const job = await until(
    `job ${id} to end`,
    async () => ((await client.hexists(key, 'finishedOn')) ? await queue.getJob(id) : undefined),
    { everyMs: 1, timeoutMs: 60_000 },
  );
  const wholeMs = performance.now() - startMs;
  if (job.failedReason) throw new Error(job.failedReason);
  const tookMs = Number(job.returnvalue.durationMs);
  return { waitedMs: Math.max(0, Math.min(wholeMs, (job.finishedOn ?? 0) - job.timestamp) - tookMs), tookMs };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

let missed = 0;

function tell(what: string, values: readonly number[], targets?: { p50: number; p99: number }): void {
  const [p50, p99] = [quantile(values, 0.5), quantile(values, 0.99)];
  const verdict = targets
    ? ` (targets ${targets.p50} and ${targets.p99} ms: ${p50 < targets.p50 && p99 < targets.p99 ? 'held' : 'MISSED'})`
    : '';
  if (verdict.includes('MISSED')) missed++;
  console.log(`  ${what.padEnd(34)} p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms${verdict}`);
}

await using lab = await raiseLab({ name: `bench-jobs-${process.pid}`, hosts, guests: 0 });
for (const host of lab.hosts) await define(host);
for (const { name, pollSeconds } of phases) {
  const inventoryFile = join(lab.dir, 'bench.yaml');
  await writeFile(inventoryFile, lab.inventory());
  await using service = await Service.start(inventoryFile, { AGENT_POLL_INTERVAL: pollSeconds });
  const client = new Redis({
    path: join(service.dataDir, 'store', 'store.sock'),
    maxRetriesPerRequest: null,
  });
  client.on('error', () => undefined); // the store comes a moment after the service
  const queue = new Queue('outrigger-vm-jobs', { connection: client });
  queue.on('error', () => undefined);
  let count = 0;
  const one = (n: number) => {
    const round = Math.floor(n / hosts);
    return ask(
      client,
      queue,
      lab.hosts[n % hosts]?.name ?? '',
      round % 2 === 0,
      `bench-${process.pid}-${count++}`,
    );
  };
  for (let n = 0; n < hosts; n++) await one(n); // opens the read-write sessions
  const samples: Sample[] = [];
  for (let n = hosts; n < hosts + jobsPerPhase; n++) {
    samples.push(await one(n));
    await delay(5 + (n % 7) * 3);
  }
  console.log(`${hosts} hosts, ${name}, ${samples.length} jobs one after another`);
  tell(
    'add → first libvirt call, at most',
    samples.map(({ waitedMs }) => waitedMs),
    { p50: p50TargetMs, p99: p99TargetMs },
  );
  tell(
    'the operation (read, act, verify)',
    samples.map(({ tookMs }) => tookMs),
  );
  await queue.close();
  client.disconnect();
}
process.exitCode = missed > 0 ? 1 : 0;
