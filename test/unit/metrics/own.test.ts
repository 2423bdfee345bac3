import { describe, expect, it } from 'vitest';
import { ownFamilies } from '../../../src/metrics/families-own.js';
import { OwnMetrics, type OwnReadings } from '../../../src/metrics/own.js';
import { openMetricsComplaints } from './openmetrics.js';
import { parseSeries, parseTypes, seriesKey } from './parse.js';
import { promtoolComplaints, promtoolThere } from './promtool.js';

const readings: OwnReadings = {
  samples: { vms: 2, system: 1 },
  sessions: { up: 2, down: 0 },
  storeUp: true,
  inventoryHosts: 2,
  inventoryValid: true,
};

function used(read: () => OwnReadings = () => readings): OwnMetrics {
  const own = new OwnMetrics({
    version: '1.2.3',
    read,
    readQueues: async () => ({ polls: { jobs: { waiting: 2, active: 1 }, oldestWaitMs: 1500 } }),
  });
  own.pollDone('vms', 'ok', 12);
  own.pollNotRun('vms', 'host-down');
  own.pollSkipped('system');
  own.connectFailed('REFUSED');
  own.schedulerRepaired();
  own.scraped('fleet', 'ok', 250, 4096);
  own.scraped('fleet', 'late', 9500, 100);
  return own;
}

describe('own metrics', () => {
  it.runIf(promtoolThere)('are clean for promtool, and begin with outrigger_', async () => {
    const page = await used().page('text');
    expect(promtoolComplaints(page)).toEqual([]);
    for (const { name } of parseSeries(page)) expect(name).toMatch(/^outrigger_/);
    expect(page).toMatch(/^outrigger_nodejs_eventloop_lag_p99_seconds /m);
    expect(page).toMatch(/^outrigger_process_resident_memory_bytes /m);
  });

  it('have every declared family, with its type', async () => {
    const types = parseTypes(await used().page('text'));
    for (const [name, { type }] of Object.entries(ownFamilies)) expect(types.get(name), name).toBe(type);
  });

  it('read the present when asked', async () => {
    let now = readings;
    const own = used(() => now);
    await own.page('text');
    now = { samples: {}, sessions: { down: 1 }, inventoryHosts: 1, inventoryValid: false };
    const page = await own.page('text');
    expect(page).toContain('outrigger_session_state{state="down"} 1\n');
    expect(page).not.toContain('state="up"');
    expect(page).toContain('outrigger_inventory_hosts 1\n');
    expect(page).toContain('outrigger_inventory_valid 0\n');
    expect(page).not.toMatch(/^outrigger_store_up /m);
  });

  it('count', async () => {
    const page = await used().page('text');
    expect(page).toContain('outrigger_polls_total{poller="vms",outcome="ok"} 1\n');
    expect(page).toContain('outrigger_polls_total{poller="vms",outcome="host-down"} 1\n');
    expect(page).toContain('outrigger_poll_duration_seconds_count{poller="vms"} 1\n');
    expect(page).toContain('outrigger_polls_skipped_total{poller="system"} 1\n');
    expect(page).toContain('outrigger_connect_failures_total{code="REFUSED"} 1\n');
    expect(page).toContain('outrigger_scheduler_repairs_total 1\n');
    expect(page).toContain('outrigger_build_info{version="1.2.3"');
    expect(page).toContain('outrigger_samples{poller="system"} 1\n');
    expect(page).toContain('outrigger_scrapes_total{page="fleet",outcome="late"} 1\n');
    expect(page).toContain('outrigger_scrape_duration_seconds_count{page="fleet"} 1\n');
    expect(page).toContain('outrigger_scrape_bytes_total{page="fleet"} 4196\n');
    expect(page).toContain('outrigger_queue_jobs{queue="polls",state="waiting"} 2\n');
    expect(page).toContain('outrigger_queue_oldest_wait_seconds{queue="polls"} 1.5\n');
  });

  it('ask the queues once for a page, and again for the next', async () => {
    let asked = 0;
    const readQueues = async () => ({ polls: { jobs: {}, oldestWaitMs: 1000 * ++asked } });
    const own = new OwnMetrics({ version: '1', read: () => readings, readQueues });
    expect(await own.page('text')).toContain('outrigger_queue_oldest_wait_seconds{queue="polls"} 1\n');
    expect(await own.page('text')).toContain('outrigger_queue_oldest_wait_seconds{queue="polls"} 2\n');
  });

  it('are OpenMetrics too', async () => {
    const page = await used().page('openmetrics');
    expect(openMetricsComplaints(page)).toEqual([]);
    expect(page).toContain('# TYPE outrigger_polls counter\noutrigger_polls_total{');
    expect(page).toContain('outrigger_poll_duration_seconds_bucket{le="1.0",poller="vms"}');
    expect(page).toContain('outrigger_poll_duration_seconds_bucket{le="+Inf",poller="vms"}');
    const series = (text: string) => parseSeries(text.replaceAll('.0"', '"')).map(seriesKey);
    const other = await used().page('text');
    expect(series(page)).toEqual(series(other));
  });

  it('of two instances do not meet', () => {
    expect(() => [used(), used()]).not.toThrow();
  });
});
