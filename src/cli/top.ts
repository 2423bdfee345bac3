// `outrigger top`: the fleet on a terminal, drawn anew every few seconds, the worst first. It refuses to run where nobody
// looks: `hosts --json` is for scripts.
import { once } from 'node:events';
import { emitKeypressEvents } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { HostError, summary } from '../core/errors.js';
import type { Host, Job, QueueState } from '../http/api/schemas.js';
import { ApiClient } from './api-client.js';
import type { Environment } from './configuration.js';
import { hostSummary, hostTable } from './hosts.js';
import { jobTable } from './jobs.js';
import { cut, type Paint, painter, printable } from './output.js';

const sorts = { w: 'worst', n: 'name', l: 'load', m: 'memory', v: 'vms' } as const;
type Sort = (typeof sorts)[keyof typeof sorts];

const jobsShownMax = 5;
const filterLengthMax = 64;
const enter = '\x1b[?1049h\x1b[?25l';
const leave = '\x1b[?25h\x1b[?1049l';
const home = '\x1b[H';
const eraseLineEnd = '\x1b[K';
const eraseBelow = '\x1b[J';

export type Seen = {
  hosts: readonly Host[];
  queue: QueueState | undefined;
  jobs: readonly Job[];
  /** Why the newest look failed: the rest is older then. */
  trouble: string | undefined;
  atMs: number | undefined;
};

export type View = { sort: Sort; filter: string; typing: boolean };

export async function top(env: Environment, { interval }: { interval: number }): Promise<number> {
  const api = ApiClient.from(env);
  if (!api) return 1;
  if (!process.stdout.isTTY || !process.stdin.isTTY)
    throw new HostError('BAD_REQUEST', {
      message: 'top wants a terminal',
      hint: 'outrigger hosts --json is for scripts.',
    });
  const screen = new Screen(api);
  await screen.run(interval * 1000);
  return 0;
}

class Screen {
  readonly #api: ApiClient;
  readonly #stop = new AbortController();
  readonly #paint = painter(process.stdout);
  #seen: Seen = { hosts: [], queue: undefined, jobs: [], trouble: undefined, atMs: undefined };
  #view: View = { sort: 'worst', filter: '', typing: false };
  #wake = new AbortController();

  constructor(api: ApiClient) {
    this.#api = api;
  }

