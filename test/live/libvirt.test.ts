// The client against real libvirtd: its test driver for the protocol and its faults, QEMU guests for the figures.
import { readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { raiseLab } from '../../lab/lab.js';
import { LibvirtClient, type LibvirtClientOptions } from '../../src/libvirt/client.js';
import type { LifecycleEvent } from '../../src/libvirt/events.js';
import { procedures } from '../../src/libvirt/procedures.js';
import { statsFlag } from '../../src/libvirt/stats.js';
import { headerBytes } from '../../src/libvirt/wire/frame.js';
import { domstats, fieldsOf } from '../support/domstats.js';
import { Libvirtd } from '../support/libvirtd.js';
import { until } from '../support/until.js';

const testDomain = {
  name: 'test',
  uuid: expect.stringMatching(/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/),
};
const clients: LibvirtClient[] = [];

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});

describe('libvirtd with the test driver', () => {
  let libvirtd: Libvirtd;
  beforeAll(async () => {
    libvirtd = await Libvirtd.start();
  });
  afterAll(() => libvirtd.stop());

  async function open(
    readOnly: boolean,
    options: Partial<LibvirtClientOptions> = {},
    socket = libvirtd.connect(readOnly),
  ): Promise<LibvirtClient> {
    const client = await LibvirtClient.open(socket, {
      host: 'kvm-01',
      uri: 'test:///default',
      readOnly,
      timeoutMs: 10_000,
      ...options,
    });
    clients.push(client);
    return client;
  }

  it('answers every procedure that is declared for reading', async () => {
    const client = await open(true);
    expect(await client.call(procedures.connectGetType, undefined)).toEqual({ type: 'TEST' });
    expect(await client.call(procedures.connectGetUri, undefined)).toEqual({ uri: 'test:///default' });
    expect((await client.call(procedures.connectGetHostname, undefined)).hostname).not.toBe('');
    expect((await client.call(procedures.connectGetLibVersion, undefined)).libVer).toBeGreaterThan(1_000_000);
    expect(await client.call(procedures.connectGetVersion, undefined)).toEqual({ hvVer: 2 });
    const { capabilities } = await client.call(procedures.connectGetCapabilities, undefined);
    expect(capabilities).toContain('<capabilities>');
    const node = {
      model: 'i686',
      memory: 3_145_728,
      cpus: 16,
      mhz: 1400,
      nodes: 2,
      sockets: 2,
      cores: 2,
      threads: 2,
    };
    expect(await client.call(procedures.nodeGetInfo, undefined)).toEqual(node);

    const { domains } = await client.call(procedures.connectListAllDomains, { needResults: 1, flags: 0 });
    expect(domains).toMatchObject([testDomain]);
    const { dom } = await client.call(procedures.domainLookupByName, { name: 'test' });
    expect(await client.call(procedures.domainLookupByUuid, { uuid: dom.uuid })).toEqual({ dom });
    expect(await client.call(procedures.domainGetState, { dom, flags: 0 })).toEqual({ state: 1, reason: 0 });
    const { xml } = await client.call(procedures.domainGetXmlDesc, { dom, flags: 0 });
    expect(xml).toContain(`<uuid>${dom.uuid}</uuid>`);
    expect(await client.domainStats()).toMatchObject([{ domain: dom, state: { state: 1, reason: 0 } }]);
  });

  it('says why it refuses, and goes on', async () => {
    const client = await open(true);
    const missing = client.call(procedures.domainLookupByName, { name: 'nobody' });
    await expect(missing).rejects.toMatchObject({
      code: 'LIBVIRT_ERROR',
      outcome: 'failed',
      libvirtCode: 42,
    });
    const { dom } = await client.call(procedures.domainLookupByName, { name: 'test' });
    await expect(client.call(procedures.domainDestroy, { dom })).rejects.toMatchObject({
      libvirtCode: 29,
      message: expect.stringContaining('read only'),
      hint: expect.stringContaining('ops key'),
    });
    await expect(open(true, { uri: 'xen:///' })).rejects.toMatchObject({
      code: 'LIBVIRT_ERROR',
      outcome: 'failed',
    });
    expect(await client.domainStats()).toHaveLength(1);
  });

  it('takes a hundred calls at once, five at a time', async () => {
    const client = await open(true);
    const calls = Array.from({ length: 100 }, () => client.call(procedures.connectGetHostname, undefined));
    expect(client.calls).toMatchObject({ inFlight: 5, queued: 95 });
    expect(new Set((await Promise.all(calls)).map(({ hostname }) => hostname)).size).toBe(1);
  });

  it('reports a large host in one reply', async () => {
    const file = join(libvirtd.dir, 'large.xml');
    const guest = (index: number) =>
      `<domain type="test"><name>vm-${index}</name><memory>1024</memory><os><type>hvm</type></os></domain>`;
    await writeFile(
      file,
      `<node>${Array.from({ length: 3_000 }, (_, index) => guest(index)).join('')}</node>`,
    );
    const client = await open(true, { uri: `test://${file}` });
    const names = (await client.domainStats()).map(({ domain }) => domain.name);
    expect(new Set(names).size).toBe(3_000);
    expect((await client.domainStats({ flags: statsFlag.nowait })).map(({ domain }) => domain.name)).toEqual(
      names,
    );
  });

  it('tells of lifecycle events on another connection', async () => {
    const watching = await open(true);
    const acting = await open(false);
    const stop = new AbortController();
    const events: LifecycleEvent[] = [];
    const gathering = (async () => {
      for await (const event of watching.lifecycleEvents(stop.signal)) events.push(event);
    })();
    await watching.call(procedures.connectGetHostname, undefined);
    const { dom } = await acting.call(procedures.domainLookupByName, { name: 'test' });
    await acting.call(procedures.domainDestroy, { dom });
    await acting.call(procedures.domainCreate, { dom: { ...dom, id: -1 } });
    await until('both events', () => events.length >= 2);
    expect(events).toMatchObject([
      { event: 'stopped', detail: 'destroyed', domain: testDomain },
      { event: 'started', detail: 'booted', domain: testDomain },
    ]);
    stop.abort();
    await gathering;
  });

  it('keeps an idle connection, and a stopped daemon is noticed', async () => {
    const socket = libvirtd.connect(true);
    const client = await open(true, { keepalive: { intervalMs: 100, countMax: 4 } }, socket);
    const [written, read] = [socket.bytesWritten, socket.bytesRead];
    await until('ten PINGs', () => socket.bytesWritten - written >= 10 * headerBytes);
    expect(socket.bytesRead - read).toBeGreaterThanOrEqual(9 * headerBytes);
    libvirtd.signal('SIGSTOP');
    try {
      const pending = client.call(procedures.connectGetHostname, undefined).catch((error) => error);
      expect(await client.closed).toMatchObject({
        code: 'TIMEOUT',
        message: expect.stringContaining('sign of life'),
      });
      expect(await pending).toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
    } finally {
      libvirtd.signal('SIGCONT');
    }
  });

  it('answers late after it was stopped in the middle of a call', async () => {
    const client = await open(true, { keepalive: false });
    libvirtd.signal('SIGSTOP');
    try {
      const late = client.call(procedures.connectGetHostname, undefined, { timeoutMs: 200 });
      await expect(late).rejects.toMatchObject({ code: 'TIMEOUT', outcome: 'unknown' });
      expect(client.calls).toMatchObject({ inFlight: 1, lost: 1 });
    } finally {
      libvirtd.signal('SIGCONT');
    }
    await until('the late reply', () => client.calls.lateReplies === 1);
    expect(await client.domainStats()).toHaveLength(1);
  });

  it('leaves no descriptor behind', async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const before = descriptors();
    for (let round = 0; round < 30; round++) {
      const client = await open(round % 2 === 0);
      await client.close();
    }
    await until('the descriptors', () => descriptors() <= before);
  });

  it('ends every call when it dies', async () => {
    await using doomed = await Libvirtd.start();
    const client = await LibvirtClient.open(doomed.connect(false), {
      host: 'kvm-02',
      uri: 'test:///default',
      readOnly: false,
      timeoutMs: 10_000,
    });
    doomed.signal('SIGSTOP');
    const pending = client.call(procedures.connectGetHostname, undefined).catch((error) => error);
    doomed.signal('SIGKILL');
    expect(await pending).toMatchObject({ code: 'CLOSED', outcome: 'unknown', host: 'kvm-02' });
    expect(await client.closed).toMatchObject({ code: 'CLOSED', host: 'kvm-02' });
  });
});

