// What `outrigger demo` (simulated hosts) and `npm run demo` (real ones) have in common: a token for whoever looks, and where
// there is something to see. It refuses to start anything.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { mintToken } from '../http/auth/tokens.js';

export type DemoToken = { token: string; tokenFile: string; tokensFile: string };

/** For the pages and the commands: without one nobody may write. */
export async function makeDemoToken(dir: string): Promise<DemoToken> {
  const { token, sha256 } = mintToken();
  const [tokenFile, tokensFile] = [join(dir, 'token'), join(dir, 'tokens.yaml')];
  const entry = `  - { name: demo, role: admin, sha256: ${sha256} }`;
  await writeFile(tokenFile, token.expose(), { mode: 0o600 });
  await writeFile(tokensFile, `version: 1\ntokens:\n${entry}\n`, { mode: 0o600 });
  return { token: token.expose(), tokenFile, tokensFile };
}

export type DemoPlaces = { url: string; backendUrl: string; host: string; token: string };

/** The pages, a line each. */
export function placesToLook({ url, backendUrl, host, token }: DemoPlaces): string {
  const places = [
    ['/', 'the fleet page: what is wrong now, hosts, VMs, jobs'],
    ['/queues', 'polls, VM jobs and deliveries, with bull-board'],
    ['/api/docs', 'the API'],
    ['/metrics', 'the whole fleet, for Prometheus'],
    [`/metrics/hosts/${host}`, 'one host alone'],
    ['/metrics/collector', 'the collector itself'],
    ['/sd/prometheus', "targets, for Prometheus' service discovery"],
    ['/readyz', 'health, with reasons'],
  ].map(([path = '', what = '']) => `  ${url + path.padEnd(27)}  ${what}`);
  const [first = '', ...rest] = places;
  return [
    first,
    `      sign in with the token  ${token}`,
    ...rest,
    `  ${`${backendUrl}/`.padEnd(url.length + 27)}  the sample backend: agents, heartbeats, and a form for jobs`,
  ].join('\n');
}
