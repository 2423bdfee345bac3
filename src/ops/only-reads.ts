// The half that operations which only read do not have.
import type { Settled, Verified } from './operation.js';

export const onlyReads = {
  acts: false,
  async act(): Promise<never> {
    throw new Error('this operation only reads');
  },
  async verify(): Promise<Verified> {
    throw new Error('this operation only reads');
  },
  settle: (): Settled => 'not-done',
} as const;