describe('libvirtd with QEMU guests', () => {
  it('every numeric field equals that of virsh domstats', async () => {
    await using lab = await raiseLab({ name: 'libvirt-client', hosts: 1, guests: 2 });
    const [host] = lab.hosts;
    const [pid] = host?.pids('libvirtd') ?? [];
    if (host === undefined || pid === undefined) throw new Error('the lab has no libvirtd');
    const client = await LibvirtClient.open(connect(`/proc/${pid}/root/run/libvirt/libvirt-sock-ro`), {
      host: host.name,
      uri: 'qemu:///system',
      readOnly: true,
      timeoutMs: 10_000,
    });
    clients.push(client);
    const groups = ['--state', '--cpu-total', '--balloon', '--vcpu', '--interface', '--block', '--perf'];
    const virsh = async () =>
      domstats(await host.virsh('domstats', '--raw', ...groups, '--iothread', '--memory', '--dirtyrate'));
    await client.domainStats();
    const before = await virsh();
    const all = await client.domainStats();
    const after = await virsh();
    expect(all.map(({ domain }) => domain.name).sort()).toEqual([...host.guests].sort());
    let compared = 0;
    for (const stats of all) {
      const low = before.get(stats.domain.name) ?? new Map<string, string>();
      const high = after.get(stats.domain.name) ?? new Map<string, string>();
      const ours = fieldsOf(stats);
      expect([...ours.keys()].sort()).toEqual([...low.keys()].sort());
      for (const [field, value] of ours) {
        const [least, most] = [Number(low.get(field)), Number(high.get(field))];
        if (typeof value === 'string') expect(value, field).toBe(low.get(field));
        else
          expect(value >= Math.min(least, most) && value <= Math.max(least, most), `${field} ${value}`).toBe(
            true,
          );
        compared++;
      }
    }
    expect(compared).toBeGreaterThan(80);
  });
});
