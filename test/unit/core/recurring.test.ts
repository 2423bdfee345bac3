import { expect, it } from 'vitest';
import { recurring } from '../../../src/core/recurring.js';

it('says what it was told, also after more words than it keeps, and of any length', () => {
  const words = Array.from({ length: 10_000 }, (_, index) => `word-${index}`);
  for (const word of [...words, ...words, 'x'.repeat(1_000), '']) expect(recurring(word)).toBe(word);
});
