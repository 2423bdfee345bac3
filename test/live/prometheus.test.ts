// A real Prometheus scrapes the running service in both of the ways that docs/prometheus.md gives for copy and paste, with
// a token, and evaluates the rules of observability/.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { type Lab, raiseLab } from '../../lab/lab.js';
import { Service } from '../support/outrigger.js';
import { freePort } from '../support/sshd.js';
import { until } from '../support/until.js';
import { promtoolComplaints } from '../unit/metrics/promtool.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const rulesDir = join(root, 'observability/prometheus');
const token = 'a-token-of-this-test';
const hosts = 2;
/** Series that Prometheus adds to each target: there are more targets one way than the other. */
const ofTargets = /^(up|scrape_.*)$/;

type Target = { health: string; lastError: string; scrapePool: string; labels: Record<string, string> };
type Rule = { name: string; type: string; health: string; lastError?: string };

let lab: Lab;
let service: Service;
let dir: string;
let api: string;
let logged = '';
let stopPrometheus: () => Promise<void>;

/** The scrape configurations of the documentation, at this service and often. */
function documented(tokenFile: string, address: string): unknown[] {
  const page = readFileSync(join(root, 'docs/prometheus.md'), 'utf8');
  const blocks = [...page.matchAll(/```yaml\n(scrape_configs:.*?)```/gs)].map(([, text = '']) => text);
  expect(blocks).toHaveLength(2);
  return blocks.map((block, index) => {
    const here = block
      .replaceAll('outrigger.example.net:9177', address)
      .replaceAll('/etc/prometheus/outrigger.token', tokenFile);
    const [config] = parse(here).scrape_configs;
    return { ...config, job_name: ['fleet', 'sd'][index], scrape_interval: '5s', scrape_timeout: '5s' };
  });
}

async function startPrometheus(): Promise<void> {
  const port = await freePort();
  const rules = readdirSync(rulesDir).filter((name) => name.endsWith('.yml'));
  const config = {
    global: { evaluation_interval: '1s' },
    rule_files: rules.map((name) => join(rulesDir, name)),
    scrape_configs: documented(join(dir, 'token'), new URL(service.url).host),
  };
  await writeFile(join(dir, 'prometheus.yml'), stringify(config));
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(dir, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(dir, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    logged += text;
  });
  const exited = once(child, 'exit');
  stopPrometheus = async () => {
    child.kill();
    await exited;
  };
  api = `http://127.0.0.1:${port}`;
  await until('Prometheus to be ready', async () => {
    if (child.exitCode !== null) throw new Error(`prometheus ended: ${logged}`);
    return (await fetch(`${api}/-/ready`).catch(() => undefined))?.ok;
  });
}

async function ask<T>(path: string): Promise<T> {
  const answer = await fetch(`${api}/api/v1/${path}`, { signal: AbortSignal.timeout(10_000) });
  const { data, status, error } = (await answer.json()) as { data: T; status: string; error?: string };
  if (status !== 'success') throw new Error(`${path}: ${error}`);
  return data;
}

/** Label sets of what one job has now, without the job. */
async function series(job: string): Promise<string[]> {
  const query = encodeURIComponent(`{job="${job}"}`);
  const { result } = await ask<{ result: { metric: Record<string, string> }[] }>(`query?query=${query}`);
  return result
    .map(({ metric: { job: _, ...labels } }) => labels)
    .filter(({ __name__ = '' }) => !ofTargets.test(__name__))
    .map((labels) => JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))))
    .sort();
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'outrigger-prometheus-'));
  await writeFile(join(dir, 'token'), token);
  lab = await raiseLab({ name: 'prometheus', hosts, guests: ['web-1'] });
  const inventory = parse(lab.inventory());
  for (const [index, host] of inventory.hosts.entries()) host.labels = { rack: `r${index}`, dc: 'ams1' };
  inventory.hosts[1].maintenance = true;
  await writeFile(lab.inventoryFile, stringify(inventory));
  service = await Service.start(lab.inventoryFile, { AGENT_METRICS_TOKEN_FILE: join(dir, 'token') });
  await startPrometheus();
});

afterAll(async () => {
  await stopPrometheus?.();
  await service?.stop();
  await lab?.down();
  await rm(dir, { recursive: true, force: true });
});

