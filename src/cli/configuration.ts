// Settings and inventory for a command: loaded, or every problem printed, one line each, and undefined.
import { join } from 'node:path';
import type { Settings } from '../core/settings.js';
import { loadSettings } from '../core/settings.js';
import { otherShardHint } from '../core/shard.js';
import { readTokensFile } from '../http/auth/token-store.js';
import type { Inventory } from '../inventory/host.js';
import { loadInventory } from '../inventory/load.js';
import { formatProblem } from '../inventory/problem.js';
import { printable } from './output.js';

export type Configuration = { settings: Settings; inventory: Inventory };

export type Environment = Readonly<Record<string, string | undefined>>;

/** Host keys that `enroll` learned, for hosts whose inventory entry names no known_hosts file. */
export function learnedKeysFile({ dataDir }: Settings): string {
  return join(dataDir, 'known_hosts');
}

export function readSettings(env: Environment): Settings | undefined {
  const { settings, problems, warnings } = loadSettings(env);
  for (const line of warnings) process.stderr.write(`warning: ${line}\n`);
  for (const line of problems) process.stderr.write(`${line}\n`);
  return settings;
}

/** What a command says of a host that it cannot find, and where the host may be. */
export function noSuchHost(name: string, { inventoryFile, shard }: Settings): string {
  const hint = otherShardHint(shard, name);
  return `outrigger: no host ${printable(name)} in ${inventoryFile}\n${hint ? `  ${hint}\n` : ''}`;
}

export async function readConfiguration(env: Environment): Promise<Configuration | undefined> {
  const settings = readSettings(env);
  const { inventory, problems } = await loadInventory(
    settings?.inventoryFile ?? (env.AGENT_INVENTORY?.trim() || './inventory.yaml'),
    {
      libvirtUri: settings?.libvirtUri ?? 'qemu:///system',
      pollIntervalMs: settings?.pollIntervalMs ?? 15_000,
      shard: settings?.shard,
    },
  );
  if (settings?.apiTokensFile) problems.push(...(await readTokensFile(settings.apiTokensFile)).problems);
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
  return problems.length === 0 && settings && inventory ? { settings, inventory } : undefined;
}
