// Whoever asks: a name, a role, and the hosts it is confined to. It is plain data with answers. It refuses to know how the
// caller proved who it is.
import { type Need, type Role, roleMay, roleMayOp } from './roles.js';

/** The hosts a caller is confined to; both given: a host must match both. Absent: every host. */
export type Confinement = {
  /** Inventory names; `*` stands for any letters. */
  readonly hosts?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
};

export type HostIdentity = { readonly name: string; readonly labels: Readonly<Record<string, string>> };

export type Principal = {
  readonly name: string;
  readonly role: Role;
  readonly via: 'token' | 'jwt' | 'session' | 'loopback';
  /** Some hosts are hidden from it: what cannot be told apart by host must not be shown. */
  readonly confined: boolean;
  may(need: Need): boolean;
  /** A host that is not in the inventory any more has no labels. */
  mayHost(host: HostIdentity): boolean;
  mayOp(op: string): boolean;
  /** False once the token or the session that stands behind it has ended: an open stream must end with it. */
  isCurrent(): boolean;
};

export type PrincipalOptions = Pick<Principal, 'name' | 'role' | 'via'> & {
  confinement?: Confinement | undefined;
  isCurrent?: () => boolean;
};

export function makePrincipal({
  name,
  role,
  via,
  confinement = {},
  isCurrent = () => true,
}: PrincipalOptions): Principal {
  const { hosts, labels } = confinement;
  const patterns = hosts?.map(parseGlob);
  return {
    name,
    role,
    via,
    confined: (hosts !== undefined && !hosts.includes('*')) || labels !== undefined,
    may: (need) => roleMay(role, need),
    mayOp: (op) => roleMayOp(role, op),
    mayHost: (host) =>
      (patterns?.some((pattern) => matches(pattern, host.name)) ?? true) &&
      Object.entries(labels ?? {}).every(([key, value]) => ownValue(host.labels, key) === value),
    isCurrent,
  };
}

function ownValue(labels: HostIdentity['labels'], key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

function parseGlob(glob: string): readonly string[] {
  return glob.split('*');
}

/** In time that grows with the name's length only: no pattern can make it slow. */
function matches(parts: readonly string[], name: string): boolean {
  const [first = '', ...rest] = parts;
  if (rest.length === 0) return name === first;
  const last = rest.pop() ?? '';
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}
