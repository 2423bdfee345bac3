// `outrigger queue`: how many jobs wait, run and have ended. It refuses to list them: `jobs` does.
import type { QueueState } from '../http/api/schemas.js';
import { ApiClient } from './api-client.js';
import type { Environment } from './configuration.js';
import { age, type Column, fittedTable, type Paint, painter, printJson, widthOf } from './output.js';

const columns: Column[] = [
  { title: 'QUEUE' },
  { title: 'WAITING', right: true },
  { title: 'ACTIVE', right: true },
  { title: 'DELAYED', right: true, drop: 2 },
  { title: 'FAILED', right: true },
  { title: 'COMPLETED', right: true, drop: 3 },
  { title: 'WORKERS', right: true, drop: 1 },
  { title: 'OLDEST', right: true },
];

export async function queue(env: Environment, { json }: { json?: boolean }): Promise<number> {
  const api = ApiClient.from(env);
  if (!api) return 1;
  const found = await api.get<QueueState>('/queue');
  if (json) printJson(found);
  else
    process.stdout.write(
      queueTable(found, { width: widthOf(process.stdout), paint: painter(process.stdout) }),
    );
  return 0;
}

export function queueTable(state: QueueState, fit: { width: number; paint: Paint }): string {
  const { name, waiting, active, delayed, failed, completed, workers, oldestWaitingSeconds } = state;
  const row = [
    name,
    String(waiting),
    String(active),
    String(delayed),
    failed > 0 ? fit.paint('red', String(failed)) : '0',
    String(completed),
    workers === 0 ? fit.paint('red', '0') : String(workers ?? '–'),
    age(oldestWaitingSeconds),
  ];
  return fittedTable(columns, [row], fit);
}
