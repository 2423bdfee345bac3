import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { HostError } from '../../../src/core/errors.js';
import { isCounted } from '../../../src/pollers/filesystems.js';
import type { HostReaders } from '../../../src/pollers/poller.js';
import { systemPoller } from '../../../src/pollers/system.js';
import type { ReadOptions } from '../../../src/ssh/file-reader.js';
import { aHost } from '../../support/host.js';
import { FakeFiles } from './fake-files.js';

const statvfs = {
  blockSize: 8192,
  fragmentSize: 4096,
  blocks: 1000,
  blocksFree: 500,
  blocksAvailable: 400,
  files: 64,
  filesFree: 32,
  filesAvailable: 32,
  readOnly: false,
  nameMax: 255,
};

function readersOf(files: FakeFiles): HostReaders {
  return {
    files: () => files,
    libvirt: () => {
      throw new Error('the system poller has no business with libvirt');
    },
  };
}

function poll(files: FakeFiles) {
  return systemPoller.poll(readersOf(files), {
    host: aHost(),
    signal: new AbortController().signal,
    clock: systemClock,
  });
}

function hostFiles(): FakeFiles {
  const files = new FakeFiles({
    '/proc/stat': 'cpu0 1 2 3 4\nbtime 1000\n',
    '/proc/meminfo': 'MemTotal: 10 kB\n',
    '/proc/loadavg': '1.00 2.00 3.00 1/1 1\n',
    '/proc/uptime': '50.25 1.0\n',
    '/proc/diskstats':
      '8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n',
    '/proc/self/mounts':
      '/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\nnas:/x /mnt/nas nfs4 rw 0 0\n/dev/sdb /srv xfs ro 0 0\n',
    '/proc/net/dev': '|\n|\neth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n',
    '/proc/sys/kernel/hostname': 'kvm-01\n',
    '/proc/sys/kernel/osrelease': '6.1.0\n',
    '/proc/sys/fs/file-nr': '520\t0\t2466183\n',
    '/proc/pressure/io': 'some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n',
    '/etc/os-release': 'ID=debian\n',
    '/proc/cpuinfo': 'processor\t: 0\ncpu MHz\t\t: 2000.000\n',
  });
  files.filesystems.set('/', statvfs);
  files.filesystems.set('/srv', statvfs);
  return files;
}

