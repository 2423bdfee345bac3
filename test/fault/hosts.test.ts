// Breaks one host of three in every way that hosts break, and looks at the service from outside: the others' polls stay on
// time, the state, the log and the metrics name the cause, what was opened is given back, and the host comes back by itself.
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { type LogLine, type Page, Service } from '../support/outrigger.js';
import { until } from '../support/until.js';

const intervalMs = 2_000;
/** A poll is on time when the sample is never older than the interval and this. */
const lateMsMax = 2_000;
const descriptorsOverMax = 2;
const watched = ['vms', 'system'];

let lab: Lab;
let service: Service;
let victim: LabHost;

beforeAll(async () => {
  lab = await raiseLab({ name: 'fault', hosts: 3, guests: ['web-1'] });
  const [first] = lab.hosts;
  if (!first) throw new Error('the lab has no host');
  victim = first;
  service = await Service.start(lab.inventoryFile, { AGENT_POLL_INTERVAL: String(intervalMs / 1000) });
});

afterAll(async () => {
  await service?.[Symbol.asyncDispose]();
  await lab?.down();
});

beforeEach(() => allFresh());

function allFresh(): Promise<Page> {
  return service.pageWhen(
    'all hosts up and fresh',
    (page) =>
      lab.hosts.every(
        ({ name }) =>
          stateOf(page, name) === 'up' &&
          watched.every((poller) => ageMs(page, name, poller) < intervalMs + lateMsMax),
      ),
    90_000,
  );
}

function stateOf(page: Page, instance: string): string | undefined {
  const [found] = page.find('outrigger_host_session_state', { instance }).filter(([, value]) => value === 1);
  return found && /state="([^"]+)"/.exec(found[0])?.[1];
}

function ageMs(page: Page, instance: string, poller: string): number {
  return (
    (page.value('outrigger_host_sample_age_seconds', { instance, poller }) ?? Number.POSITIVE_INFINITY) * 1000
  );
}

