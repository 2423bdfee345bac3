// Polls what changes seldom: who the VMs, disks and interfaces are, their limits and snapshots, storage pools, versions.
// The whole is read at the interval of the inventory; after an event only the VMs that it named. One write is made, where
// the inventory asks for it and over the jobs key: the period of balloon statistics. It refuses to let a stuck VM or pool
// cost more than its own entry, which then keeps what was known.
import { hash } from 'node:crypto';
import { inTurns } from '../core/in-turns.js';
import { LibvirtError } from '../libvirt/errors.js';
import {
  type DomainRef,
  listDomainsFlag,
  listSnapshotsFlag,
  type PoolRef,
  procedures,
} from '../libvirt/procedures.js';
import { versionText } from '../libvirt/version.js';
import { parseXml, textOf } from '../libvirt/xml.js';
import { setBalloonPeriods } from './details-balloon.js';
import { type DomainDetails, readDomainDetails } from './details-domain.js';
import type { HostLibvirt, PollContext, Poller } from './poller.js';
import { Problems } from './problems.js';
import { VmCalls, vmCallsAtATime } from './vm-calls.js';

const pollTimeoutMs = 60_000;
/** No more is asked after this, so that what is under way can end within the poll. */
const budgetMs = 45_000;
const listTimeoutMs = 10_000;
/** The oldest snapshot has no parent. With more of those than this it is not looked for. */
const snapshotRootsMax = 64;

/** `oldestS`: seconds since the epoch. */
export type Snapshots = Readonly<{ count: number; oldestS?: number }>;

/** Most VMs have none. */
const noSnapshots: Snapshots = Object.freeze({ count: 0 });

export type DomainEntry = {
  domain: DomainRef;
  /** libvirt did not tell in time: `details` and `snapshots` are those known before, or absent. */
  timedOut: boolean;
  details?: DomainDetails;
  /** Of the XML that `details` were read from. */
  xmlDigest?: string;
  /** Absent where libvirt did not tell. */
  snapshots?: Snapshots;
  /** In this life of the VM its balloon was told to report, whatever came of it. */
  balloonAsked?: true;
};

/** `info` is absent when libvirt did not tell of it; bytes. */
export type PoolEntry = {
  name: string;
  timedOut: boolean;
  info?: { state: number; capacity: number; allocation: number; available: number };
};

export type DetailsSample = {
  takenAtMs: number;
  /** `9.0.0`; absent where libvirt does not say. */
  versions: { hypervisor?: string; libvirtd?: string };
  domains: DomainEntry[];
  /** Absent where the host has no storage driver. */
  pools?: PoolEntry[];
  problems: readonly string[];
};

type Context = PollContext<DetailsSample>;

export const detailsPoller: Poller<DetailsSample> = {
  name: 'details',
  part: 'libvirt',
  judgesPart: false,
  followsEvents: true,
  intervalMs: ({ poll }) => poll.detailsMs,
  timeoutMs: pollTimeoutMs,
  async poll(readers, context) {
    const { signal, clock, previous } = context;
    const libvirt = readers.libvirt();
    // Not in the background: it never waits for a VM, and without it nothing else can be told.
    const [domains, withSnapshots] = await Promise.all([
      libvirt.listDomains(0, { timeoutMs: listTimeoutMs, signal }),
      domainsWithSnapshots(libvirt, signal),
    ]);
    const calls = new VmCalls({ libvirt, signal, clock, budgetMs });
    const reading = new Reading(calls, context, withSnapshots);
    const read = await inTurns(domains, (domain) => reading.entry(domain), vmCallsAtATime);
    const entries = read.filter((entry) => entry !== undefined);
    const rest = context.changed && previous ? previous : await reading.host();
    await setBalloonPeriods(entries, readers, context, reading.problems);
    return {
      takenAtMs: clock.wallMs(),
      versions: rest.versions,
      domains: entries,
      ...(rest.pools && { pools: rest.pools }),
      problems: reading.problems.list,
    };
  },
};

/** UUIDs, by one question in place of one a VM; undefined where libvirt does not answer that: each VM is to be asked then. */
async function domainsWithSnapshots(
  libvirt: HostLibvirt,
  signal: AbortSignal,
): Promise<ReadonlySet<string> | undefined> {
  try {
    const domains = await libvirt.listDomains(listDomainsFlag.hasSnapshot, {
      timeoutMs: listTimeoutMs,
      signal,
    });
    return new Set(domains.map(({ uuid }) => uuid));
  } catch (error) {
    if (error instanceof LibvirtError) return undefined;
    throw error;
  }
}

class Reading {
  readonly problems = new Problems();
  readonly #calls: VmCalls;
  readonly #context: Context;
  readonly #known: ReadonlyMap<string, DomainEntry>;
  readonly #withSnapshots: ReadonlySet<string> | undefined;

  constructor(calls: VmCalls, context: Context, withSnapshots: ReadonlySet<string> | undefined) {
    this.#calls = calls;
    this.#context = context;
    this.#withSnapshots = withSnapshots;
    this.#known = new Map(context.previous?.domains.map((entry) => [entry.domain.uuid, entry]));
  }

