import { describe, expect, it } from 'vitest';
import type { AuditEntry } from '../../../../src/audit/log.js';
import { silentLog } from '../../../../src/core/log.js';
import { AccessAudit, refusalLinesMax, refusalWindowMs } from '../../../../src/http/auth/access-audit.js';
import { FailureWindow } from '../../../../src/http/auth/failure-window.js';
import { safeNext } from '../../../../src/http/auth/login.js';
import { makePrincipal, type Principal } from '../../../../src/http/auth/principal.js';
import { Sessions } from '../../../../src/http/auth/sessions.js';
import { masked, maskedText } from '../../../../src/http/mask.js';
import { cpuWatch } from '../../../support/cpu-time.js';
import { FakeClock } from '../../../support/fake-clock.js';

const hourMs = 3_600_000;
const alice = makePrincipal({ name: 'alice', role: 'viewer', via: 'token' });
const grantOf = (key: string, principal: () => Principal | undefined = () => alice) => ({ key, principal });

describe('sessions', () => {
  it('are found by their id alone, and each has a token of its own for forms', () => {
    const sessions = new Sessions(new FakeClock());
    const [one, two] = [sessions.create(grantOf('a')), sessions.create(grantOf('a'))];
    expect(sessions.find(one.expose())?.principal.name).toBe('alice');
    expect(sessions.find(one.expose())?.csrf).not.toBe(sessions.find(two.expose())?.csrf);
    expect(sessions.find('')).toBeUndefined();
    expect(sessions.find(`${one.expose()}x`)).toBeUndefined();
    sessions.end(one.expose());
    expect(sessions.find(one.expose())).toBeUndefined();
    expect(sessions.find(two.expose())).toBeDefined();
  });

  it('end when idle for 4 hours, and after a day whatever is done', async () => {
    const clock = new FakeClock();
    const sessions = new Sessions(clock);
    const [idle, busy] = [sessions.create(grantOf('a')).expose(), sessions.create(grantOf('a')).expose()];
    for (let hour = 0; hour < 24; hour += 3) {
      expect(sessions.find(busy)).toBeDefined();
      await clock.advance(3 * hourMs);
    }
    expect(sessions.find(idle)).toBeUndefined();
    await clock.advance(1);
    expect(sessions.find(busy)).toBeUndefined();
    expect(sessions.size).toBe(0);
  });

  it('end with what they stand on, also those that a stream still holds', () => {
    let granted: Principal | undefined = alice;
    const sessions = new Sessions(new FakeClock());
    const id = sessions.create(grantOf('a', () => granted)).expose();
    const held = sessions.find(id)?.principal;
    expect(held?.isCurrent()).toBe(true);
    granted = undefined;
    expect(held?.isCurrent()).toBe(false);
    expect(sessions.find(id)).toBeUndefined();
    granted = alice;
    expect(sessions.find(id)).toBeUndefined();
  });

  it('are 20 for one token at most: the oldest goes, nobody else’s', () => {
    const sessions = new Sessions(new FakeClock());
    const other = sessions.create(grantOf('b')).expose();
    const mine = Array.from({ length: 21 }, () => sessions.create(grantOf('a')).expose());
    expect(mine.map((id) => sessions.find(id) !== undefined)).toEqual([false, ...Array(20).fill(true)]);
    expect(sessions.find(other)).toBeDefined();
  });

  it('are 2,000 in all at most', () => {
    const sessions = new Sessions(new FakeClock());
    for (let n = 0; n < 2_100; n++) sessions.create(grantOf(`token ${n}`));
    expect(sessions.size).toBe(2_000);
  });
});

