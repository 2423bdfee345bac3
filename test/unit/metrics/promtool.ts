// Runs `promtool check metrics` on a page.
import { spawnSync } from 'node:child_process';

/** Whether this machine has it. vitest.config.ts says so where not, and what needs it is skipped. */
export const promtoolThere = spawnSync('promtool', ['--version']).error === undefined;

/** Its complaints, one a line; none for a clean page. Throws when the page cannot be parsed, or promtool is missing. */
export function promtoolComplaints(page: string): string[] {
  const { error, stdout, stderr, status } = spawnSync('promtool', ['check', 'metrics'], {
    input: page,
    encoding: 'utf8',
  });
  if (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'it is not installed' : error.message;
    throw new Error(
      `promtool cannot run: ${why}. Install the package prometheus (lab/prepare.sh test does).`,
    );
  }
  // 0 clean, 3 lint complaints; anything else means that it could not read the page.
  if (status !== 0 && status !== 3) throw new Error(`promtool cannot read the page: ${stderr}${stdout}`);
  return `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
}