describe('Prometheus', () => {
  it('finds every target both ways, and all are up', async () => {
    const targets = await until(
      'targets of both jobs to be up',
      async () => {
        const { activeTargets } = await ask<{ activeTargets: Target[] }>('targets');
        const all = activeTargets.length === 1 + 1 + hosts;
        return all && activeTargets.every(({ health }) => health !== 'unknown') ? activeTargets : undefined;
      },
      { timeoutMs: 30_000, everyMs: 200 },
    );
    expect(targets.filter(({ health, lastError }) => health !== 'up' || lastError !== '')).toEqual([]);
    const instances = (pool: string) =>
      targets.filter(({ scrapePool }) => scrapePool === pool).map(({ labels }) => labels.instance);
    const collector = new URL(service.url).host;
    expect(instances('fleet')).toEqual([collector]);
    expect(instances('sd').sort()).toEqual([collector, ...lab.hosts.map(({ name }) => name)].sort());
  });

  it('has the same series with the same labels both ways', async () => {
    await until(
      'figures of all hosts',
      async () => {
        const figures = await series('sd');
        return lab.hosts.every(({ name }) =>
          figures.some((one) => one.includes('libvirt_domain_info_state') && one.includes(`"${name}"`)),
        );
      },
      { timeoutMs: 40_000, everyMs: 500 },
    );
    // What is counted for the first time between two scrapes is there in one of them alone for a moment.
    let fleet: string[] = [];
    let sd: string[] = [];
    const level = async () => {
      [fleet, sd] = [await series('fleet'), await series('sd')];
      return fleet.join() === sd.join();
    };
    await until('both to be the same', level, { timeoutMs: 20_000, everyMs: 500 }).catch(() => undefined);
    const onlyIn = (one: string[], other: string[]) => one.filter((labels) => !other.includes(labels));
    expect({ fleet: onlyIn(fleet, sd), sd: onlyIn(sd, fleet) }).toEqual({ fleet: [], sd: [] });
    expect(fleet.length).toBeGreaterThan(500);
    expect(
      fleet.filter((labels) => labels.includes('"rack"') && !labels.includes('outrigger_host_info')),
    ).toEqual([]);
  });

  it('evaluates every rule', async () => {
    const rules = await until(
      'every rule to have been evaluated',
      async () => {
        const { groups } = await ask<{ groups: { rules: Rule[] }[] }>('rules');
        const all = groups.flatMap((group) => group.rules);
        return all.every(({ health }) => health !== 'unknown') ? all : undefined;
      },
      { timeoutMs: 90_000, everyMs: 500 },
    );
    expect(rules.filter(({ type }) => type === 'alerting').length).toBeGreaterThan(10);
    expect(rules.filter(({ health, lastError }) => health !== 'ok' || lastError)).toEqual([]);
  });

  it('has nothing to warn of', async () => {
    expect(logged.split('\n').filter((line) => /level=(warn|error)/.test(line))).toEqual([]);
    const own = await (await fetch(`${api}/metrics`)).text();
    const refused = [
      ...own.matchAll(
        /^(prometheus_target_(?:scrapes?|sync)\S*_(?:duplicate|out_of|exceeded|failed|cache_flush_forced)\S*) (\S+)$/gm,
      ),
    ];
    expect(refused.length).toBeGreaterThan(4);
    expect(refused.filter(([, , value]) => Number(value) !== 0).map(([line]) => line)).toEqual([]);
  });
});

it('the collector tells what it costs, and how its queues are', async () => {
  const isTrue = async (query: string) => {
    const { result } = await ask<{ result: unknown[] }>(`query?query=${encodeURIComponent(query)}`);
    return result.length > 0;
  };
  for (const query of [
    'outrigger_queue_jobs{job="sd",queue="outrigger-polls",state="delayed"} > 0',
    'outrigger_queue_oldest_wait_seconds{job="sd",queue="outrigger-polls"} < 5',
    'outrigger_queue_oldest_wait_seconds{job="sd",queue="outrigger-vm-jobs"} == 0',
    `outrigger_samples{job="sd",poller="vms"} == ${hosts}`,
    `outrigger_scrapes_total{job="sd",page="host",outcome="ok"} > ${hosts}`,
    'outrigger_scrape_bytes_total{job="sd",page="fleet"} > 100000',
    'outrigger_scrape_duration_seconds_count{job="sd",page="fleet"} > 0',
    'outrigger_nodejs_eventloop_lag_p99_seconds{job="sd"} < 2',
  ]) {
    await until(query, () => isTrue(query), { timeoutMs: 20_000, everyMs: 300 });
  }
  expect(await isTrue('outrigger_scrapes_total{job="sd",outcome!="ok"}')).toBe(false);
});

it('promtool has no complaint about any page but what names of node_exporter bring along', async () => {
  const inherited =
    /^node_\S+ (metric names should be written in 'snake_case' not 'camelCase'|use base unit "bytes" instead of "bits")$/;
  for (const path of ['/metrics', '/metrics/collector', `/metrics/hosts/${lab.hosts[0]?.name}`]) {
    const answer = await fetch(service.url + path, { headers: { authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(200);
    const complaints = promtoolComplaints(await answer.text()).filter((line) => !inherited.test(line));
    expect(complaints, path).toEqual([]);
  }
});
