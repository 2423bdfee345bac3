// The session with one host: the way there (SSH), libvirt and files on top of it, each kept by a link of its own, and one
// state made of the three. It refuses to poll and to act; it hands out what it holds, or says at once why it holds nothing.
//
//   state               way there                     libvirt and files
//   connecting          first attempt                 –                         (or not all decided yet)
//   up                  open                          both open
//   degraded            open                          one failed: not open, or its last poll failed
//   down                failed                        –                         (or open, and both failed)
//   auth-failed         refused our key               –                         next try after 10 minutes at least
//   host-key-mismatch   we refused the host's key     –
//   maintenance         any: the inventory says so; watched all the same
import PQueue from 'p-queue';
import { type Clock, sleep } from '../core/clock.js';
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import type { Host } from '../inventory/host.js';
import type { LibvirtClient } from '../libvirt/client.js';
import type { LifecycleEvent } from '../libvirt/events.js';
import type { FileReader } from '../ssh/files.js';
import { Link, type LinkState, type Opened } from './link.js';
import { type LibvirtLink, openTransport, type Transport, type TransportDeps } from './transport.js';

export const sessionStates = [
  'connecting',
  'up',
  'degraded',
  'down',
  'auth-failed',
  'host-key-mismatch',
  'maintenance',
] as const;
export type SessionState = (typeof sessionStates)[number];

/** A host that refused our key bans us for trying again soon (OpenSSH's PerSourcePenalties). */
export const authRetryFloorMs = 10 * 60_000;

/** Polls of one host at a time: each of its pollers may have one under way. The connections bound their own requests. */
export const workPerHostMax = 8;

const partLossSettleMs = 50;

export type SessionDeps = TransportDeps & {
  clock: Clock;
  log: Log;
  onChange?: (session: HostSession) => void;
  onConnectFailure?: (cause: HostError) => void;
  /** Libvirt is open, for the first time or again: whatever was known of the VMs is old. */
  onLibvirt?: (session: HostSession) => void;
  /** An event only means: look again. */
  onEvent?: (session: HostSession, event: LifecycleEvent) => void;
  openTransport?: typeof openTransport;
  random?: () => number;
};

export type SessionStatus = {
  state: SessionState;
  /** Why it is not up; also kept in maintenance. */
  cause: HostError | undefined;
  /** When this state began, wall ms and monotonic ms. */
  sinceMs: number;
  sinceMonotonicMs: number;
};

export class HostSession {
  readonly queue = new PQueue({ concurrency: workPerHostMax });
  #host: Host;
  #status: SessionStatus;
  #libvirt: Link<LibvirtLink> | undefined;
  #files: Link<FileReader> | undefined;
  #ailing: { libvirt?: HostError | undefined; files?: HostError | undefined } = {};
  #running: Promise<void> | undefined;
  readonly #transport: Link<Transport>;
  readonly #stop = new AbortController();
  readonly #deps: SessionDeps;

