import { expect, it } from 'vitest';
import { paramsOf, targetOf } from '../../../src/cli/vm.js';

it('takes the VM of a target from its first slash on', () => {
  expect(targetOf('kvm-1/web')).toEqual({ host: 'kvm-1', vm: 'web' });
  expect(targetOf('kvm-1/a/b')).toEqual({ host: 'kvm-1', vm: 'a/b' });
  expect(targetOf('kvm-1')).toEqual({ host: 'kvm-1', vm: undefined });
});

it('makes params of its options, and none of what is not given', () => {
  expect(paramsOf({})).toEqual({});
  expect(paramsOf({ force: true, timeout: 0, param: { mode: 'cold' } })).toEqual({
    mode: 'cold',
    force: true,
    timeoutSeconds: 0,
  });
});
