import { expect, it } from 'vitest';
import { recurring, recurringRecord } from '../../../src/core/recurring.js';

it('says what it was told, also after more words than it keeps, and of any length', () => {
  const words = Array.from({ length: 10_000 }, (_, index) => `word-${index}`);
  for (const word of [...words, ...words, 'x'.repeat(1_000), '']) expect(recurring(word)).toBe(word);
});

it('holds one frozen copy of a record, and says what it was told also after more records than it keeps', () => {
  const os = recurringRecord({ type: 'hvm', arch: 'x86_64', machine: undefined });
  expect(recurringRecord({ type: 'hvm', arch: 'x86_64', machine: undefined })).toBe(os);
  expect(recurringRecord({ type: 'hvm', arch: 'aarch64', machine: undefined }).arch).toBe('aarch64');
  expect(Object.isFrozen(os)).toBe(true);
  const periods = Array.from({ length: 5_000 }, (_, periodS) => ({ periodS }));
  for (const { periodS } of [...periods, ...periods])
    expect(recurringRecord({ periodS })).toEqual({ periodS });
  expect(recurringRecord({ long: 'x'.repeat(1_000) })).toEqual({ long: 'x'.repeat(1_000) });
});
