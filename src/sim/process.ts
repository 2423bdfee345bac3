// The demo's fleet and the sample backend as a process of their own, so that their work is apart from the service's. It is started
// by `outrigger demo` with its options as JSON, says where the inventory and the backend are, and ends when its parent does. It
// refuses to outlive it.
import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { systemClock } from '../core/clock.js';
import { createBackend } from './backend/server.js';
import { hostNames, hostsMax, simFleet, vmsMax } from './fleet.js';
import { storyFaults, storyLines, tellStory } from './story.js';

const Options = z.strictObject({
  hosts: z.number().int().min(1).max(hostsMax),
  vms: z.number().int().min(1).max(vmsMax),
  seed: z.number().int(),
  dir: z.string(),
});

const churnPerMinute = 6;

async function main(): Promise<void> {
  const { hosts, vms, seed, dir } = Options.parse(JSON.parse(process.argv[2] ?? ''));
  const names = hostNames(hosts);
  // The terminal sends Ctrl-C to both: the parent says when it is over.
  process.on('SIGINT', () => undefined);
  const ended = new Promise<void>((resolve) => {
    process.once('disconnect', resolve);
    process.once('SIGTERM', () => resolve());
  });
  const fleet = await simFleet({
    hosts,
    vms,
    seed,
    dir,
    faults: storyFaults(names),
    churnPerMinute,
    defaults: 'poll: { details: 30s, guest: 30s }',
  });
  const endStory = await tellStory(fleet.hosts, systemClock);
  const token = randomBytes(16).toString('hex');
  const { app } = createBackend({ bootstrapToken: token });
  const url = await app.listen({ host: '127.0.0.1', port: 0 });
  process.send?.({
    inventoryFile: fleet.inventoryFile,
    story: storyLines(names),
    backend: { url, token },
  });
  await ended;
  endStory();
  await app.close();
  await fleet.close();
}

await main();
process.exit(0);
