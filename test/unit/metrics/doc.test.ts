import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { metricsDocument } from '../../../src/metrics/doc.js';

it('docs/metrics.md says what the code says (npm run docs:metrics writes it)', () => {
  const file = new URL('../../../docs/metrics.md', import.meta.url);
  expect(readFileSync(file, 'utf8')).toBe(metricsDocument());
});
