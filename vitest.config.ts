import { defineConfig } from 'vitest/config';
import { labPossible } from './lab/possible.js';
import { promtoolThere } from './test/unit/metrics/promtool.js';

const lab = labPossible();
if (!lab.ok) console.warn(`Skipped: all of test/live and test/fault, which raise real KVM hosts: ${lab.why}`);
if (!promtoolThere)
  console.warn('Skipped: what promtool judges: not installed: promtool; lab/prepare.sh test installs it');

const unit = {
  test: {
    name: 'unit',
    include: ['test/unit/**/*.test.ts', 'test/tidy.test.ts'],
    // Some take seconds of CPU, which a busy machine gives them late.
    testTimeout: 60_000,
    // One process a core runs all files: a process a file took longer to start than the tests in it.
    isolate: false,
    maxWorkers: 2,
  },
};

const live = {
  test: {
    name: 'live',
    globalSetup: ['test/support/build.ts'],
    include: lab.ok ? ['test/live/**/*.test.ts', 'test/fault/**/*.test.ts'] : [],
    testTimeout: 120_000,
    hookTimeout: 240_000,
    fileParallelism: false,
  },
};

export default defineConfig({
  test: {
    reporters: ['default', './test/support/count-reporter.ts'],
    projects: [unit, live],
  },
});
