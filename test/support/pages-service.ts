// The pages as they are served, with the guard, the headers, the API and its stream, over a fleet that a test makes up and may
// change: for tests in a browser that need no host. Between browser and service is a way that can be cut and mended.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { readAudit } from '../../src/audit/read.js';
import { systemClock } from '../../src/core/clock.js';
import { silentLog } from '../../src/core/log.js';
import { apiRoutes } from '../../src/http/api/routes.js';
import type { FleetView } from '../../src/http/api/views.js';
import type { Role } from '../../src/http/auth/roles.js';
import { ChangeFeed } from '../../src/http/changes.js';
import { addPages } from '../../src/http/pages/routes.js';
import { QueueBoard } from '../../src/http/queues.js';
import { openDoor } from './callers.js';
import { type FleetFixture, pageSources } from './pages.js';

export type PagesService = AsyncDisposable & {
  /** Through the way that can be cut. */
  url: string;
  port: number;
  sources: ReturnType<typeof pageSources>;
  changes: ChangeFeed;
  token(role: Role): string;
  /** Whoever is connected loses the service, and nobody reaches it. */
  cut(): Promise<void>;
  mend(): Promise<void>;
};

export async function startPages(fleet: FleetFixture): Promise<PagesService> {
  const sources = pageSources(fleet);
  const find = (name: string) => {
    const host = sources.view.host(name);
    return host && { host };
  };
  const view = { ...sources.view, find } as unknown as FleetView;
  const clock = systemClock;
  const changes = new ChangeFeed({ view, job: async () => undefined, clock });
  const deps = {
    view,
    changes,
    clock,
    jobs: () => undefined,
    audit: (query: Parameters<typeof readAudit>[1]) => readAudit(tmpdir(), query),
  };
  const board = new QueueBoard({ log: silentLog });
  const door = await openDoor({
    groups: [(app) => addPages(app, sources), (app) => board.addRoutes(app), apiRoutes(deps)],
    limits: { requestsPerMinute: 100_000 },
  });
  await door.app.listen({ port: 0, host: '127.0.0.1' });
  const way = new Way((door.app.server.address() as AddressInfo).port);
  await way.open();
  return {
    ...{ url: `http://127.0.0.1:${way.port}`, port: way.port, sources, changes },
    token: (role) => door.token(role),
    cut: () => way.close(),
    mend: () => way.open(),
    async [Symbol.asyncDispose]() {
      await way.close();
      await door[Symbol.asyncDispose]();
    },
  };
}

/** Bytes to a port and back, on a port that stays the same. */
class Way {
  port = 0;
  readonly #to: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(to: number) {
    this.#to = to;
  }

  async open(): Promise<void> {
    const server = createServer((near) => {
      const far = connect(this.#to, '127.0.0.1');
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(one);
        one.once('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
        one.on('error', () => one.destroy());
        one.pipe(other);
      }
    });
    this.#server = server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.port = (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (!server?.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
