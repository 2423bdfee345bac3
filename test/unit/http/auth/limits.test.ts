import { type AddressInfo, connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { bearer, openDoor, probes } from '../../../support/callers.js';

describe('limits', () => {
  it('a caller that asks too often is told when to come again; others, metrics and health are not touched', async () => {
    await using own = await openDoor({ groups: [probes], limits: { requestsPerMinute: 5 } });
    const read = (token: string) => own.app.inject({ url: '/probe/read', ...bearer(token) });
    const answers = [];
    for (let n = 0; n < 7; n++) answers.push(await read(own.token('viewer')));
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 200, 200, 429, 429]);
    expect(answers.at(-1)?.json()).toMatchObject({ type: 'urn:outrigger:problem:rate-limited', status: 429 });
    expect(Number(answers.at(-1)?.headers['retry-after'])).toBeGreaterThan(0);
    expect((await read(own.token('operator'))).statusCode).toBe(200);
    for (let n = 0; n < 10; n++) {
      expect((await own.app.inject({ url: '/livez' })).statusCode).toBe(200);
      expect((await own.app.inject({ url: '/metrics/collector' })).statusCode).toBe(200);
    }
  });

  it('wrong tokens without end get no reasons any more, and a good one still passes', async () => {
    await using own = await openDoor({ groups: [probes] });
    const statuses = new Set<number>();
    for (let n = 0; n < 130; n++)
      statuses.add((await own.app.inject({ url: '/probe/read', ...bearer('wrong') })).statusCode);
    expect([...statuses]).toEqual([401, 429]);
    expect((await own.app.inject({ url: '/probe/read', ...bearer(own.token('viewer')) })).statusCode).toBe(
      200,
    );
    expect(own.entries.length).toBeLessThanOrEqual(20);
  });

  it('more connections than there may be get an answer that says so', async () => {
    await using own = await openDoor({ groups: [probes], limits: { connections: 2 } });
    const url = await own.app.listen({ host: '127.0.0.1', port: 0 });
    const { Agent, request } = await import('undici');
    const agents = Array.from({ length: 3 }, () => new Agent());
    try {
      const get = async (agent: InstanceType<typeof Agent>, path = '/probe/none') => {
        const { statusCode, headers, body } = await request(url + path, { dispatcher: agent });
        return { statusCode, headers, text: await body.text() };
      };
      const [one, two, three] = agents as [(typeof agents)[0], (typeof agents)[0], (typeof agents)[0]];
      expect([(await get(one)).statusCode, (await get(two)).statusCode]).toEqual([200, 200]);
      const third = await get(three);
      expect([third.statusCode, third.headers['retry-after']]).toEqual([503, '5']);
      expect(JSON.parse(third.text).detail).toBe('more than 2 connections are open');
      expect((await get(three, '/livez')).statusCode).toBe(200);
      await one.close();
    } finally {
      await Promise.all(agents.map((agent) => agent.destroy()));
    }
  });

  it.each([
    ['nothing', ''],
    ['half a header', 'GET /livez HTTP/1.1\r\nHost: x\r\nX-A: '],
    [
      'half a body',
      'POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nab',
    ],
  ])('who sends %s and then nothing is told that it took too long', async (_what, bytes) => {
    await using own = await openDoor({ limits: { requestTimeoutMs: 100 } });
    await own.app.listen({ host: '127.0.0.1', port: 0 });
    const socket = connect((own.app.server.address() as AddressInfo).port, '127.0.0.1');
    socket.write(bytes);
    const said = String(Buffer.concat(await socket.toArray()));
    expect(said).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/);
    expect(said).toContain('urn:outrigger:problem:timeout');
  });

  it('a body that is too large is refused', async () => {
    await using own = await openDoor({ groups: [probes] });
    const answer = await own.app.inject({
      method: 'POST',
      url: '/probe/operate',
      ...bearer(own.token('operator')),
      payload: { text: 'x'.repeat(70_000) },
    });
    expect(answer.json()).toMatchObject({ type: 'urn:outrigger:problem:too-large', status: 413 });
  });
});
