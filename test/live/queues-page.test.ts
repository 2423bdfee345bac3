// /queues over a real store: who may look, who may touch what, and that no secret is shown, whatever somebody put into a job.
import { Queue, UnrecoverableError, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../../src/core/log.js';
import { QueueBoard } from '../../src/http/queues.js';
import { urlAddress } from '../../src/queue/connection.js';
import { bearer, type Door, openDoor } from '../support/callers.js';
import { OutsideRedis } from '../support/queue.js';
import { Stopwatch } from '../support/stopwatch.js';
import { until } from '../support/until.js';

const polls = 'outrigger-polls';
const vmJobs = 'outrigger-vm-jobs';
const outbox = 'outrigger-outbox';
const canaries = {
  redisPassword: 'correct-horse',
  token: `outrigger_${'c'.repeat(43)}`,
  jwt: 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.Y2FuYXJ5LXNpZw',
  key: '-----BEGIN OPENSSH PRIVATE KEY-----\nY2FuYXJ5LWtleQ\n-----END OPENSSH PRIVATE KEY-----',
  passphrase: 'canary-passphrase',
};
const seen = [
  canaries.redisPassword,
  'cccccccc',
  'eyJzdWIiOiJjYW5hcnkifQ',
  'Y2FuYXJ5LWtleQ',
  canaries.passphrase,
];

let redis: OutsideRedis;
let door: Door;
let board: QueueBoard;
let connection: Redis;
const queues = new Map<string, Queue>();

beforeAll(async () => {
  redis = await OutsideRedis.start();
  connection = new Redis(redis.url, { maxRetriesPerRequest: null });
  connection.on('error', () => undefined);
  for (const name of [polls, vmJobs, outbox]) {
    const streams = { events: { maxLen: 777 } };
    queues.set(name, new Queue(name, { connection, streams }));
    await queue(name).waitUntilReady();
  }
  board = new QueueBoard({ log: silentLog, secrets: () => [canaries.redisPassword] });
  door = await openDoor({ groups: [(app) => board.addRoutes(app)] });
});

afterAll(async () => {
  board?.close();
  await door?.[Symbol.asyncDispose]();
  connection?.disconnect();
  await redis?.[Symbol.asyncDispose]();
});

function queue(name: string): Queue {
  return queues.get(name) ?? expect.fail(`no queue ${name}`);
}

const get = (url: string, role: 'viewer' | 'operator' | 'admin' = 'viewer') =>
  door.app.inject({ url: `/queues${url}`, ...bearer(door.token(role)) });
const put = (url: string, role: 'viewer' | 'operator' | 'admin' = 'admin') =>
  door.app.inject({ method: 'PUT', url: `/queues/api/queues${url}`, ...bearer(door.token(role)) });

/** A job that has failed, or completed, for real; its id. */
async function ended(
  name: string,
  how: 'failed' | 'completed',
  data: object = {},
  result: unknown = 'ok',
): Promise<string> {
  const { id = '' } = await queue(name).add('poll', data, { attempts: 1 });
  const own = connection.duplicate();
  const worker = new Worker(
    name,
    async (job) => {
      await job.log(`log: ${JSON.stringify(data)}`);
      await job.updateProgress({ steps: [data] });
      if (how === 'failed') throw new UnrecoverableError(`failed with ${JSON.stringify(data)}`);
      return result;
    },
    { connection: own },
  );
  worker.on('error', () => undefined);
  await until(`job ${id} to end`, async () => (await queue(name).getJobState(id)) === how);
  await worker.close();
  own.disconnect();
  return id;
}

describe('before the store is there', () => {
  it('answers 503 at once', async () => {
    const answer = await get('/api/queues');
    expect([answer.statusCode, answer.json().type]).toEqual([503, 'urn:outrigger:problem:store-away']);
  });
});

describe('the queue page', () => {
  beforeAll(async () => {
    board.connect(urlAddress(redis.url));
    await until('the board', async () => (await get('/api/queues')).statusCode === 200);
  });

  it('shows the three queues, with buttons for admins alone, and none for VM jobs', async () => {
    for (const role of ['viewer', 'operator', 'admin'] as const) {
      const { queues } = (await get('/api/queues', role)).json<{ queues: Record<string, unknown>[] }>();
      expect(queues.map(({ name, readOnlyMode }) => [name, readOnlyMode])).toEqual([
        [polls, role !== 'admin'],
        [vmJobs, true],
        [outbox, role !== 'admin'],
      ]);
    }
  });

  it('is a page of our own files, under a policy that allows nothing else', async () => {
    const page = await get('/');
    expect(page.statusCode).toBe(200);
    expect(page.headers['content-security-policy']).toContain("script-src 'self';");
    expect(page.headers['content-security-policy']).toContain("frame-ancestors 'none'");
    const links = [...page.body.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = '']) => link);
    expect(links.length).toBeGreaterThan(3);
    expect(links.filter((link) => /^(https?:)?\/\//.test(link))).toEqual([]);
    for (const link of links.filter((link) => link.startsWith('static/'))) {
      expect((await get(`/${link}`)).statusCode).toBe(200);
    }
  });

  it.each([
    '/../livez',
    '/static/../../../package.json',
    '/static/%2e%2e/%2e%2e/package.json',
    '/static/..%2f..%2fpackage.json',
    '/static/%00',
  ])('gives no file that is not its own: %s', async (path) => {
    const answer = await get(path, 'admin');
    expect(answer.body).not.toContain('bull-board');
    expect(answer.statusCode === 200 && !answer.body.includes('"live"')).toBe(false);
  });

  it('is closed to nobody-knows-who, and to those who may not see every host', async () => {
    expect((await door.app.inject({ url: '/queues/api/queues' })).statusCode).toBe(401);
    expect((await door.app.inject({ url: '/queues/' })).headers.location).toBe('/login?next=%2Fqueues%2F');
    const answer = await door.app.inject({ url: '/queues/api/queues', ...bearer(door.token('admin', true)) });
    expect(answer.statusCode).toBe(403);
  });

  it('shows no secret that somebody put into a job, wherever it ended up there', async () => {
    const data = {
      host: 'kvm-01',
      url: redis.url,
      text: [redis.url, canaries.redisPassword, canaries.token, canaries.jwt, canaries.key].join(' '),
      password: canaries.passphrase,
      deep: { auth: `Bearer ${canaries.jwt}` },
    };
    const failed = await ended(polls, 'failed', data);
    const completed = await ended(
      polls,
      'completed',
      { host: 'kvm-02', keyPassphrase: canaries.passphrase },
      { token: canaries.token, said: canaries.key },
    );
    const texts = [`passphrase=${canaries.passphrase}`];
    await queue(polls).add(canaries.token, { note: texts }, { delay: 3_600_000 });
    const answers = await Promise.all(
      [
        `/api/queues?activeQueue=${polls}&status=latest&page=1&jobsPerPage=50`,
        `/api/queues/${polls}/${failed}`,
        `/api/queues/${polls}/${completed}`,
        `/api/queues/${polls}/${failed}/logs`,
        `/api/queues/${polls}/${failed}/flow`,
        '/api/job-schedulers',
        `/api/queues/${polls}/workers`,
        '/',
      ].map((url) => get(url, 'admin')),
    );
    for (const answer of answers) {
      expect(answer.statusCode).toBe(200);
      for (const secret of seen) expect(answer.body).not.toContain(secret);
    }
    // What is no secret is there, so that the test cannot pass by showing nothing.
    expect(answers[0]?.body).toContain('kvm-01');
    expect(answers[1]?.body).toContain('failed with');
    expect(answers[3]?.body).toContain('[secret]');
  });

  it('leaves the queues as it found them', async () => {
    for (const name of [polls, vmJobs, outbox]) {
      expect(await connection.hget(`bull:${name}:meta`, 'opts.maxLenEvents')).toBe('777');
    }
  });
});

describe('touching', () => {
  it('is for admins: every route that is not a read refuses everybody else', async () => {
    const writes = door.access.routes.flatMap(({ method, url }) =>
      [method]
        .flat()
        .filter((one) => !['GET', 'HEAD'].includes(one) && url.startsWith('/queues'))
        .map((one) => ({ method: one, url })),
    );
    expect(writes.length).toBeGreaterThan(15);
    const id = await ended(polls, 'failed');
    for (const role of ['viewer', 'operator'] as const) {
      for (const { method, url } of [
        ...writes,
        { method: 'POST', url: '/queues/api/metrics/history/purge' },
      ]) {
        const path = url.replace(':queueName', polls).replace(':jobId', id).replace(/:\w+/g, 'failed');
        const answer = await door.app.inject({
          method: method as 'PUT',
          url: path,
          ...bearer(door.token(role)),
          payload: {},
        });
        expect([method, url, [403, 404, 405].includes(answer.statusCode)]).toEqual([method, url, true]);
      }
    }
    expect(await queue(polls).getJobState(id)).toBe('failed');
  });

  it('is a short list for admins too: all else is refused, and changes nothing', async () => {
    const failedVmJob = await ended(vmJobs, 'failed');
    const { id: waiting = '' } = await queue(polls).add('poll', {}, { delay: 3_600_000 });
    const before = await Promise.all([...queues.values()].map((one) => one.getJobCounts()));
    const failedPoll = await ended(polls, 'failed');
    const writes = door.access.routes.flatMap(({ method, url }) =>
      [method]
        .flat()
        .filter((one) => !['GET', 'HEAD'].includes(one) && url.startsWith('/queues'))
        .map((one) => ({ method: one, url })),
    );
    for (const { method, url } of writes) {
      for (const [name, id] of [
        [vmJobs, failedVmJob],
        [polls, waiting],
        ['__proto__', 'x'],
        ['nothing', 'x'],
      ] as const) {
        const path = url.replace(':queueName', name).replace(':jobId', id).replace(/:\w+/g, 'failed');
        const answer = await door.app.inject({
          method: method as 'PUT',
          url: path,
          ...bearer(door.token('admin')),
          payload: {},
        });
        expect([url, name, answer.statusCode]).toEqual([url, name, 409]);
      }
    }
    expect(await queue(polls).getJobState(failedPoll)).toBe('failed');
    await queue(polls).remove(failedPoll);
    expect(await Promise.all([...queues.values()].map((one) => one.getJobCounts()))).toEqual(before);
  });

  it('tries a failed poll again and takes ended ones away, each in the audit log with its actor', async () => {
    const id = await ended(polls, 'failed');
    const count = door.entries.length;
    expect((await put(`/${polls}/${id}/retry`)).statusCode).toBe(204);
    expect(await queue(polls).getJobState(id)).toBe('waiting');
    expect((await put(`/${polls}/${id}/retry`)).statusCode).toBe(409);
    expect((await put(`/${polls}/${id}/clean`)).statusCode).toBe(409);
    await queue(polls).remove(id);
    for (const [name, how] of [
      [polls, 'completed'],
      [polls, 'failed'],
      [outbox, 'failed'],
    ] as const) {
      const done = await ended(name, how);
      expect((await put(`/${name}/${done}/clean`)).statusCode).toBe(204);
      expect(await queue(name).getJob(done)).toBeUndefined();
    }
    expect((await put(`/${outbox}/${await ended(outbox, 'completed')}/clean`)).statusCode).toBe(409);
    const entries = door.entries.slice(count);
    expect(entries.filter(({ outcome }) => outcome === 'admitted')).toMatchObject([
      {
        op: 'PUT /queues/api/queues/:queueName/:jobId/retry',
        requestedBy: 'admin',
        before: { queueName: polls, jobId: id },
      },
      {
        op: 'PUT /queues/api/queues/:queueName/:jobId/clean',
        requestedBy: 'admin',
        before: { queueName: polls },
      },
      { requestedBy: 'admin', before: { queueName: polls } },
      { requestedBy: 'admin', before: { queueName: outbox } },
    ]);
  });

  it('with the cookie wants the browser’s word that our page asked', async () => {
    const id = await ended(polls, 'failed');
    const { cookie } = await door.signIn(door.token('admin'));
    const retry = async (headers: Record<string, string>) =>
      (
        await door.app.inject({
          method: 'PUT',
          url: `/queues/api/queues/${polls}/${id}/retry`,
          headers: { cookie, ...headers },
        })
      ).statusCode;
    expect(await retry({})).toBe(403);
    expect(await retry({ 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await retry({ 'sec-fetch-site': 'same-origin' })).toBe(204);
  });
});

describe('when the store goes away', () => {
  it('answers 503 at once, and again the queues when it is back', async () => {
    await redis.signal('SIGKILL');
    await until('the board to see it', async () => (await get('/')).statusCode === 503);
    const watch = new Stopwatch();
    const answers = await Promise.all([
      get('/api/queues'),
      get('/'),
      get(`/api/queues/${polls}/1`),
      put(`/${polls}/1/retry`),
    ]);
    expect(watch.ms).toBeLessThan(1_000);
    expect(answers.map(({ statusCode }) => statusCode)).toEqual([503, 503, 503, 503]);
    await redis.spawn();
    await until('the board to be back', async () => (await get('/api/queues')).statusCode === 200);
  });
});
