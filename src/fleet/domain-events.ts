// What happened to each host's VMs: events counted by kind, and when each VM came into its present state. Both are learned
// from events, and from comparing one poll with the next where an event did not come. It refuses to guess over a gap (the
// connection was away, events were lost): then no VM has a time any more, not even one whose state and id are the same, since
// ids begin anew with the host.
//
//   a poll shows        before it                                       since
//   another state       an event of this VM                             the event
//                       no event, a poll soon before, no gap            this poll
//                       anything else                                   not known
//   the same state      an event of this VM (it went and came back)     the event
//                       no gap                                          as before
//                       a gap                                           not known
import { type LifecycleEvent, lifecycleKinds } from '../libvirt/events.js';
import type { DomainRef } from '../libvirt/procedures.js';
import { type StateInWords, stateInWords } from '../libvirt/state-reasons.js';
import type { DomainStats } from '../libvirt/stats.js';

/** Two polls further apart than this say too little about when a state began. */
const comparedWithinMs = 90_000;
/** An event may overtake the poll that was under way when it came. */
const eventLeadMs = 2_000;
/** Of one host; VMs beyond it have no time of change until a poll shows them. */
const eventsHeldMax = 16_384;
/** Kinds of one host that have no word here: of a newer libvirt. */
const otherKindsMax = 64;

export type EventCount = { event: string; detail: string; count: number };

/** `sinceMs`: wall milliseconds. */
export type DomainChange = { state: string; reason: string; sinceMs: number | undefined };

/** What the newest poll showed of a VM; `poll`: the number of that poll. Written to in place: there is one for each VM. */
type Seen = DomainChange & { id: number; poll: number };

type HostEvents = {
  /** Only the kinds that came. */
  counts: Map<string, EventCount>;
  /** Times that events may have been missed. */
  gaps: number;
  opened: boolean;
  /** Since the last poll of VMs. */
  gap: boolean;
  /** The newest event of each VM since it was last polled, by UUID. */
  eventsAtMs: Map<string, number>;
  seen: Map<string, Seen>;
  polls: number;
  polledAtMs: number;
  /** By UUID: the newest start that an event told, and of which life of the VM. */
  starts: Map<string, { id: number; atMs: number }>;
};

export class DomainEvents {
  readonly #hosts = new Map<string, HostEvents>();

  /** libvirt is connected; what happened while it was not, nobody told. */
  opened(host: string): void {
    const record = this.#host(host);
    if (record.opened) missed(record);
    record.opened = true;
  }

  event(host: string, event: LifecycleEvent): void {
    const record = this.#host(host);
    if (event.event === 'lost') {
      missed(record);
      return;
    }
    count(record, event.event, event.detail);
    const { uuid, id } = event.domain;
    const { eventsAtMs, starts } = record;
    if (statelessEvents.has(event.event) || (eventsAtMs.size >= eventsHeldMax && !eventsAtMs.has(uuid)))
      return;
    eventsAtMs.set(uuid, event.at);
    if (event.event === 'started') starts.set(uuid, { id, atMs: event.at });
  }

  /** Takes in a poll of all VMs. `atMs`: wall milliseconds. */
  polled(host: string, vms: readonly DomainStats[], atMs: number): void {
    const record = this.#host(host);
    const { seen } = record;
    record.polls++;
    for (const vm of vms) {
      const now = stateInWords(vm.state.state, vm.state.reason);
      if (now) see(record, vm.domain, now, atMs);
    }
    for (const [uuid, { poll }] of seen) if (poll !== record.polls) seen.delete(uuid);
    record.polledAtMs = atMs;
    record.gap = false;
    for (const [uuid, { id, atMs: startedAtMs }] of record.starts)
      if (startedAtMs < atMs - eventLeadMs && seen.get(uuid)?.id !== id) record.starts.delete(uuid);
    for (const [uuid, eventAtMs] of record.eventsAtMs)
      if (eventAtMs < atMs - eventLeadMs) record.eventsAtMs.delete(uuid);
  }

  /** Undefined for a VM that no poll has shown. */
  change(host: string, uuid: string): Readonly<DomainChange> | undefined {
    return this.#hosts.get(host)?.seen.get(uuid);
  }

