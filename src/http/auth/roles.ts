// Who may what: the roles, what a route may need, and which VM operations a role may ask for. It is the one place where a right
// is given; docs/roles.md is made from it. It refuses to know requests, tokens and routes.
import { type OperationName, operationNames } from '../../ops/job.js';

export const roles = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

/**
 * What a route asks for. `none`: open to everybody; `read`: any role; `operate`: operator or admin; `admin`: admin alone.
 */
export const needs = ['none', 'read', 'operate', 'admin'] as const;
export type Need = (typeof needs)[number];

const needsOf: Readonly<Record<Role, readonly Need[]>> = {
  viewer: ['none', 'read'],
  operator: ['none', 'read', 'operate'],
  admin: ['none', 'read', 'operate', 'admin'],
};

/** What an operator may have done: what the next person can undo. The rest destroys, rewinds or changes what stays. */
const operatorOps: ReadonlySet<OperationName> = new Set<OperationName>([
  'start',
  'stop',
  'restart',
  'pause',
  'resume',
  'snapshot',
  'list',
  'info',
  'snapshot_list',
  'health_check',
  'collect_metrics',
  'agent_info',
]);

export function roleMay(role: Role, need: Need): boolean {
  return needsOf[role].includes(need);
}

/** False for an operation that there is not. */
export function roleMayOp(role: Role, op: string): boolean {
  if (!operationNames.some((name) => name === op)) return false;
  return role === 'admin' || (role === 'operator' && operatorOps.has(op as OperationName));
}

export function isRole(value: unknown): value is Role {
  return roles.some((role) => role === value);
}

/** The role with the most rights. */
export function highest(found: readonly Role[]): Role | undefined {
  return roles.findLast((role) => found.includes(role));
}

/** The least role that has the right, for a message about one that does not. */
export function leastRole(may: (role: Role) => boolean): Role | undefined {
  return roles.find(may);
}
