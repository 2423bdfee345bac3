// `outrigger completion bash|zsh`, and what the scripts ask for at each Tab: the words that may stand next. Names come from
// hosts and would stand on a command line: any that a shell could read as more than a name is left out.
import type { Command } from 'commander';
import type { Host, Job, Vm } from '../http/api/schemas.js';
import { operationNames } from '../ops/job.js';
import { ApiClient } from './api-client.js';
import type { Environment } from './configuration.js';

export const shells = ['bash', 'zsh'] as const;
export type Shell = (typeof shells)[number];

const askTimeoutMs = 1_500;
const namesMax = 200;
const harmless = /^[\w.@:+/-]+$/;

const scripts: Record<Shell, string> = {
  bash: `_outrigger() {
  local IFS=$'\\n'
  COMPREPLY=($(outrigger complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
  [[ \${COMPREPLY[0]-} == */ ]] && compopt -o nospace
}
complete -F _outrigger outrigger
`,
  zsh: `#compdef outrigger
_outrigger() {
  local -a found
  found=("\${(@f)$(outrigger complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  compadd -S '' -- \${(M)found:#*/}
  compadd -- \${found:#*/}
}
if [[ \${funcstack[1]-} == _outrigger ]]; then _outrigger "$@"; else compdef _outrigger outrigger; fi
`,
};

export function completionScript(shell: Shell): string {
  return scripts[shell];
}

/** Prints the words that may stand where the last of `words` stands, a line each. Never fails: a Tab is not a question. */
export async function complete(program: Command, words: readonly string[], env: Environment): Promise<void> {
  const given = await candidates(program, words, env).catch(() => []);
  const prefix = words.at(-1) ?? '';
  const fitting = given.filter((word) => word.startsWith(prefix) && harmless.test(word));
  if (fitting.length > 0) process.stdout.write(`${fitting.join('\n')}\n`);
}

async function candidates(program: Command, words: readonly string[], env: Environment): Promise<string[]> {
  const before = words.slice(0, -1);
  const prefix = words.at(-1) ?? '';
  let command = program;
  let position = 0;
  for (const word of before) {
    const next = command.commands.find((sub) => sub.name() === word);
    if (next) {
      command = next;
      position = 0;
    } else if (!word.startsWith('-')) position++;
  }
  if (prefix.startsWith('-')) return command.options.flatMap(({ long }) => long ?? []);
  if (command.commands.length > 0) return namesOf(command);
  const args = command.registeredArguments;
  const argument = args[position] ?? args.findLast(({ variadic }) => variadic);
  return argument ? (argument.argChoices ?? (await namesFor(argument.name(), prefix, env))) : [];
}

function namesOf(command: Command): string[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .map((sub) => sub.name());
}

async function namesFor(argument: string, prefix: string, env: Environment): Promise<string[]> {
  if (argument === 'op') return [...operationNames];
  const api = ApiClient.from(env);
  if (!api) return [];
  const page = async <T>(path: string, query = {}) =>
    (await api.get<{ items: T[] }>(path, { limit: namesMax, ...query }, askTimeoutMs)).items;
  if (argument === 'id') return (await page<Job>('/jobs')).map(({ id }) => id);
  const slash = prefix.indexOf('/');
  if (argument === 'target' && slash >= 0) {
    const host = prefix.slice(0, slash);
    const vms = await page<Vm>(`/hosts/${encodeURIComponent(host)}/vms`);
    return vms.map(({ name }) => `${host}/${name}`);
  }
  if (!argument.startsWith('host') && argument !== 'target') return [];
  const names = (await page<Host>('/hosts')).map(({ name }) => name);
  return argument === 'target' ? names.map((name) => `${name}/`) : names;
}
