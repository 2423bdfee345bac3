// The ground floor: backoff, clock, deadline, errors, secrets, suggestions.
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { fullJitterMs } from '../../../src/core/backoff.js';
import { type Clock, sleep, systemClock } from '../../../src/core/clock.js';
import { abortError, Ending, withDeadline } from '../../../src/core/deadline.js';
import { asHostError, describe as describeError, HostError, hintOf } from '../../../src/core/errors.js';
import { Secret } from '../../../src/core/secret.js';
import { didYouMean, suggest } from '../../../src/core/suggest.js';
import { version } from '../../../src/core/version.js';

/** A clock whose timers run when the test says so. */
function manualClock(): Clock & { run(): void; waiting(): number[] } {
  const timers = new Map<() => void, number>();
  return {
    wallMs: () => 0,
    monotonicMs: () => 0,
    after(delayMs, run) {
      timers.set(run, delayMs);
      return { cancel: () => timers.delete(run) };
    },
    run() {
      const due = [...timers.keys()];
      timers.clear();
      for (const run of due) run();
    },
    waiting: () => [...timers.values()],
  };
}

describe('backoff', () => {
  const backoff = { baseMs: 100, capMs: 1000, factor: 2 };

  test.each([
    [0, 100],
    [1, 100],
    [2, 200],
    [4, 800],
    [5, 1000],
    [5000, 1000],
  ])('attempt %i waits at most %i ms, and anything below', (attempt, ceilingMs) => {
    expect(fullJitterMs(backoff, attempt, () => 1)).toBe(ceilingMs);
    expect(fullJitterMs(backoff, attempt, () => 0.5)).toBe(ceilingMs / 2);
    expect(fullJitterMs(backoff, attempt, () => 0)).toBe(0);
  });

  test('is random by itself', () => {
    const delays = new Set(Array.from({ length: 20 }, () => fullJitterMs(backoff, 3)));
    expect(delays.size).toBeGreaterThan(1);
  });
});

describe('clock', () => {
  test('monotonic time goes on, wall time is the date', async () => {
    const before = systemClock.monotonicMs();
    await sleep(systemClock, 5);
    expect(systemClock.monotonicMs()).toBeGreaterThan(before);
    expect(Math.abs(systemClock.wallMs() - Date.now())).toBeLessThan(1000);
  });

  test('a cancelled timer does not run', async () => {
    let ran = false;
    systemClock.after(1, () => (ran = true)).cancel();
    await sleep(systemClock, 10);
    expect(ran).toBe(false);
  });

  test('sleep ends with the abort, and leaves no timer', async () => {
    const clock = manualClock();
    const stop = new AbortController();
    const asleep = sleep(clock, 1000, stop.signal);
    expect(clock.waiting()).toEqual([1000]);
    stop.abort(new Error('enough'));
    await expect(asleep).rejects.toThrow('enough');
    expect(clock.waiting()).toEqual([]);
    await expect(sleep(clock, 1000, stop.signal)).rejects.toThrow('enough');
    expect(clock.waiting()).toEqual([]);
  });
});

describe('deadline', () => {
  const onTimeout = () => new HostError('TIMEOUT', { message: 'too late' });

  test('gives the result, or the error, and leaves no timer', async () => {
    const clock = manualClock();
    const options = { timeoutMs: 50, onTimeout, clock };
    await expect(withDeadline(async () => 7, options)).resolves.toBe(7);
    await expect(withDeadline(() => Promise.reject(new Error('no')), options)).rejects.toThrow('no');
    expect(clock.waiting()).toEqual([]);
  });

  test('ends a wait that would not end, and tells the work', async () => {
    const clock = manualClock();
    let told: AbortSignal | undefined;
    const waiting = withDeadline(
      (signal) => {
        told = signal;
        return new Promise(() => undefined);
      },
      { timeoutMs: 50, onTimeout, clock },
    );
    expect(clock.waiting()).toEqual([50]);
    clock.run();
    await expect(waiting).rejects.toMatchObject({ code: 'TIMEOUT', message: 'too late' });
    expect(told?.aborted).toBe(true);
    expect(told?.reason).toMatchObject({ code: 'TIMEOUT' });
  });

  test('ends with the outer signal; a HostError as its reason is passed on', async () => {
    const clock = manualClock();
    const outer = new AbortController();
    const options = { timeoutMs: 50, onTimeout, clock, signal: outer.signal };
    const waiting = withDeadline(() => new Promise(() => undefined), options);
    outer.abort(new HostError('HOST_DOWN', { host: 'a' }));
    await expect(waiting).rejects.toMatchObject({ code: 'HOST_DOWN', host: 'a' });
    expect(clock.waiting()).toEqual([]);
    let began = false;
    const never = withDeadline(async () => (began = true), options);
    await expect(never).rejects.toMatchObject({ code: 'HOST_DOWN' });
    expect(began).toBe(false);
    expect(abortError(AbortSignal.abort())).toMatchObject({ code: 'ABORTED' });
  });

  test('a signal that is asked for once the time is up has aborted', () => {
    const ending = new Ending();
    expect(() => ending.check()).not.toThrow();
    ending.end(new Error('too late'));
    ending.end(new Error('again'));
    expect(() => ending.check()).toThrow('too late');
    expect(ending.signal.reason).toMatchObject({ message: 'too late' });
  });

  test('a late rejection of the work is dropped', async () => {
    const clock = manualClock();
    let fail: (error: Error) => void = () => undefined;
    const work = new Promise<never>((_, reject) => {
      fail = reject;
    });
    const waiting = withDeadline(() => work, { timeoutMs: 1, onTimeout, clock });
    clock.run();
    await expect(waiting).rejects.toThrow('too late');
    fail(new Error('late'));
    await expect(work).rejects.toThrow('late');
  });
});

