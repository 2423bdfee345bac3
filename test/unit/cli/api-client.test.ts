import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { ApiClient } from '../../../src/cli/api-client.js';
import { HostError } from '../../../src/core/errors.js';
import { Secret } from '../../../src/core/secret.js';

type Answer = { status?: number; body: unknown };

let server: Server | undefined;
afterEach(() => server?.close());

async function service(answer: (request: IncomingMessage) => Answer): Promise<string> {
  server = createServer((request, response) => {
    const { status = 200, body } = answer(request);
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it('takes a list page by page, with what was asked on every page', async () => {
  const asked: string[] = [];
  const url = await service(({ url = '' }) => {
    asked.push(url);
    return { body: url.includes('cursor=b') ? { items: [3] } : { items: [1, 2], next: 'b' } };
  });
  expect(
    await new ApiClient(url).list('/hosts', { label: ['dc=ams1', 'rack=r1'], state: undefined }),
  ).toEqual([1, 2, 3]);
  expect(asked).toHaveLength(2);
  for (const path of asked)
    expect(path).toMatch(/^\/api\/v1\/hosts\?label=dc%3Dams1&label=rack%3Dr1&limit=\d+/);
});

it('takes no more rows than wanted', async () => {
  const url = await service(() => ({ body: { items: [1], next: 'more' } }));
  expect(await new ApiClient(url).list('/jobs', {}, 3)).toEqual([1, 1, 1]);
});

it('sends the token as a bearer', async () => {
  let header: string | undefined;
  const url = await service(({ headers }) => {
    header = headers.authorization;
    return { body: {} };
  });
  await new ApiClient(url, new Secret('abc')).get('/hosts');
  expect(header).toBe('Bearer abc');
});

it('tells a problem with its fields, and the mend', async () => {
  const problem = {
    type: 'urn:outrigger:problem:validation',
    title: 'The request has wrong values',
    status: 400,
    detail: 'limit is wrong',
    errors: [{ field: 'query.limit', message: 'must be a number' }],
  };
  const url = await service(() => ({ status: 400, body: problem }));
  await expect(new ApiClient(url).get('/hosts')).rejects.toMatchObject({
    type: 'validation',
    status: 400,
    message: 'limit is wrong; query.limit: must be a number',
  });
});

it.each([401, 403])('says what to set after a %i', async (status) => {
  const problem = { type: 'urn:outrigger:problem:forbidden', title: '', status, detail: 'no' };
  const url = await service(() => ({ status, body: problem }));
  await expect(new ApiClient(url).get('/hosts')).rejects.toMatchObject({
    hint: expect.stringMatching(/token/),
  });
});

it('tells a field once, and where a URL leads beside the API', async () => {
  const errors = [{ field: 'query.state', message: 'is none' }];
  const problem = { title: '', status: 400, detail: 'query.state: is none', errors };
  const url = await service(({ url = '' }) =>
    url.startsWith('/api/v1/api/')
      ? { status: 404, body: { ...problem, type: 'urn:outrigger:problem:not-found', errors: [] } }
      : { status: 400, body: { ...problem, type: 'urn:outrigger:problem:validation' } },
  );
  await expect(new ApiClient(url).get('/hosts')).rejects.toMatchObject({ message: 'query.state: is none' });
  await expect(new ApiClient(`${url}/api/v1`).get('/hosts')).rejects.toMatchObject({
    hint: expect.stringContaining('without the path of the API'),
  });
  await expect(new ApiClient(url.replace('http:', 'https:')).get('/hosts')).rejects.toMatchObject({
    message: expect.stringContaining('does not speak TLS'),
    hint: expect.stringContaining('http://'),
  });
});

it('does not take another server for the service', async () => {
  const url = await service(() => ({ body: '<html>' }));
  await expect(new ApiClient(url).get('/hosts')).rejects.toMatchObject({
    hint: expect.stringContaining('AGENT_API_URL'),
  });
});

it('says that nothing listens, and where it looked', async () => {
  const url = await service(() => ({ body: {} }));
  await new Promise((resolve) => server?.close(resolve));
  const error: unknown = await new ApiClient(url).get('/hosts').catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(HostError);
  expect(error).toMatchObject({ message: `cannot reach the service at ${url} (ECONNREFUSED)` });
  expect(error).toMatchObject({ hint: expect.stringContaining('AGENT_API_URL') });
});

it('gives up a service that does not answer', async () => {
  server = createServer(() => undefined);
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await expect(new ApiClient(url).get('/hosts', {}, 50)).rejects.toMatchObject({ code: 'TIMEOUT' });
  server.closeAllConnections();
});
