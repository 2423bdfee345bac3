// Where the collector's CPU goes: self time of a CPU profile, by file, summed to the parts of the house. Time in Node and in
// native code (ciphers, sockets) goes to the part that called it. It refuses to guess: what nobody of ours called is `node`.
type CallFrame = { functionName: string; url: string; lineNumber: number };
export type CpuProfile = {
  nodes: { id: number; callFrame: CallFrame; children?: number[] }[];
  samples: number[];
  timeDeltas: number[];
};

type Part = string;
/** The first pattern that fits a file's URL says whose it is. */
const partOfFile: readonly (readonly [RegExp, Part])[] = [
  [/dist\/ssh\/(files|file-reader|sftp-session|sftp-requests|sftp-wire|local-files)\./, 'SFTP'],
  // Writes of a turn, to hosts and to the store.
  [/dist\/core\/batched-writes\./, 'socket writes'],
  [/node_modules\/(ssh2|asn1|node-ssh|cpu-features|bcrypt-pbkdf)\/|dist\/ssh\//, 'SSH'],
  [/dist\/libvirt\//, 'libvirt decode'],
  [/dist\/pollers\/(proc|sys|system|collect|filesystems|part-reader|rare)/, 'host figures decode'],
  [/dist\/pollers\//, 'pollers'],
  [
    /node_modules\/(bullmq|ioredis|@ioredis|redis-parser|msgpackr|cron-parser|denque|standard-as-callback|uuid)\/|dist\/queue\//,
    'BullMQ',
  ],
  [/dist\/http\/(chronicle|changes|pages|api)/, 'API and pages for people'],
  [
    /dist\/metrics\/|dist\/http\/|node_modules\/(fastify|@fastify|prom-client|find-my-way|light-my-request|avvio)\//,
    'rendering',
  ],
  [
    /dist\/fleet\/|dist\/service\.|dist\/core\/|node_modules\/p-queue\/|node_modules\/eventemitter3\//,
    'sessions, turns and clock',
  ],
  [/\/probe\.mjs$/, 'this measurement'],
  [/dist\/|node_modules\//, 'other'],
];

export type SelfTime = { what: string; ms: number; part: Part };

export type CpuParts = {
  /** Of the JavaScript thread, milliseconds; without idling. */
  parts: Map<Part, number>;
  top: SelfTime[];
};

const topMax = 25;

export function cpuParts({ nodes, samples, timeDeltas }: CpuProfile): CpuParts {
  const selfUs = new Map<number, number>();
  samples.forEach((id, at) => {
    selfUs.set(id, (selfUs.get(id) ?? 0) + (timeDeltas[at] ?? 0));
  });
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parts = new Map<Part, number>();
  const functions = new Map<string, SelfTime>();
  const walk = (id: number, above: Part): void => {
    const node = byId.get(id);
    if (!node) return;
    const { functionName, url, lineNumber } = node.callFrame;
    const part = partOf(functionName, url) ?? above;
    const ms = (selfUs.get(id) ?? 0) / 1000;
    if (ms > 0 && part !== 'idle' && part !== 'this measurement') {
      parts.set(part, (parts.get(part) ?? 0) + ms);
      const what = `${functionName || '(anonymous)'} ${url.replace(/^.*\/(dist|node_modules)\//, '')}:${lineNumber + 1}`;
      const entry = functions.get(`${what} ${part}`) ?? { what, ms: 0, part };
      entry.ms += ms;
      functions.set(`${what} ${part}`, entry);
    }
    for (const child of node.children ?? []) walk(child, part);
  };
  const root = nodes[0];
  if (root) walk(root.id, 'node');
  const top = [...functions.values()].sort((a, b) => b.ms - a.ms).slice(0, topMax);
  return { parts: new Map([...parts].sort((a, b) => b[1] - a[1])), top };
}

/** Undefined: whoever called it. */
function partOf(functionName: string, url: string): Part | undefined {
  if (functionName === '(idle)') return 'idle';
  if (functionName === '(garbage collector)') return 'gc';
  if (functionName === '(program)') return 'syscalls and libuv';
  if (url === '' || url.startsWith('node:')) return undefined;
  return partOfFile.find(([pattern]) => pattern.test(url))?.[1];
}
