import { setMaxListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { JobError } from '../../../src/ops/job.js';
import { failureOf, JobFailure, jobErrorOf } from '../../../src/queue/jobs-failure.js';
import { HostPlaces } from '../../../src/queue/jobs-hosts.js';
import { requestHash, vmKey } from '../../../src/queue/jobs-records.js';
import { storeNames } from '../../../src/queue/store-names.js';
import { FakeWork, uuidOf } from '../../support/job-work.js';
import { until } from '../../support/until.js';

describe('a failure', () => {
  it('is one line with its code, and never long', () => {
    expect(failureOf(new JobError('INVALID_STATE', 'web-1 is\n  paused'))).toBe(
      'INVALID_STATE: web-1 is paused',
    );
    expect(failureOf(new JobError('LIBVIRT_ERROR', 'x'.repeat(9_999)))).toHaveLength(1_000);
    const thrown = new JobFailure('INVALID_STATE: no');
    expect([thrown.message, thrown.stack, thrown.name]).toEqual([
      'INVALID_STATE: no',
      '',
      'UnrecoverableError',
    ]);
  });

  it.each([
    [new JobError('GUEST_TIMEOUT', 'x'), true, 'GUEST_TIMEOUT'],
    [new HostError('REFUSED', { outcome: 'not-sent' }), true, 'HOST_UNREACHABLE'],
    [new HostError('CLOSED', { outcome: 'unknown' }), true, 'OUTCOME_UNKNOWN'],
    [new HostError('CLOSED', { outcome: 'unknown' }), false, 'HOST_UNREACHABLE'],
    [new HostError('AUTH_FAILED'), false, 'OPS_DISABLED'],
    [new TypeError('x is undefined'), false, 'LIBVIRT_ERROR'],
    [new TypeError('x is undefined'), true, 'OUTCOME_UNKNOWN'],
  ])('%s, begun: %s → %s', (error, begun, code) => {
    expect(jobErrorOf(error, begun).code).toBe(code);
  });
});

describe('places at a host', () => {
  it('are as many as the cap, then a few wait, then there is none; other hosts have their own', async () => {
    const places = new HostPlaces(2);
    const { signal } = new AbortController();
    setMaxListeners(0, signal);
    const first = await places.take('kvm-1', signal);
    await places.take('kvm-1', signal);
    let got = 0;
    const waiting = Array.from({ length: 16 }, () =>
      places.take('kvm-1', signal).then((place) => {
        got++;
        place?.free();
      }),
    );
    expect(await places.take('kvm-1', signal)).toBeUndefined();
    expect(await places.take('kvm-2', signal)).toBeDefined();
    expect(got).toBe(0);
    first?.free();
    await Promise.all(waiting);
    expect(got).toBe(16);
  });

  it('are not taken by who gave up waiting', async () => {
    const places = new HostPlaces(1);
    const { signal } = new AbortController();
    const first = await places.take('kvm-1', signal);
    const leaving = new AbortController();
    const left = places.take('kvm-1', leaving.signal);
    leaving.abort(new JobError('CANCELLED', 'x'));
    await expect(left).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(places.take('kvm-1', leaving.signal)).rejects.toMatchObject({ code: 'CANCELLED' });
    let next = false;
    const waiting = places.take('kvm-1', signal).then(() => {
      next = true;
    });
    first?.free();
    first?.free();
    await until('the next to have the place', () => next);
    await waiting;
  });
});

describe('keys', () => {
  it('of a VM are its UUID, whichever way it was asked for; of a request, no text from outside', () => {
    const work = new FakeWork();
    const vm = { name: 'web-1', uuid: uuidOf('web-1') };
    const by = (name: string) => work.parse('stop', { host: 'kvm-1', vm: name, requestId: 'r' });
    const names = storeNames();
    expect(vmKey(names, by('web-1'), vm)).toBe(vmKey(names, by(vm.uuid), vm));
    expect(vmKey(names, by('web-1'), undefined)).toBe('outrigger:vm:kvm-1/name:web-1');
    expect(requestHash('a:b*\u{1f600}')).toMatch(/^[0-9a-f]{64}$/);
  });
});
