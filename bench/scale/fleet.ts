// The simulated fleet as a process of its own, so that its work is not counted as the collector's. It takes hosts down and up
// as its parent says, and refuses to outlive it.
import { simFleet } from '../../src/sim/fleet.js';

export type FleetArgument = { hosts: number; vms: number; dir: string; defaults: string };
export type FleetReady = { inventoryFile: string; names: string[] };
export type FleetOrder = { do: 'down' | 'up'; hosts: string[] };

/** Births, deaths and pauses of VMs, a minute and host. */
const churnPerMinute = 0.1;
const seed = 1;
/** Below those that the kernel gives to outgoing connections: a host that is down keeps its port. Another for each benchmark. */
const port = 10_000 + (process.pid % 20_000);
const atATime = 64;

async function main(): Promise<void> {
  const argument = JSON.parse(process.argv[2] ?? '') as FleetArgument;
  // The terminal sends Ctrl-C to all: the parent says when it is over.
  process.on('SIGINT', () => undefined);
  const ended = new Promise<void>((resolve) => {
    process.once('disconnect', resolve);
    process.once('SIGTERM', () => resolve());
  });
  const fleet = await simFleet({
    ...argument,
    seed,
    addresses: 'each',
    port,
    churnPerMinute: argument.hosts * churnPerMinute,
  });
  const hosts = new Map(fleet.hosts.map((host) => [host.name, host]));
  const obey = async (order: FleetOrder) => {
    for (let from = 0; from < order.hosts.length; from += atATime) {
      const some = order.hosts.slice(from, from + atATime);
      await Promise.all(some.map((name) => hosts.get(name)?.[order.do]()));
    }
    process.send?.(fleet.figures());
  };
  process.on('message', (order) => void obey(order as FleetOrder));
  const ready: FleetReady = { inventoryFile: fleet.inventoryFile, names: [...hosts.keys()] };
  process.send?.(ready);
  await ended;
  await fleet.close();
}

await main();
process.exit(0);
