// The details poll against a libvirt that is slow, refuses, and changes while it is asked.
import { beforeEach, describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { LibvirtError, libvirtCode } from '../../../src/libvirt/errors.js';
import { type DomainRef, listDomainsFlag } from '../../../src/libvirt/procedures.js';
import { type DetailsSample, detailsPoller } from '../../../src/pollers/details.js';
import { type DomainJobsSample, domainJobsPoller } from '../../../src/pollers/domain-jobs.js';
import type { HostReaders, PollContext } from '../../../src/pollers/poller.js';
import { FakeClock } from '../../support/fake-clock.js';
import { aHost } from '../../support/host.js';

type Args = { dom: DomainRef; flags: number; pool: { name: string }; snap: { name: string } };
type Answer = (args: Args) => unknown;

const vm = (name: string, id = 1): DomainRef => ({ name, uuid: `uuid-${name}`, id });
const xmlOf = (name: string, inside = '') =>
  `<domain><name>${name}</name><os><type>hvm</type></os>${inside}</domain>`;
const refusal = (code: number) =>
  new LibvirtError({ code, domain: 10, message: 'no', level: 2 }, 'kvm-01', 'x');
const hung = new HostError('TIMEOUT', { outcome: 'unknown', message: 'libvirt did not answer' });
const noSlot = new HostError('TIMEOUT', { outcome: 'not-sent', message: 'no slot became free' });
const fails = (error: Error) => () => {
  throw error;
};

let domains: DomainRef[];
let haveSnapshots: () => DomainRef[];
let answers: Record<string, Answer>;
let asked: string[];
let background: Set<string>;
let periods: [string, number][];

beforeEach(() => {
  domains = [vm('web'), vm('db', 2), vm('old', -1)];
  haveSnapshots = () => domains;
  asked = [];
  background = new Set();
  periods = [];
  answers = {
    domainGetXmlDesc: ({ dom }) => ({ xml: xmlOf(dom.name) }),
    domainListAllSnapshots: () => ({ snapshots: [], ret: 0 }),
    connectGetVersion: () => ({ hvVer: 7_002_022 }),
    connectGetLibVersion: () => ({ libVer: 9_000_000 }),
    connectListAllStoragePools: () => ({ pools: [{ name: 'images', uuid: 'p' }], ret: 1 }),
    storagePoolGetInfo: () => ({ state: 2, capacity: 10, allocation: 4, available: 6 }),
  };
});

const readers: HostReaders = {
  libvirt: () => ({
    domainStats: () => Promise.reject(new Error('not of this poll')),
    listDomains: async (flags) => (flags === listDomainsFlag.hasSnapshot ? haveSnapshots() : domains),
    call: async ({ name }, args, options) => {
      const { dom, pool, snap } = (args ?? {}) as Partial<Args>;
      const of = dom?.name ?? pool?.name ?? snap?.name;
      asked.push(of === undefined ? name : `${name} ${of}`);
      if (options?.background) background.add(name);
      const answer = answers[name];
      if (!answer) throw new Error(`${name} is not expected`);
      return answer(args as Args) as never;
    },
  }),
  files: () => {
    throw new Error('no business with files');
  },
  opsLibvirt: async () =>
    ({
      setBalloonPeriod: async (dom: DomainRef, seconds: number) => {
        periods.push([dom.name, seconds]);
        answers.setBalloonPeriod?.({ dom } as Args);
      },
    }) as never,
};

const poll = (context: Partial<PollContext<DetailsSample>> = {}) =>
  detailsPoller.poll(readers, {
    host: aHost(),
    signal: new AbortController().signal,
    clock: new FakeClock(1_000),
    ...context,
  });

const of = (sample: DetailsSample, name: string) => sample.domains.find(({ domain }) => domain.name === name);

describe('a whole poll', () => {
  it('reads every VM, pool and version; all but the list in the background', async () => {
    const sample = await poll();
    expect(
      sample.domains.map(({ domain, timedOut, details }) => [domain.name, timedOut, details?.os.type]),
    ).toEqual([
      ['web', false, 'hvm'],
      ['db', false, 'hvm'],
      ['old', false, 'hvm'],
    ]);
    expect(sample.versions).toEqual({ hypervisor: '7.2.22', libvirtd: '9.0.0' });
    expect(sample.pools).toEqual([
      { name: 'images', timedOut: false, info: { state: 2, capacity: 10, allocation: 4, available: 6 } },
    ]);
    expect(sample.problems).toEqual([]);
    expect(background).toEqual(new Set(Object.keys(answers)));
  });

  it('leaves out a VM and a pool that vanish meanwhile', async () => {
    answers.domainGetXmlDesc = ({ dom }) => {
      if (dom.name === 'db') throw refusal(libvirtCode.noDomain);
      return { xml: xmlOf(dom.name) };
    };
    answers.storagePoolGetInfo = fails(refusal(libvirtCode.noStoragePool));
    const sample = await poll();
    expect(sample.domains.map(({ domain }) => domain.name)).toEqual(['web', 'old']);
    expect(sample.pools).toEqual([]);
  });

  it('says of which VM the definition makes no sense, and keeps its identity', async () => {
    answers.domainGetXmlDesc = ({ dom }) => ({ xml: dom.name === 'db' ? '<domain' : xmlOf(dom.name) });
    const sample = await poll();
    expect(of(sample, 'db')).toEqual({ domain: vm('db', 2), timedOut: false, snapshots: { count: 0 } });
    expect(sample.problems).toEqual([expect.stringMatching(/^db: libvirt's XML makes no sense/)]);
  });

  it('does without a storage driver, and without snapshots', async () => {
    answers.connectListAllStoragePools = fails(refusal(libvirtCode.noSupport));
    answers.domainListAllSnapshots = fails(refusal(libvirtCode.noSupport));
    const sample = await poll();
    expect(sample).not.toHaveProperty('pools');
    expect(of(sample, 'web')).not.toHaveProperty('snapshots');
  });

  it('fails when the connection does', async () => {
    answers.storagePoolGetInfo = fails(new HostError('CLOSED', { message: 'gone' }));
    await expect(poll()).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

describe('what hangs', () => {
  it('costs its own entry, which keeps what was known', async () => {
    const previous = await poll();
    answers.domainGetXmlDesc = ({ dom }) => {
      if (dom.name === 'db') throw hung;
      return { xml: xmlOf(dom.name) };
    };
    answers.storagePoolGetInfo = fails(hung);
    const sample = await poll({ previous });
    expect(of(sample, 'db')).toMatchObject({ timedOut: true, details: { os: { type: 'hvm' } } });
    expect(of(sample, 'web')).toMatchObject({ timedOut: false });
    expect(sample.pools).toEqual([{ name: 'images', timedOut: true }]);
    const fresh = await poll();
    expect(of(fresh, 'db')).toEqual({ domain: vm('db', 2), timedOut: true });
  });

  it('and the list of pools behind a hung pool: those known have timed out', async () => {
    const previous = await poll();
    answers.connectListAllStoragePools = fails(hung);
    expect((await poll({ previous })).pools).toEqual([{ name: 'images', timedOut: true }]);
  });

  it('with no slot left, nothing more is asked', async () => {
    domains = Array.from({ length: 50 }, (_, n) => vm(`vm-${n}`));
    answers.domainGetXmlDesc = fails(noSlot);
    const sample = await poll();
    expect(sample.domains.every(({ timedOut }) => timedOut)).toBe(true);
    expect(asked.length).toBeLessThan(6);
  });

  it('libvirt that gives up waiting for the VM is a time-out as well', async () => {
    answers.domainGetXmlDesc = fails(refusal(libvirtCode.operationTimeout));
    expect(of(await poll(), 'web')?.timedOut).toBe(true);
  });
});

describe('after an event', () => {
  const xmlsAsked = () => asked.filter((call) => call.startsWith('domainGetXmlDesc'));

  it('only the VMs that it named are read again; the rest is kept', async () => {
    const previous = await poll();
    asked = [];
    const sample = await poll({ previous, changed: new Set(['uuid-db']) });
    expect(xmlsAsked()).toEqual(['domainGetXmlDesc db']);
    expect(asked).not.toContain('connectListAllStoragePools');
    expect(sample).toEqual(previous);
  });

  it('also those that are new, started anew, or were not told of the last time', async () => {
    answers.domainGetXmlDesc = ({ dom }) => {
      if (dom.name === 'old') throw hung;
      return { xml: xmlOf(dom.name) };
    };
    const previous = await poll();
    asked = [];
    domains = [vm('web', 7), vm('db', 2), vm('old', -1), vm('new', 9)];
    await poll({ previous, changed: new Set() });
    expect(xmlsAsked().sort()).toEqual([
      'domainGetXmlDesc new',
      'domainGetXmlDesc old',
      'domainGetXmlDesc web',
    ]);
  });

  it('a VM that left is gone, and one renamed has its new name', async () => {
    const previous = await poll();
    domains = [{ ...vm('web'), name: 'www' }];
    const sample = await poll({ previous, changed: new Set() });
    expect(sample.domains.map(({ domain }) => domain.name)).toEqual(['www']);
  });
});

describe('snapshots', () => {
  const madeAt: Record<string, string> = { a: '1700000300', b: '1700000100', c: 'x' };
  const named = (names: string[]) => names.map((name) => ({ name, dom: vm('web') }));

  const vmsAsked = () => asked.filter((call) => call.startsWith('domainListAllSnapshots'));

  it('are asked for where there are any', async () => {
    haveSnapshots = () => [vm('web')];
    answers.domainListAllSnapshots = () => ({ snapshots: named(['c']), ret: 0 });
    answers.domainSnapshotGetXmlDesc = () => ({ xml: '<domainsnapshot/>' });
    const sample = await poll();
    expect(new Set(vmsAsked())).toEqual(new Set(['domainListAllSnapshots web']));
    expect(of(sample, 'web')?.snapshots).toEqual({ count: 1 });
    expect(of(sample, 'db')?.snapshots).toEqual({ count: 0 });
  });

  it('are asked for of each VM by a libvirt that does not say where there are any', async () => {
    haveSnapshots = fails(refusal(libvirtCode.invalidArg));
    const sample = await poll();
    expect(vmsAsked()).toHaveLength(3);
    expect(of(sample, 'db')?.snapshots).toEqual({ count: 0 });
  });

  it('the oldest is looked for among those without a parent', async () => {
    answers.domainListAllSnapshots = ({ flags }) => ({
      snapshots: named(flags === 1 ? ['a', 'b', 'c'] : ['a', 'b', 'c', 'd', 'e']),
      ret: 0,
    });
    answers.domainSnapshotGetXmlDesc = ({ snap }) => ({
      xml: `<domainsnapshot><creationTime>${madeAt[snap.name]}</creationTime></domainsnapshot>`,
    });
    expect(of(await poll(), 'web')?.snapshots).toEqual({ count: 5, oldestS: 1_700_000_100 });
  });

  it('one that vanishes, and one whose definition makes no sense, are left out', async () => {
    answers.domainListAllSnapshots = () => ({ snapshots: named(['a', 'b']), ret: 0 });
    answers.domainSnapshotGetXmlDesc = ({ snap }) => {
      if (snap.name === 'a') throw refusal(libvirtCode.noDomainSnapshot);
      return { xml: '<domainsnapshot' };
    };
    const sample = await poll();
    expect(of(sample, 'web')?.snapshots).toEqual({ count: 2 });
    expect(sample.problems[0]).toMatch(/^web: a snapshot: libvirt's XML/);
  });

  it('too many without a parent are only counted', async () => {
    const many = Array.from({ length: 65 }, (_, n) => `s${n}`);
    answers.domainListAllSnapshots = () => ({ snapshots: named(many), ret: 0 });
    expect(of(await poll(), 'web')?.snapshots).toEqual({ count: 65 });
  });
});

describe('balloons', () => {
  const host = (over = {}) =>
    aHost({ poll: { intervalMs: 15_000, detailsMs: 300_000, balloonPeriodS: 5 }, ...over });
  const balloons: Record<string, string> = {
    web: "<devices><memballoon model='virtio'/></devices>",
    db: "<devices><memballoon model='virtio'><stats period='9'/></memballoon></devices>",
    old: "<devices><memballoon model='virtio'/></devices>",
  };

  beforeEach(() => {
    answers.domainGetXmlDesc = ({ dom }) => ({ xml: xmlOf(dom.name, balloons[dom.name]) });
  });

  it('of running VMs that are silent are set up, once in their life', async () => {
    const previous = await poll({ host: host() });
    expect(periods).toEqual([['web', 5]]);
    const again = await poll({ host: host(), previous });
    expect(periods).toHaveLength(1);
    domains = [vm('web', 8)];
    await poll({ host: host(), previous: again });
    expect(periods).toHaveLength(2);
  });

  it('are left alone without the setting, and in maintenance', async () => {
    await poll();
    await poll({ host: host({ maintenance: true }) });
    expect(periods).toEqual([]);
  });

  it('that cannot be set up are a problem, and nothing more', async () => {
    answers.setBalloonPeriod = fails(refusal(libvirtCode.operationInvalid));
    const sample = await poll({ host: host() });
    expect(sample.domains).toHaveLength(3);
    expect(sample.problems).toEqual([expect.stringMatching(/^balloon of web: /)]);
  });
});

describe("libvirt's own jobs", () => {
  const vms = () => domains.map((domain) => ({ domain }));

  it('are asked for, VM by VM; one that hangs has none', async () => {
    domains = [vm('web'), vm('old', -1), vm('db', 2)];
    answers.domainGetJobInfo = ({ dom }) => {
      if (dom.name === 'db') throw hung;
      return { type: 2, timeElapsed: 1_500 };
    };
    const sample = await domainJobsPoller.poll(readers, {
      host: aHost(),
      signal: new AbortController().signal,
      clock: new FakeClock(1_000),
      vms: vms(),
    });
    expect(sample).toEqual({
      takenAtMs: 1_000,
      domains: [{ name: 'web', job: { type: 2, timeElapsed: 1_500 } }],
      round: 0,
    });
    expect(asked).toEqual(['domainGetJobInfo web', 'domainGetJobInfo db']);
  });

  it('are asked at each poll where there is one, and elsewhere of a ninth of the VMs at a time', async () => {
    domains = Array.from({ length: 100 }, (_, n) => vm(`web-${n}`, n + 1));
    let asked: string[] = [];
    answers.domainGetJobInfo = ({ dom }) => {
      asked.push(dom.name);
      return { type: dom.name === 'web-99' ? 2 : 0 };
    };
    let sample: DomainJobsSample | undefined;
    const round = async () => {
      asked = [];
      sample = await domainJobsPoller.poll(readers, {
        host: aHost(),
        signal: new AbortController().signal,
        clock: new FakeClock(1_000),
        vms: vms(),
        ...(sample && { previous: sample }),
      });
      expect(sample.domains).toHaveLength(100);
      return asked;
    };
    expect(await round()).toHaveLength(100);
    const later: string[][] = [];
    for (let poll = 0; poll < 9; poll++) later.push(await round());
    for (const names of later) expect(names.length).toBeLessThanOrEqual(14);
    for (const names of later) expect(names).toContain('web-99');
    expect(new Set(later.flat()).size).toBe(100);
  });

  it('are kept of each VM until its turn, though the VMs come in another order', async () => {
    domains = Array.from({ length: 20 }, (_, n) => vm(`web-${n}`, n + 1));
    answers.domainGetJobInfo = () => ({ type: 0 });
    const poll = (previous?: DomainJobsSample) => {
      const signal = new AbortController().signal;
      const context = { host: aHost(), signal, clock: new FakeClock(1_000), vms: vms(), previous };
      return domainJobsPoller.poll(readers, context);
    };
    const first = await poll();
    domains = [vm('new', 99), ...domains.slice(1).reverse()];
    asked = [];
    const second = await poll(first);
    expect(asked).toContain('domainGetJobInfo new');
    expect(asked).toHaveLength(7);
    expect(second.domains.map(({ name }) => name)).toEqual(domains.map(({ name }) => name));
    expect(first.domains).toEqual(expect.arrayContaining(second.domains.slice(1)));
  });
});
