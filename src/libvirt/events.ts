// Lifecycle events: libvirt's numbers in libvirt's words, and a bounded buffer between the connection, which never waits,
// and a subscriber, who may be slow. It refuses to be trusted as a record: after a `lost` event, look again at every VM.
import type { HostError } from '../core/errors.js';
import type { DomainRef } from './procedures.js';

/** `at`: wall milliseconds when it arrived here. `detail` is the reason, in libvirt's words. */
export type LifecycleEvent =
  | { event: LifecycleEventName; domain: DomainRef; detail: string; at: number }
  | { event: 'lost'; count: number; at: number };

/** virDomainEventType, in order. */
const eventNames = [
  'defined',
  'undefined',
  'started',
  'suspended',
  'resumed',
  'stopped',
  'shutdown',
  'pmsuspended',
  'crashed',
] as const;

type LifecycleEventName = (typeof eventNames)[number] | 'rebooted' | 'unknown';

/** virDomainEvent…DetailType, in order. */
const details: Record<LifecycleEventName, readonly string[]> = {
  defined: ['added', 'updated', 'renamed', 'from-snapshot'],
  undefined: ['removed', 'renamed'],
  started: ['booted', 'migrated', 'restored', 'from-snapshot', 'wakeup', 'recreated'],
  suspended: [
    'paused',
    'migrated',
    'ioerror',
    'watchdog',
    'restored',
    'from-snapshot',
    'api-error',
    'postcopy',
    'postcopy-failed',
  ],
  resumed: ['unpaused', 'migrated', 'from-snapshot', 'postcopy', 'postcopy-failed'],
  stopped: ['shutdown', 'destroyed', 'crashed', 'migrated', 'saved', 'failed', 'from-snapshot', 'recreated'],
  shutdown: ['finished', 'guest', 'host'],
  pmsuspended: ['memory', 'disk'],
  crashed: ['panicked', 'crashloaded'],
  rebooted: [],
  unknown: [],
};

/** Every kind and reason that there is a word for; a kind without reasons has the empty one. */
export const lifecycleKinds: readonly { event: LifecycleEventName; detail: string }[] = (
  Object.entries(details) as [LifecycleEventName, readonly string[]][]
)
  .filter(([event]) => event !== 'unknown')
  .flatMap(([event, words]) => (words.length > 0 ? words : ['']).map((detail) => ({ event, detail })));

type LifecycleMessage = { dom: DomainRef; event: number; detail: number };

export function lifecycleEvent({ dom, event, detail }: LifecycleMessage, at: number): LifecycleEvent {
  const name = eventNames[event] ?? 'unknown';
  return { event: name, domain: dom, detail: details[name][detail] ?? `${event}.${detail}`, at };
}

/** libvirt has no detail for it. */
export function rebootEvent({ dom }: { dom: DomainRef }, at: number): LifecycleEvent {
  return { event: 'rebooted', domain: dom, detail: '', at };
}

/** Events that wait for one subscriber. */
export const eventsHeldMax = 1024;

/** One subscriber's buffer. When it is full the oldest event goes, and the next one read says how many went. */
export class EventBuffer {
  #events: LifecycleEvent[] = [];
  #lost = 0;
  #wake: (() => void) | undefined;
  #ended: HostError | undefined;

  push(event: LifecycleEvent): void {
    if (this.#events.length >= eventsHeldMax) {
      this.#events.shift();
      this.#lost++;
    }
    this.#events.push(event);
    this.#wake?.();
  }

  /** What is held is still delivered; then the iteration throws `error`. */
  end(error: HostError): void {
    this.#ended = error;
    this.#wake?.();
  }

  /** Until `signal` aborts (returns) or the connection ends (throws why). */
  async *drain(signal: AbortSignal | undefined): AsyncGenerator<LifecycleEvent, void, void> {
    const onAbort = () => this.#wake?.();
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal?.aborted) {
        const event = this.#shift();
        if (event) yield event;
        else if (this.#ended) throw this.#ended;
        else await this.#more();
      }
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #shift(): LifecycleEvent | undefined {
    const [oldest] = this.#events;
    if (oldest === undefined || this.#lost === 0) return this.#events.shift();
    const count = this.#lost;
    this.#lost = 0;
    return { event: 'lost', count, at: oldest.at };
  }

  #more(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = () => {
        this.#wake = undefined;
        resolve();
      };
    });
  }
}
