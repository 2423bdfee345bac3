// Access control for tests of the HTTP side: nothing configured, so that this machine may read.
import { AccessControl, type AccessSettings } from '../../src/http/auth/access.js';
import type { AuditSink } from '../../src/http/auth/access-audit.js';

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
