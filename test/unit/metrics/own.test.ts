import { describe, expect, it } from 'vitest';
import { ownFamilies } from '../../../src/metrics/families-own.js';
import { OwnMetrics, type OwnReadings } from '../../../src/metrics/own.js';
import { parseSeries, parseTypes } from './parse.js';
import { promtoolComplaints } from './promtool.js';

const readings: OwnReadings = {
  sessions: { up: 2, down: 0 },
  storeUp: true,
  inventoryHosts: 2,
  inventoryValid: true,
};

function used(read: () => OwnReadings = () => readings): OwnMetrics {
  const own = new OwnMetrics({ version: '1.2.3', read });
  own.pollDone('vms', 'ok', 12);
  own.pollNotRun('vms', 'host-down');
  own.pollSkipped('system');
  own.connectFailed('REFUSED');
  own.schedulerRepaired();
  return own;
}

describe('own metrics', () => {
  it('are clean for promtool, and begin with outrigger_', async () => {
    const page = await used().text();
    expect(promtoolComplaints(page)).toEqual([]);
    for (const { name } of parseSeries(page)) expect(name).toMatch(/^outrigger_/);
    expect(page).toMatch(/^outrigger_nodejs_eventloop_lag_p99_seconds /m);
    expect(page).toMatch(/^outrigger_process_resident_memory_bytes /m);
  });

  it('have every declared family, with its type', async () => {
    const types = parseTypes(await used().text());
    for (const [name, { type }] of Object.entries(ownFamilies)) expect(types.get(name), name).toBe(type);
  });

  it('read the present when asked', async () => {
    let now = readings;
    const own = used(() => now);
    await own.text();
    now = { sessions: { down: 1 }, inventoryHosts: 1, inventoryValid: false };
    const page = await own.text();
    expect(page).toContain('outrigger_session_state{state="down"} 1\n');
    expect(page).not.toContain('state="up"');
    expect(page).toContain('outrigger_inventory_hosts 1\n');
    expect(page).toContain('outrigger_inventory_valid 0\n');
    expect(page).not.toMatch(/^outrigger_store_up /m);
  });

  it('count', async () => {
    const page = await used().text();
    expect(page).toContain('outrigger_polls_total{poller="vms",outcome="ok"} 1\n');
    expect(page).toContain('outrigger_polls_total{poller="vms",outcome="host-down"} 1\n');
    expect(page).toContain('outrigger_poll_duration_seconds_count{poller="vms"} 1\n');
    expect(page).toContain('outrigger_polls_skipped_total{poller="system"} 1\n');
    expect(page).toContain('outrigger_connect_failures_total{code="REFUSED"} 1\n');
    expect(page).toContain('outrigger_scheduler_repairs_total 1\n');
    expect(page).toContain('outrigger_build_info{version="1.2.3"');
  });

  it('of two instances do not meet', () => {
    expect(() => [used(), used()]).not.toThrow();
  });
});
