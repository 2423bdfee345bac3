// What has begun and what has not ended, also after the log is opened again.
import { describe, expect, it } from 'vitest';
import { ActsIndex, rememberedMs } from '../../../src/audit/acts.js';
import { chainStart, formLine, type Link } from '../../../src/audit/line.js';
import { FakeClock } from '../../support/fake-clock.js';
import { auditDir, entry, openLog } from './audit-fixture.js';

describe('acts', () => {
  it('are begun until their end, or that of their job, is written', async () => {
    const log = await openLog(auditDir());
    await log.append(entry(1, { act: 'destroy' }));
    await log.append(entry(1, { act: 'undefine' }));
    await log.append(entry(1, { kind: 'end', act: 'destroy' }));
    expect(log.begun('request-1')).toMatchObject([
      { act: 'destroy', ended: true },
      { act: 'undefine', ended: false },
    ]);
    expect(log.interrupted()).toEqual([
      {
        requestId: 'request-1',
        op: 'stop',
        host: 'kvm-01',
        vm: entry(1).vm,
        acts: [{ act: 'undefine', at: expect.any(String), ended: false, vm: entry(1).vm }],
      },
    ]);
    await log.append(entry(1, { kind: 'end', act: undefined, outcome: 'changed' }));
    expect(log.interrupted()).toEqual([]);
    expect(log.begun('request-1')).toHaveLength(2);
  });

  it('are settled by a settlement, and not begun by a refusal', async () => {
    const log = await openLog(auditDir());
    await log.append(entry(1, { act: undefined }));
    expect(log.begun('request-1')).toMatchObject([{ act: 'stop', ended: false }]);
    await log.append(entry(1, { kind: 'settled', act: undefined, outcome: 'changed' }));
    await log.append(entry(2, { kind: 'refused', act: undefined, error: 'INVALID_STATE: it runs' }));
    await log.append(entry(3, { kind: 'end', act: undefined }));
    expect(log.interrupted()).toEqual([]);
    expect(log.begun('request-2')).toEqual([]);
    expect(log.begun('request-3')).toEqual([]);
    expect(log.begun('never seen')).toEqual([]);
  });

  it('are known again after a restart, over several files', async () => {
    const dir = auditDir();
    const log = await openLog(dir, { rotateBytes: 1_000 });
    for (let n = 1; n <= 10; n++) await log.append(entry(n));
    for (let n = 1; n <= 8; n++) await log.append(entry(n, { kind: 'end' }));
    await log.close();
    const again = await openLog(dir);
    expect(again.interrupted()).toEqual(log.interrupted());
    expect(again.interrupted().map(({ requestId }) => requestId)).toEqual(['request-9', 'request-10']);
    expect(again.begun('request-1')).toEqual(log.begun('request-1'));
  });

  it('come with the VM and what was so before, also after a restart', async () => {
    const dir = auditDir();
    const log = await openLog(dir);
    await log.append(entry(1, { before: { state: 'running', id: 7 } }));
    await log.close();
    const act = { act: 'destroy', at: expect.any(String), ended: false, vm: entry(1).vm };
    expect(log.begun('request-1')).toEqual([{ ...act, before: { state: 'running', id: 7 } }]);
    expect((await openLog(dir)).begun('request-1')).toEqual(log.begun('request-1'));
  });

  it('take a bounded amount of memory: the oldest that have ended are forgotten first', () => {
    const acts = new ActsIndex(2_000);
    let end: Link = chainStart;
    const take = (fields: Record<string, unknown>) => {
      const line = formLine(end, 0, fields);
      end = line;
      acts.take(line);
    };
    take(entry(1));
    for (let n = 2; n < 20; n++) {
      take(entry(n));
      take(entry(n, { kind: 'end' }));
    }
    expect(acts.interrupted().map(({ requestId }) => requestId)).toEqual(['request-1']);
    expect(acts.begun('request-2')).toEqual([]);
    expect(acts.begun('request-19')).toHaveLength(1);
    for (let n = 20; n < 40; n++) take(entry(n));
    expect(acts.interrupted().length).toBeLessThan(10);
    expect(acts.interrupted().at(-1)?.requestId).toBe('request-39');
  });

  it('are not taken for begun when their line was refused', async () => {
    const log = await openLog(auditDir());
    await expect(log.append(entry(1, { act: 'x'.repeat(6_000) }))).rejects.toThrow();
    expect(log.begun('request-1')).toEqual([]);
  });

  it('are forgotten after eight days, and a start does not read files that are older', async () => {
    const dir = auditDir();
    const clock = new FakeClock();
    const log = await openLog(dir, { clock, rotateBytes: 1 });
    for (let n = 1; n <= 5; n++) await log.append(entry(n));
    await clock.advance(rememberedMs - 1_000);
    await log.append(entry(6));
    expect(log.begun('request-1')).toHaveLength(1);
    await clock.advance(2_000);
    await log.append(entry(7));
    expect(log.begun('request-1')).toEqual([]);
    expect(log.interrupted().map(({ requestId }) => requestId)).toEqual(['request-6', 'request-7']);
    await log.close();
    const again = await openLog(dir, { clock });
    expect(again.interrupted().map(({ requestId }) => requestId)).toEqual(['request-6', 'request-7']);
    expect(again.end.seq).toBe(7);
  });
});
