import { describe, expect, test } from 'vitest';
import { agentIdOf, uuidV5 } from '../../../src/backend/agent-id.js';
import { backendJob } from '../../../src/backend/api.js';
import { factsOf } from '../../../src/backend/facts.js';
import { retryAfterMs, retryAfterMsMax } from '../../../src/backend/http.js';
import { proxyFor } from '../../../src/backend/proxy.js';
import { agentStatus, lastError } from '../../../src/backend/status.js';
import { phaseMs, Turns } from '../../../src/backend/turns.js';
import { isNewer } from '../../../src/backend/update.js';
import { HostError } from '../../../src/core/errors.js';
import { sessionStates } from '../../../src/fleet/session.js';
import { FakeClock } from '../../support/fake-clock.js';

describe('agent ids', () => {
  test('are UUIDv5: the example of RFC 9562', () => {
    expect(uuidV5('6ba7b810-9dad-11d1-80b4-00c04fd430c8', 'www.example.com')).toBe(
      '2ed6657d-e927-568b-95e1-2665a8aea6a2',
    );
  });

  test('are the same for the same name, differ by collector, and yield to the inventory', () => {
    const host = { name: 'kvm-01' };
    expect(agentIdOf('site-a', host)).toBe(agentIdOf('site-a', host));
    expect(agentIdOf('site-a', host)).not.toBe(agentIdOf('site-b', host));
    expect(agentIdOf('site-a', { ...host, id: 'rack-7' })).toBe('rack-7');
  });
});

describe('the proxy', () => {
  const url = 'https://backend.example.net:8443/base';
  test.each([
    [{ HTTPS_PROXY: 'http://proxy:3128' }, 'http://proxy:3128/'],
    [{ https_proxy: 'proxy:3128' }, 'http://proxy:3128/'],
    [{ HTTP_PROXY: 'http://proxy:3128', http_proxy: 'http://proxy:3128' }, undefined],
    [{ HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: 'other.net,example.net' }, undefined],
    [{ HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: '.example.net:8443' }, undefined],
    [{ HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: '*' }, undefined],
    [{ HTTPS_PROXY: 'http://proxy:3128', NO_PROXY: 'ample.net,example.net:443' }, 'http://proxy:3128/'],
    [{}, undefined],
  ])('%j', (env, expected) => {
    expect(proxyFor(url, env)?.href).toBe(expected);
  });

  test('addresses and networks of NO_PROXY', () => {
    const through = (to: string, NO_PROXY: string) => proxyFor(to, { https_proxy: 'http://p:1', NO_PROXY });
    expect(through('https://10.1.2.3', '10.0.0.0/8')).toBeUndefined();
    expect(through('https://11.1.2.3', '10.0.0.0/8')).toBeDefined();
    expect(through('https://[2001:db8::1]', '2001:db8::/32')).toBeUndefined();
    expect(through('https://10.1.2.3', '10.1.2.3')).toBeUndefined();
  });

  test('one that is no URL is named', () => {
    expect(() => proxyFor(url, { HTTPS_PROXY: 'socks5://x:1' })).toThrow(/HTTPS_PROXY is not the URL/);
  });
});

test.each([
  ['1.0.1', '1.0.0', true],
  ['v1.10.0', '1.9.9', true],
  ['1.0.0', '1.0.0', false],
  ['0.9.9', '1.0.0', false],
  ['1.0.0', '1.0.0-rc.1', true],
  ['1.0.0-rc.10', '1.0.0-rc.9', true],
  ['1.0.0-rc.1', '1.0.0', false],
  ['newest', '1.0.0', false],
])('isNewer(%s, %s) is %s', (latest, ours, expected) => {
  expect(isNewer(latest, ours)).toBe(expected);
});

test.each([
  ['120', 120_000],
  [new Date(60_000).toUTCString(), 60_000],
  [new Date(0).toUTCString(), 0],
  ['99999999', retryAfterMsMax],
  ['soon', undefined],
  ['-5', 0],
  ['', undefined],
])('Retry-After %s', (given, expected) => {
  const read = retryAfterMs(given, 0);
  if (given === '-5') expect(read === undefined || read >= 0).toBe(true);
  else expect(read).toBe(expected);
});

