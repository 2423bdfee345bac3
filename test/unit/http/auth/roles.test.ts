import { describe, expect, it } from 'vitest';
import { makePrincipal } from '../../../../src/http/auth/principal.js';
import { highest, needs, roleMay, roleMayOp, roles } from '../../../../src/http/auth/roles.js';
import { operationNames } from '../../../../src/ops/job.js';
import { cpuWatch } from '../../../support/cpu-time.js';

describe('roles', () => {
  it.each([
    ['viewer', ['none', 'read']],
    ['operator', ['none', 'read', 'operate']],
    ['admin', ['none', 'read', 'operate', 'admin']],
  ] as const)('%s may what needs %j, and nothing else', (role, may) => {
    expect(needs.filter((need) => roleMay(role, need))).toEqual(may);
  });

  it('gives every operation to admins, what can be undone and reads to operators, none to viewers', () => {
    const of = (role: (typeof roles)[number]) => operationNames.filter((op) => roleMayOp(role, op));
    expect(of('viewer')).toEqual([]);
    expect(of('admin')).toEqual([...operationNames]);
    expect(operationNames.filter((op) => !of('operator').includes(op))).toEqual([
      'reset',
      'delete',
      'snapshot_revert',
      'snapshot_delete',
      'set_autostart',
    ]);
  });

  it.each(['', 'constructor', 'DELETE', 'toString', 'start '])('knows no operation %j, for nobody', (op) => {
    expect(roles.filter((role) => roleMayOp(role, op))).toEqual([]);
  });

  it('takes the highest of several', () => {
    expect(highest(['viewer', 'admin', 'operator'])).toBe('admin');
    expect(highest(['operator', 'viewer'])).toBe('operator');
    expect(highest([])).toBeUndefined();
  });
});

describe('confinement', () => {
  const mayHost = (
    confinement: { hosts?: string[]; labels?: Record<string, string> },
    name: string,
    labels = {},
  ) => makePrincipal({ name: 'x', role: 'viewer', via: 'token', confinement }).mayHost({ name, labels });

  it.each([
    ['kvm-01', 'kvm-01', true],
    ['kvm-01', 'kvm-011', false],
    ['kvm-01', 'xkvm-01', false],
    ['kvm-*', 'kvm-01', true],
    ['kvm-*', 'kvm-', true],
    ['kvm-*', 'KVM-01', false],
    ['*-ams1', 'kvm-01-ams1', true],
    ['*-ams1', 'kvm-01-ams1x', false],
    ['a*b', 'ab', true],
    ['a*ba', 'aba', true],
    ['ab*ba', 'aba', false],
    ['a*b*c', 'a-b-c', true],
    ['a*b*c', 'acb', false],
    ['*', 'anything', true],
    ['k.m', 'kvm', false],
  ])('the name %s and the host %s: %s', (glob, host, expected) => {
    expect(mayHost({ hosts: [glob] }, host)).toBe(expected);
  });

  it('wants every label, and both where names and labels are given', () => {
    const labels = { dc: 'ams1', rack: 'r1' };
    expect(mayHost({ labels: { dc: 'ams1' } }, 'kvm-01', labels)).toBe(true);
    expect(mayHost({ labels: { dc: 'ams1', rack: 'r2' } }, 'kvm-01', labels)).toBe(false);
    expect(mayHost({ labels: { toString: 'x' } }, 'kvm-01', labels)).toBe(false);
    expect(mayHost({ hosts: ['kvm-*'], labels: { dc: 'ams1' } }, 'web-01', labels)).toBe(false);
    expect(mayHost({ hosts: ['kvm-*'], labels: { dc: 'fra1' } }, 'kvm-01', labels)).toBe(false);
  });

  it('is none where every host is named', () => {
    const confined = (confinement: object) =>
      makePrincipal({ name: 'x', role: 'viewer', via: 'jwt', confinement }).confined;
    expect([confined({}), confined({ hosts: ['a', '*'] })]).toEqual([false, false]);
    expect([confined({ hosts: ['a*'] }), confined({ hosts: [] })]).toEqual([true, true]);
    expect(confined({ hosts: ['*'], labels: { dc: 'ams1' } })).toBe(true);
  });

  it('hides every host from an empty list, none without one', () => {
    expect(mayHost({ hosts: [] }, 'kvm-01')).toBe(false);
    expect(mayHost({}, 'kvm-01')).toBe(true);
  });

  it('takes no longer for a pattern made to be slow', () => {
    const cpuMs = cpuWatch();
    mayHost({ hosts: [`${'a*'.repeat(100)}b`] }, 'a'.repeat(253));
    expect(cpuMs()).toBeLessThan(200);
  });
});
