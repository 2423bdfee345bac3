// The command line: names, arguments and help of every command. It refuses to do their work: each is loaded when called.
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { hintOf, summary } from '../core/errors.js';
import { version } from '../core/version.js';
import { addLiveCommands } from './program-live.js';
import type { TokenCreateOptions } from './token.js';

const exitMisuse = 2;

/** Runs the command that `argv` names and sets the exit code: 0 good, 1 something is wrong, 2 misuse. */
export async function runCommandLine(argv: readonly string[]): Promise<void> {
  const program = new Command('outrigger')
    .description('Watches KVM hosts over SSH and runs jobs on their VMs. Nothing is installed on the hosts.')
    .version(version)
    .exitOverride()
    .showHelpAfterError('(outrigger --help lists the commands)')
    .configureHelp({ showGlobalOptions: true });
  program
    .command('run')
    .description('run the service in the foreground; SIGTERM ends it, SIGHUP reads the inventory again')
    .action(async () => {
      const { run } = await import('./run.js');
      process.exitCode = await run(process.env);
    });
  program
    .command('check')
    .argument('[hosts...]', 'only these hosts')
    .option('--offline', 'settings and inventory only; connects to nothing')
    .option('--json', 'print JSON')
    .description('connect to every host and say what is wrong and how to mend it')
    .action(async (hosts: string[], options: { offline?: boolean; json?: boolean }) => {
      const { check } = await import('./check.js');
      process.exitCode = await check(process.env, hosts, options);
    });
  program
    .command('enroll')
    .argument('<host>', 'a host of the inventory')
    .option('--yes', 'store the keys that the host shows')
    .option('--json', 'print JSON')
    .description("show the host's SSH keys, store them with --yes, print the authorized_keys lines it needs")
    .action(async (host: string, options: { yes?: boolean; json?: boolean }) => {
      const { enroll } = await import('./enroll.js');
      process.exitCode = await enroll(process.env, host, options);
    });
  program
    .command('audit')
    .description('the log of everything that was done to VMs')
    .command('verify')
    .argument('[dir]', 'the log, when it is not the one in AGENT_DATA_DIR')
    .option('--archived', 'the oldest files were moved away: begin with the oldest one here')
    .option('--expect <hash>', 'a hash noted earlier, which must be in the log')
    .option('--json', 'print JSON')
    .description('find lines of the audit log that were changed, are missing, or stand in another place')
    .action(
      async (dir: string | undefined, options: { json?: boolean; archived?: boolean; expect?: string }) => {
        const { auditVerify } = await import('./audit.js');
        process.exitCode = await auditVerify(process.env, dir, options);
      },
    );
  program
    .command('demo')
    .option('--hosts <n>', 'simulated hosts', wholeUpTo(10_000), 12)
    .option('--vms <n>', 'VMs of each', wholeUpTo(1_000), 8)
    .description('simulated hosts and the whole service on them: nothing to configure, Ctrl-C takes it away')
    .action(async (options: { hosts: number; vms: number }) => {
      const { demo } = await import('./demo.js');
      process.exitCode = await demo(process.env, options);
    });
  program
    .command('token')
    .description('tokens for the HTTP API and the pages')
    .command('create')
    .requiredOption('--name <name>', 'who or what will use it: the actor in the audit log')
    .requiredOption('--role <role>', 'viewer, operator or admin')
    .option('--hosts <names...>', 'only these hosts; * stands for any letters')
    .option('--labels <pairs...>', 'only hosts with these labels, such as dc=ams1')
    .option('--expires <time>', 'a day (2027-01-31) or a time (2027-01-31T12:00:00Z)')
    .option('--file <file>', 'the tokens file; without it that of AGENT_API_TOKENS_FILE')
    .option('--json', 'print JSON')
    .description('make a token, show it once, and add its hash to the tokens file')
    .action(async (options: TokenCreateOptions) => {
      const { tokenCreate } = await import('./token.js');
      process.exitCode = await tokenCreate(process.env, options);
    });
  addLiveCommands(program);
  try {
    await program.parseAsync(argv);
  } catch (error) {
    process.exitCode = failed(error);
  }
}

function wholeUpTo(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^[1-9]\d{0,8}$/.test(text) && value <= max) return value;
    throw new InvalidArgumentError(`It must be a whole number from 1 to ${max}.`);
  };
}

function failed(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitMisuse;
  const hint = hintOf(error);
  process.stderr.write(`outrigger: ${summary(error)}\n${hint ? `  ${hint}\n` : ''}`);
  return 1;
}
