// Which volumes may go with a VM: a table of everything that keeps one.
import { describe, expect, it } from 'vitest';
import type { DomainDisk } from '../../../src/ops/domain-xml.js';
import { undefineFlags } from '../../../src/ops/operations/delete.js';
import { judgeVolumes, stillAlone, type Usage, type Volume } from '../../../src/ops/storage.js';
import { volumeOf } from '../../../src/ops/storage-read.js';

const disk = (path: string | undefined, more: Partial<DomainDisk> = {}): DomainDisk => ({
  device: 'disk',
  type: 'file',
  target: 'vda',
  format: 'qcow2',
  ...(path !== undefined && { path }),
  readOnly: false,
  shareable: false,
  backing: [],
  backingKnown: false,
  ...more,
});
const usage = (name: string, disks: DomainDisk[], more: Partial<Usage> = {}): Usage => ({
  name,
  uuid: name,
  disks,
  pastDisks: [],
  files: [],
  ...more,
});
const volume = (path: string, backing?: Volume['backing']): Volume => ({
  pool: 'images',
  name: path.split('/').at(-1) ?? '',
  key: path,
  path,
  ...(backing && { backing }),
});

const own = '/images/own';
const other = (...disks: DomainDisk[]) => [usage('other', disks)];
const judged = (ownDisks: DomainDisk[], others: Usage[], volumes: Volume[]) =>
  judgeVolumes(usage('mine', ownDisks), others, volumes).map(({ path, verdict, why }) => [
    path,
    verdict,
    why,
  ]);

describe('a volume of the VM', () => {
  it('goes when it is its own', () => {
    expect(judged([disk(own)], other(disk('/images/o')), [volume(own), volume('/images/o')])).toEqual([
      [own, 'delete', undefined],
    ]);
  });

  it('is found by pool and name, too', () => {
    const named = disk(undefined, { type: 'volume', pool: 'images', volume: 'own' });
    expect(judged([named], [], [volume(own)])).toEqual([[own, 'delete', undefined]]);
    expect(judged([disk(own)], other(named), [volume(own)])).toEqual([
      [own, 'keep', 'the VM other names it'],
    ]);
  });

  it.each<[string, DomainDisk, Usage[], Volume[], RegExp]>([
    ['in no pool', disk(own), [], [], /no active storage pool/],
    ['a medium', disk(own, { device: 'cdrom' }), [], [volume(own)], /it is a cdrom/],
    ['a LUN', disk(own, { device: 'lun' }), [], [volume(own)], /it is a LUN/],
    ['only read', disk(own, { readOnly: true }), [], [volume(own)], /only reads it/],
    ['shared', disk(own, { shareable: true }), [], [volume(own)], /shared/],
    ['named by another', disk(own), other(disk(own)), [volume(own)], /other names it/],
    [
      'named by another in other words',
      disk(own),
      other(disk('/images//x/../own')),
      [volume(own)],
      /other names it/,
    ],
    [
      'in another one’s snapshot',
      disk(own),
      [usage('other', [], { pastDisks: [disk(own)] })],
      [volume(own)],
      /other names it/,
    ],
    [
      'another one’s NVRAM',
      disk(own),
      [usage('other', [], { files: [own] })],
      [volume(own)],
      /other names it/,
    ],
    [
      'the base of another’s disk',
      disk(own),
      other(disk('/x', { backing: [own], backingKnown: true })),
      [volume(own)],
      /other is based on it/,
    ],
    [
      'the base of a volume',
      disk(own),
      [],
      [volume(own), volume('/images/over', { path: own })],
      /volume over .* is based on it/,
    ],
    [
      'a base by a relative path',
      disk(own),
      [],
      [volume(own), volume('/images/over', { path: 'own' })],
      /volume over .* is based on it/,
    ],
    [
      'perhaps the base of an unknown chain',
      disk(own),
      other(disk('/elsewhere/x')),
      [volume(own)],
      /not known/,
    ],
    [
      'perhaps the base of a base outside',
      disk(own),
      other(disk('/images/o')),
      [volume(own), volume('/images/o', { path: '/elsewhere/b', format: 'qcow2' })],
      /not known/,
    ],
    [
      'perhaps the base, chain in a circle',
      disk(own),
      other(disk('/images/o')),
      [volume(own), volume('/images/o', { path: '/images/o' })],
      /not known/,
    ],
    [
      'perhaps that of a volume in a pool that is off',
      disk(own),
      other(disk(undefined, { type: 'volume', pool: 'off', volume: 'v' })),
      [volume(own)],
      /not known/,
    ],
  ])('%s: stays', (_what, mine, others, volumes, why) => {
    const [verdict] = judged([mine], others, volumes);
    expect(verdict).toEqual([own, 'keep', expect.stringMatching(why)]);
  });

  it.each<[string, DomainDisk]>([
    ['raw', disk('/elsewhere/x', { format: 'raw' })],
    ['followed to its end by libvirt', disk('/elsewhere/x', { backingKnown: true })],
    ['on a raw base', disk('/images/o')],
    ['an empty drive', disk(undefined, { device: 'cdrom' })],
    ['on the network', disk(undefined, { type: 'network', format: 'qcow2' })],
  ])('another VM’s disk that is %s does not keep it', (_what, theirs) => {
    const volumes = [volume(own), volume('/images/o', { path: '/elsewhere/b', format: 'raw' })];
    expect(judged([disk(own)], other(theirs), volumes)).toEqual([[own, 'delete', undefined]]);
  });

  it('stands on base images, which stay and are told', () => {
    const volumes = [
      volume(own, { path: 'mid' }),
      volume('/images/mid', { path: '/images/base' }),
      volume('/images/base'),
    ];
    expect(judged([disk(own)], [], volumes)).toEqual([
      [own, 'delete', undefined],
      ['/images/mid', 'keep', 'it is a base image'],
      ['/images/base', 'keep', 'it is a base image'],
    ]);
    const both = judged([disk('/images/base', { target: 'vdb' }), disk(own)], [], volumes);
    expect(both).toContainEqual(['/images/base', 'keep', 'it is a base image']);
  });

  it('once its VM is gone, every VM is another one', () => {
    expect(stillAlone(own, [usage('mine', [disk(own)])], [volume(own)])).toBe('the VM mine names it');
    expect(stillAlone(own, [], [volume(own)])).toBeUndefined();
  });
});

it('a volume is read with its base', () => {
  const ref = { pool: 'p', name: 'v', key: '/k' };
  const xml = `<volume><target><path>/t &amp; u</path></target><backingStore><path>/b</path><format type='raw'/></backingStore></volume>`;
  expect(volumeOf(ref, xml)).toEqual({ ...ref, path: '/t & u', backing: { path: '/b', format: 'raw' } });
  expect(volumeOf(ref, '<volume/>')).toEqual({ ...ref, path: '/k' });
});

it('undefine has the flags that this libvirt knows', () => {
  expect(undefineFlags(5_000_000)).toBe(7);
  expect(undefineFlags(5_006_000)).toBe(7 + 16);
  expect(undefineFlags(9_000_000)).toBe(7 + 16 + 32);
});
