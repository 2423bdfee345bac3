// The time of an answer tells nobody how near a guess came: not by measuring, which is as true as the machine is idle, but by what
// is done. Whatever is given, the same hashes are made and the same number of bytes compared, in constant time, over HTTP.
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { silentLog } from '../../../../src/core/log.js';
import { Secret } from '../../../../src/core/secret.js';
import { buildHttp } from '../../../../src/http/server.js';
import { openAccess, smallSources } from '../../../support/access.js';
import { bearer, type Door, form, formType, openDoor, probes } from '../../../support/callers.js';

const done: string[] = [];
const { createHash, timingSafeEqual } = crypto;

let door: Door;
beforeAll(async () => {
  vi.spyOn(crypto, 'createHash').mockImplementation((...given) => {
    done.push(`hash ${given[0]}`);
    return createHash(...given);
  });
  vi.spyOn(crypto, 'timingSafeEqual').mockImplementation((a, b) => {
    done.push(`compare ${a.byteLength} and ${b.byteLength}`);
    return timingSafeEqual(a, b);
  });
  // Who imported them by name sees the spies, too.
  syncBuiltinESMExports();
  door = await openDoor({ groups: [probes] });
});
afterAll(async () => {
  await door[Symbol.asyncDispose]();
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

/** What is done for each of these, and for no other. */
async function doneFor(ask: (text: string) => Promise<number>, texts: Record<string, string>) {
  const all: Record<string, { status: number; done: string[] }> = {};
  for (const [name, text] of Object.entries(texts)) {
    done.length = 0;
    const status = await ask(text);
    all[name] = { status, done: [...done] };
  }
  return all;
}

function guesses(right: string): Record<string, string> {
  return {
    right,
    near: `${right.slice(0, -1)}${right.endsWith('A') ? 'B' : 'A'}`,
    far: 'x'.repeat(right.length),
    short: 'x',
    long: 'x'.repeat(5_000),
  };
}

describe('what is done for a token', () => {
  it('is one hash and one comparison of 32 bytes, in the header and in the login form', async () => {
    const byHeader = async (token: string) =>
      (await door.app.inject({ url: '/probe/read', ...bearer(token) })).statusCode;
    const inHeader = await doneFor(byHeader, guesses(door.token('admin')));
    expect(inHeader.right?.status).toBe(200);
    for (const [guess, { status, done }] of Object.entries(inHeader)) {
      expect([guess, done]).toEqual([guess, ['hash sha256', 'compare 32 and 32']]);
      if (guess !== 'right') expect([guess, status]).toEqual([guess, 401]);
    }
    const byForm = async (token: string) =>
      (await door.app.inject({ method: 'POST', url: '/login', payload: form({ token }), headers: formType }))
        .statusCode;
    const { right, ...wrong } = await doneFor(byForm, guesses(door.token('admin')));
    // A session is made, under the hash of its id.
    expect(right).toEqual({ status: 303, done: ['hash sha256', 'compare 32 and 32', 'hash sha256'] });
    for (const { status, done } of Object.values(wrong))
      expect([status, done]).toEqual([401, ['hash sha256', 'compare 32 and 32']]);
  });

  it('of the metrics is two hashes and one comparison of 32 bytes', async () => {
    const app = await buildHttp({
      metricsToken: () => new Secret('metrics-token-A'),
      sources: smallSources,
      access: await openAccess(),
      log: silentLog,
    });
    const byHeader = async (token: string) =>
      (await app.inject({ url: '/metrics/collector', ...bearer(token) })).statusCode;
    const all = await doneFor(byHeader, guesses('metrics-token-A'));
    await app.close();
    expect(all.right?.status).toBe(200);
    for (const [guess, { done }] of Object.entries(all))
      expect([guess, done]).toEqual([guess, ['hash sha256', 'hash sha256', 'compare 32 and 32']]);
  });
});

it('a session is found by the hash of its id, and a form’s token compared whole', async () => {
  const { cookie, csrf } = await door.signIn(door.token('admin'));
  const [name, id = ''] = cookie.split('=');
  const byCookie = async (text: string) =>
    (await door.app.inject({ url: '/probe/read', headers: { cookie: `${name}=${text}` } })).statusCode;
  for (const { done } of Object.values(await doneFor(byCookie, guesses(id))))
    expect(done).toEqual(['hash sha256']);
  const byForm = async (text: string) =>
    (
      await door.app.inject({
        ...{ method: 'POST', url: '/probe/operate', headers: { cookie, 'x-csrf-token': text } },
      })
    ).statusCode;
  const { right, near, far } = await doneFor(byForm, guesses(csrf));
  const whole = ['hash sha256', `compare ${csrf.length} and ${csrf.length}`];
  expect([right, near, far]).toEqual([
    { status: 200, done: whole },
    { status: 403, done: whole },
    { status: 403, done: whole },
  ]);
});
