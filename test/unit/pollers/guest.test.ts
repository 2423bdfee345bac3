// Asking agents: what each answer means, and that dead ones cost the others nothing.
import { beforeEach, describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import type { OpsLibvirt } from '../../../src/fleet/ops-for-polls.js';
import { LibvirtError, libvirtCode } from '../../../src/libvirt/errors.js';
import type { DomainRef } from '../../../src/libvirt/procedures.js';
import type { TypedParam } from '../../../src/libvirt/wire/codec.js';
import { type GuestSample, guestPoller } from '../../../src/pollers/guest.js';
import { guestFigures, guestFilesystemsMax, oldGuestFigures } from '../../../src/pollers/guest-figures.js';
import type { HostReaders, PollContext } from '../../../src/pollers/poller.js';
import { FakeClock, settle } from '../../support/fake-clock.js';
import { aHost } from '../../support/host.js';

const intervalMs = 60_000;
const host = aHost({ poll: { intervalMs: 15_000, detailsMs: 300_000, guestMs: intervalMs } });
const refusal = (code: number, message = 'refused') =>
  new LibvirtError({ code, domain: 0, message, level: 2 }, host.name, 'domainGetGuestInfo');
const text = (field: string, value: string): TypedParam => ({ field, type: 'string', value });
const number = (field: string, value: number): TypedParam => ({ field, type: 'ullong', value });
const oneUser = [number('user.count', 1)];
const dom = (name: string, id = 1): DomainRef => ({ name, uuid: `uuid-of-${name}`, id });

type Agent = (types: number) => Promise<TypedParam[]>;

let clock: FakeClock;
let agents: Map<string, Agent>;
let asked: string[];
let domains: DomainRef[];
let old: Partial<OpsLibvirt>;

beforeEach(() => {
  clock = new FakeClock();
  agents = new Map();
  asked = [];
  domains = [];
  old = {};
});

function have(name: string, agent: Agent, id = 1): void {
  agents.set(name, agent);
  domains = [...domains.filter((one) => one.name !== name), dom(name, id)];
}

const well: Agent = async () => oneUser;
const refuses =
  (code: number): Agent =>
  async () => {
    throw refusal(code);
  };
/** As the connection does: gives up after its deadline. */
const hangs: Agent = () =>
  new Promise((_, reject) => {
    clock.after(8_000, () => reject(new HostError('TIMEOUT', { outcome: 'unknown' })));
  });

function poll(previous?: GuestSample, over: Partial<PollContext<GuestSample>> = {}): Promise<GuestSample> {
  const ops: Partial<OpsLibvirt> = {
    guestInfo: ({ name }, types) => {
      asked.push(name);
      return (agents.get(name) ?? well)(types);
    },
    ...old,
  };
  const readers = {
    libvirt: () => ({ listDomains: async () => domains }),
    opsLibvirt: async () => ops,
  } as unknown as HostReaders;
  const signal = new AbortController().signal;
  return guestPoller.poll(readers, { host, signal, clock, previous, ...over });
}

/** Lets the clock run until the poll has ended; resolves with how long it took. */
async function timed(polling: Promise<GuestSample>): Promise<{ sample: GuestSample; tookMs: number }> {
  const startedMs = clock.monotonicMs();
  let sample: GuestSample | undefined;
  polling.then((value) => {
    sample = value;
  });
  for (let turn = 0; turn < 200 && !sample; turn++) {
    await settle();
    if (!sample) await clock.advance(500);
  }
  if (!sample) throw new Error('the poll does not end');
  return { sample, tookMs: clock.monotonicMs() - startedMs };
}

const agentOf = (sample: GuestSample, name: string) =>
  sample.vms.find(({ domain }) => domain.name === name)?.agent;

describe('what an answer means', () => {
  it.each<[string, Agent, string]>([
    ['figures', well, 'up'],
    ['that the agent is away', refuses(libvirtCode.agentUnresponsive), 'down'],
    ['that the agent talks nonsense', refuses(libvirtCode.agentUnsynced), 'down'],
    ['nothing in time', hangs, 'down'],
    ['that there is none', refuses(libvirtCode.argumentUnsupported), 'none'],
    ['that the VM has just stopped', refuses(libvirtCode.operationInvalid), 'unknown'],
    ['that somebody else is asking it', refuses(libvirtCode.operationTimeout), 'unknown'],
    ['a refusal of every question', refuses(1), 'up'],
  ])('%s', async (_name, agent, expected) => {
    have('web-1', agent);
    const { sample } = await timed(poll());
    expect(agentOf(sample, 'web-1')).toBe(expected);
  });

  it('an agent that does not know a question of ours is asked for all it has, from then on at once', async () => {
    const types: number[] = [];
    have('web-1', async (asked) => {
      types.push(asked);
      if (asked !== 0) throw refusal(1, 'unable to execute QEMU agent command');
      return oneUser;
    });
    const sample = await poll();
    expect(sample.vms[0]?.figures?.users).toBe(1);
    await poll(sample);
    expect(types).toEqual([31, 0, 0]);
  });

  it('libvirt before 5.7 is asked for what it knows', async () => {
    have('web-1', async () => {
      throw refusal(libvirtCode.rpc, 'unknown procedure: 418');
    });
    old = {
      guestFilesystems: async () => [{ mountpoint: '/', name: 'vda1', fstype: 'ext4', devAlias: [] }],
      guestHostname: async () => {
        throw refusal(libvirtCode.noSupport);
      },
    };
    const { vms } = await poll();
    const filesystems = [{ mountpoint: '/', device: 'vda1', fstype: 'ext4' }];
    expect(vms[0]).toMatchObject({ agent: 'up', figures: { filesystems } });
    have('web-2', async () => {
      throw refusal(libvirtCode.noSupport);
    });
    old.guestFilesystems = async () => {
      throw refusal(libvirtCode.noSupport);
    };
    expect(agentOf(await poll(), 'web-2')).toBe('none');
  });

  it.each([
    ['a key that may not', refusal(libvirtCode.operationDenied), 'LIBVIRT_ERROR'],
    ['polkit that does not let it', refusal(libvirtCode.accessDenied), 'POLKIT_DENIED'],
    ['a connection that broke', new HostError('CLOSED', { outcome: 'unknown' }), 'CLOSED'],
  ])('%s fails the poll', async (_name, error, code) => {
    have('web-1', () => Promise.reject(error));
    await expect(poll()).rejects.toMatchObject({ code });
  });
});

describe('dead agents', () => {
  it('are asked apart from the others, and less and less often', async () => {
    for (let n = 0; n < 6; n++) have(`dead-${n}`, hangs);
    let { sample } = await timed(poll());
    for (let n = 0; n < 4; n++) have(`well-${n}`, well);
    await clock.advance(intervalMs);
    asked = [];
    const polling = poll(sample);
    await settle();
    expect(asked.filter((name) => name.startsWith('well'))).toHaveLength(4);
    expect(asked.filter((name) => name.startsWith('dead'))).toHaveLength(1);
    ({ sample } = await timed(polling));
    expect(sample.vms.filter(({ agent }) => agent === 'up')).toHaveLength(4);
    const askedIn = async (polls: number) => {
      asked = [];
      for (let n = 0; n < polls; n++) {
        await clock.advance(intervalMs);
        ({ sample } = await timed(poll(sample)));
      }
      return asked.filter((name) => name === 'dead-0').length;
    };
    const [early, late] = [await askedIn(10), await askedIn(10)];
    expect(early).toBeGreaterThan(1);
    expect(late).toBeLessThan(early);
    expect(late).toBeGreaterThan(0);
  });

  it('end a poll in time, however many there are', async () => {
    for (let n = 0; n < 50; n++) have(`dead-${n}`, refuses(libvirtCode.agentUnresponsive));
    for (let n = 0; n < 7; n++) have(`hung-${n}`, hangs);
    const { sample, tookMs } = await timed(poll());
    expect(tookMs).toBeLessThanOrEqual(28_500);
    expect(sample.vms).toHaveLength(57);
  });

  it('that hang are not made more than libvirt can bear', async () => {
    for (let n = 0; n < 30; n++) have(`hung-${n}`, hangs);
    let sample: GuestSample | undefined;
    for (let n = 0; n < 12; n++) {
      ({ sample } = await timed(poll(sample)));
      await clock.advance(intervalMs);
    }
    expect(sample?.vms.filter(({ hung }) => hung).length).toBeLessThanOrEqual(9);
    expect(sample?.problems.join()).toContain('libvirt waits for');
  });

  it('are asked at once when their VM is started anew, and an event asks nobody else', async () => {
    have('web-1', refuses(libvirtCode.agentUnresponsive));
    have('web-2', well);
    const sample = await poll();
    have('web-1', well, 7);
    asked = [];
    const after = await poll(sample, { changed: new Set(['uuid-of-web-1']) });
    expect(asked).toEqual(['web-1']);
    expect(after.vms.map(({ agent }) => agent)).toEqual(['up', 'up']);
    domains = domains.slice(0, 1);
    expect((await poll(after, { changed: new Set() })).vms).toHaveLength(1);
  });

  it('a connection that ends meanwhile keeps what was learned, and is not held against the others', async () => {
    have('web-1', well);
    const cause = new HostError('TIMEOUT', { message: 'libvirt left 5 calls without an answer' });
    have('web-2', () => Promise.reject(new HostError('TIMEOUT', { outcome: 'unknown', cause })));
    const sample = await poll();
    expect([agentOf(sample, 'web-1'), agentOf(sample, 'web-2')]).toEqual(['up', 'unknown']);
    expect(sample.problems.join()).toContain('asking ended early');
  });
});

describe('what a VM had', () => {
  it('is shown for three intervals when nothing newer can be learned', async () => {
    have('web-1', well);
    let sample = await poll();
    have('web-1', refuses(libvirtCode.resourceBusy));
    const seen: (string | undefined)[] = [];
    for (let n = 0; n < 5; n++) {
      await clock.advance(intervalMs);
      sample = await poll(sample);
      seen.push(agentOf(sample, 'web-1'));
    }
    expect(seen).toEqual(['up', 'up', 'up', 'unknown', 'unknown']);
    expect(sample.vms[0]).not.toHaveProperty('figures');
  });
});

describe('figures', () => {
  it('are those of the agent; names of users are not kept', () => {
    const figures = guestFigures([
      number('user.count', 2),
      text('user.0.name', 'alice'),
      text('os.id', 'debian'),
      text('os.version-id', '12'),
      text('os.pretty-name', 'Debian'),
      text('os.kernel-release', '6.1'),
      text('os.machine', 'x86_64'),
      text('hostname', 'web'),
      text('timezone.name', 'CET'),
      number('timezone.offset', 3600),
      number('fs.count', 2),
      text('fs.0.mountpoint', '/'),
      text('fs.0.name', 'vda1'),
      text('fs.0.fstype', 'ext4'),
      number('fs.0.total-bytes', 100),
      number('fs.0.used-bytes', 40),
      text('fs.1.mountpoint', '/snap/core'),
      text('fs.1.fstype', 'squashfs'),
    ]);
    const os = {
      id: 'debian',
      versionId: '12',
      prettyName: 'Debian',
      kernelRelease: '6.1',
      machine: 'x86_64',
    };
    const root = { mountpoint: '/', device: 'vda1', fstype: 'ext4', sizeBytes: 100, usedBytes: 40 };
    expect(figures).toEqual({ users: 2, os, hostname: 'web', timezone: 'CET', filesystems: [root] });
    expect(JSON.stringify(figures)).not.toContain('alice');
  });

  it('are bounded, and absent where they are not what they should be', () => {
    const many = Array.from({ length: 500 }, (_, n) =>
      text(`fs.${n}.mountpoint`, `/${'m'.repeat(9_000)}${n}`),
    );
    const hostile = guestFigures([
      number('fs.count', 1e15),
      ...many.map((param, n) => ({ ...param, value: `/${n}${'m'.repeat(9_000)}` }) as TypedParam),
      number('fs.0.total-bytes', -1),
      number('user.count', Number.NaN),
      number('hostname', 5),
      text('os.id', ''),
    ]);
    expect(hostile.filesystems).toHaveLength(guestFilesystemsMax);
    expect(hostile.filesystems.every(({ mountpoint }) => mountpoint.length <= 256)).toBe(true);
    expect(hostile.filesystems[0]).not.toHaveProperty('sizeBytes');
    expect(Object.keys(hostile)).toEqual(['filesystems']);
    expect(oldGuestFigures([{ mountpoint: '', name: '', fstype: '' }], undefined)).toEqual({
      filesystems: [],
    });
  });

  it('have each mount point once: the one on top', () => {
    const over = guestFigures([
      number('fs.count', 2),
      text('fs.0.mountpoint', '/a'),
      number('fs.0.total-bytes', 1),
      text('fs.1.mountpoint', '/a'),
      number('fs.1.total-bytes', 2),
    ]);
    expect(over.filesystems).toEqual([{ mountpoint: '/a', sizeBytes: 2 }]);
  });
});
