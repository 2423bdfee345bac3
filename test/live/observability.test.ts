// promtool runs the cases of every alert, and a real Prometheus answers every query of every dashboard, from a fleet in which
// everything is ill: a panel that stays empty there would always be empty.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../support/sshd.js';
import { until } from '../support/until.js';
import { filesIn, text } from '../unit/observability/files.js';
import { hosts, illFleetPage, vm } from '../unit/observability/ill-fleet.js';

const run = promisify(execFile);
const rules = filesIn('prometheus', '.rules.yml');
const ruleTests = filesIn('tests', '.test.yml');
const exporterPort = await freePort();
const collector = `127.0.0.1:${exporterPort}`;
const turnsNeeded = 6;

/** What Grafana would put in. */
const variables: Readonly<Record<string, string>> = {
  $__rate_interval: '30s',
  $instance: hosts[1] ?? '',
  $domain: vm,
  $collector: collector,
  $label: 'instance',
  $value: '.*',
};

let dir: string;
let api: string;
let exporter: Server;
let turn = 0;
let stopPrometheus: (() => Promise<void>) | undefined;

async function answer(expr: string): Promise<{ found: number; error?: string }> {
  const body = new URLSearchParams({ query: expr });
  const reply = await fetch(`${api}/api/v1/query`, {
    method: 'POST',
    body,
    signal: AbortSignal.timeout(10_000),
  });
  const { data, error } = (await reply.json()) as { data?: { result: unknown[] }; error?: string };
  return { found: data?.result.length ?? 0, ...(error !== undefined && { error }) };
}

async function startPrometheus(): Promise<void> {
  const port = await freePort();
  const config = {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    rule_files: rules,
    scrape_configs: [
      { job_name: 'outrigger', honor_labels: true, static_configs: [{ targets: [collector] }] },
    ],
  };
  await writeFile(join(dir, 'prometheus.yml'), stringify(config));
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(dir, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(dir, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    { stdio: 'ignore' },
  );
  const exited = once(child, 'exit');
  stopPrometheus = async () => {
    child.kill();
    await exited;
  };
  api = `http://127.0.0.1:${port}`;
  await until('Prometheus to be ready', async () => {
    if (child.exitCode !== null) throw new Error('prometheus ended');
    return (await fetch(`${api}/-/ready`).catch(() => undefined))?.ok;
  });
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'outrigger-observability-'));
  exporter = createServer((_, response) => {
    turn++;
    response.setHeader('content-type', 'text/plain; version=0.0.4');
    response.end(illFleetPage(turn));
  }).listen(exporterPort, '127.0.0.1');
  await once(exporter, 'listening');
  await startPrometheus();
  await until('enough scrapes', () => turn >= turnsNeeded, { timeoutMs: 30_000 });
});

afterAll(async () => {
  await stopPrometheus?.();
  exporter.closeAllConnections();
  exporter.close();
  await rm(dir, { recursive: true, force: true });
});

describe('promtool', () => {
  it('finds the rules right', async () => {
    await expect(run('promtool', ['check', 'rules', ...rules])).resolves.toMatchObject({ stderr: '' });
  });

  it.each(ruleTests.map((file) => [file.split('/').at(-1), file]))(
    'finds the cases of %s as expected',
    async (_, file) => {
      expect(ruleTests.length).toBeGreaterThan(3);
      const { stdout } = await run('promtool', ['test', 'rules', String(file)]);
      expect(stdout).toContain('SUCCESS');
    },
  );
});

type Query = [panel: string, expr: string];

function queries(file: string): Query[] {
  const found: Query[] = [];
  const walk = (thing: unknown, title: string): void => {
    if (typeof thing !== 'object' || thing === null) return;
    const { expr, title: own, name } = thing as Record<string, unknown>;
    const here = [own, name].find((word) => typeof word === 'string') ?? title;
    if (typeof expr === 'string') found.push([String(here), filledIn(expr)]);
    for (const value of Object.values(thing)) walk(value, String(here));
  };
  walk(JSON.parse(text(file)), '');
  return found;
}

function filledIn(expr: string): string {
  return Object.entries(variables).reduce((done, [name, value]) => done.replaceAll(name, value), expr);
}

describe('every query of a dashboard is answered with series', () => {
  it.each(filesIn('grafana', '.json').map((file) => [file.split('/').at(-1), file]))(
    '%s',
    async (_, file) => {
      const asked = queries(String(file));
      expect(asked.length).toBeGreaterThan(20);
      const missing = async () => {
        const answers = await Promise.all(
          asked.map(async ([panel, expr]) => ({ panel, expr, ...(await answer(expr)) })),
        );
        return answers.filter(({ found, error }) => found === 0 || error);
      };
      // Recorded series and alerts come an evaluation later than what they stand on.
      await until(`every query of ${file}`, async () => (await missing()).length === 0, {
        timeoutMs: 20_000,
        everyMs: 500,
      }).catch(() => undefined);
      expect(await missing()).toEqual([]);
    },
  );
});
