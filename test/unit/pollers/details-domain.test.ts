// Definitions of VMs: a real one, what other kinds of disks and interfaces say, and what a hostile host might send.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readDomainDetails } from '../../../src/pollers/details-domain.js';

/** `virsh dumpxml` of a lab guest with Nova's metadata. */
const real = readFileSync(new URL('fixtures/web-1.xml', import.meta.url), 'utf8');
const withDevices = (devices: string) => readDomainDetails(`<domain><devices>${devices}</devices></domain>`);

describe('a real definition', () => {
  const details = readDomainDetails(real);

  it('says who the VM, its disk and its interface are', () => {
    expect(details).toEqual({
      os: { type: 'hvm', arch: 'x86_64', machine: 'pc-q35-7.2' },
      nova: {
        name: 'shop',
        flavor: 'm1.small',
        userName: 'ann',
        userId: 'u-1',
        projectName: 'web & "co"',
        projectId: 'p-1',
        rootType: 'image',
        rootId: 'i-1',
      },
      disks: [
        {
          target: 'vda',
          device: 'disk',
          type: 'file',
          bus: 'virtio',
          driverName: 'qemu',
          driverType: 'qcow2',
          source: '/var/lib/libvirt/images/web-1.qcow2',
          serial: 'web-1-vda',
          limits: {},
        },
      ],
      interfaces: [
        { target: 'orl1h1g1', type: 'bridge', source: 'orl1', mac: '52:54:00:01:01:01', model: 'virtio' },
      ],
      balloon: { periodS: 0 },
    });
  });
});

describe('disks', () => {
  it.each([
    ["<source dev='/dev/vg/a'/>", { source: '/dev/vg/a' }],
    [
      "<source protocol='rbd' name='pool/image'><host name='x'/></source>",
      { source: 'pool/image', protocol: 'rbd' },
    ],
    ["<source pool='p' volume='v'/>", { source: 'p/v' }],
    ["<driver name='qemu' type='raw' cache='none' discard='unmap'/>", { cache: 'none', discard: 'unmap' }],
  ])('%s', (inside, expected) => {
    const { disks } = withDevices(`<disk device='disk'>${inside}<target dev='vda'/></disk>`);
    expect(disks[0]).toMatchObject({ target: 'vda', ...expected });
  });

  it('have the limits that are set: 0 is none, and nonsense is none', () => {
    const iotune = `<total_bytes_sec>100</total_bytes_sec><read_iops_sec>0</read_iops_sec>
      <write_iops_sec_max>-4</write_iops_sec_max><write_bytes_sec>1e9</write_bytes_sec>
      <total_bytes_sec_max_length>3</total_bytes_sec_max_length><size_iops_sec>99999999999999999999</size_iops_sec>`;
    const { disks } = withDevices(`<disk><target dev='a'/><iotune>${iotune}</iotune></disk>`);
    expect(disks[0]?.limits).toEqual({ total_bytes_sec: 100, total_bytes_sec_max_length: 3 });
  });

  it('may be two hundred', () => {
    const disks = Array.from({ length: 200 }, (_, n) => `<disk><target dev='vd${n}'/></disk>`).join('');
    expect(withDevices(disks).disks.map(({ target }) => target)).toEqual(
      Array.from({ length: 200 }, (_, n) => `vd${n}`),
    );
  });
});

it.each([
  ["<source network='default' portid='x' bridge='virbr0'/>", 'virbr0'],
  ["<source network='default'/>", 'default'],
  ["<source dev='eth0' mode='bridge'/>", 'eth0'],
  ['', undefined],
])('an interface on %s', (source, expected) => {
  const port =
    "<virtualport type='openvswitch'><parameters interfaceid='ovs-1'/></virtualport><mtu size='9000'/>";
  const { interfaces } = withDevices(`<interface type='network'>${source}${port}</interface>`);
  expect(interfaces[0]?.source).toBe(expected);
  expect(interfaces[0]).toMatchObject({ type: 'network', interfaceId: 'ovs-1', mtu: '9000' });
});

it.each([
  ["<memballoon model='none'/>", undefined],
  ['', undefined],
  ["<memballoon model='virtio'/>", { periodS: 0 }],
  ["<memballoon model='virtio'><stats period='10'/></memballoon>", { periodS: 10 }],
])('the balloon of %j', (xml, expected) => {
  expect(withDevices(xml).balloon).toEqual(expected);
});

describe('from a hostile host', () => {
  it.each([
    ['entities', `<!DOCTYPE d [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;">]><domain><name>&b;</name></domain>`],
    ['depth', `${'<domain>'.repeat(70)}${'</domain>'.repeat(70)}`],
    ['size', `<domain><name>${'x'.repeat(4 * 1024 * 1024)}</name></domain>`],
    ['number', `<domain>${'<a/>'.repeat(100_001)}</domain>`],
    ['nonsense', '<domain'],
    ['nothing', ''],
  ])('%s is refused', (_what, xml) => {
    expect(() => readDomainDetails(xml)).toThrow(/makes no sense/);
  });

  it('devices are bounded in number, and texts in length', () => {
    const long = 'é'.repeat(5_000);
    const { disks, os } = readDomainDetails(
      `<domain><os><type machine='${long}'>hvm</type></os><devices>${`<disk><target dev='a'/><serial>${long}</serial></disk>`.repeat(
        3,
      )}${'<disk/>'.repeat(2_000)}</devices></domain>`,
    );
    expect(disks).toHaveLength(1_024);
    expect(disks[0]?.serial).toHaveLength(1_024);
    expect(os.machine).toHaveLength(1_024);
  });

  it('names with quotes, newlines and other alphabets come through as they are', () => {
    const { disks } = withDevices(
      "<disk><source file='/a &quot;b&quot;&#10;c/東京'/><target dev='v&quot;d'/></disk>",
    );
    expect(disks[0]).toMatchObject({ source: '/a "b"\nc/東京', target: 'v"d' });
  });

  it('elements named like parts of Object are only names', () => {
    expect(readDomainDetails('<domain><constructor/><__proto__/></domain>')).toEqual({
      os: {},
      disks: [],
      interfaces: [],
    });
  });
});