  /** When an event told that this life of the VM began. */
  startedAtMs(host: string, { uuid, id }: DomainRef): number | undefined {
    const start = this.#hosts.get(host)?.starts.get(uuid);
    return start?.id === id ? start.atMs : undefined;
  }

  /** Since the service started; undefined for a host whose libvirt was never connected. */
  counts(host: string): { events: Iterable<EventCount>; gaps: number } | undefined {
    const record = this.#hosts.get(host);
    return record?.opened ? { events: withThoseOf0(record.counts), gaps: record.gaps } : undefined;
  }

  /** Forgets hosts that left the inventory. */
  retain(hosts: ReadonlySet<string>): void {
    for (const name of this.#hosts.keys()) if (!hosts.has(name)) this.#hosts.delete(name);
  }

  #host(name: string): HostEvents {
    let record = this.#hosts.get(name);
    if (!record) {
      record = {
        counts: new Map(),
        gaps: 0,
        opened: false,
        gap: false,
        eventsAtMs: new Map(),
        seen: new Map(),
        polls: 0,
        polledAtMs: 0,
        starts: new Map(),
      };
      this.#hosts.set(name, record);
    }
    return record;
  }
}

/** They tell of a definition, or of a guest that goes on running. */
const statelessEvents: ReadonlySet<string> = new Set(['defined', 'undefined', 'rebooted', 'unknown']);

function missed(record: HostEvents): void {
  record.gap = true;
  // What followed them is not known.
  record.eventsAtMs.clear();
  record.starts.clear();
  for (const seen of record.seen.values()) seen.sinceMs = undefined;
  record.gaps++;
}

function keyOf(event: string, detail: string): string {
  return `${event} ${detail}`;
}

/** Every kind there is a word for, told from 0 on, so that the first one of its kind is an increase. */
const noneYet: ReadonlyMap<string, EventCount> = new Map(
  lifecycleKinds.map((kind) => [keyOf(kind.event, kind.detail), { ...kind, count: 0 }]),
);

function* withThoseOf0(counts: ReadonlyMap<string, EventCount>): Generator<EventCount> {
  for (const [key, none] of noneYet) yield counts.get(key) ?? none;
  for (const [key, told] of counts) if (!noneYet.has(key)) yield told;
}

function count({ counts }: HostEvents, event: string, detail: string): void {
  const named = keyOf(event, detail);
  const key = counts.has(named) || noneYet.has(named) || hasRoom(counts) ? named : keyOf('unknown', '');
  const known = counts.get(key);
  if (known) known.count++;
  else
    counts.set(key, key === named ? { event, detail, count: 1 } : { event: 'unknown', detail: '', count: 1 });
}

/** For one more kind that there is no word for. */
function hasRoom(counts: ReadonlyMap<string, EventCount>): boolean {
  let others = 0;
  for (const key of counts.keys()) if (!noneYet.has(key)) others++;
  return others < otherKindsMax;
}

function see(
  record: HostEvents,
  { uuid, id }: DomainRef,
  { state, reason }: StateInWords,
  atMs: number,
): void {
  const { seen, polls: poll } = record;
  const known = seen.get(uuid);
  const same = known?.state === state && known.reason === reason && known.id === id;
  const sinceMs = since(record, known, same, atMs, record.eventsAtMs.get(uuid));
  if (!known) {
    seen.set(uuid, { state, reason, id, sinceMs, poll });
    return;
  }
  known.state = state;
  known.reason = reason;
  known.id = id;
  known.sinceMs = sinceMs;
  known.poll = poll;
}

function since(
  { gap, polledAtMs }: HostEvents,
  before: Seen | undefined,
  same: boolean,
  atMs: number,
  eventAtMs: number | undefined,
): number | undefined {
  const isNewer = eventAtMs !== undefined && (!before || eventAtMs >= polledAtMs - eventLeadMs);
  if (isNewer) return eventAtMs;
  if (!before) return undefined;
  if (same) return before.sinceMs;
  return gap || atMs - polledAtMs > comparedWithinMs ? undefined : atMs;
}
