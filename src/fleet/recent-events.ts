// What happened lately on each host, for people: libvirt's lifecycle events and the session's own turns, newest first. It
// refuses to be a record: it is short, in memory, and gone with the process. What must not be lost goes through the outbox.
import type { Clock } from '../core/clock.js';

export const eventsPerHostMax = 60;
const textCharsMax = 255;

/** `detail`: the reason in libvirt's words. `vm` is absent where the host itself is meant. */
export type RecentEvent = {
  atMs: number;
  event: string;
  detail: string;
  vm?: { name: string; uuid: string };
};

export class RecentEvents {
  readonly #hosts = new Map<string, RecentEvent[]>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(host: string, { event, detail, vm }: Omit<RecentEvent, 'atMs'>): void {
    const events = this.#hosts.get(host) ?? [];
    this.#hosts.set(host, events);
    events.unshift({
      atMs: this.#clock.wallMs(),
      event: event.slice(0, textCharsMax),
      detail: detail.slice(0, textCharsMax),
      ...(vm && { vm: { name: vm.name.slice(0, textCharsMax), uuid: vm.uuid } }),
    });
    if (events.length > eventsPerHostMax) events.length = eventsPerHostMax;
  }

  /** Newest first. */
  of(host: string, vmUuid?: string): readonly RecentEvent[] {
    const events = this.#hosts.get(host) ?? [];
    return vmUuid === undefined ? events : events.filter(({ vm }) => vm?.uuid === vmUuid);
  }

  /** Forgets hosts that left the inventory. */
  retain(hosts: ReadonlySet<string>): void {
    for (const host of this.#hosts.keys()) if (!hosts.has(host)) this.#hosts.delete(host);
  }
}
