// Everybody who may come to the door, for tests of the HTTP side: tokens of each role, free and confined, with the header or with
// the cookie of a session, and nobody. It makes real tokens and real sessions.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance, InjectOptions } from 'fastify';
import type { AuditEntry } from '../../src/audit/log.js';
import { silentLog } from '../../src/core/log.js';
import { AccessControl, type AccessLimits, type AccessSettings } from '../../src/http/auth/access.js';
import type { AuditSink } from '../../src/http/auth/access-audit.js';
import { csrfField } from '../../src/http/auth/csrf.js';
import { type Role, roles } from '../../src/http/auth/roles.js';
import { mintToken } from '../../src/http/auth/tokens.js';
import { loginPage } from '../../src/http/pages/login-page.js';
import { viewerOf } from '../../src/http/pages/routes.js';
import { buildHttp, type RouteGroup } from '../../src/http/server.js';
import { noAccessSettings, smallSources } from './access.js';

const confinedHost = 'kvm-01';

export type Door = AsyncDisposable & {
  app: FastifyInstance;
  access: AccessControl;
  /** The audit log's lines so far. */
  entries: AuditEntry[];
  /** The file of the tokens. */
  file: string;
  /** The token of a role; confined ones may see kvm-01 alone. */
  token(role: Role, confined?: boolean): string;
  /** Signs in; the headers that the browser would send, and the form token. */
  signIn(token: string): Promise<{ cookie: string; csrf: string }>;
};

export type DoorOptions = {
  settings?: Partial<AccessSettings>;
  groups?: readonly RouteGroup[];
  trustedProxies?: readonly string[];
  /** Without: nothing is configured. */
  tokens?: boolean;
  auditFails?: boolean;
  /** Also told of each line. */
  sink?: AuditSink;
  limits?: AccessLimits;
};

/** The HTTP side, whole, without a port. `GET /-/csrf` gives the form token of a session. */
export async function openDoor(options: DoorOptions = {}): Promise<Door> {
  const dir = await mkdtemp(join(tmpdir(), 'door-'));
  try {
    return await openDoorIn(dir, options);
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

async function openDoorIn(dir: string, options: DoorOptions): Promise<Door> {
  const file = join(dir, 'tokens.yaml');
  const made = new Map<string, string>();
  const entries: AuditEntry[] = [];
  const lines = ['version: 1', 'tokens:'];
  for (const role of roles) {
    for (const confined of [false, true]) {
      const { token, sha256 } = mintToken();
      const name = `${role}${confined ? '-confined' : ''}`;
      made.set(name, token.expose());
      lines.push(
        `  - { name: ${name}, role: ${role}, sha256: ${sha256}${confined ? `, hosts: [${confinedHost}]` : ''} }`,
      );
    }
  }
  await writeFile(file, `${lines.join('\n')}\n`);
  const access = await AccessControl.open({
    settings: {
      ...noAccessSettings,
      ...(options.tokens !== false && { apiTokensFile: file }),
      ...options.settings,
    },
    audit: () => ({
      append: async (entry) => {
        if (options.auditFails) throw new Error('no space left');
        entries.push(entry);
        await options.sink?.append(entry);
      },
    }),
  });
  const app = await buildHttp({
    metricsToken: () => undefined,
    sources: smallSources,
    access,
    trustedProxies: options.trustedProxies,
    ...(options.limits && { limits: options.limits }),
    groups: [
      (app) =>
        access.addLogin(app, (view, request) =>
          loginPage({ viewer: viewerOf(request, { nowMs: Date.now }), view }),
        ),
      (app) =>
        void app.get('/-/csrf', { config: { need: 'read' } }, async (request) => csrfField(request) ?? {}),
      ...(options.groups ?? []),
    ],
    log: silentLog,
  });
  await app.ready();
  return {
    ...{ app, access, entries, file },
    token: (role, confined = false) => made.get(`${role}${confined ? '-confined' : ''}`) ?? '',
    signIn: async (token) => {
      const answer = await app.inject({
        method: 'POST',
        url: '/login',
        payload: form({ token }),
        headers: formType,
      });
      const cookie = String(answer.headers['set-cookie'] ?? '').split(';')[0] ?? '';
      const { value } = (await app.inject({ url: '/-/csrf', headers: { cookie } })).json<{ value: string }>();
      return { cookie, csrf: value };
    },
    [Symbol.asyncDispose]: async () => {
      await app.close();
      access.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export const formType = { 'content-type': 'application/x-www-form-urlencoded' };

export function form(fields: Record<string, string>): string {
  return new URLSearchParams(fields).toString();
}

export function bearer(token: string): Pick<InjectOptions, 'headers'> {
  return { headers: { authorization: `Bearer ${token}` } };
}

/** A route of each need, to read and to write, and a page. */
export function probes(app: FastifyInstance): void {
  for (const need of ['none', 'read', 'operate', 'admin'] as const) {
    for (const method of ['GET', 'POST', 'DELETE'] as const) {
      app.route({
        method,
        url: `/probe/${need}`,
        config: { need },
        handler: async ({ principal }) => ({ name: principal?.name ?? null }),
      });
    }
  }
  app.get('/probe/page', { config: { need: 'read', page: true } }, async () => 'page');
  app.post('/probe/hosts/:host', { config: { need: 'operate' } }, async ({ body }) => ({ body }));
  app.post('/probe/origin', { config: { need: 'operate', csrf: 'origin' } }, async () => ({}));
}
