import { describe, expect, it } from 'vitest';
import { type ErrorCode, HostError } from '../../../src/core/errors.js';
import { silentLog } from '../../../src/core/log.js';
import { OpsSessions, opsIdleMs, opsOpenTimeoutMs } from '../../../src/fleet/ops-session.js';
import { authRetryFloorMs } from '../../../src/fleet/session.js';
import type { LibvirtLink, Purpose, Transport } from '../../../src/fleet/transport.js';
import type { Host } from '../../../src/inventory/host.js';
import { FakeClock, settle } from '../../support/fake-clock.js';

const host: Host = {
  name: 'kvm-01',
  connection: 'ssh',
  address: '192.0.2.11',
  groups: [],
  labels: {},
  ssh: { user: 'outrigger', port: 22, keyFile: '/k', opsKeyFile: '/o', agent: false, jump: [] },
  libvirt: { uri: 'qemu:///system', socket: 'auto', transport: 'auto' },
  poll: { intervalMs: 15_000, detailsMs: 300_000 },
  ops: true,
  maintenance: false,
};
const moved: Host = { ...host, address: '192.0.2.99' };

type Way = {
  host: Host;
  purpose: Purpose | undefined;
  readOnly: boolean | undefined;
  cutWay(): void;
  cutLibvirt(): void;
  closed: { libvirt: number; way: number };
};

function rig() {
  const clock = new FakeClock();
  const ways: Way[] = [];
  const trouble: { way?: HostError; libvirt?: HostError; hang?: 'way' | 'libvirt' | 'close' } = {};
  const never = () => new Promise<never>(() => undefined);
  const sessions = new OpsSessions({
    clock,
    log: silentLog,
    knownHostsFile: '/known_hosts',
    connector: undefined as never,
    openTransport: async (host, _, { purpose } = {}): Promise<Transport> => {
      const way: Way = {
        host,
        purpose,
        readOnly: undefined,
        cutWay: () => undefined,
        cutLibvirt: () => undefined,
        closed: { libvirt: 0, way: 0 },
      };
      ways.push(way);
      if (trouble.way) throw trouble.way;
      if (trouble.hang === 'way') await never();
      return {
        closed: new Promise((resolve) => {
          way.cutWay = () => resolve(new HostError('CLOSED', { message: 'the way broke' }));
        }),
        openLibvirt: async ({ readOnly }) => {
          way.readOnly = readOnly;
          if (trouble.libvirt) throw trouble.libvirt;
          if (trouble.hang === 'libvirt') await never();
          const closed = new Promise<HostError>((resolve) => {
            way.cutLibvirt = () => resolve(new HostError('CLOSED', { message: 'libvirt broke' }));
          });
          const client = { number: ways.length, closed, close: async () => void way.closed.libvirt++ };
          return { client, via: '/run/libvirt/libvirt-sock' } as unknown as LibvirtLink;
        },
        openFiles: never,
        close: async () => {
          way.closed.way++;
          if (trouble.hang === 'close') await never();
        },
      };
    },
  });
  sessions.apply([host]);
  return { clock, sessions, ways, trouble };
}

const refused = (code: ErrorCode) =>
  new HostError(code, {
    host: 'kvm-01',
    message: 'the host refused the key',
    hint: 'put it into authorized_keys',
  });

