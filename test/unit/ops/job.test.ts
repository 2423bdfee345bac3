// The door: what a request may say, what is refused and how the refusal names the field, and which requests are the same.
import { describe, expect, it } from 'vitest';
import { JobError, type ParsedJob, parseRequest } from '../../../src/ops/job.js';
import { loadOperations } from '../../../src/ops/registry.js';

const operations = await loadOperations();
const base = { host: 'kvm-1', vm: 'web-1', requestId: 'r-1' };
const uuid = '6e14ee3d-c52b-4b6a-a246-1e2eb2cdd82a';

const parse = (name: string, data: unknown): ParsedJob => parseRequest(name, data, operations);

function refusal(name: string, data: unknown): string {
  try {
    parse(name, data);
  } catch (error) {
    if (error instanceof JobError) return error.failure;
    throw error;
  }
  return 'taken';
}

describe('a request', () => {
  it('gets the defaults of its operation', () => {
    expect(parse('stop', base)).toMatchObject({
      op: 'stop',
      host: 'kvm-1',
      vm: 'web-1',
      params: { force: false, timeoutSeconds: 60 },
      requestedBy: 'unknown',
      dryRun: false,
      deadlineMs: undefined,
    });
    expect(parse('health_check', { host: 'kvm-1', requestId: 'r' }).params).toMatchObject({
      loadPerCpu: { warning: 2, critical: 4 },
    });
  });

  it('may leave out what it does not need, also as null', () => {
    const nothing = {
      params: null,
      expectedUuid: null,
      requestedBy: null,
      reason: null,
      deadline: null,
      dryRun: null,
    };
    expect(parse('start', { ...base, ...nothing }).bodyHash).toBe(parse('start', base).bodyHash);
  });

  it('has its deadline in any zone', () => {
    expect(parse('start', { ...base, deadline: '2026-11-20T13:00:00+01:00' }).deadlineMs).toBe(
      Date.parse('2026-11-20T12:00:00Z'),
    );
  });

  it.each<[string, string, unknown, RegExp]>([
    ['an unknown operation', 'explode', base, /^BAD_REQUEST: no operation "explode"/],
    ['a name of Object', 'constructor', base, /no operation/],
    ['no object', 'start', 'x', /^BAD_REQUEST: /],
    ['null', 'start', null, /^BAD_REQUEST: /],
    ['an unknown key', 'start', { ...base, forc: true }, /unknown key "forc"/],
    ['an unknown param', 'stop', { ...base, params: { froce: true } }, /params: unknown key "froce"/],
    ['params of another type', 'stop', { ...base, params: { force: 'yes' } }, /params\.force: /],
    [
      'a fraction of a second',
      'stop',
      { ...base, params: { timeoutSeconds: 1.5 } },
      /params\.timeoutSeconds: /,
    ],
    [
      'a day for the guest',
      'stop',
      { ...base, params: { timeoutSeconds: 86_400 } },
      /params\.timeoutSeconds: /,
    ],
    ['no host', 'start', { vm: 'web-1', requestId: 'r' }, /host: /],
    ['no requestId', 'start', { host: 'kvm-1', vm: 'web-1' }, /requestId: /],
    ['no VM', 'start', { host: 'kvm-1', requestId: 'r' }, /vm: start needs/],
    ['a VM too many', 'list', base, /vm: list takes no VM/],
    ['delete without UUID', 'delete', base, /expectedUuid: delete needs/],
    ['a UUID that is none', 'start', { ...base, expectedUuid: 'x' }, /expectedUuid: must be a UUID/],
    ['a deadline that is none', 'start', { ...base, deadline: 'tomorrow' }, /deadline: must be a time/],
    ['NUL in the VM', 'start', { ...base, vm: 'web\0-1' }, /vm: must not hold control characters/],
    ['a line break in the VM', 'start', { ...base, vm: 'web\n1' }, /vm: must not hold control characters/],
    [
      'text that runs backwards',
      'start',
      { ...base, vm: 'web\u202e1' },
      /vm: must not hold control characters/,
    ],
    ['half a character', 'start', { ...base, vm: 'web\ud800' }, /vm: must not hold control characters/],
    ['10 kB of VM', 'start', { ...base, vm: 'x'.repeat(10_240) }, /vm: must have at most 255/],
    ['10 kB of reason', 'start', { ...base, reason: 'x'.repeat(10_240) }, /reason: must have at most 1024/],
    [
      '10 kB of requestId',
      'start',
      { ...base, requestId: 'x'.repeat(10_240) },
      /requestId: must have at most 200/,
    ],
    ['an empty VM', 'start', { ...base, vm: '' }, /vm: must not be empty/],
    [
      'a snapshot with a slash',
      'snapshot',
      { ...base, params: { name: '../x' } },
      /params\.name: must not hold a slash/,
    ],
    [
      '__proto__',
      'start',
      JSON.parse('{"host":"h","vm":"v","requestId":"r","__proto__":{"dryRun":true}}'),
      /unknown key "__proto__"|taken/,
    ],
  ])('%s is refused by name', (_what, name, data, expected) => {
    const said = refusal(name, data);
    expect(said).toMatch(expected);
    expect(said.length).toBeLessThan(600);
    expect(said).not.toMatch(/[\0\n\u202e]/);
  });
});

describe('the same request', () => {
  const hash = (name: string, data: object) => parse(name, { ...base, ...data }).bodyHash;
  it('is the same whoever asks, why, until when, and in which order', () => {
    const asked = hash('stop', { params: { force: true, timeoutSeconds: 60 } });
    expect(hash('stop', { params: { timeoutSeconds: 60, force: true }, requestedBy: 'b', reason: 'c' })).toBe(
      asked,
    );
    expect(
      hash('stop', { params: { force: true }, deadline: '2026-11-20T12:00:00Z', requestId: 'r-2' }),
    ).toBe(asked);
    expect(hash('stop', { params: { force: true }, expectedUuid: null })).toBe(asked);
    expect(hash('stop', { expectedUuid: uuid })).toBe(hash('stop', { expectedUuid: uuid.toUpperCase() }));
  });
  it('is another with anything else', () => {
    const hashes = [
      hash('stop', {}),
      hash('start', {}),
      hash('stop', { host: 'kvm-2' }),
      hash('stop', { vm: 'web-2' }),
      hash('stop', { params: { force: true } }),
      hash('stop', { dryRun: true }),
      hash('stop', { expectedUuid: uuid }),
    ];
    expect(new Set(hashes).size).toBe(hashes.length);
  });
});