describe('errors', () => {
  test('carry code, host, outcome and hint; failed is the outcome unless told', () => {
    expect(new HostError('AUTH_FAILED')).toMatchObject({ message: 'auth failed', outcome: 'failed' });
    const error = new HostError('DNS', { host: 'a', outcome: 'not-sent', hint: 'mend', message: 'm' });
    expect(error).toMatchObject({ code: 'DNS', host: 'a', outcome: 'not-sent', hint: 'mend', message: 'm' });
    expect('cause' in error).toBe(false);
  });

  test('the chain is one line without repetition, and ends', () => {
    const root = new Error('permission\n denied');
    const middle = new HostError('SOCKET_DENIED', { message: 'cannot open: permission', cause: root });
    const top = new HostError('HOST_DOWN', { message: 'host is down', cause: middle });
    expect(describeError(top)).toBe('host is down: cannot open: permission: permission denied');
    const repeated = new Error('outer: inner', { cause: new Error('inner') });
    expect(describeError(repeated)).toBe('outer: inner');
    const circle = new Error('a') as Error & { cause: unknown };
    circle.cause = circle;
    expect(describeError(circle)).toBe('a');
    expect(describeError('text')).toBe('text');
    expect(describeError(undefined)).toBe('');
  });

  test('the hint nearest to the surface counts', () => {
    const inner = new HostError('KEY_FILE', { hint: 'inner' });
    expect(hintOf(new Error('x', { cause: inner }))).toBe('inner');
    expect(hintOf(new HostError('HOST_DOWN', { hint: 'outer', cause: inner }))).toBe('outer');
    expect(hintOf(new Error('x'))).toBeUndefined();
    expect(hintOf('x')).toBeUndefined();
  });

  test('anything unforeseen becomes INTERNAL with its cause', () => {
    const known = new HostError('DNS');
    expect(asHostError(known)).toBe(known);
    const cause = new TypeError('oops');
    expect(asHostError(cause, { host: 'a' })).toMatchObject({ code: 'INTERNAL', host: 'a', cause });
  });
});

test('a secret is only seen when it is exposed', () => {
  const secret = new Secret('hunter2');
  const seen = [
    `${secret}`,
    String(secret),
    JSON.stringify({ secret }),
    inspect({ secret }, { depth: 9, showHidden: true }),
  ];
  expect(seen.join(' ')).not.toContain('hunter2');
  expect(seen.join(' ')).toContain('[secret]');
  expect(secret.expose()).toBe('hunter2');
});

describe('did you mean', () => {
  const words = ['port', 'user', 'keyFile', 'knownHostsFile'];

  test.each([
    ['prot', 'port'],
    ['Port', 'port'],
    ['key_file', 'keyFile'],
    ['knownhostfile', 'knownHostsFile'],
    ['usr', 'user'],
    ['zzz', undefined],
    ['', undefined],
    ['x'.repeat(100), undefined],
  ])('%s → %s', (word, expected) => {
    expect(suggest(word, words)).toBe(expected);
  });

  test('is a question', () => {
    expect(didYouMean('prot', words)).toBe('Did you mean port?');
    expect(didYouMean('zzz', words)).toBeUndefined();
  });
});

test('the version is that of package.json', () => {
  expect(version).toMatch(/^\d+\.\d+\.\d+/);
});