  /** Undefined when the VM has gone meanwhile. */
  async entry(domain: DomainRef): Promise<DomainEntry | undefined> {
    const known = this.#known.get(domain.uuid);
    const { changed } = this.#context;
    const isSame = known !== undefined && known.domain.id === domain.id && !known.timedOut;
    if (changed && isSame && !changed.has(domain.uuid))
      return known.domain === domain ? known : { ...known, domain };
    const xml = await this.#calls.ask(procedures.domainGetXmlDesc, { dom: domain, flags: 0 });
    if (xml === 'gone') return undefined;
    if (xml === 'timed-out') return { ...known, domain, timedOut: true };
    const read = xml === 'refused' ? undefined : this.#details(domain, xml.value.xml, known);
    const snapshots = await this.#snapshots(domain);
    const told = snapshots === 'timed-out' ? known?.snapshots : snapshots;
    const isSameLife = known?.domain.id === domain.id;
    // Set one by one: objects that are put together from parts take three times the memory, and there is one for each VM.
    const entry: DomainEntry = { domain, timedOut: snapshots === 'timed-out' };
    if (read?.details) entry.details = read.details;
    if (read?.xmlDigest) entry.xmlDigest = read.xmlDigest;
    if (told) entry.snapshots = told;
    if (isSameLife && known.balloonAsked) entry.balloonAsked = true;
    return entry;
  }

  /** XML is the dearest thing to read, and rarely changes. */
  #details(
    { name }: DomainRef,
    xml: string,
    known: DomainEntry | undefined,
  ): Pick<DomainEntry, 'details' | 'xmlDigest'> {
    const xmlDigest = hash('sha256', xml, 'binary');
    if (known?.details && known.xmlDigest === xmlDigest) return { details: known.details, xmlDigest };
    try {
      return { details: readDomainDetails(xml), xmlDigest };
    } catch (error) {
      this.problems.add(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      return {};
    }
  }

  async #snapshots(dom: DomainRef): Promise<Snapshots | 'timed-out' | undefined> {
    if (this.#withSnapshots && !this.#withSnapshots.has(dom.uuid)) return noSnapshots;
    const list = (flags: number) =>
      this.#calls.ask(procedures.domainListAllSnapshots, { dom, needResults: 1, flags });
    const all = await list(0);
    if (typeof all === 'string') return all === 'timed-out' ? all : undefined;
    const count = all.value.snapshots.length;
    if (count === 0) return noSnapshots;
    const roots = await list(listSnapshotsFlag.roots);
    if (typeof roots === 'string') return roots === 'timed-out' ? roots : { count };
    const { snapshots } = roots.value;
    if (snapshots.length > snapshotRootsMax) return { count };
    const times: number[] = [];
    for (const snap of snapshots) {
      const answer = await this.#calls.ask(procedures.domainSnapshotGetXmlDesc, { snap, flags: 0 });
      if (answer === 'timed-out') return answer;
      const time = typeof answer === 'object' ? this.#creationTime(dom, answer.value.xml) : undefined;
      if (time !== undefined) times.push(time);
    }
    return { count, ...(times.length > 0 && { oldestS: Math.min(...times) }) };
  }

  #creationTime({ name }: DomainRef, xml: string): number | undefined {
    try {
      const text = textOf(parseXml(xml), 'creationTime') ?? '';
      return /^\d{1,12}$/.test(text) ? Number(text) : undefined;
    } catch (error) {
      this.problems.add(`${name}: a snapshot: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  /** What is not a VM's. */
  async host(): Promise<Pick<DetailsSample, 'versions' | 'pools'>> {
    const [hypervisor, libvirtd, pools] = await Promise.all([
      this.#calls.ask(procedures.connectGetVersion, undefined),
      this.#calls.ask(procedures.connectGetLibVersion, undefined),
      this.#pools(),
    ]);
    return {
      versions: {
        ...(typeof hypervisor === 'object' && { hypervisor: versionText(hypervisor.value.hvVer) }),
        ...(typeof libvirtd === 'object' && { libvirtd: versionText(libvirtd.value.libVer) }),
      },
      ...(pools && { pools }),
    };
  }

  /** Where the list itself hangs, which it does behind a hung pool, those known before have timed out. */
  async #pools(): Promise<PoolEntry[] | undefined> {
    const args = { needResults: 1, flags: 0 };
    const list = await this.#calls.ask(procedures.connectListAllStoragePools, args);
    if (list === 'timed-out') {
      return this.#context.previous?.pools?.map(({ name }) => ({ name, timedOut: true }));
    }
    if (typeof list === 'string') return undefined;
    const entries = await inTurns(list.value.pools, (pool) => this.#pool(pool), vmCallsAtATime);
    return entries.filter((entry) => entry !== undefined);
  }

  async #pool(pool: PoolRef): Promise<PoolEntry | undefined> {
    const info = await this.#calls.ask(procedures.storagePoolGetInfo, { pool });
    if (info === 'gone') return undefined;
    const { name } = pool;
    return {
      name,
      timedOut: info === 'timed-out',
      ...(typeof info === 'object' && { info: info.value }),
    };
  }
}