describe('failures of an address', () => {
  it('keep it off until the window ends, and it alone', async () => {
    const clock = new FakeClock();
    const window = new FailureWindow(clock, 3, 60_000);
    for (let n = 0; n < 3; n++) {
      expect(window.waitMs('192.0.2.1')).toBe(0);
      window.count('192.0.2.1');
    }
    expect(window.waitMs('192.0.2.1')).toBe(60_000);
    expect(window.waitMs('::ffff:192.0.2.1')).toBe(60_000);
    expect(window.waitMs('192.0.2.2')).toBe(0);
    await clock.advance(60_000);
    expect(window.waitMs('192.0.2.1')).toBe(0);
  });

  it.each([
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff::9', true],
    ['2001:db8:1:2::1', '2001:0db8:0001:0002:3:4:5:6', true],
    ['2001:db8:1:2::1', '2001:db8:1:3::1', false],
    ['::1', '2001:db8::1', false],
  ])('count %s and %s as one: %s', (counted, asked, same) => {
    const window = new FailureWindow(new FakeClock(), 1, 60_000);
    window.count(counted);
    expect(window.waitMs(asked) > 0).toBe(same);
  });

  it('are remembered for 10,000 addresses at most', () => {
    const window = new FailureWindow(new FakeClock(), 1, 60_000);
    for (let n = 0; n < 10_100; n++) window.count(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`);
    expect(window.size).toBe(10_000);
  });
});

describe('where a sign-in leads', () => {
  it.each([
    ['/', '/'],
    ['/hosts/kvm-01?tab=vms#top', '/hosts/kvm-01?tab=vms#top'],
    ['/vms/a%2Fb', '/vms/a%2Fb'],
    [undefined, '/'],
    [['/a', '/b'], '/'],
    ['', '/'],
    ['hosts', '/'],
    ['//evil.example', '/'],
    ['/\\evil.example', '/'],
    ['/\t/evil.example', '/'],
    ['https://evil.example/', '/'],
    ['javascript:alert(1)', '/'],
    ['/a/..//evil.example', '/'],
    ['/.//evil.example', '/'],
    ['/%2e//evil.example', '/'],
    ['/x\r\nSet-Cookie: a=b', '/'],
    ['/login?next=/login', '/'],
    ['/logout', '/'],
    [`/${'a'.repeat(2_000)}`, '/'],
  ])('%j leads to %s', (given, expected) => {
    expect(safeNext(given)).toBe(expected);
  });
});

describe('refusals in the audit log', () => {
  const access = (n: number) => ({
    actor: undefined,
    via: undefined,
    address: `192.0.2.${n}`,
    action: 'GET /x',
  });
  it('are few lines a minute, however many there are, and none is lost from the number', async () => {
    const entries: AuditEntry[] = [];
    const clock = new FakeClock();
    const audit = new AccessAudit(
      () => ({ append: async (entry) => void entries.push(entry) }),
      clock,
      silentLog,
    );
    for (let n = 0; n < 5_000; n++) audit.refused(access(n % 200), 401, 'the token is not known here');
    expect(entries).toHaveLength(refusalLinesMax);
    expect(entries[0]).toMatchObject({
      kind: 'access',
      op: 'GET /x',
      requestedBy: 'nobody',
      reason: 'from 192.0.2.0',
      outcome: 'refused 401',
      error: 'the token is not known here',
    });
    await clock.advance(refusalWindowMs);
    expect(entries).toHaveLength(refusalLinesMax + 1);
    expect(entries.at(-1)?.error).toBe(`${5_000 - refusalLinesMax} more refusals in a minute`);
    expect(entries.at(-1)?.reason?.split(' ').length).toBeLessThanOrEqual(12);
    audit.refused(access(1), 403, 'again');
    expect(entries).toHaveLength(refusalLinesMax + 2);
    audit.flush();
    expect(entries).toHaveLength(refusalLinesMax + 2);
  });
});

describe('masking', () => {
  const jwt = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl';
  it.each([
    ['redis://:s3cr3t-pw@10.0.0.1:6379/0', 's3cr3t-pw'],
    ['rediss://user:s3cr3t-pw@host', 's3cr3t-pw'],
    [
      '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----',
      'b3BlbnNzaC1rZXk',
    ],
    ['-----BEGIN RSA PRIVATE KEY-----\nMIIEow cut off', 'MIIEow'],
    [`401 for ${jwt}`, 'eyJzdWIiOiJhIn0'],
    [`outrigger_${'a'.repeat(43)} was refused`, 'aaaa'],
    ['Authorization: Bearer abcdefgh12345678', 'abcdefgh12345678'],
    ['{"password":"hunter2hunter2"}', 'hunter2hunter2'],
    ['passphrase = correct-horse', 'correct-horse'],
    ['the known one: tr0ub4dor', 'tr0ub4dor'],
  ])('hides the secret of %j', (text, secret) => {
    expect(maskedText(text, ['tr0ub4dor', ''])).not.toContain(secret);
    expect(maskedText(text, ['tr0ub4dor', ''])).toContain('[secret]');
  });

  it('hides by the name of a field, at any depth, and leaves the rest as it is', () => {
    const value = {
      host: 'kvm-01',
      n: 3,
      deep: [{ dbPassword: 'x', api_key: { a: 1 }, token: null, note: 'token of thanks' }],
    };
    expect(masked(value)).toEqual({
      host: 'kvm-01',
      n: 3,
      deep: [{ dbPassword: '[secret]', api_key: '[secret]', token: null, note: 'token of thanks' }],
    });
  });

  it('takes no longer for text made to be slow', () => {
    const cpuMs = cpuWatch();
    for (const text of [
      '-----BEGIN A PRIVATE KEY-----'.repeat(500),
      'a://'.repeat(5_000),
      'token '.repeat(5_000),
      `eyJ${'a'.repeat(50_000)}`,
    ])
      maskedText(text);
    expect(cpuMs()).toBeLessThan(500);
  });
});
