// Follows the inventory file: a change is read, judged and handed on as a difference; a bad file changes nothing and is
// reported. It refuses to trust any one signal: the folder's events, a timer that compares the file, and reload() all
// lead to the same check, so editors that replace the file and Kubernetes swapping ..data are seen, events or not.
//
//   event or timer ─► file differs from the one last read? ─► unchanged for settleMs? ─► read ─► judge ─► onChange | onProblem
//   reload() ────────────────────────────────────────────────────────────────────────► read ─► judge ─► onChange | onProblem
import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type Clock, sleep, systemClock, type Timer } from '../core/clock.js';
import { type Log, silentLog } from '../core/log.js';
import { diffInventories, type InventoryDiff, isEmptyDiff } from './diff.js';
import type { Inventory, InventoryDefaults } from './host.js';
import { parseInventory, readInventoryFile } from './load.js';
import type { Problem } from './problem.js';

/** The file must stay the same this long before it is read: a writer may be in the middle of it. */
const settleMsDefault = 200;
/** A file that never settles is read after this long all the same. */
const settleMsMax = 5_000;
/** A file may be gone for this long while an editor replaces it. */
const missingGraceMsDefault = 2_000;
/** How often the file is compared, for file systems without events. */
const compareEveryMsDefault = 10_000;

/** Reads of a file that changes while it is read. */
const readAttemptsMax = 5;

export type InventoryWatcherOptions = {
  file: string;
  /** What is in force now, as loaded from the file. */
  current: Inventory;
  defaults: InventoryDefaults;
  /** A good file with a difference is in force from now on. */
  onChange: (inventory: Inventory, diff: InventoryDiff) => void | Promise<void>;
  /** What is wrong with the file now; empty once it has been mended. Called when that changes. */
  onProblem: (problems: readonly Problem[]) => void;
  log?: Log;
  clock?: Clock;
  settleMs?: number;
  missingGraceMs?: number;
  compareEveryMs?: number;
};

/** What a reload came to. `problems`: the file is bad and nothing changed. */
export type ReloadOutcome = 'changed' | 'unchanged' | 'problems';

/** Identity of the file's content as far as stat can tell; undefined while there is no file. */
type Fingerprint = string | undefined;

export class InventoryWatcher implements AsyncDisposable {
  readonly #options: InventoryWatcherOptions;
  readonly #folder: string;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #inventory: Inventory;
  #problems: readonly Problem[] = [];
  #problemsSinceMs: number | undefined;
  #read: Fingerprint | null = null;
  #events: FSWatcher | undefined;
  #eventsInode: number | undefined;
  #comparing: Timer | undefined;
  #work: Promise<unknown> = Promise.resolve();
  #checkQueued = false;

  constructor(options: InventoryWatcherOptions) {
    this.#options = options;
    this.#folder = dirname(resolve(options.file));
    this.#log = options.log ?? silentLog;
    this.#clock = options.clock ?? systemClock;
    this.#inventory = options.current;
  }

  /** Begins to follow the file. What changed since `current` was loaded is found by the first check. */
  start(): this {
    this.#compare();
    return this;
  }

  /** The inventory in force. */
  get inventory(): Inventory {
    return this.#inventory;
  }

  /** What is wrong with the file now; empty when the inventory in force is the one in the file. */
  get problems(): readonly Problem[] {
    return this.#problems;
  }

  /** Wall milliseconds: when the file began to have problems. Undefined while it has none. */
  get problemsSinceMs(): number | undefined {
    return this.#problemsSinceMs;
  }

  /** Reads the file now, whether it seems changed or not (SIGHUP). */
  reload(): Promise<ReloadOutcome> {
    return this.#serially(() => this.#load());
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#comparing?.cancel();
    this.#events?.close();
    await this.#work;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #serially<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#work.then(task);
    this.#work = done.catch(() => undefined);
    return done;
  }

  #compare(): void {
    if (this.#stop.signal.aborted) return;
    this.#queueCheck();
    const everyMs = this.#options.compareEveryMs ?? compareEveryMsDefault;
    this.#comparing = this.#clock.after(everyMs, () => this.#compare());
  }

