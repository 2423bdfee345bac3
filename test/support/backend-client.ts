// A client of the backend, and what a test of it must close. Everything that a test opens here ends with `closeAll`.
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BackendError } from '../../src/backend/backend-error.js';
import { BackendClient, type ClientOptions } from '../../src/backend/client.js';
import { BackendHttp, type HttpOptions } from '../../src/backend/http.js';
import { systemClock } from '../../src/core/clock.js';
import { HostError } from '../../src/core/errors.js';
import { silentLog } from '../../src/core/log.js';
import { Secret } from '../../src/core/secret.js';
import { TestBackend } from './backend.js';

export const opened: (() => Promise<unknown> | unknown)[] = [];

export async function closeAll(): Promise<void> {
  for (let close = opened.pop(); close; close = opened.pop()) await close();
}

export function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'outrigger-backend-'));
  opened.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

export async function started(options: Parameters<typeof TestBackend.start>[0] = {}): Promise<TestBackend> {
  const backend = await TestBackend.start(options);
  opened.push(() => backend[Symbol.asyncDispose]());
  return backend;
}

export type Agents = Partial<HttpOptions & ClientOptions>;

export async function clientOf(url: string, options: Agents = {}): Promise<BackendClient> {
  const common = { clock: systemClock, log: silentLog };
  const http = await BackendHttp.open({ url, timeoutMs: 2_000, verify: true, ...common, ...options });
  opened.push(() => http.close());
  const client = await BackendClient.open({
    ...common,
    ...{ http, folder: folder(), backend: url, token: new Secret('bootstrap-token') },
    ...{ tries: 3, factor: 2, random: () => 0.01 },
    registration: async ({ id, name }) => ({
      ...{ agent_id: id, name, hostname: name, libvirt_uri: 'qemu:///system', version: '1.0.0' },
      ...{
        operations: ['list'],
        hypervisor: {},
        labels: {},
        collector: { id: 'c', name: 'c', version: '1.0.0' },
      },
    }),
    ...options,
  });
  opened.push(() => client.close());
  return client;
}

export const one = { id: 'a0000000-0000-4000-8000-000000000001', name: 'kvm-01' };
export const two = { id: 'a0000000-0000-4000-8000-000000000002', name: 'kvm-02' };
export const beat = () => ({ status: 'online', at: new Date().toISOString() });
export const lifecycle = (sequence: number) => ({
  events: [{ sequence, at: new Date().toISOString(), event: 'started', vm: { name: 'web', uuid: one.id } }],
});

export async function failure(work: Promise<unknown>): Promise<BackendError> {
  const error = await work.then(
    () => new Error('it succeeded'),
    (reason) => reason,
  );
  if (!(error instanceof HostError)) throw error;
  return error as BackendError;
}

export async function listening(server: Server): Promise<Server> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const sockets = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  opened.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return server;
}

export function portOf(server: Server): number {
  const address = server.address();
  if (typeof address !== 'object' || !address) throw new Error('it does not listen');
  return address.port;
}
