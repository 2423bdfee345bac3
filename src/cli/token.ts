// `outrigger token create`: a new API token, shown once, and its entry in the tokens file. The file gets the hash alone and is
// replaced whole, so that the running service never reads half of it. It refuses to touch a file that has a mistake in it, or a
// name that is there already.
import { chmod, chown, type FileHandle, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { isMap, isSeq, parseDocument, stringify } from 'yaml';
import { HostError } from '../core/errors.js';
import { mintToken, NewToken, parseExpiry, parseTokens } from '../http/auth/tokens.js';
import { formatProblem } from '../inventory/problem.js';
import type { Environment } from './configuration.js';
import { painter } from './output.js';

export type TokenCreateOptions = {
  name: string;
  role: string;
  hosts?: string[];
  labels?: string[];
  expires?: string;
  file?: string;
  json?: boolean;
};

type Entry = Record<string, unknown> & { name: string };
const exitMisuse = 2;
const newFileMode = 0o600;
const emptyFile = 'version: 1\ntokens: []\n';

export async function tokenCreate(env: Environment, options: TokenCreateOptions): Promise<number> {
  const given = entryOf(options);
  if ('problem' in given) {
    process.stderr.write(`outrigger: ${given.problem}\n`);
    return exitMisuse;
  }
  const { token, sha256 } = mintToken();
  const { name, role, ...limits } = given.entry;
  const entry: Entry = { name, role, sha256, ...limits };
  const file = options.file ?? env.AGENT_API_TOKENS_FILE?.trim();
  if (file) await addToFile(file, entry);
  if (options.json) {
    const shown = { ...entry, token: token.expose(), ...(file && { file }) };
    process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
    return 0;
  }
  const paint = painter(process.stdout);
  const notice = 'This is the only time that it is shown: keep it where you keep passwords.';
  process.stdout.write(`${paint('bold', token.expose())}\n\n${notice}\n`);
  if (file) process.stdout.write(`Its hash is in ${file}. A running service reads it within seconds.\n`);
  else {
    const text = stringify([entry]).trimEnd();
    process.stdout.write(`Add this under \`tokens:\` in the file of AGENT_API_TOKENS_FILE:\n\n${text}\n`);
  }
  return 0;
}

function entryOf({
  name,
  role,
  hosts,
  labels,
  expires,
}: TokenCreateOptions): { entry: Entry } | { problem: string } {
  const pairs = labels?.map((label) => [
    label.slice(0, label.indexOf('=')),
    label.slice(label.indexOf('=') + 1),
  ]);
  if (labels?.some((label) => !/^[^=]+=./.test(label)))
    return { problem: '--labels must be pairs such as dc=ams1' };
  const endMs = expires === undefined ? undefined : parseExpiry(expires);
  if (expires !== undefined && endMs === undefined)
    return { problem: '--expires must be a day (2027-01-31) or a time (2027-01-31T12:00:00Z)' };
  if (endMs !== undefined && endMs <= Date.now()) return { problem: '--expires has passed already' };
  const parsed = NewToken.safeParse({
    ...{ name, role },
    ...(hosts && { hosts }),
    ...(pairs && { labels: Object.fromEntries(pairs) }),
  });
  if (parsed.success) return { entry: { ...parsed.data, ...(expires && { expires }) } };
  const [issue] = parsed.error.issues;
  return { problem: `--${String(issue?.path[0] ?? 'name')} ${issue?.message}` };
}

/** Throws HostError SETTINGS; then the file is as it was. */
async function addToFile(named: string, entry: Entry): Promise<void> {
  const file = await realpath(named).catch(() => named);
  const before = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw failure(`${file} cannot be read (${error.code})`);
  });
  const text = withEntry(before?.trim() ? before : emptyFile, entry, file);
  const fresh = `${file}.new`;
  let handle: FileHandle;
  try {
    handle = await open(fresh, 'wx', newFileMode);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST')
      throw failure(
        `${fresh} exists: another \`token create\` is at it, or one was cut off`,
        `Remove ${fresh} if none runs.`,
      );
    throw failure(`${fresh} cannot be written (${code})`);
  }
  try {
    await handle.writeFile(text);
    await handle.sync();
    await handle.close();
    if (before !== undefined) await keepOwner(file, fresh);
    await rename(fresh, file);
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(fresh, { force: true });
    throw failure(`${file} cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
}

/** The service may run as another user than the one who makes tokens. */
async function keepOwner(file: string, fresh: string): Promise<void> {
  const { uid, gid, mode } = await stat(file);
  const made = await stat(fresh);
  if (uid !== made.uid || gid !== made.gid) await chown(fresh, uid, gid);
  await chmod(fresh, mode & 0o777);
}

function withEntry(before: string, entry: Entry, file: string): string {
  const { tokens, problems } = parseTokens(before, file);
  if (!tokens) {
    const told = problems.map(formatProblem).join('\n');
    throw failure(`the tokens file has a problem, nothing was added:\n${told}`, 'Mend it first.');
  }
  if (tokens.some(({ name }) => name === entry.name)) {
    throw failure(
      `${file} has a token ${entry.name} already`,
      'Choose another name, or take the old one out first.',
    );
  }
  const document = parseDocument(before);
  const list = isMap(document.contents) ? document.get('tokens') : undefined;
  if (!isSeq(list)) throw failure(`${file} has no list of tokens`);
  // An empty list is written as []: what is added to it would stay on one line.
  list.flow = false;
  list.add(document.createNode(entry));
  const text = document.toString();
  const made = parseTokens(text, file);
  if (made.tokens?.length !== tokens.length + 1) throw failure(`${file} cannot take the entry`);
  return text;
}

function failure(message: string, hint?: string): HostError {
  return new HostError('SETTINGS', { message, ...(hint && { hint }) });
}