  /** However many events come, at most one check waits behind the running one. */
  #queueCheck(): void {
    if (this.#checkQueued || this.#stop.signal.aborted) return;
    this.#checkQueued = true;
    void this.#serially(async () => {
      this.#checkQueued = false;
      await this.#watchFolder();
      await this.#check();
    }).catch((error) => {
      if (!this.#stop.signal.aborted) this.#log.error({ error }, 'the inventory could not be checked');
    });
  }

  /** Events come from the folder as it was when it was opened: a folder put in its place needs a new watch. */
  async #watchFolder(): Promise<void> {
    const inode = (await stat(this.#folder).catch(() => undefined))?.ino;
    if (this.#stop.signal.aborted || (this.#events && inode === this.#eventsInode)) return;
    this.#events?.close();
    this.#events = undefined;
    if (inode === undefined) return;
    try {
      this.#events = watch(this.#folder, { persistent: false }, () => this.#queueCheck());
      this.#events.on('error', (error) => this.#dropEvents(error));
      this.#eventsInode = inode;
    } catch (error) {
      this.#dropEvents(error);
    }
  }

  #dropEvents(error: unknown): void {
    this.#events?.close();
    this.#events = undefined;
    this.#log.warn({ error, folder: this.#folder }, 'no file events for the inventory, comparing it instead');
  }

  async #check(): Promise<void> {
    const settled = await this.#settled();
    if (settled !== this.#read) await this.#load();
  }

  /** The fingerprint, once it differs from the one last read and holds still. */
  async #settled(): Promise<Fingerprint> {
    const settleMs = this.#options.settleMs ?? settleMsDefault;
    const graceMs = this.#options.missingGraceMs ?? missingGraceMsDefault;
    const begun = this.#clock.monotonicMs();
    let seen = await this.#fingerprint();
    while (seen !== this.#read) {
      await sleep(this.#clock, settleMs, this.#stop.signal);
      const now = await this.#fingerprint();
      const waitedMs = this.#clock.monotonicMs() - begun;
      const still = now === seen && (now !== undefined || waitedMs >= graceMs);
      if (still || waitedMs >= Math.max(settleMsMax, graceMs)) return now;
      seen = now;
    }
    return seen;
  }

  async #fingerprint(): Promise<Fingerprint> {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(this.#options.file, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join(' ');
    } catch {
      return undefined;
    }
  }

  async #load(): Promise<ReloadOutcome> {
    const { file, defaults } = this.#options;
    const { fingerprint, read } = await this.#readWhole();
    const { inventory, problems } =
      'problem' in read ? { problems: [read.problem] } : parseInventory(read.text, file, defaults);
    if (this.#stop.signal.aborted) return 'unchanged';
    this.#read = fingerprint;
    this.#report(problems);
    if (!inventory) return 'problems';
    const diff = diffInventories(this.#inventory, inventory);
    this.#inventory = inventory;
    if (isEmptyDiff(diff)) return 'unchanged';
    await this.#call(() => this.#options.onChange(inventory, diff));
    return 'changed';
  }

  /** Reads again when the file changed meanwhile: half a file may be a good inventory with half of the hosts. */
  async #readWhole() {
    for (let attempt = 1; ; attempt++) {
      const fingerprint = await this.#fingerprint();
      const read = await readInventoryFile(this.#options.file);
      if (attempt === readAttemptsMax || fingerprint === (await this.#fingerprint()))
        return { fingerprint, read };
    }
  }

  #report(problems: readonly Problem[]): void {
    if (isDeepStrictEqual(problems, this.#problems)) return;
    this.#problems = problems;
    this.#problemsSinceMs = problems.length > 0 ? (this.#problemsSinceMs ?? this.#clock.wallMs()) : undefined;
    void this.#call(async () => this.#options.onProblem(problems));
  }

  async #call(run: () => void | Promise<void>): Promise<void> {
    try {
      await run();
    } catch (error) {
      this.#log.error({ error }, 'a change of the inventory could not be applied');
    }
  }
}