describe('the system poller', () => {
  it('makes a typed sample; an absent file is an absent part', async () => {
    const sample = await poll(hostFiles());
    expect(sample).toMatchObject({
      stat: { bootTime: 1000, cpus: [{ cpu: 0, user: 0.01 }] },
      meminfo: { MemTotal: 10_240 },
      loadavg: { one: 1, five: 2, fifteen: 3 },
      uptime: 50.25,
      openFiles: { allocated: 520, maximum: 2_466_183 },
      pressure: { io: { some: 1.5 } },
      kernel: { hostname: 'kvm-01', release: '6.1.0' },
      frequencies: [{ cpu: 0, hertz: 2e9 }],
      problems: [],
    });
    expect(sample.disks?.map(({ device }) => device)).toEqual(['sda']);
    expect(sample).not.toHaveProperty('vmstat');
    expect(sample).not.toHaveProperty('conntrack');
    expect(sample.pressure).not.toHaveProperty('cpu');
  });

  it('measures local filesystems only, in bytes and inodes', async () => {
    const files = hostFiles();
    const sample = await poll(files);
    expect(sample.filesystems).toEqual([
      {
        device: '/dev/sda1',
        mountpoint: '/',
        fstype: 'ext4',
        readOnly: false,
        space: {
          sizeBytes: 4_096_000,
          freeBytes: 2_048_000,
          availableBytes: 1_638_400,
          files: 64,
          filesFree: 32,
        },
      },
      expect.objectContaining({ mountpoint: '/srv', readOnly: true }),
    ]);
    expect(files.statted).toEqual(['/', '/srv']);
  });

  it('takes the frequencies from /sys where the kernel gives them', async () => {
    const files = hostFiles();
    const cpu = (n: number) => `/sys/devices/system/cpu/cpu${n}/cpufreq/scaling_cur_freq`;
    files.texts
      .set(cpu(10), '3000000\n')
      .set(cpu(2), '1500000\n')
      .set('/sys/devices/system/cpu/online', '0-1\n');
    const sample = await poll(files);
    expect(sample.scaling).toEqual([
      { cpu: 2, current: 1.5e9, governors: [] },
      { cpu: 10, current: 3e9, governors: [] },
    ]);
    expect(sample).not.toHaveProperty('frequencies');
  });

  it('lists what it could not read or understand, and keeps the rest', async () => {
    const files = hostFiles();
    files.texts.set('/proc/meminfo', 'garbage\n');
    files.texts.set(
      '/proc/vmstat',
      new HostError('FILE_ERROR', { message: '/proc/vmstat: permission denied' }),
    );
    files.filesystems.set('/srv', new HostError('FILE_ERROR', { message: '/srv: input/output error' }));
    const sample = await poll(files);
    expect(sample.problems).toEqual(
      expect.arrayContaining([
        '/proc/meminfo: bad line garbage',
        '/proc/meminfo: no MemTotal in it',
        '/proc/vmstat: permission denied',
        '/srv: input/output error',
      ]),
    );
    expect(sample.loadavg).toBeDefined();
    expect(sample.filesystems?.map(({ mountpoint, space }) => [mountpoint, space !== undefined])).toEqual([
      ['/', true],
      ['/srv', false],
    ]);
  });

  it('gives a filesystem that hangs two seconds, and the others their figures', async () => {
    const files = hostFiles();
    files.filesystems.delete('/srv');
    const sample = await poll(files);
    expect(sample.problems).toEqual(['/srv: no answer within 2000 ms']);
    expect(sample.filesystems?.[0]?.space).toBeDefined();
    expect(sample.filesystems?.[1]).not.toHaveProperty('space');
  });

  it('leaves out a filesystem that lies hidden under another', async () => {
    const files = hostFiles();
    files.filesystems.set('/srv', new HostError('FILE_MISSING', { message: '/srv: no such file' }));
    const sample = await poll(files);
    expect(sample.problems).toEqual([]);
    expect(sample.filesystems?.map(({ mountpoint }) => mountpoint)).toEqual(['/']);
  });

  it('stops when it is told to', async () => {
    const files = hostFiles();
    const reason = new HostError('ABORTED', { message: 'shutting down' });
    files.read = (_path: string, options?: ReadOptions) => {
      const signal = options?.signal;
      return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
    };
    const controller = new AbortController();
    const sample = systemPoller.poll(readersOf(files), {
      host: aHost(),
      signal: controller.signal,
      clock: systemClock,
    });
    controller.abort(reason);
    await expect(sample).rejects.toBe(reason);
  });

  it.each(['CLOSED', 'TIMEOUT', 'HOST_DOWN', 'ABORTED'] as const)(
    'fails when the connection does: %s',
    async (code) => {
      const files = hostFiles();
      files.texts.set('/proc/uptime', new HostError(code));
      await expect(poll(files)).rejects.toMatchObject({ code });
      const second = hostFiles();
      second.filesystems.set('/', new HostError('CLOSED'));
      await expect(poll(second)).rejects.toMatchObject({ code: 'CLOSED' });
    },
  );

  it('measures a bounded number of filesystems', async () => {
    const files = hostFiles();
    const mounts = Array.from({ length: 200 }, (_, n) => `/dev/sd${n} /data/${n} ext4 rw 0 0`);
    for (let n = 0; n < 200; n++) files.filesystems.set(`/data/${n}`, statvfs);
    files.texts.set('/proc/self/mounts', mounts.join('\n'));
    const sample = await poll(files);
    expect(sample.filesystems).toHaveLength(128);
    expect(sample.problems).toEqual(['/proc/self/mounts: only 128 of 200 filesystems are measured']);
  });
});

describe('filesystems that count', () => {
  it.each([
    ['ext4', '/', true],
    ['zfs', '/tank', true],
    ['btrfs', '/var/lib/libvirt/images', true],
    ['tmpfs', '/run', true],
    ['tmpfs', '/dev/shm', false],
    ['proc', '/proc', false],
    ['overlay', '/var/lib/docker/overlay2/x/merged', false],
    ['ext4', '/var/lib/docker/volumes', false],
    ['nfs', '/srv', false],
    ['nfs4', '/srv', false],
    ['cifs', '/srv', false],
    ['ceph', '/srv', false],
    ['fuse', '/etc/pve', false],
    ['fuse.sshfs', '/srv', false],
    ['fuseblk', '/srv', false],
    ['autofs', '/home', false],
  ])('%s on %s: %s', (fstype, mountpoint, counted) => {
    expect(isCounted({ device: 'x', fstype, mountpoint, readOnly: false })).toBe(counted);
  });
});
