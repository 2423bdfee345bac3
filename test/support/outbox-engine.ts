// The outbox in a process of its own, to be killed. It adds entries as fast as they are acknowledged, notes each that was
// in a file, and delivers to the URL that it is given. Arguments: store URL, data directory, receiver's URL, first number.
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { urlAddress } from '../../src/queue/connection.js';
import { Outbox } from '../../src/queue/outbox.js';

const [url = '', dataDir = '', receiver = '', from = '0'] = process.argv.slice(2);
const outbox = await Outbox.start({
  store: urlAddress(url),
  dataDir,
  instanceId: 'engine',
  backoff: { baseMs: 50, capMs: 500, factor: 2 },
  deliver: async (entry, signal) => {
    const body = JSON.stringify(entry);
    const answer = await fetch(receiver, { method: 'POST', body, signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
  },
});
process.stdout.write('ready\n');
for (let n = Number(from); ; n++) {
  const host = `kvm-${n % 3}`;
  const { id, sequence } = await outbox.add({ kind: n % 2 ? 'event' : 'result', host, payload: n });
  appendFileSync(join(dataDir, 'acknowledged'), `${JSON.stringify({ n, id, host, sequence })}\n`);
}
