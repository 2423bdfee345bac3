// Access control for tests of the HTTP side: nothing configured, so that this machine may read.

import { AccessControl, type AccessSettings } from '../../src/http/auth/access.js';
import type { AuditSink } from '../../src/http/auth/access-audit.js';
import type { HttpSources } from '../../src/http/server.js';

export const noAccessSettings: AccessSettings = {
  apiTokensFile: undefined,
  jwksUrl: undefined,
  jwtIssuer: undefined,
  jwtAudience: undefined,
  jwtRoleClaim: 'role',
  jwtRoleMap: undefined,
  jwtHostsClaim: undefined,
};

export function openAccess(
  settings: Partial<AccessSettings> = {},
  audit?: AuditSink,
): Promise<AccessControl> {
  return AccessControl.open({ settings: { ...noAccessSettings, ...settings }, audit: () => audit });
}

/** Pages of metrics that say next to nothing. */
export const smallSources: HttpSources = {
  async *fleetPage() {
    yield Buffer.from('up 1\n');
  },
  hostPage: () => undefined,
  collectorPage: async () => 'up 1\n',
  sdHosts: () => [],
  scraped: () => undefined,
  readiness: () => ({ ready: true, checks: {} }),
};
