// Names in the store are promises to backends and scripts, and those of two shards never meet.
import { expect, it } from 'vitest';
import { StoreClients } from '../../../src/queue/connection.js';
import { storeNames } from '../../../src/queue/store-names.js';

it('are the documented ones without shards', () => {
  expect(storeNames()).toEqual({
    polls: 'outrigger-polls',
    jobs: 'outrigger-vm-jobs',
    outbox: 'outrigger-outbox',
    jobPrefix: 'bull:outrigger-vm-jobs:',
    keys: 'outrigger:',
  });
});

it('carry the shard, whichever store it is', () => {
  const { names } = new StoreClients({ kind: 'socket', path: '/none', shard: { index: 2, count: 16 } });
  expect(names).toEqual({
    polls: 'outrigger-polls-2',
    jobs: 'outrigger-vm-jobs-2',
    outbox: 'outrigger-outbox-2',
    jobPrefix: 'bull:outrigger-vm-jobs-2:',
    keys: 'outrigger:2:',
  });
});
