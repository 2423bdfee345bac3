// What the outbox is handed and what it hands out. An entry is one event or one job's result; what is inside is not
// looked at. It refuses to know the backend: a delivery either resolves or says why not.

export type OutboxKind = 'event' | 'result';

export type NewEntry = {
  kind: OutboxKind;
  /** Inventory name: its entries are delivered in order, one at a time. */
  host: string;
  /** For a host that may have left the inventory when the entry's turn comes. */
  agentId?: string;
  /** JSON. */
  payload: unknown;
};

export type OutboxEntry = NewEntry & {
  /** UUID; the same at every attempt, also after a restart: the Idempotency-Key. */
  id: string;
  /** Of an event: per host, each one more than the one before; never goes back. Begins anywhere. */
  sequence?: number;
  /** Wall milliseconds when it was added. */
  atMs: number;
};

/** Of what waits, in the store and in the journal each. */
export type OutboxLimits = { entriesMax: number; bytesMax: number; entryBytesMax: number };

export const outboxLimits: OutboxLimits = {
  entriesMax: 100_000,
  bytesMax: 64 * 1024 * 1024,
  entryBytesMax: 4 * 1024 * 1024,
};

/** `full`: an event that made room; `refused`: the backend will never take it. */
export type DropCause = 'full' | 'refused';

export type OutboxStats = {
  /** Entries that wait, in the store and in the journal. */
  depth: number;
  bytes: number;
  /** Age of the oldest that waits, milliseconds; 0 when none waits. */
  oldestAgeMs: number;
  /** In the journal alone: the store has not got them yet. */
  untaken: number;
  /** Since the start. */
  delivered: number;
  dropped: Readonly<Record<DropCause, number>>;
  /** Attempts that failed and will be made again, since the start. */
  failures: number;
  /** Why the last attempt failed; undefined after one that did not. */
  lastFailure: string | undefined;
};
