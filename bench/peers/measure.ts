// The measurements: CPU of connecting and of polling, memory of what is connected, each client in turn within every round, so
// that whatever else the machine does meets them all. It refuses figures of a client that decoded less than the others.
import { Client, type Target } from './client.js';

export type Names = 'ours' | 'go' | 'c';
export type Commands = { [K in Names]?: readonly string[] };

/** Milliseconds of CPU: one value a round. `cycle`: connect, poll once, close, as virsh does. */
export type Costs = { connect: number[]; poll: number[]; cycle: number[] };
export type Ground = { domains: number; fields: number; costs: { [K in Names]?: Costs } };

export type Rounds = {
  rounds: number;
  connects: number;
  polls: number;
  /** Where Node compiles what runs often, before it meets the hosts that are measured. */
  warmOn: Target;
  /** On those, before the first that counts; polls on each connection. */
  settling: { connects: number; polls: number };
};

const warmUp = { connects: 400, together: 50, polls: 12_000 };

export async function measureGround(
  commands: Commands,
  target: Target,
  o: Rounds,
  say: (line: string) => void,
): Promise<Ground> {
  await using stack = new Opened();
  const clients = new Map<Names, Client>();
  for (const [name, command] of Object.entries(commands) as [Names, string[]][]) {
    const client = stack.use(new Client(name, command, target));
    clients.set(name, client);
    if (name === 'ours') await warm(client, o.warmOn);
    await openForPolls(client, o);
    say(`${name} is warm`);
  }
  const ground: Ground = { domains: 0, fields: 0, costs: {} };
  for (let round = 0; round < o.rounds; round++) {
    for (const [name, client] of clients) {
      ground.costs[name] ??= { connect: [], poll: [], cycle: [] };
      await pollRound(client, ground.costs[name], ground, o);
    }
    say(`polls: round ${round + 1} of ${o.rounds}`);
  }
  for (let round = 0; round < o.rounds; round++) {
    for (const [name, client] of clients) await connectRound(client, ground.costs[name] as Costs, o);
    say(`connections: round ${round + 1} of ${o.rounds}`);
  }
  return ground;
}

/** Only a runtime that compiles as it goes needs it. */
async function warm(client: Client, to: Target): Promise<void> {
  const { connects, together, polls } = warmUp;
  for (let connected = 0; connected < connects; connected += together) {
    await client.ask({ do: 'connect', times: together, to });
    await client.ask({ do: 'poll', times: polls / connects });
    await client.ask({ do: 'close', times: together });
  }
}

/** Connections that stay, as a collector's do: what is connected later has them beside it. */
async function openForPolls(client: Client, o: Rounds): Promise<void> {
  const { connects, polls } = client.name === 'ours' ? o.settling : { connects: 0, polls: 2 };
  await client.ask({ do: 'connect', times: o.connects });
  for (let connected = 0; connected < connects; connected++) {
    await client.ask({ do: 'connect', times: 1 });
    await client.ask({ do: 'close', times: 1 });
  }
  await client.ask({ do: 'poll', times: polls });
}

async function pollRound(client: Client, costs: Costs, ground: Ground, o: Rounds): Promise<void> {
  const polled = await client.ask({ do: 'poll', times: o.polls });
  costs.poll.push(polled.cpuMs / o.polls / o.connects);
  const fields = polled.fields / o.connects;
  ground.domains ||= polled.domains / o.connects;
  ground.fields ||= fields;
  if (Math.abs(fields - ground.fields) > ground.fields * 0.01) {
    throw new Error(`${client.name} decoded ${fields} fields, the others ${ground.fields}`);
  }
}

async function connectRound(client: Client, costs: Costs, o: Rounds): Promise<void> {
  const connected = await client.ask({ do: 'connect', times: o.connects });
  const polled = await client.ask({ do: 'poll', times: 1 });
  const closed = await client.ask({ do: 'close', times: o.connects });
  costs.connect.push(connected.cpuMs / o.connects);
  // Those that stay were polled, too.
  costs.cycle.push((connected.cpuMs + polled.cpuMs / 2 + closed.cpuMs) / o.connects);
}

/** Bytes that each further connected and polled host takes, by step; `heap` for Node alone. */
export type Memory = { resident: number[]; heap: number[] };

const pollsBeforeMemory = 6;

export async function measureMemory(
  name: Names,
  command: readonly string[],
  target: Target,
  { steps, hosts }: { steps: number; hosts: number },
): Promise<Memory> {
  await using client = new Client(name, command, target);
  if (name === 'ours') await warm(client, target);
  const memory: Memory = { resident: [], heap: [] };
  let before: { bytes?: number; heapBytes?: number } | undefined;
  for (let step = 0; step <= steps; step++) {
    await client.ask({ do: 'connect', times: hosts });
    await client.ask({ do: 'poll', times: pollsBeforeMemory });
    const now = await client.ask({ do: 'memory' });
    // What the process takes for itself, and the room that others left in it, is no host's.
    if (before) {
      memory.resident.push(((now.bytes ?? 0) - (before.bytes ?? 0)) / hosts);
      if (now.heapBytes !== undefined) memory.heap.push((now.heapBytes - (before.heapBytes ?? 0)) / hosts);
    }
    before = now;
  }
  return memory;
}

/** Node 20 has no AsyncDisposableStack of its own. */
class Opened implements AsyncDisposable {
  readonly #used: AsyncDisposable[] = [];

  use<T extends AsyncDisposable>(resource: T): T {
    this.#used.push(resource);
    return resource;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const resource of this.#used.reverse()) await resource[Symbol.asyncDispose]();
  }
}
