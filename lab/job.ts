// One VM job from the terminal, for the demo: a plain BullMQ client, as a backend is one. Prints the steps and the result.
import { randomUUID } from 'node:crypto';
import { Queue, QueueEvents } from 'bullmq';

const [op = '', host = '', vm, params = '{}'] = process.argv.slice(2);
const { STORE } = process.env;
if (!STORE || !op || !host) {
  console.error('usage: STORE=…/store.sock npx tsx lab/job.ts OPERATION HOST [VM] [PARAMS as JSON]');
  process.exit(2);
}

const connection = { path: STORE };
const queue = new Queue('outrigger-vm-jobs', { connection });
const events = new QueueEvents('outrigger-vm-jobs', { connection });
events.on('progress', ({ data }) => {
  const { steps = [] } = data as { steps?: { at: string; step: string }[] };
  const last = steps.at(-1);
  if (last) console.log(`${last.at}  ${last.step}`);
});
try {
  const requestId = randomUUID();
  const data = { host, ...(vm && { vm }), params: JSON.parse(params), requestId, requestedBy: 'demo' };
  const job = await queue.add(op, data);
  console.log(JSON.stringify(await job.waitUntilFinished(events), null, 2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  await Promise.all([queue.close(), events.close()]);
}
