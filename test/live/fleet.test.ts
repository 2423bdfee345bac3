// More hosts than the service polls at a time on this machine: 24 real sshd and libvirtd, connected and polled together.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Lab, raiseLab } from '../../lab/lab.js';
import { outrigger, type Page, Service } from '../support/outrigger.js';

const hosts = 24;
const intervalS = 5;
let lab: Lab;

beforeAll(async () => {
  lab = await raiseLab({ name: 'fleet', hosts, guests: 0 });
});

afterAll(() => lab?.down());

/** Of the samples that are taken at the poll interval; others are older by their nature. */
function agesOf(page: Page): number[] {
  const ages = (poller: string) => page.find('outrigger_host_sample_age_seconds', { poller });
  return [...ages('vms'), ...ages('system')].map(([, seconds]) => seconds);
}

it('connects to all of them, polls them on time, and gives everything back', async () => {
  await using service = await Service.start(lab.inventoryFile, { AGENT_POLL_INTERVAL: String(intervalS) });
  const page = await service.pageWhen(
    'all hosts up and polled',
    (page) =>
      page.find('libvirt_up').filter(([, value]) => value === 1).length === hosts &&
      agesOf(page).length === hosts * 2,
    60_000,
  );
  expect(page.value('outrigger_session_state', { state: 'up' })).toBe(hosts);
  expect(page.find('node_load1')).toHaveLength(hosts);
  const later = await service.pageWhen(
    'two rounds of polls',
    (page) => (page.value('outrigger_polls_total', { poller: 'vms', outcome: 'ok' }) ?? 0) >= hosts * 3,
    60_000,
  );
  expect(later.find('outrigger_polls_total', { outcome: 'failed' })).toEqual([]);
  // Nobody has missed a round.
  expect(Math.max(...agesOf(later))).toBeLessThan(2 * intervalS);
  expect(await service.stop()).toBe(0);
});

it('outrigger check looks all of them over', async () => {
  const printed = await outrigger(
    ['check', '--json'],
    { AGENT_INVENTORY: lab.inventoryFile, AGENT_DATA_DIR: lab.dir },
    90_000,
  );
  expect(printed.code).toBe(0);
  const reports = JSON.parse(printed.stdout) as { findings: { severity: string }[] }[];
  expect(reports).toHaveLength(hosts);
  expect(reports.flatMap(({ findings }) => findings).filter(({ severity }) => severity !== 'ok')).toEqual([]);
});