/** The oldest that a sample of the hosts that are well ever was, while `during` ran. */
async function watchOthers(during: () => Promise<void>): Promise<number> {
  let oldestMs = 0;
  let over = false;
  const watching = (async () => {
    while (!over) {
      const page = await service.page();
      for (const { name } of lab.hosts) {
        if (name === victim.name) continue;
        for (const poller of watched) oldestMs = Math.max(oldestMs, ageMs(page, name, poller));
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  })();
  try {
    await during();
  } finally {
    over = true;
    await watching;
  }
  return oldestMs;
}

type Fault = {
  break(): unknown;
  mend(): unknown;
  /** What the host's state becomes, and the code that every witness names. */
  state: string;
  codes: readonly string[];
  withinMs: number;
  /** What else must be seen while it lasts. */
  witness?(): Promise<unknown>;
  /** For faults whose mend the service does not find out by itself soon. */
  afterMend?(): void;
  recoversWithinMs?: number;
};

/** The cause of the state change as the log tells it; the page may be faster than the log's pipe. */
async function causeLogged(since: number, to: string): Promise<Record<string, string>> {
  const ofVictim = ({ msg, host, to: state }: LogLine) =>
    msg === 'host state changed' && host === victim.name && state === to;
  const line = await until(`the log to tell of ${to}`, () => service.lines.slice(since).find(ofVictim));
  return (line.error ?? {}) as Record<string, string>;
}

async function endure(fault: Fault): Promise<void> {
  const descriptorsBefore = service.descriptors();
  const since = service.lines.length;
  const oldestMs = await watchOthers(async () => {
    try {
      await fault.break();
      const page = await service.pageWhen(
        `${victim.name} to be ${fault.state}`,
        (page) => stateOf(page, victim.name) === fault.state,
        fault.withinMs,
      );
      const { code } = await causeLogged(since, fault.state);
      expect(fault.codes).toContain(code);
      const [[cause] = ['']] = page.find('outrigger_host_cause_info', { instance: victim.name });
      expect(fault.codes).toContain(/code="([^"]+)"/.exec(cause)?.[1]);
      expect(page.value('libvirt_up', { instance: victim.name })).toBe(0);
      const gone = await service.pageWhen(
        'the VM series to go',
        (page) => page.find('libvirt_domain_info_state', { instance: victim.name }).length === 0,
        45_000,
      );
      expect(ageMs(gone, victim.name, 'vms')).toBeGreaterThan(0);
      await fault.witness?.();
    } finally {
      await fault.mend();
    }
    fault.afterMend?.();
    await service.pageWhen(
      `${victim.name} to come back`,
      (page) =>
        stateOf(page, victim.name) === 'up' && page.value('libvirt_up', { instance: victim.name }) === 1,
      fault.recoversWithinMs ?? 75_000,
    );
  });
  expect(oldestMs).toBeLessThanOrEqual(intervalMs + lateMsMax);
  await until(
    'descriptors to come back',
    () => service.descriptors() <= descriptorsBefore + descriptorsOverMax,
    { timeoutMs: 20_000 },
  );
  expect(service.child.exitCode).toBeNull();
}

const retryNow = () => void service.child.kill('SIGHUP');

describe('one broken host of three', () => {
  it('libvirtd stopped (SIGSTOP) in mid-call: degraded, host figures go on', async () => {
    await endure({
      break: () => victim.pauseLibvirtd(),
      mend: () => victim.resumeLibvirtd(),
      state: 'degraded',
      codes: ['TIMEOUT', 'CLOSED'],
      withinMs: 60_000,
    });
  });

  it('libvirtd ended, and started again', async () => {
    await endure({
      break: () => victim.stopLibvirtd(),
      mend: () => victim.startLibvirtd(),
      state: 'degraded',
      codes: ['CLOSED', 'SOCKET_MISSING', 'FORWARD_DENIED'],
      withinMs: 20_000,
    });
  });

  it('sshd killed with all its sessions', async () => {
    await endure({
      break: () => victim.killSshd(),
      mend: () => victim.startSshd(),
      state: 'down',
      codes: ['CLOSED', 'REFUSED'],
      withinMs: 20_000,
    });
  });

  it('packets dropped: connections half-open, new ones unanswered', async () => {
    await endure({
      break: () => victim.dropPackets(),
      mend: () => victim.acceptPackets(),
      state: 'down',
      codes: ['TIMEOUT', 'CLOSED'],
      withinMs: 60_000,
      recoversWithinMs: 90_000,
    });
  });

  it('our key removed', async () => {
    await endure({
      break: async () => {
        await victim.removeKeys();
        await victim.killSshd();
        await victim.startSshd();
      },
      mend: () => victim.restoreKeys(),
      state: 'auth-failed',
      codes: ['AUTH_FAILED'],
      withinMs: 30_000,
      afterMend: retryNow,
    });
  });

  it('the frames of a hostile libvirt: malformed, oversized, endless', { timeout: 240_000 }, async () => {
    for (const [kind, code] of [
      ['garbage', 'PROTOCOL_ERROR'],
      ['oversized', 'PROTOCOL_ERROR'],
      ['endless', 'TIMEOUT'],
    ] as const) {
      await allFresh();
      const rssBefore = service.residentBytes();
      let hostile: Hostile | undefined;
      await endure({
        break: async () => {
          await victim.stopLibvirtd();
          hostile = await startHostile(victim, kind);
        },
        mend: async () => {
          await hostile?.end();
          await victim.startLibvirtd();
        },
        state: 'degraded',
        codes: ['CLOSED', 'SOCKET_MISSING', 'FORWARD_DENIED', code],
        withinMs: 30_000,
        witness: () =>
          service.pageWhen(
            `the cause ${code}`,
            (page) => page.value('outrigger_host_cause_info', { instance: victim.name, code }) === 1,
            60_000,
          ),
      });
      expect(service.residentBytes() - rssBefore).toBeLessThan(150 * 1024 * 1024);
    }
  });

  it('a guest stuck in a job: marked, without its figures; its host and the others go on', async () => {
    const at = { instance: victim.name, domain: 'web-1' };
    const oldestMs = await watchOthers(async () => {
      victim.stickGuest('web-1');
      try {
        const page = await service.pageWhen(
          'the guest to be marked',
          (page) => page.value('libvirt_domain_timed_out', at) === 1,
          60_000,
        );
        expect(page.value('libvirt_domain_info_state', at)).toBe(1);
        expect(page.find('libvirt_domain_block_stats_read_requests_total', at)).toEqual([]);
      } finally {
        victim.unstickGuest('web-1');
      }
      await service.pageWhen('the mark to go', (page) => page.value('libvirt_domain_timed_out', at) === 0);
    });
    expect(oldestMs).toBeLessThanOrEqual(intervalMs + lateMsMax);
    await allFresh();
  });

  it('the host key changed: refused until a person has looked into it', async () => {
    const since = service.lines.length;
    const oldestMs = await watchOthers(async () => {
      await victim.rotateHostKeys();
      await service.pageWhen(
        'the mismatch',
        (page) => stateOf(page, victim.name) === 'host-key-mismatch',
        30_000,
      );
    });
    expect(oldestMs).toBeLessThanOrEqual(intervalMs + lateMsMax);
    const { code, text, hint } = await causeLogged(since, 'host-key-mismatch');
    expect(code).toBe('HOST_KEY_MISMATCH');
    expect(text).toContain(lab.knownHostsFile);
    expect(hint).toBeTruthy();
    const page = await service.page();
    expect(
      page.find('outrigger_connect_failures_total', { code: 'HOST_KEY_MISMATCH' })[0]?.[1],
    ).toBeGreaterThan(0);
    const { stdout } = await victim.exec(['sh', '-c', 'cat /run/lab/ssh/*.pub'], { timeoutMs: 5_000 });
    const keys = stdout
      .trim()
      .split('\n')
      .map((line) => `${victim.address} ${line}`);
    await writeFile(lab.knownHostsFile, `${keys.join('\n')}\n${await othersKeys()}`);
    retryNow();
    await service.pageWhen('the host to come back', (page) => stateOf(page, victim.name) === 'up');
  });
});

async function othersKeys(): Promise<string> {
  const of = async (host: LabHost) => {
    const { stdout } = await host.exec(['sh', '-c', 'cat /run/lab/ssh/*.pub'], { timeoutMs: 5_000 });
    return stdout
      .trim()
      .split('\n')
      .map((line) => `${host.address} ${line}`);
  };
  const lines = await Promise.all(lab.hosts.filter((host) => host !== victim).map(of));
  return `${lines.flat().join('\n')}\n`;
}

type Hostile = { end(): Promise<void> };

/** Something else on libvirt's read-only socket: answers every connection with bytes that no libvirt sends. */
async function startHostile(host: LabHost, kind: 'garbage' | 'oversized' | 'endless'): Promise<Hostile> {
  const socket = '/run/libvirt/libvirt-sock-ro';
  const script = `
    const { createServer } = require('node:net');
    const { rmSync, chmodSync } = require('node:fs');
    rmSync('${socket}', { force: true });
    const head = Buffer.alloc(28);
    const server = createServer((client) => {
      client.on('error', () => {});
      client.once('data', () => {
        if ('${kind}' === 'garbage') client.write(Buffer.alloc(4096, 0x5a));
        if ('${kind}' === 'oversized') { head.writeUInt32BE(0x7fffffff); client.write(head); }
        if ('${kind}' === 'endless') {
          head.writeUInt32BE(32 * 1024 * 1024);
          client.write(head);
          const timer = setInterval(() => client.write(Buffer.alloc(1024)), 50);
          client.on('close', () => clearInterval(timer));
        }
      });
    });
    server.listen('${socket}', () => { chmodSync('${socket}', 0o777); });
    setTimeout(() => process.exit(0), 120000);
  `;
  const file = '/run/lab/hostile.cjs';
  await writeFile(join(dirname(dirname(host.sshdLogFile)), 'hostile.cjs'), script);
  const running = host.exec([process.execPath, file], { timeoutMs: 130_000 }).catch(() => undefined);
  await until('the hostile socket', async () => (await host.exec(['test', '-S', socket])).code === 0);
  return {
    async end() {
      await host.exec(['pkill', '-f', file]);
      await running;
      await host.exec(['rm', '-f', socket]);
    },
  };
}
