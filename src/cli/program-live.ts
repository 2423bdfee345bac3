// The commands that ask the running service, through its API. It refuses to do their work: each is loaded when called.
import { Argument, type Command, InvalidArgumentError, Option } from 'commander';
import { operationNames } from '../ops/job.js';
import type { ListOptions } from './hosts.js';
import type { JobsListOptions } from './jobs.js';
import type { VmOptions } from './vm.js';

const jobsShown = 50;
const topSeconds = 2;

export function addLiveCommands(program: Command): void {
  addLists(program);
  addVm(program);
  addJobs(program);
  program
    .command('queue')
    .option('--json', 'print JSON')
    .description('how many jobs wait, run and have ended')
    .action(async (options: { json?: boolean }) => {
      const { queue } = await import('./queue.js');
      process.exitCode = await queue(process.env, options);
    });
  program
    .command('top')
    .option('--interval <seconds>', 'between two looks', positive, topSeconds)
    .description('the fleet live, the worst first; q quits')
    .action(async (options: { interval: number }) => {
      const { top } = await import('./top.js');
      process.exitCode = await top(process.env, options);
    });
  addCompletion(program);
}

function addLists(program: Command): void {
  program
    .command('hosts')
    .option('--state <state>', 'only hosts in this state')
    .option('--label <name=value>', 'only hosts with this label; may be repeated', collect)
    .option('--search <text>', 'only hosts whose name or address holds this')
    .option('--json', 'print JSON')
    .description('the hosts, as the running service knows them')
    .action(async (options: ListOptions) => {
      const { hosts } = await import('./hosts.js');
      process.exitCode = await hosts(process.env, options);
    });
  program
    .command('vms')
    .argument('[host]', 'only the VMs of this host')
    .option('--state <state>', 'only VMs in this state')
    .option('--label <name=value>', 'only VMs of hosts with this label; may be repeated', collect)
    .option('--search <text>', 'only VMs whose name or UUID holds this')
    .option('--json', 'print JSON')
    .description('the VMs, as the running service knows them')
    .action(async (host: string | undefined, options: ListOptions) => {
      const { vms } = await import('./hosts.js');
      process.exitCode = await vms(process.env, host, options);
    });
}

function addVm(program: Command): void {
  program
    .command('vm')
    .addArgument(new Argument('<op>', 'the operation').choices(operationNames))
    .argument('<target>', 'HOST/VM, the VM by name or UUID; HOST alone for list and the host operations')
    .option('--force', 'do not wait for the guest, or not longer than --timeout')
    .option('--timeout <seconds>', 'how long the guest may take', nonNegative)
    .option('--param <name=value>', 'a parameter of the operation; may be repeated', param)
    .option('--reason <text>', 'why, for the audit log')
    .option('--deadline <time>', 'do not begin after this ISO time')
    .option('--uuid <uuid>', 'do it only if the VM has this UUID')
    .option('--dry-run', 'say what would be done')
    .option('--wait', 'follow the job to its end; exit code 1 when it fails')
    .option('--yes', 'do not ask before deleting')
    .option('--request-id <id>', 'the same id is the same job, however often it is sent')
    .option('--json', 'print JSON')
    .description('ask for an operation on a VM')
    .action(async (op: (typeof operationNames)[number], target: string, options: VmOptions) => {
      const { vm } = await import('./vm.js');
      process.exitCode = await vm(process.env, op, target, options);
    });
}

function addJobs(program: Command): void {
  const jobs = program.command('jobs').description('the VM jobs: list (the default), show, cancel');
  jobs
    .command('list', { isDefault: true })
    .addOption(
      new Option('--state <state>', 'only jobs in this state').choices([
        'waiting',
        'active',
        'delayed',
        'completed',
        'failed',
      ]),
    )
    .option('--host <host>', 'only jobs on this host')
    .addOption(new Option('--op <op>', 'only this operation').choices(operationNames))
    .option('--requested-by <who>', 'only jobs that this one asked for')
    .option('--limit <n>', 'rows at the most', positive, jobsShown)
    .option('--json', 'print JSON')
    .description('the newest jobs')
    .action(async (options: JobsListOptions) => {
      const { jobsList } = await import('./jobs.js');
      process.exitCode = await jobsList(process.env, options);
    });
  jobs
    .command('show')
    .argument('<id>', 'the job')
    .option('--json', 'print JSON')
    .description('everything about one job')
    .action(async (id: string, options: { json?: boolean }) => {
      const { jobsShow } = await import('./jobs.js');
      process.exitCode = await jobsShow(process.env, id, options);
    });
  jobs
    .command('cancel')
    .argument('<id>', 'the job')
    .option('--json', 'print JSON')
    .description('keep a job from acting, if it has not acted yet')
    .action(async (id: string, options: { json?: boolean }) => {
      const { jobsCancel } = await import('./jobs.js');
      process.exitCode = await jobsCancel(process.env, id, options);
    });
}

function addCompletion(program: Command): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>', 'which').choices(['bash', 'zsh']))
    .description('print the completion script: source <(outrigger completion bash)')
    .action(async (shell: 'bash' | 'zsh') => {
      const { completionScript } = await import('./completion.js');
      process.stdout.write(completionScript(shell));
    });
  program
    .command('complete', { hidden: true })
    .argument('[words...]')
    .action(async (words: string[]) => {
      const { complete } = await import('./completion.js');
      await complete(program, words, process.env);
    });
}

function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}

function nonNegative(text: string): number {
  const value = Number(text);
  if (text.trim() && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('It must be a number of seconds, 0 or more.');
}

/** `name=value`; a value that is JSON is taken as such: true, 5, [1]. */
function param(text: string, before: Record<string, unknown> = {}): Record<string, unknown> {
  const [, name, raw] = /^([A-Za-z]\w*)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || raw === undefined) throw new InvalidArgumentError('It must be name=value.');
  try {
    return { ...before, [name]: JSON.parse(raw) };
  } catch {
    return { ...before, [name]: raw };
  }
}
