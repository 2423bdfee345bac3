// The command line against a running service with a real host, the way an operator uses it.
import { spawn } from 'node:child_process';
import { chmod, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, raiseLab } from '../../lab/lab.js';
import type { Host, Job, Vm } from '../../src/http/api/schemas.js';
import { bin, outrigger, type Printed, Service } from '../support/outrigger.js';
import { until } from '../support/until.js';

let lab: Lab;
let service: Service;
let dir: string;
let asAdmin: Record<string, string>;
let asViewer: Record<string, string>;
let host: string;
let guest: string;

beforeAll(async () => {
  lab = await raiseLab({ name: 'cli', hosts: 1, guests: 1 });
  dir = await mkdtemp(join(tmpdir(), 'outrigger-cli-'));
  const tokensFile = join(dir, 'tokens.yaml');
  const token = async (name: string, role: string) => {
    const { stdout, stderr, code } = await outrigger(
      ['token', 'create', '--name', name, '--role', role, '--json'],
      { AGENT_API_TOKENS_FILE: tokensFile },
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
    return (JSON.parse(stdout) as { token: string }).token;
  };
  const admin = await token('ops', 'admin');
  const viewer = await token('wall', 'viewer');
  service = await Service.start(lab.inventoryFile, { AGENT_API_TOKENS_FILE: tokensFile });
  asAdmin = { AGENT_API_URL: service.url, AGENT_API_TOKEN: admin };
  asViewer = { AGENT_API_URL: service.url, AGENT_API_TOKEN: viewer };
  const seen = await until(
    'the VMs to be known',
    async () => {
      const { stdout, code } = await outrigger(['vms', '--json'], asAdmin);
      const vms = code === 0 ? (JSON.parse(stdout) as Vm[]) : [];
      return vms.find(({ state }) => state === 'running');
    },
    { timeoutMs: 60_000, everyMs: 300 },
  );
  host = seen.host;
  guest = seen.name;
});

afterAll(async () => {
  await service?.stop();
  await lab?.down();
  if (dir) await rm(dir, { recursive: true, force: true });
});

function admin(...argv: string[]): Promise<Printed> {
  return outrigger(argv, asAdmin);
}

describe('what the service knows', () => {
  it('is printed in tables', async () => {
    const hosts = await admin('hosts');
    expect(hosts.stderr).toBe('');
    expect(hosts.stdout).toMatch(new RegExp(`^HOST +STATE +AGE.*\n${host} +up `));
    expect(hosts.stdout).toContain('1 of 1 host up');
    const vms = await admin('vms', host);
    expect(vms.stdout).toMatch(new RegExp(`${host} +${guest} +running`));
    const queue = await admin('queue');
    expect(queue.stdout).toMatch(/outrigger-vm-jobs +0 /);
  });

  it('is printed as JSON in the shapes of the API', async () => {
    const [found] = JSON.parse((await admin('hosts', '--json')).stdout) as Host[];
    expect(found).toMatchObject({ name: host, state: 'up', libvirt: true });
    expect(JSON.parse((await admin('vms', '--state', 'crashed', '--json')).stdout)).toEqual([]);
  });
});

describe('a VM job', () => {
  it('is followed to its end, a line a step', async () => {
    const stop = await admin('vm', 'stop', `${host}/${guest}`, '--wait', '--force', '--timeout', '20');
    expect(stop).toMatchObject({ code: 0, stdout: `stop ${host}/${guest}: changed\n` });
    expect(stop.stderr).toMatch(/^\d{4}-\d\d-\d\dT\S+ {2}\S/);
    const again = await admin('vm', 'stop', `${host}/${guest}`, '--wait');
    expect(again).toMatchObject({ code: 0, stdout: `stop ${host}/${guest}: unchanged\n` });
    const dry = await admin('vm', 'start', `${host}/${guest}`, '--dry-run', '--wait');
    expect(dry.stdout).toContain('planned');
    expect(await admin('vm', 'start', `${host}/${guest}`, '--wait')).toMatchObject({ code: 0 });
  });

  it('is enqueued without --wait, and can be shown and listed', async () => {
    const argv = ['vm', 'info', `${host}/${guest}`, '--request-id', 'cli-1', '--json'];
    const { id } = JSON.parse((await admin(...argv)).stdout) as Job;
    const same = JSON.parse((await admin(...argv)).stdout) as Job;
    expect(same.id).toBe(id);
    await until(
      'the job to end',
      async () => (await admin('jobs', 'show', id)).stdout.includes('completed'),
      { timeoutMs: 20_000 },
    );
    const list = await admin('jobs', '--op', 'info');
    expect(list.stdout).toMatch(new RegExp(`${id} +completed +info +${host} +${guest}`));
    const cancel = await admin('jobs', 'cancel', id);
    expect(cancel.code).toBe(1);
    expect(cancel.stderr).toMatch(/^outrigger: /);
  });

  it('that fails says why, with exit code 1', async () => {
    const failed = await admin('vm', 'start', `${host}/no-such-vm`, '--wait');
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain('VM_NOT_FOUND');
  });

  it('that deletes wants to be confirmed, and names the UUID', async () => {
    const refused = await admin('vm', 'delete', `${host}/${guest}`);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/confirmed\n.*--yes, or --uuid [0-9a-f-]{36}/);
    const dry = await admin('vm', 'delete', `${host}/${guest}`, '--dry-run', '--wait', '--force');
    expect(dry).toMatchObject({ code: 0, stdout: expect.stringContaining('planned') });
  });
});

