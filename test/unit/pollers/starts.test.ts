// When VMs were started, from the files of their processes; and files that lie.
import { beforeEach, describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import type { DomainRef } from '../../../src/libvirt/procedures.js';
import type { HostReaders, PollContext } from '../../../src/pollers/poller.js';
import { type StartsSample, startsPoller, startTicks } from '../../../src/pollers/starts.js';
import { FakeClock } from '../../support/fake-clock.js';
import { aHost } from '../../support/host.js';
import { FakeFiles } from './fake-files.js';

const uuid = '5c0a9b1e-2f53-4f5c-9d8e-1f2a3b4c5d6e';
const web: DomainRef = { name: 'web-1', uuid, id: 3 };
/** `comm` may hold blanks and brackets. */
const stat = (ticks: number | string) =>
  `712 (qemu) S 1 (x) S ${Array.from({ length: 18 }, () => 0).join(' ')} ${ticks} 99 98\n`;

const filesOf = (over: Record<string, string | HostError> = {}) =>
  new FakeFiles({
    '/proc/stat': 'cpu0 1 2 3 4\nbtime 1700000000\n',
    '/run/libvirt/qemu/web-1.pid': '712\n',
    '/proc/712/cmdline': `/usr/bin/qemu\0-name\0guest=web-1\0-uuid\0${uuid}\0`,
    '/proc/712/stat': stat(250),
    ...over,
  });

let domains: DomainRef[];
let libvirt: object;
const connect = () => ({ listDomains: async () => domains });

beforeEach(() => {
  libvirt = connect();
});

function poll(files: FakeFiles, running: DomainRef[], over: Partial<PollContext<StartsSample>> = {}) {
  domains = running;
  const readers = { files: () => files, libvirt: () => libvirt } as unknown as HostReaders;
  return startsPoller.poll(readers, {
    host: aHost(),
    signal: new AbortController().signal,
    clock: new FakeClock(),
    ...over,
  });
}

describe('the start of a VM', () => {
  it('is that of its process', async () => {
    const { vms } = await poll(filesOf(), [web]);
    expect(vms).toEqual([{ uuid, id: 3, startedAtMs: 1_700_000_002_500, pid: 712 }]);
  });

  it.each<[string, Record<string, string | HostError>]>([
    ['without a file of its number', { '/run/libvirt/qemu/web-1.pid': new HostError('FILE_MISSING') }],
    ['with one that is not for us', { '/run/libvirt/qemu/web-1.pid': new HostError('FILE_ERROR') }],
    ['with a number that is none', { '/run/libvirt/qemu/web-1.pid': '../self' }],
    ['with the number of another process', { '/proc/712/cmdline': '/bin/sh\0-c\0true\0' }],
    ['with a process that has just gone', { '/proc/712/stat': new HostError('FILE_MISSING') }],
    ['with a start that is no number', { '/proc/712/stat': stat('NaN') }],
    ['without the time of boot', { '/proc/stat': 'cpu0 1 2 3 4\n' }],
  ])('is absent %s', async (_name, over) => {
    expect((await poll(filesOf(over), [web])).vms).toEqual([{ uuid, id: 3 }]);
  });

  it('is not looked for outside of its place', async () => {
    for (const name of ['../../../tmp/x', '..', 'a\0b', 'x'.repeat(300)]) {
      const files = filesOf({ '/tmp/x.pid': '712\n' });
      expect((await poll(files, [{ ...web, name }])).vms).toEqual([{ uuid, id: 3 }]);
    }
  });

  const first = () => poll(filesOf(), [web]);
  const startedAnew = filesOf({ '/proc/712/stat': stat(900) });
  const anew = [{ uuid, id: 3, startedAtMs: 1_700_000_009_000, pid: 712 }];

  it('is read again for a VM that an event names, and for no other', async () => {
    const previous = await first();
    const nothing = new FakeFiles({});
    expect(await poll(nothing, [web], { previous, changed: new Set(['other']) })).toEqual(previous);
    expect((await poll(startedAnew, [web], { previous, changed: new Set([uuid]) })).vms).toEqual(anew);
  });

  it('is read once over one connection: a number of libvirt is given once in its life', async () => {
    const previous = await first();
    expect((await poll(startedAnew, [web], { previous })).vms).toEqual(previous.vms);
    const next = { ...web, id: 4 };
    expect((await poll(startedAnew, [next], { previous })).vms).toEqual([{ ...anew[0], id: 4 }]);
  });

  it('is read again over another connection: numbers begin anew with libvirt', async () => {
    const previous = await first();
    libvirt = connect();
    expect((await poll(startedAnew, [web], { previous })).vms).toEqual(anew);
  });

  it('is read again over another connection though an event names another VM first', async () => {
    const previous = await first();
    libvirt = connect();
    const files = filesOf({ '/proc/stat': 'btime 1700000060\n', '/proc/712/stat': stat(900) });
    const ofItsNewLife = [{ uuid, id: 3, startedAtMs: 1_700_000_069_000, pid: 712 }];
    const afterEvent = await poll(files, [web], { previous, changed: new Set(['other']) });
    expect(afterEvent.vms).toEqual(ofItsNewLife);
    expect((await poll(files, [web], { previous: afterEvent })).vms).toEqual(ofItsNewLife);
  });

  it('is found by one file over another connection, while the process is the one it was', async () => {
    const previous = await first();
    const read = async (over: Record<string, string | HostError>) => {
      libvirt = connect();
      const files = filesOf({ '/run/libvirt/qemu/web-1.pid': '713\n', ...over });
      const { vms } = await poll(files, [{ ...web, id: 1 }], { previous });
      return { vms, read: files.asked };
    };
    const itself = await read({});
    expect(itself.vms).toEqual([{ ...previous.vms[0], id: 1 }]);
    expect(itself.read).toEqual(['/proc/stat', '/proc/712/stat']);
    const other = { '/proc/713/cmdline': `qemu\0${uuid}\0`, '/proc/713/stat': stat(990) };
    const ofTheOther = { uuid, id: 1, startedAtMs: 1_700_000_009_900, pid: 713 };
    expect((await read({ ...other, '/proc/712/stat': stat(251) })).vms).toEqual([ofTheOther]);
    expect((await read({ ...other, '/proc/712/stat': new HostError('FILE_MISSING') })).vms).toEqual([
      ofTheOther,
    ]);
    const booted = await read({ ...other, '/proc/stat': 'btime 1700000060\n' });
    expect(booted.vms).toEqual([{ ...ofTheOther, startedAtMs: 1_700_000_069_900 }]);
    expect(booted.read).not.toContain('/proc/712/stat');
  });

  it('is asked for again while it is not known', async () => {
    const previous = await poll(filesOf({ '/proc/712/stat': 'nonsense' }), [web]);
    expect(previous.vms).toEqual([{ uuid, id: 3 }]);
    expect((await poll(startedAnew, [web], { previous })).vms).toEqual(anew);
  });

  it('is asked for once more, soon, where it was not there: once in a life and over one connection', async () => {
    let again = 0;
    const options = { again: () => again++ };
    const nothing = filesOf({ '/proc/stat': 'cpu0 1 2 3 4\n' });
    const asksAgain = async (
      files: FakeFiles,
      vm: DomainRef,
      over: Partial<PollContext<StartsSample>> = {},
    ) => {
      const before = again;
      await poll(files, [vm], { ...options, ...over });
      return again - before;
    };
    const changed = new Set([uuid]);
    expect(await asksAgain(nothing, web)).toBe(1);
    expect(await asksAgain(nothing, web)).toBe(0);
    expect(await asksAgain(nothing, web, { changed })).toBe(0);
    expect(await asksAgain(nothing, { ...web, id: 4 }, { changed })).toBe(1);
    libvirt = connect();
    expect(await asksAgain(nothing, { ...web, id: 4 })).toBe(1);
    libvirt = connect();
    expect(await asksAgain(filesOf(), web)).toBe(0);
  });

  it('moves with the clock of its host', async () => {
    const previous = await first();
    const later = filesOf({ '/proc/stat': 'btime 1700000060\n' });
    expect((await poll(later, [web], { previous })).vms).toEqual([
      { uuid, id: 3, startedAtMs: 1_700_000_062_500, pid: 712 },
    ]);
  });

  it('fails with a connection that broke', async () => {
    const broken = filesOf({ '/proc/712/stat': new HostError('CLOSED') });
    await expect(poll(broken, [web])).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

it('a process may have any name', () => {
  expect(startTicks(stat(77))).toBe(77);
  expect(startTicks('1 (a) b) S 1')).toBeUndefined();
  expect(startTicks('')).toBeUndefined();
});
