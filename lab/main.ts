// The lab by hand: up, down, exec, inventory. No options beyond what a person at the terminal needs.
import { parseArgs } from 'node:util';
import { downLab, openLab, raiseLab } from './lab.js';
import { labNames } from './state.js';

const usage = `usage: tsx lab/main.ts up [--hosts N] [--guests M] [--name demo] [--subnet S]
       tsx lab/main.ts down [--name demo | --all]
       tsx lab/main.ts list
       tsx lab/main.ts inventory [--name demo]
       tsx lab/main.ts exec [--name demo] HOST -- COMMAND…`;

const execTimeoutMs = 600_000;

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string', default: 'demo' },
      hosts: { type: 'string', default: '2' },
      guests: { type: 'string', default: '2' },
      subnet: { type: 'string' },
      all: { type: 'boolean', default: false },
    },
  });
  const [command, ...rest] = positionals;
  const { name } = values;
  switch (command) {
    case 'up':
      return await up(
        name,
        count(values.hosts),
        count(values.guests),
        values.subnet === undefined ? undefined : count(values.subnet),
      );
    case 'down':
      for (const lab of values.all ? labNames() : [name]) {
        await downLab(lab);
        console.log(`${lab} is down`);
      }
      return 0;
    case 'list':
      for (const lab of labNames())
        console.log(
          `${lab}: ${
            openLab(lab)
              ?.hosts.map((host) => host.address)
              .join(' ') ?? 'remains only'
          }`,
        );
      return 0;
    case 'inventory':
      process.stdout.write(labNamed(name).inventory());
      return 0;
    case 'exec': {
      const [hostName, ...argv] = rest;
      const host = labNamed(name).hosts.find((found) => found.name === hostName);
      if (host === undefined) throw new Error(`lab ${name} has no host ${hostName}`);
      const result = await host.exec(argv, { timeoutMs: execTimeoutMs });
      process.stdout.write(result.stdout);
      process.stderr.write(result.stderr);
      return result.code;
    }
    default:
      console.error(usage);
      return 2;
  }
}

async function up(name: string, hosts: number, guests: number, subnet: number | undefined): Promise<number> {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => stop.abort(new Error('interrupted: the lab is taken down')));
  }
  const start = performance.now();
  const lab = await raiseLab({
    name,
    hosts,
    guests,
    subnet,
    detached: true,
    signal: stop.signal,
    onProgress: (line) => console.log(line),
  });
  console.log(`lab ${name}: ${lab.hosts.length} hosts in ${((performance.now() - start) / 1000).toFixed(1)} s
inventory: ${lab.inventoryFile}
try: ssh -i ${lab.pollKeyFile} -o UserKnownHostsFile=${lab.knownHostsFile} outrigger@${lab.hosts[0]?.address}
down: npx tsx lab/main.ts down --name ${name}`);
  return 0;
}

function labNamed(name: string) {
  const lab = openLab(name);
  if (lab === undefined) throw new Error(`there is no lab ${name}`);
  return lab;
}

function count(text: string): number {
  if (!/^\d{1,3}$/.test(text)) throw new Error(`not a number: ${text}`);
  return Number(text);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