  async run(intervalMs: number): Promise<void> {
    const { stdin, stdout } = process;
    const draw = () => this.#draw();
    const onKey = (text: string | undefined, key: { name?: string; ctrl?: boolean }) =>
      this.#onKey(text, key);
    const quit = () => this.#quit();
    emitKeypressEvents(stdin);
    stdin.setRawMode(true);
    stdin.on('keypress', onKey);
    stdout.on('resize', draw);
    process.on('SIGTERM', quit);
    stdout.write(enter);
    try {
      while (!this.#stop.signal.aborted) {
        await this.#look();
        this.#draw();
        this.#wake = new AbortController();
        await delay(intervalMs, undefined, { signal: this.#wake.signal }).catch(() => undefined);
      }
    } finally {
      stdout.off('resize', draw);
      stdin.off('keypress', onKey);
      process.off('SIGTERM', quit);
      stdin.setRawMode(false);
      stdin.pause();
      if (!stdout.write(leave)) await once(stdout, 'drain');
    }
  }

  async #look(): Promise<void> {
    try {
      const [hosts, queue, jobs] = await Promise.all([
        this.#api.list<Host>('/hosts'),
        this.#api.get<QueueState>('/queue'),
        this.#api.list<Job>('/jobs', { state: 'active' }, jobsShownMax),
      ]);
      this.#seen = { hosts, queue, jobs, trouble: undefined, atMs: Date.now() };
    } catch (error) {
      this.#seen = { ...this.#seen, trouble: summary(error) };
    }
  }

  #draw(): void {
    const { columns = 80, rows = 24 } = process.stdout;
    const lines = screenLines(this.#seen, this.#view, { width: columns, height: rows, paint: this.#paint });
    process.stdout.write(home + lines.map((line) => line + eraseLineEnd).join('\r\n') + eraseBelow);
  }

  #onKey(text: string | undefined, { name, ctrl }: { name?: string; ctrl?: boolean }): void {
    if (ctrl && name === 'c') this.#quit();
    else if (this.#view.typing) this.#view = typed(this.#view, text, name);
    else if (text === 'q') this.#quit();
    else if (text === '/') this.#view = { ...this.#view, typing: true };
    else if (name === 'escape') this.#view = { ...this.#view, filter: '' };
    else if (name === 'space') this.#wake.abort();
    else if (text && text in sorts) this.#view = { ...this.#view, sort: sorts[text as keyof typeof sorts] };
    if (!this.#stop.signal.aborted) this.#draw();
  }

  #quit(): void {
    this.#stop.abort();
    this.#wake.abort();
  }
}

/** The filter after a key. */
export function typed(view: View, text: string | undefined, name: string | undefined): View {
  const { filter } = view;
  if (name === 'return' || name === 'enter') return { ...view, typing: false };
  if (name === 'escape') return { ...view, typing: false, filter: '' };
  if (name === 'backspace') return { ...view, filter: filter.slice(0, -1) };
  if (!text || !/^[\x20-\x7e]$/.test(text) || filter.length >= filterLengthMax) return view;
  return { ...view, filter: filter + text };
}

/** What stands on the screen, line by line, never more than fit. */
export function screenLines(
  seen: Seen,
  view: View,
  { width, height, paint }: { width: number; height: number; paint: Paint },
): string[] {
  const hosts = sorted(
    seen.hosts.filter((host) => matches(host, view.filter)),
    view.sort,
  );
  const fit = { width, paint };
  const jobs = seen.jobs.length > 0 ? ['', ...jobTable(seen.jobs, fit).trimEnd().split('\n')] : [];
  const head = [headLine(seen, paint), ...(seen.trouble ? [paint('red', seen.trouble)] : []), ''];
  const foot = view.typing
    ? `filter: ${printable(view.filter)}_`
    : `q quit  / filter${view.filter ? ` (${printable(view.filter)}; Esc clears)` : ''}  sort: w worst  n name  l load  m memory  v VMs  [${view.sort}]`;
  const room = Math.max(2, height - head.length - jobs.length - 2);
  const table = hostTable(hosts, fit).trimEnd().split('\n');
  const hidden = table.length - room;
  const shown = hidden > 0 ? [...table.slice(0, room - 1), `… ${hidden + 1} more`] : table;
  const filling = Array.from({ length: Math.max(0, room - shown.length) }, () => '');
  const lines = [...head, ...shown, ...filling, ...jobs, '', paint('gray', foot)];
  return lines.slice(0, height).map((line) => cut(line, width));
}

function headLine({ hosts, queue, atMs }: Seen, paint: Paint): string {
  if (atMs === undefined) return paint('bold', 'outrigger top');
  const at = new Date(atMs).toTimeString().slice(0, 8);
  const jobs = queue ? ` Jobs: ${queue.active} active, ${queue.waiting + queue.delayed} waiting.` : '';
  return `${paint('bold', 'outrigger top')}  ${at}  ${hostSummary(hosts)}${jobs}`;
}

const severity: Record<Host['state'], number> = {
  'host-key-mismatch': 0,
  'auth-failed': 1,
  down: 2,
  degraded: 3,
  connecting: 4,
  up: 5,
  maintenance: 6,
};

function sorted(hosts: Host[], sort: Sort): Host[] {
  const byName = (a: Host, b: Host) => a.name.localeCompare(b.name, 'en', { numeric: true });
  const rank: Record<Sort, (host: Host) => number> = {
    worst: ({ state, stale }) => severity[state] - (stale ? 0.5 : 0),
    name: () => 0,
    load: ({ load }) => -(load?.one ?? -1),
    memory: ({ memory }) => (memory ? memory.availableBytes / Math.max(1, memory.totalBytes) : 2),
    vms: ({ vms }) => -(vms?.running ?? -1),
  };
  return hosts.sort((a, b) => rank[sort](a) - rank[sort](b) || byName(a, b));
}

function matches({ name, state, labels, cause }: Host, filter: string): boolean {
  if (!filter) return true;
  const text = [name, state, cause?.message, ...Object.entries(labels).map(([k, v]) => `${k}=${v}`)].join(
    ' ',
  );
  return text.toLowerCase().includes(filter.toLowerCase());
}
