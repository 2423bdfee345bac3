// `outrigger demo` as a person runs it: all hosts are there, at the backend too, the troubles that it tells of show, and Ctrl-C
// leaves nothing.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import { bin, outrigger, Page } from '../support/outrigger.js';
import { until } from '../support/until.js';

let running: ChildProcess | undefined;
afterEach(() => running?.kill('SIGKILL'));

/** A person's machine: no setting of ours. */
const env = { ...process.env, AGENT_LISTEN: '127.0.0.1:0', AGENT_POLL_INTERVAL: '1' };

function childrenOf(pid: number | undefined): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
}

it('starts, shows every host and its trouble, and takes everything away', async () => {
  const demo = spawn(process.execPath, [bin, 'demo', '--hosts', '7', '--vms', '3'], { env });
  running = demo;
  let printed = '';
  demo.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  const ended = new Promise<number | null>((resolve) => demo.once('exit', resolve));
  const url = await until('its address', () => /http:\/\/127\.0\.0\.1:\d+/.exec(printed)?.[0], {
    timeoutMs: 30_000,
  });
  const dir = /"dir":"([^"]+)\/fleet"/.exec(
    childrenOf(demo.pid)
      .map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8'))
      .join('\n'),
  )?.[1];
  expect(existsSync(dir ?? '')).toBe(true);
  const whole = async () => {
    const page = new Page(await (await fetch(`${url}/metrics`)).text());
    const vms = page.find('libvirt_domain_info_state').length;
    return vms >= 15 && page.find('libvirt_storage_pool_state').length >= 5 ? page : undefined;
  };
  const page = await until('figures of all hosts', whole, { timeoutMs: 60_000, everyMs: 250 });
  const up = page.find('libvirt_up').map(([, value]) => value);
  expect(up).toEqual([1, 0, 0, 1, 1, 1, 1]);
  expect(
    page.find('libvirt_domain_timed_out', { domain: 'web-1' }).filter(([, value]) => value === 1),
  ).toEqual([[expect.stringContaining('kvm-05'), 1]]);
  const space = (what: string) =>
    page.value(`libvirt_storage_pool_${what}_bytes`, { instance: 'kvm-07' }) ?? Number.NaN;
  expect(space('available') / space('capacity')).toBeLessThan(0.05);
  // What it says to do, done as it says.
  const settings = /export (AGENT_API_URL=\S+) (AGENT_API_TOKEN_FILE=\S+)/.exec(printed)?.slice(1) ?? [];
  const asSaid = Object.fromEntries(settings.map((one) => one.split('=', 2)));
  const said = [...printed.matchAll(/^ {2}outrigger (hosts|vms|vm|jobs)\b(.*)$/gm)];
  expect(said.length).toBe(4);
  for (const [, command = '', more = ''] of said) {
    const { code, stderr } = await outrigger([command, ...more.trim().split(' ').filter(Boolean)], asSaid);
    expect([command, code, code === 0 ? '' : stderr]).toEqual([command, 0, '']);
  }
  const token = /sign in with the token {2}(\S+)/.exec(printed)?.[1];
  for (const [, place = '', path = ''] of printed.matchAll(/^ {2}(http:\/\/[^/]+(\/\S*))/gm)) {
    const answer = await fetch(place, { headers: { authorization: `Bearer ${token}` } });
    expect([path, answer.status]).toEqual([path, path === '/readyz' ? expect.any(Number) : 200]);
  }
  // The sample backend knows every host that was ever reached: registered, and heard of since.
  const backend = /^ {2}(http:\S+)\/ +the sample backend/m.exec(printed)?.[1];
  expect(backend).not.toBe(url);
  const status = async () => {
    const answer = await fetch(`${backend}/api/agent/status`);
    const { agents } = (await answer.json()) as { agents: { name: string; status?: string }[] };
    return agents.length === 5 && agents.every((agent) => agent.status) ? agents : undefined;
  };
  const agents = await until('heartbeats of the hosts', status, { timeoutMs: 30_000, everyMs: 250 });
  const expected = ['kvm-01', 'kvm-04', 'kvm-05', 'kvm-06', 'kvm-07'].map((name) => [name, 'online']);
  expect(agents.map((agent) => [agent.name, agent.status]).sort()).toEqual(expected);
  const pids = childrenOf(demo.pid);
  expect(pids.length).toBeGreaterThanOrEqual(2);
  demo.kill('SIGINT');
  expect(await ended).toBe(0);
  expect(printed).toMatch(/Nothing is left behind\.\n$/);
  expect(pids.filter((pid) => readdirSync('/proc').includes(String(pid)))).toEqual([]);
  expect(existsSync(dir ?? '')).toBe(false);
});

it('refuses numbers that are none', async () => {
  for (const hosts of ['0', 'many', '10001', '-1']) {
    const { code, stderr } = await outrigger(['demo', '--hosts', hosts]);
    expect([code, stderr]).toEqual([2, expect.stringContaining('whole number from 1 to 10000')]);
  }
});
