// Who this collector is to others on the same store: a UUID kept in the data directory, the same after a restart, so that
// jobs which an earlier life left behind are known as ours. It refuses to guess: a file that holds no UUID is an error.
import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HostError } from '../core/errors.js';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Reads it, or makes it. Throws HostError STORE. */
export async function instanceId(dataDir: string): Promise<string> {
  const file = join(dataDir, 'instance-id');
  const known = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw new HostError('STORE', { message: `${file} cannot be read`, cause });
  });
  if (known === undefined) {
    const made = randomUUID();
    await writeFile(`${file}.new`, `${made}\n`, { mode: 0o600 });
    await rename(`${file}.new`, file);
    return made;
  }
  if (uuid.test(known.trim())) return known.trim();
  throw new HostError('STORE', {
    message: `${file} holds no UUID`,
    hint: 'Restore it from a backup; or, when no job was running, delete it.',
  });
}