  constructor(host: Host, deps: SessionDeps) {
    this.#host = host;
    this.#deps = deps;
    this.#status = {
      state: host.maintenance ? 'maintenance' : 'connecting',
      cause: undefined,
      sinceMs: deps.clock.wallMs(),
      sinceMonotonicMs: deps.clock.monotonicMs(),
    };
    const open = deps.openTransport ?? openTransport;
    this.#transport = new Link<Transport>({
      open: async (signal) => asOpened(await open(this.#host, deps, { signal })),
      whileOpen: (transport, signal) => this.#keepParts(transport, signal),
      retryFloorMs: (cause) => (cause.code === 'AUTH_FAILED' ? authRetryFloorMs : 0),
      ...this.#linkOptions(),
    });
  }

  get host(): Host {
    return this.#host;
  }

  get status(): SessionStatus {
    return this.#status;
  }

  /** What carries libvirt now: a socket's path or `virt-ssh-helper`. */
  get via(): string | undefined {
    const state = this.#libvirt?.state;
    return state?.status === 'open' ? state.value.via : undefined;
  }

  start(): void {
    this.#running ??= this.#transport.run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort(new HostError('ABORTED', { host: this.#host.name, message: 'the session ends' }));
    this.queue.clear();
    await this.#running;
  }

  /** Tries whatever is down now instead of at its next turn, a refused key too: for an operator who has just mended it. */
  retryNow(): void {
    this.#transport.retryNow();
    this.#libvirt?.retryNow();
    this.#files?.retryNow();
  }

  /** Takes settings that need no new connection: labels, intervals, maintenance. */
  update(host: Host): void {
    this.#host = host;
    this.#refresh();
  }

  /** Takes in how work on an open part went: one that is open and does not work is as good as failed. */
  observe(part: 'libvirt' | 'files', failure: HostError | undefined): void {
    if (failure?.code === 'HOST_DOWN' || (!failure && !this.#ailing[part])) return;
    this.#ailing[part] = failure;
    this.#refresh();
  }

  /** The open libvirt connection. Throws HOST_DOWN, with the reason as its cause, when there is none. */
  libvirt(): LibvirtClient {
    return this.#need(this.#libvirt, 'libvirt').client;
  }

  /** The host's files. Throws HOST_DOWN as `libvirt` does. */
  files(): FileReader {
    return this.#need(this.#files, 'files');
  }

  /** Whether this part is open now: the way there, libvirt or the files. */
  has(part: 'way' | 'libvirt' | 'files'): boolean {
    const link = { way: this.#transport, libvirt: this.#libvirt, files: this.#files }[part];
    return link?.state.status === 'open';
  }

  #need<T>(link: Link<T> | undefined, part: string): T {
    const state: LinkState<T> | LinkState<Transport> = link?.state ?? this.#transport.state;
    if (link && state.status === 'open') return state.value as T;
    throw new HostError('HOST_DOWN', {
      host: this.#host.name,
      outcome: 'not-sent',
      message: state.status === 'failed' ? `no ${part}` : `no ${part} yet: still connecting`,
      ...(state.status === 'failed' && { cause: state.cause }),
    });
  }

  async #keepParts(transport: Transport, signal: AbortSignal): Promise<void> {
    this.#libvirt = new Link<LibvirtLink>({
      open: async (signal) => {
        const value = await transport.openLibvirt({ readOnly: true, signal });
        return { value, closed: this.#settled(value.client.closed), close: () => value.client.close() };
      },
      whileOpen: ({ client }, signal) => this.#follow(client, signal),
      ...this.#linkOptions(),
    });
    this.#files = new Link<FileReader>({
      open: async (signal) => {
        const value = await transport.openFiles(signal);
        return { value, closed: new Promise<never>(() => undefined), close: async () => undefined };
      },
      ...this.#linkOptions(),
    });
    await Promise.all([this.#libvirt.run(signal), this.#files.run(signal)]);
    this.#libvirt = undefined;
    this.#files = undefined;
    this.#ailing = {};
  }

  /** Passes lifecycle events on. A driver that has none costs nothing but their promptness: polls see the same later. */
  async #follow(client: LibvirtClient, signal: AbortSignal): Promise<void> {
    this.#deps.onLibvirt?.(this);
    try {
      const events = client.lifecycleEvents(signal, { reboots: true });
      for await (const event of events) this.#deps.onEvent?.(this, event);
    } catch (error) {
      if (!signal.aborted) this.#deps.log.debug({ host: this.#host.name, error }, 'no lifecycle events');
    }
  }

  /** When the way there breaks, its parts break first: waits for that, so that one loss is one transition. */
  async #settled(closed: Promise<HostError>): Promise<HostError> {
    const cause = await closed;
    await sleep(this.#deps.clock, partLossSettleMs);
    return cause;
  }

  #linkOptions() {
    return {
      clock: this.#deps.clock,
      ...(this.#deps.random && { random: this.#deps.random }),
      onChange: () => this.#refresh(),
      onFailure: (cause: HostError) => this.#deps.onConnectFailure?.(cause),
    };
  }

  #refresh(): void {
    const before = this.#status;
    const { state, cause } = this.#derive();
    if (state === before.state && cause?.code === before.cause?.code) {
      this.#status = { ...before, cause };
      return;
    }
    const { clock, log } = this.#deps;
    const moved = state !== before.state;
    this.#status = {
      state,
      cause,
      sinceMs: moved ? clock.wallMs() : before.sinceMs,
      sinceMonotonicMs: moved ? clock.monotonicMs() : before.sinceMonotonicMs,
    };
    const fields = { host: this.#host.name, from: before.state, to: state, ...(cause && { error: cause }) };
    if (cause) log.warn(fields, 'host state changed');
    else log.info(fields, 'host state changed');
    this.#deps.onChange?.(this);
  }

  #derive(): { state: SessionState; cause: HostError | undefined } {
    const { state, cause } = this.#deriveConnection();
    return { state: this.#host.maintenance ? 'maintenance' : state, cause };
  }

  #deriveConnection(): { state: SessionState; cause: HostError | undefined } {
    const way = this.#transport.state;
    const { state: was, cause: wasCause } = this.#status;
    const undecided = { state: was === 'maintenance' ? ('connecting' as const) : was, cause: wasCause };
    if (way.status === 'opening') return undecided;
    if (way.status === 'failed') return { state: stateOf(way.cause), cause: way.cause };
    const libvirt = failureOf(this.#libvirt?.state, this.#ailing.libvirt);
    const files = failureOf(this.#files?.state, this.#ailing.files);
    if (libvirt === 'undecided' || files === 'undecided') return undecided;
    if (!libvirt && !files) return { state: 'up', cause: undefined };
    return { state: libvirt && files ? 'down' : 'degraded', cause: libvirt ?? files };
  }
}

function failureOf(
  state: LinkState<unknown> | undefined,
  ailing: HostError | undefined,
): HostError | undefined | 'undecided' {
  if (!state || state.status === 'opening') return 'undecided';
  return state.status === 'failed' ? state.cause : ailing;
}

function stateOf(cause: HostError): SessionState {
  switch (cause.code) {
    case 'AUTH_FAILED':
      return 'auth-failed';
    case 'HOST_KEY_UNKNOWN':
    case 'HOST_KEY_MISMATCH':
    case 'HOST_KEY_REVOKED':
      return 'host-key-mismatch';
    default:
      return 'down';
  }
}

function asOpened(transport: Transport): Opened<Transport> {
  return { value: transport, closed: transport.closed, close: () => transport.close() };
}