describe('a mistake', () => {
  it('in a name is answered with the name that was probably meant', async () => {
    const vms = await admin('vms', `${host}x`);
    expect(vms.code).toBe(1);
    expect(vms.stderr).toContain(`Did you mean ${host}?`);
    const vm = await admin('vm', 'delete', `${host}/${guest}x`, '--yes');
    expect(vm.stderr).toContain(`Did you mean ${guest}?`);
  });

  it('in the command is misuse: exit code 2', async () => {
    expect(await admin('vm', 'sotp', `${host}/${guest}`)).toMatchObject({ code: 2 });
    expect(await admin('jobs', '--limit', 'many')).toMatchObject({ code: 2 });
  });

  it('in the token, or a role that is too small, says what to do', async () => {
    const unknown = await outrigger(['hosts'], { ...asAdmin, AGENT_API_TOKEN: 'wrong' });
    expect(unknown.code).toBe(1);
    expect(unknown.stderr).toContain('AGENT_API_TOKEN');
    const viewer = await outrigger(['vm', 'stop', `${host}/${guest}`], asViewer);
    expect(viewer.code).toBe(1);
    expect(viewer.stderr).toMatch(/role/);
  });

  it('in the address says where it looked', async () => {
    const nobody = await outrigger(['queue'], { ...asAdmin, AGENT_API_URL: 'http://127.0.0.1:9' });
    expect(nobody.code).toBe(1);
    expect(nobody.stderr).toContain('cannot reach the service at http://127.0.0.1:9');
    expect(nobody.stderr).toContain('AGENT_API_URL');
  });
});

it('top wants a terminal', async () => {
  const printed = await admin('top');
  expect(printed.code).toBe(1);
  expect(printed.stderr).toContain('top wants a terminal');
});

describe('completion', () => {
  /** Presses Tab in a real bash: what the completion function would offer. */
  async function tab(...words: string[]): Promise<string[]> {
    const link = join(dir, 'outrigger');
    await chmod(bin, 0o755);
    await symlink(bin, link).catch(() => undefined);
    const script = `
      source <("$1" completion bash)
      shift
      COMP_WORDS=(outrigger "$@"); COMP_CWORD=$#
      compopt() { :; }
      _outrigger
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    const child = spawn('bash', ['-c', script, 'bash', link, ...words], {
      env: { ...process.env, ...asAdmin, PATH: `${dir}:${process.env.PATH}` },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    await new Promise((resolve) => child.once('close', resolve));
    return text.split('\n').filter((line) => line);
  }

  it('knows commands, options, operations, hosts and VMs', async () => {
    expect(await tab('ho')).toEqual(['hosts']);
    expect(await tab('jobs', '')).toEqual(expect.arrayContaining(['list', 'show', 'cancel']));
    expect(await tab('vm', 'sto')).toEqual(['stop']);
    expect(await tab('vm', 'stop', host.slice(0, 3))).toEqual([`${host}/`]);
    expect(await tab('vm', 'stop', `${host}/`)).toEqual([`${host}/${guest}`]);
    expect(await tab('vm', 'stop', `${host}/${guest}`, '--dry')).toEqual(['--dry-run']);
  });

  it('is silent without a service', async () => {
    const printed = await outrigger(['complete', '--', 'vms', 'k'], { AGENT_API_URL: 'http://127.0.0.1:9' });
    expect(printed).toMatchObject({ stdout: '', code: 0 });
  });
});