describe('turns', () => {
  test('1,000 hosts: in no second of 30 more than twice their share', () => {
    const seconds = new Map<number, number>();
    for (let index = 0; index < 1_000; index++) {
      const second = Math.floor(phaseMs(`kvm-${index}`, 30_000) / 1_000);
      seconds.set(second, (seconds.get(second) ?? 0) + 1);
    }
    expect(seconds.size).toBe(30);
    expect(Math.max(...seconds.values())).toBeLessThan(67);
  });

  test('come once an interval, and one that still runs is not overtaken', async () => {
    const clock = new FakeClock();
    let runs = 0;
    let end = () => {};
    const turns = new Turns(clock, 'kvm-01', 1_000, () => {
      runs++;
      return new Promise<void>((resolve) => {
        end = resolve;
      });
    }).start();
    await clock.advance(5_000);
    expect(runs).toBe(1);
    end();
    await clock.advance(1_000);
    expect(runs).toBe(2);
    end();
    await turns.stop();
    await clock.advance(5_000);
    expect(runs).toBe(2);
    expect(clock.pending).toBe(0);
  });
});

describe('a job of a heartbeat', () => {
  test('is spelt as the queue spells it; unknown keys stay, for the queue to refuse', () => {
    const given = { op: 'stop', request_id: 'r1', vm: 'web', dry_run: true, expected_uuid: null, extra: 1 };
    expect(backendJob(given, 'kvm-01')).toEqual({
      ...{ op: 'stop', requestId: 'r1' },
      data: { host: 'kvm-01', requestId: 'r1', vm: 'web', dryRun: true, extra: 1 },
    });
  });

  test.each([null, 7, {}, { op: 'stop' }, { op: 1, request_id: 'r' }])('%j is none', (given) => {
    expect(backendJob(given, 'kvm-01')).toBeUndefined();
  });
});

describe('what the backend is told of a host', () => {
  test('every state has its word', () => {
    expect(sessionStates.map(agentStatus)).toEqual([
      ...[undefined, 'online', 'degraded', 'unreachable', 'unreachable', 'unreachable', 'maintenance'],
    ]);
  });

  test('an error is its code, its words and its mend', () => {
    const cause = new Error('secret words of a library');
    expect(lastError(new HostError('TIMEOUT', { message: 'no answer', hint: 'look', cause }))).toEqual({
      ...{ code: 'TIMEOUT', message: 'no answer', hint: 'look' },
    });
  });

  const capabilities = `<capabilities><host><uuid>u-1</uuid><cpu><arch>x86_64</arch><model>EPYC</model></cpu></host>
    <guest><os_type>hvm</os_type><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch></guest></capabilities>`;

  test('facts', () => {
    const node = {
      model: 'x86_64',
      memory: 2,
      cpus: 8,
      mhz: 2000,
      nodes: 1,
      sockets: 1,
      cores: 4,
      threads: 2,
    };
    const facts = factsOf(
      { type: 'QEMU', hvVer: 7_002_019, libVer: 9_000_000, hostname: 'h', node, capabilities },
      undefined,
    );
    expect(facts.hostname).toBe('h');
    expect(facts.hypervisor).toMatchObject({
      type: 'QEMU',
      version: '7.2.19',
      libvirt_version: '9.0.0',
      cpu_model: 'EPYC',
    });
    expect(facts.hypervisor).toMatchObject({ arch: 'x86_64', cpus: 8, memory_bytes: 2048, host_uuid: 'u-1' });
    expect(facts.hypervisor.guests).toEqual([{ os: 'hvm', arch: 'x86_64', accelerators: ['qemu', 'kvm'] }]);
  });

  test.each([
    '',
    '<a',
    '<!DOCTYPE x [<!ENTITY e "x">]><capabilities>&e;</capabilities>',
    'x'.repeat(5_000_000),
  ])('capabilities that are no such thing cost nothing', (text) => {
    expect(factsOf({ type: 'QEMU', capabilities: text }, undefined).hypervisor.type).toBe('QEMU');
  });

  test('nothing known is nothing said', () => {
    expect(factsOf(undefined, undefined)).toEqual({ hostname: undefined, hypervisor: {} });
  });
});
