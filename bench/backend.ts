// What it costs to be a thousand agents at once: one collector heartbeating for 1,000 hosts, to the sample backend in a process
// of its own. Prints the collector's CPU share, its connections, and how evenly the heartbeats fall.
// Run: npx tsx bench/backend.ts [agents] [heartbeat interval in s] [seconds]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Backend } from '../src/backend/backend.js';
import { systemClock } from '../src/core/clock.js';
import { silentLog } from '../src/core/log.js';
import { loadSettings } from '../src/core/settings.js';

const self = fileURLToPath(import.meta.url);
const [agents = 1_000, intervalS = 30, seconds = 60] = process.argv.slice(2).map(Number);
const settleMs = 5_000;

async function main(): Promise<void> {
  const child = fork(self, [], { env: { ...process.env, BENCH_BACKEND: '1' } });
  const [{ url, token }] = (await once(child, 'message')) as [{ url: string; token: string }];
  const dataDir = await mkdtemp(join(tmpdir(), 'outrigger-bench-'));
  const { settings } = loadSettings({
    AGENT_BACKEND_URL: url,
    AGENT_TOKEN: token,
    AGENT_DATA_DIR: dataDir,
    AGENT_HEARTBEAT_INTERVAL: String(intervalS),
  });
  if (!settings?.backendUrl) throw new Error('the settings are wrong');
  const perSecond = new Map<number, number>();
  let failed = 0;
  const backend = await Backend.open({
    settings: { ...settings, backendUrl: settings.backendUrl },
    env: {},
    collectorId: '5f0c2c1e-6a0b-4c39-9d3e-0d3a7e2b1c11',
    sources: {
      status: () => ({ status: 'online' }),
      samples: () => ({ vms: undefined, system: undefined }),
      facts: async () => ({ hostname: undefined, hypervisor: {} }),
      operations: () => [],
    },
    onHeartbeat: (_host, ok) => {
      if (!ok) failed++;
      const second = Math.floor(performance.now() / 1000);
      perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
    },
    clock: systemClock,
    log: silentLog,
  });
  const libvirt = { uri: 'qemu:///system' };
  backend.reporter.apply(
    Array.from({ length: agents }, (_, n) => ({
      name: `kvm-${n}`,
      address: '192.0.2.1',
      labels: {},
      libvirt,
    })),
  );
  while (backend.reporter.registered() < agents) await new Promise((resolve) => setTimeout(resolve, 100));
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  perSecond.clear();
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const { user, system } = process.cpuUsage(before);
  const whole = [...perSecond.values()].slice(1, -1);
  const even = agents / intervalS;
  console.log(
    `${agents} agents, a heartbeat every ${intervalS} s, ${seconds} s, ${availableParallelism()} cores, Node ${process.version}`,
  );
  console.log(`collector CPU      ${(((user + system) / 1e6 / seconds) * 100).toFixed(1)} % of a core`);
  console.log(`connections        ${backend.connections}`);
  console.log(
    `heartbeats         ${even.toFixed(1)} a second if even; seen ${Math.min(...whole)} to ${Math.max(...whole)} (busiest: ${(Math.max(...whole) / even).toFixed(2)} of even)`,
  );
  console.log(`failed             ${failed}`);
  await backend.close();
  child.kill();
  await rm(dataDir, { recursive: true, force: true });
}

async function serve(): Promise<void> {
  const { createBackend } = await import('../src/sim/backend/server.js');
  const token = 'bench';
  const { app } = createBackend({ bootstrapToken: token });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  process.send?.({ url, token });
}

await (process.env.BENCH_BACKEND ? serve() : main());
