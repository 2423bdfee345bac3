import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { type ErrorCode, HostError } from '../../../src/core/errors.js';
import { authRetryFloorMs, HostSession } from '../../../src/fleet/session.js';
import type { LibvirtLink, Transport } from '../../../src/fleet/transport.js';
import type { FileReader } from '../../../src/ssh/files.js';
import { FakeClock, settle } from '../../support/fake-clock.js';
import { aHost } from '../../support/host.js';

const host = aHost();

type Trouble = { way?: ErrorCode; libvirt?: ErrorCode; files?: ErrorCode };

/** A session on a way that the test breaks at will. */
function rig(trouble: Trouble = {}, which = host) {
  const clock = new FakeClock();
  const logged: Record<string, unknown>[] = [];
  const log = pino({ base: null }, { write: (line: string) => void logged.push(JSON.parse(line)) });
  const cut: Record<'way' | 'libvirt', (code: ErrorCode) => void> = {
    way: () => undefined,
    libvirt: () => undefined,
  };
  const counts = { opened: 0, closed: 0 };
  const breakable = (part: keyof typeof cut) =>
    new Promise<HostError>((resolve) => {
      cut[part] = (code) => resolve(new HostError(code));
    });
  const open = (part: keyof typeof cut) => {
    const code = trouble[part];
    if (code) throw new HostError(code);
    counts.opened++;
    return { closed: breakable(part), close: async () => void counts.closed++ };
  };
  const transport = (): Transport => ({
    ...open('way'),
    openLibvirt: async () =>
      ({ client: open('libvirt'), via: '/run/libvirt/libvirt-sock-ro' }) as unknown as LibvirtLink,
    openFiles: async () => {
      if (trouble.files) throw new HostError(trouble.files);
      return {} as FileReader;
    },
  });
  const session = new HostSession(which, {
    clock,
    log,
    knownHostsFile: '/known_hosts',
    connector: undefined as never,
    random: () => 1,
    openTransport: async () => transport(),
  });
  session.start();
  const transitions = () => logged.map(({ from, to }) => `${from} → ${to}`);
  return { clock, session, trouble, cut, counts, logged, transitions };
}

describe('HostSession', () => {
  it('is connecting, then up, and hands out libvirt and files', async () => {
    const { session, transitions, counts } = rig();
    expect(session.status.state).toBe('connecting');
    expect(() => session.libvirt()).toThrowError(/still connecting/);
    await settle();
    expect(session.status.state).toBe('up');
    expect(session.via).toBe('/run/libvirt/libvirt-sock-ro');
    expect(session.has('libvirt') && session.has('files')).toBe(true);
    expect(transitions()).toEqual(['connecting → up']);
    await session.stop();
    expect(counts.closed).toBe(counts.opened);
  });

  it.each([
    ['DNS', 'down'],
    ['REFUSED', 'down'],
    ['TIMEOUT', 'down'],
    ['KEY_FILE', 'down'],
    ['AUTH_FAILED', 'auth-failed'],
    ['HOST_KEY_UNKNOWN', 'host-key-mismatch'],
    ['HOST_KEY_MISMATCH', 'host-key-mismatch'],
    ['HOST_KEY_REVOKED', 'host-key-mismatch'],
  ] as const)(
    'a way that fails with %s is %s, logged once however often it is tried',
    async (code, state) => {
      const { session, clock, transitions } = rig({ way: code });
      await clock.advance(authRetryFloorMs * 2);
      expect(session.status).toMatchObject({ state, cause: { code } });
      expect(transitions()).toEqual([`connecting → ${state}`]);
      expect(() => session.files()).toThrowError(
        expect.objectContaining({ code: 'HOST_DOWN', cause: session.status.cause }),
      );
      await session.stop();
    },
  );

  it('waits ten minutes at least after a refused key', async () => {
    const { session, clock, trouble } = rig({ way: 'AUTH_FAILED' });
    await settle();
    delete trouble.way;
    await clock.advance(authRetryFloorMs - 1);
    expect(session.status.state).toBe('auth-failed');
    await clock.advance(1_001);
    expect(session.status.state).toBe('up');
    await session.stop();
  });

  it('is degraded while one part fails, and still hands out the other', async () => {
    const { session, clock, cut, trouble, transitions, logged } = rig();
    await settle();
    trouble.libvirt = 'SOCKET_MISSING';
    cut.libvirt('CLOSED');
    await clock.advance(50);
    expect(session.status).toMatchObject({ state: 'degraded', cause: { code: 'CLOSED' } });
    expect(() => session.libvirt()).toThrowError(expect.objectContaining({ code: 'HOST_DOWN' }));
    expect(session.files()).toBeDefined();
    await clock.advance(60_000);
    expect(session.status.cause?.code).toBe('SOCKET_MISSING');
    delete trouble.libvirt;
    await clock.advance(60_000);
    expect(session.status).toMatchObject({ state: 'up', cause: undefined });
    expect(transitions()).toEqual([
      'connecting → up',
      'up → degraded',
      'degraded → degraded',
      'degraded → up',
    ]);
    expect(logged[2]).toMatchObject({ host: 'kvm-01' });
    await session.stop();
  });

  it('is down when both parts fail, and when the way breaks: one transition, though the parts break too', async () => {
    const { session, clock, cut, trouble, transitions } = rig({
      libvirt: 'SOCKET_DENIED',
      files: 'SFTP_DENIED',
    });
    await settle();
    expect(session.status.state).toBe('down');
    delete trouble.libvirt;
    delete trouble.files;
    await clock.advance(2_000);
    expect(session.status.state).toBe('up');
    trouble.way = 'REFUSED';
    cut.libvirt('CLOSED');
    cut.way('CLOSED');
    await clock.advance(100);
    expect(session.status).toMatchObject({ state: 'down', cause: { code: 'CLOSED' } });
    expect(session.has('libvirt') || session.has('files')).toBe(false);
    expect(transitions().slice(-1)).toEqual(['up → down']);
    await session.stop();
  });

  it('is degraded while polls on an open part fail, and up again after a good one', async () => {
    const { session, clock, transitions } = rig();
    await settle();
    session.observe('libvirt', new HostError('TIMEOUT'));
    expect(session.status).toMatchObject({ state: 'degraded', cause: { code: 'TIMEOUT' } });
    session.observe('files', new HostError('SFTP_DENIED'));
    expect(session.status.state).toBe('down');
    session.observe('files', new HostError('HOST_DOWN'));
    session.observe('files', undefined);
    session.observe('libvirt', undefined);
    await clock.advance(0);
    expect(transitions().slice(1)).toEqual([
      'up → degraded',
      'degraded → down',
      'down → degraded',
      'degraded → up',
    ]);
    await session.stop();
  });

  it('retryNow connects at once', async () => {
    const { session, trouble } = rig({ way: 'AUTH_FAILED' });
    await settle();
    delete trouble.way;
    session.retryNow();
    await settle();
    expect(session.status.state).toBe('up');
    await session.stop();
  });

  it('is in maintenance when the inventory says so, connected all the same, and back again', async () => {
    const { session, counts } = rig({}, { ...host, maintenance: true });
    await settle();
    expect(session.status.state).toBe('maintenance');
    expect(session.has('libvirt')).toBe(true);
    const opened = counts.opened;
    session.update(host);
    expect(session.status.state).toBe('up');
    session.update({ ...host, maintenance: true });
    expect(session.status.state).toBe('maintenance');
    expect(counts.opened).toBe(opened);
    await session.stop();
  });
});
