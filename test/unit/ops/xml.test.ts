// XML from a host is hostile, text from a caller too: what is read is bounded and strict, and what is written comes back as it was.
import { describe, expect, it } from 'vitest';
import { childOf, escapeXml, parseXml } from '../../../src/libvirt/xml.js';
import { parseDomain } from '../../../src/ops/domain-xml.js';
import { disksInSnapshot, parseSnapshot, SnapshotName, snapshotXml } from '../../../src/ops/snapshots.js';

describe('reading', () => {
  it.each([
    ['a document type', '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'],
    ['an entity that nobody declared', '<a>&x;</a>'],
    ['an HTML entity', '<a>&nbsp;</a>'],
    ['too deep', `${'<a>'.repeat(100)}${'</a>'.repeat(100)}`],
    ['too many elements', `<a>${'<b/>'.repeat(100_001)}</a>`],
    ['too long', `<a>${'x'.repeat(4 * 1024 * 1024)}</a>`],
    ['cut short', '<a><b></a>'],
    ['an end too many', '<a/></b>'],
    ['nothing', ''],
    ['no XML', 'hello'],
    ['an attribute without quotes', '<a b=c/>'],
  ])('refuses %s', (_what, text) => {
    expect(() => parseXml(text)).toThrow(/makes no sense/);
  });

  it('takes names that Object has as names', () => {
    const root = parseXml(`<a __proto__='x' constructor='y'><constructor/></a>`);
    expect(root.attributes.constructor).toBe('y');
    expect(({} as Record<string, unknown>).x).toBeUndefined();
    expect(childOf(root, 'constructor')).toBeDefined();
    expect(childOf(parseXml('<a/>'), 'constructor', 'prototype')).toBeUndefined();
  });
});

describe('writing', () => {
  const texts = [`'"<>&`, ']]>', '<!-- -->', '&amp;', 'a\n\t\rb', '  x  ', 'ünï 💥', '<![CDATA[', '%s$(x)`'];
  it.each(texts)('%j comes back as it was, in text and in an attribute', (text) => {
    const root = parseXml(`<a b='${escapeXml(text)}' c="${escapeXml(text)}">${escapeXml(text)}</a>`);
    expect([root.attributes.b, root.attributes.c, root.text]).toEqual([text, text, text]);
    expect(root.children).toEqual([]);
  });
  it.each(['\0', '\u0001', '\ud800', '\uffff'])('refuses %j', (text) => {
    expect(() => escapeXml(`a${text}`)).toThrow(RangeError);
  });
  it.each(texts.filter((text) => SnapshotName.safeParse(text).success))(
    'a snapshot named %j holds nothing else',
    (name) => {
      const xml = snapshotXml({
        name,
        description: name,
        kind: 'internal',
        memory: true,
        disks: [{ target: name, included: true }],
      });
      const root = parseXml(xml);
      expect(root.children.map((child) => child.name)).toEqual(['name', 'description', 'memory', 'disks']);
      expect(parseSnapshot(xml)).toMatchObject({ name, kind: 'internal', memory: true, disks: [name] });
    },
  );
});

describe('a definition', () => {
  const domain = `<domain type='kvm'><name>web-1</name><uuid>6E14EE3D-c52b-4b6a-a246-1e2eb2cdd82a</uuid>
    <memory unit='GiB'>2</memory><currentMemory unit='KiB'>1048576</currentMemory><vcpu current='2'>4</vcpu>
    <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><nvram>/nvram/web-1.fd</nvram></os><devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/i/top.qcow2'/>
      <backingStore type='file'><format type='qcow2'/><source file='/i/mid.qcow2'/>
        <backingStore type='file'><source file='/i/base.qcow2'/><backingStore/></backingStore></backingStore>
      <target dev='vda' bus='virtio'/></disk>
    <disk type='volume'><source pool='p' volume='v'/><target dev='vdb'/><shareable/></disk>
    <disk type='network'><driver type='raw'/><source protocol='rbd' name='pool/image'/><target dev='vdc'/></disk>
    <disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>
    <interface type='network'><mac address='52:54:00:00:00:01'/><source network='default'/><model type='virtio'/></interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
    </devices></domain>`;

  it('is read with its units, chains and parts', () => {
    const read = parseDomain(domain);
    expect(read).toMatchObject({
      name: 'web-1',
      uuid: '6e14ee3d-c52b-4b6a-a246-1e2eb2cdd82a',
      vcpus: { current: 2, maximum: 4 },
      memory: { currentBytes: 2 ** 30, maximumBytes: 2 ** 31 },
      guestAgent: { configured: true, connected: true },
      files: ['/nvram/web-1.fd'],
    });
    expect(read.disks).toMatchObject([
      { target: 'vda', backing: ['/i/mid.qcow2', '/i/base.qcow2'], backingKnown: true },
      { target: 'vdb', pool: 'p', volume: 'v', shareable: true, backingKnown: false },
      { target: 'vdc', type: 'network' },
      { target: 'sda', device: 'cdrom', readOnly: true },
    ]);
    expect(read.interfaces).toEqual([
      { type: 'network', mac: '52:54:00:00:00:01', source: 'default', model: 'virtio' },
    ]);
  });

  it('is also read within a snapshot, and the kind is told', () => {
    const xml = `<domainsnapshot><name>s</name><state>disk-snapshot</state><creationTime>1795225700</creationTime>
      <parent><name>r</name></parent><disks><disk name='vda' snapshot='external'/><disk name='vdb' snapshot='no'/></disks>
      ${domain}</domainsnapshot>`;
    expect(disksInSnapshot(xml)).toHaveLength(4);
    expect(parseSnapshot(xml)).toEqual({
      name: 's',
      state: 'disk-snapshot',
      createdAt: new Date(1795225700_000).toISOString(),
      parent: 'r',
      kind: 'external',
      memory: false,
      disks: ['vda'],
    });
  });
});