describe('OpsSessions', () => {
  it('opens nothing before a job needs it, then read-write with the jobs key', async () => {
    const { sessions, ways } = rig();
    const hold = sessions.hold(host);
    await settle();
    expect(ways).toHaveLength(0);
    await hold.libvirt();
    expect(ways).toMatchObject([{ purpose: 'ops', readOnly: false }]);
    hold.release();
    await sessions.close();
    expect(ways[0]?.closed).toEqual({ libvirt: 1, way: 1 });
  });

  it('is one connection for all jobs of a host, also when they ask at once', async () => {
    const { sessions, ways } = rig();
    const holds = Array.from({ length: 20 }, () => sessions.hold(host));
    const clients = await Promise.all([...holds.map((hold) => hold.libvirt()), sessions.get(host)]);
    expect(new Set(clients).size).toBe(1);
    expect(ways).toHaveLength(1);
    expect(sessions.size).toBe(1);
    await sessions.close();
  });

  it('is closed when it has been idle, never while a job holds it', async () => {
    const { clock, sessions, ways } = rig();
    const [one, two] = [sessions.hold(host), sessions.hold(host)];
    await one.libvirt();
    await two.libvirt();
    one.release();
    await clock.advance(opsIdleMs * 10);
    expect(ways[0]?.closed.way).toBe(0);
    two.release();
    await clock.advance(opsIdleMs - 1);
    expect(sessions.size).toBe(1);
    await clock.advance(1);
    expect(sessions.size).toBe(0);
    expect(ways[0]?.closed).toEqual({ libvirt: 1, way: 1 });
    expect(clock.pending).toBe(0);
    await sessions.get(host);
    expect(ways).toHaveLength(2);
    await clock.advance(opsIdleMs - 1);
    await sessions.get(host);
    await clock.advance(opsIdleMs - 1);
    expect(sessions.size).toBe(1);
    await clock.advance(1);
    expect(sessions.size).toBe(0);
  });

  it.each(['cutWay', 'cutLibvirt'] as const)(
    'is forgotten when it breaks (%s), and opened anew for the same job',
    async (cut) => {
      const { sessions, ways, clock } = rig();
      const hold = sessions.hold(host);
      const first = await hold.libvirt();
      ways[0]?.[cut]();
      await settle();
      expect(ways[0]?.closed).toEqual({ libvirt: 1, way: 1 });
      expect(await hold.libvirt()).not.toBe(first);
      expect(ways).toHaveLength(2);
      hold.release();
      await clock.advance(opsIdleMs);
      expect(sessions.size).toBe(0);
    },
  );

  it('fails with what the host said, sends nothing, and tries again for the next job', async () => {
    const { sessions, ways, trouble } = rig();
    trouble.way = new HostError('REFUSED', { host: 'kvm-01', outcome: 'unknown', message: 'refused' });
    await expect(sessions.get(host)).rejects.toMatchObject({ code: 'REFUSED', outcome: 'not-sent' });
    delete trouble.way;
    trouble.libvirt = new HostError('SOCKET_DENIED', { message: 'not in the group', hint: 'usermod' });
    await expect(sessions.get(host)).rejects.toMatchObject({
      code: 'SOCKET_DENIED',
      outcome: 'not-sent',
      hint: 'usermod',
    });
    await settle();
    expect(ways[1]?.closed.way).toBe(1);
    delete trouble.libvirt;
    await sessions.get(host);
    await sessions.close();
    expect(sessions.size).toBe(0);
  });

  it('does not knock for ten minutes where the key was refused, and says so', async () => {
    const { sessions, ways, trouble, clock } = rig();
    trouble.way = refused('AUTH_FAILED');
    await expect(sessions.get(host)).rejects.toMatchObject({ message: 'no connection for jobs' });
    await clock.advance(3 * 60_000);
    await expect(sessions.get(host)).rejects.toMatchObject({
      code: 'AUTH_FAILED',
      outcome: 'not-sent',
      message: 'failed 3 min ago, and not tried again for 7 min, because sshd bans who fails often',
      hint: 'put it into authorized_keys; then send SIGHUP to try at once',
    });
    await clock.advance(authRetryFloorMs - 3 * 60_000 - 1);
    await expect(sessions.get(host)).rejects.toThrow();
    expect(ways).toHaveLength(1);
    await clock.advance(1);
    await expect(sessions.get(host)).rejects.toThrow();
    expect(ways).toHaveLength(2);
    delete trouble.way;
    sessions.retryNow();
    await sessions.get(host);
    await sessions.close();
  });

  it('tries at once when the inventory gives the host another key, and not for another label', async () => {
    const { sessions, ways, trouble } = rig();
    trouble.way = refused('AUTH_FAILED');
    await expect(sessions.get(host)).rejects.toThrow();
    const labelled = { ...host, labels: { rack: 'r1' } };
    sessions.apply([labelled]);
    await expect(sessions.get(labelled)).rejects.toThrow();
    expect(ways).toHaveLength(1);
    const rekeyed = { ...host, ssh: { ...host.ssh, opsKeyFile: '/other' } };
    sessions.apply([rekeyed]);
    delete trouble.way;
    await sessions.get(rekeyed);
    expect(ways).toHaveLength(2);
    await sessions.close();
  });

  it('makes one attempt of a burst of jobs to a host whose key changed', async () => {
    const { sessions, ways, trouble, clock } = rig();
    trouble.way = refused('HOST_KEY_MISMATCH');
    await expect(sessions.get(host)).rejects.toThrow();
    await expect(sessions.get(host)).rejects.toMatchObject({ code: 'HOST_KEY_MISMATCH' });
    expect(ways).toHaveLength(1);
    await clock.advance(10_000);
    await expect(sessions.get(host)).rejects.toThrow();
    expect(ways).toHaveLength(2);
  });

  it('gives a changed host a connection of its own, and lets the running job finish over the old one', async () => {
    const { sessions, ways, clock } = rig();
    const running = sessions.hold(host);
    const old = await running.libvirt();
    sessions.apply([moved]);
    expect(await running.libvirt()).toBe(old);
    await sessions.get(moved);
    expect(ways.map(({ host: { address } }) => address)).toEqual(['192.0.2.11', '192.0.2.99']);
    running.release();
    await clock.advance(0);
    expect(ways[0]?.closed.way).toBe(1);
    expect(ways[1]?.closed.way).toBe(0);
    await sessions.close();
  });

  it('never lets a job go on at another machine: a broken connection to a changed host is not opened again', async () => {
    const { sessions, ways } = rig();
    const running = sessions.hold(host);
    await running.libvirt();
    sessions.apply([moved]);
    ways[0]?.cutWay();
    await settle();
    await expect(running.libvirt()).rejects.toMatchObject({ code: 'INVENTORY', outcome: 'not-sent' });
    expect(ways).toHaveLength(1);
    running.release();
    expect(sessions.size).toBe(0);
  });

  it('closes what leads to a host that left the inventory', async () => {
    const { sessions, ways, clock } = rig();
    await sessions.get(host);
    sessions.apply([]);
    await clock.advance(0);
    expect(ways[0]?.closed.way).toBe(1);
    await expect(sessions.get(host)).rejects.toMatchObject({ code: 'INVENTORY' });
    expect(clock.pending).toBe(0);
  });

  it.each(['way', 'libvirt'] as const)('gives up on a host that hangs (%s)', async (hang) => {
    const { sessions, trouble, clock } = rig();
    trouble.hang = hang;
    const failed = sessions.get(host).catch((error: unknown) => error);
    await clock.advance(opsOpenTimeoutMs);
    expect(await failed).toMatchObject({ code: 'TIMEOUT', outcome: 'not-sent' });
    expect(sessions.size).toBe(0);
    expect(clock.pending).toBe(0);
  });

  it('ends the wait of a job that is cancelled, not that of the others', async () => {
    const { sessions, ways } = rig();
    const stop = new AbortController();
    const [one, two] = [sessions.hold(host), sessions.hold(host)];
    const cancelled = one.libvirt(stop.signal).catch((error: unknown) => error);
    const other = two.libvirt();
    stop.abort(new HostError('ABORTED', { message: 'cancelled' }));
    expect(await cancelled).toMatchObject({ message: 'cancelled' });
    await other;
    expect(ways).toHaveLength(1);
    await sessions.close();
  });

  it('is there for a job whose time is over and that must see what became of its act', async () => {
    const { sessions, ways } = rig();
    const hold = sessions.hold(host);
    const over = AbortSignal.abort(new HostError('ABORTED', { message: 'the deadline has passed' }));
    await hold.libvirt(over);
    ways[0]?.cutWay();
    await settle();
    await hold.libvirt(over);
    expect(ways).toHaveLength(2);
    hold.release();
    await sessions.close();
  });

  it('gives nothing to a job that has ended, and nothing after it is closed', async () => {
    const { sessions, trouble, clock } = rig();
    const hold = sessions.hold(host);
    await hold.libvirt();
    hold.release();
    await expect(hold.libvirt()).rejects.toMatchObject({ code: 'ABORTED' });
    trouble.hang = 'close';
    const closed = sessions.close();
    await clock.advance(5_000);
    await closed;
    await expect(sessions.get(host)).rejects.toMatchObject({ code: 'ABORTED', outcome: 'not-sent' });
    expect(clock.pending).toBe(0);
  });

  it('stops what is being opened when it is closed', async () => {
    const { sessions, trouble, clock } = rig();
    trouble.hang = 'way';
    const opening = sessions.get(host).catch((error: unknown) => error);
    await settle();
    await sessions.close();
    expect(await opening).toMatchObject({ code: 'ABORTED', message: 'the service is stopping' });
    expect(clock.pending).toBe(0);
  });
});
