// A person whose browser asked for a page gets every refusal as a page that says what to do; machines get the problem as JSON. And
// the runbooks, which such pages and problems lead to.
import { afterEach, describe, expect, it } from 'vitest';
import { readRunbooks, runbookPath } from '../../../../src/http/pages/runbooks.js';
import { bearer, type Door, type DoorOptions, form, formType, openDoor } from '../../../support/callers.js';
import { wholeGroups } from '../../../support/whole.js';

const browser = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };
const problem = 'application/problem+json; charset=utf-8';
const asPage = 'text/html; charset=utf-8';

let door: Door | undefined;
afterEach(async () => {
  await door?.[Symbol.asyncDispose]();
  door = undefined;
});

async function open(options: DoorOptions = {}) {
  const opened = await openDoor({ groups: wholeGroups(), ...options });
  door = opened;
  return opened;
}

describe('a refusal', () => {
  it.each([
    ['no such host', 'GET', '/hosts/none', 404, 'It may have been taken out of the inventory'],
    ['no such VM', 'GET', '/vms/none/none', 404, 'look for its name among the VMs'],
    ['nothing there', 'GET', '/nothing?a=<script>', 404, 'can be found from the fleet page'],
    ['a role too low', 'GET', '/vms/none/none/stop', 403, 'an admin makes one'],
    ['a form without its token', 'POST', '/vms/none/none/stop', 403, 'an admin makes one'],
    ['a signing out without its token', 'POST', '/logout', 403, 'try once more'],
    ['a job while the store is away', 'GET', '/jobs/x', 503, 'watched all the same'],
  ] as const)(
    'is a page for a browser, and a problem for others: %s',
    async (_what, method, url, status, help) => {
      const { app, token, signIn } = await open();
      const { cookie } = await signIn(token('viewer'));
      const page = await app.inject({ method, url, headers: { cookie, ...browser } });
      expect([page.statusCode, page.headers['content-type']]).toEqual([status, asPage]);
      expect(page.headers['cache-control']).toBe('no-store');
      expect(page.body).toContain(help);
      expect(page.body).toContain('<a href="/">To the fleet page</a>');
      expect(page.body).not.toContain('<script>');
      for (const headers of [{ cookie }, { cookie, accept: '*/*' }, { cookie, accept: 'application/json' }]) {
        const other = await app.inject({ method, url, headers });
        expect([other.statusCode, other.headers['content-type']]).toEqual([status, problem]);
      }
    },
  );

  it('of a form of who is signed out says so, and that nothing was done', async () => {
    const { app } = await open();
    const sent = await app.inject({
      method: 'POST',
      url: '/vms/a/b/stop',
      headers: { ...browser, ...formType },
      payload: form({}),
    });
    expect([sent.statusCode, sent.headers['content-type']]).toEqual([401, asPage]);
    expect(sent.body).toContain('What you sent was not done.');
    expect(sent.body).toContain('<a href="/login">Sign in</a>');
  });

  it('of too many requests says when to try again', async () => {
    const { app, token, signIn } = await open({ limits: { requestsPerMinute: 3 } });
    const { cookie } = await signIn(token('viewer'));
    const ask = (url: string) => app.inject({ url, headers: { cookie, ...browser } });
    for (let n = 0; n < 3; n++) await ask('/runbooks');
    const page = await ask('/');
    expect([page.statusCode, page.headers['content-type']]).toEqual([429, asPage]);
    expect(page.body).toMatch(/Try again in \d+ seconds?\./);
    expect(Number(page.headers['retry-after'])).toBeGreaterThan(0);
    expect((await ask('/api/v1/hosts')).headers['content-type']).toBe(problem);
  });

  it('by the API and the metrics stays a problem, whatever the browser asks for', async () => {
    const { app, token } = await open();
    for (const url of [
      '/api/v1/hosts/none',
      '/api/none',
      '/api',
      '/api?x',
      '/metrics/hosts/none',
      '/metrics/none',
      '/sd/none',
    ]) {
      const { headers } = await app.inject({
        url,
        headers: { ...bearer(token('admin')).headers, ...browser },
      });
      expect([url, headers['content-type']]).toEqual([url, problem]);
    }
    const nobody = await app.inject({ url: '/api/v1/hosts', headers: browser });
    expect([nobody.statusCode, nobody.headers['content-type']]).toEqual([401, problem]);
  });
});

describe('the runbooks', () => {
  it('are one page on which every link leads to a section that is there', async () => {
    const { app, token } = await open();
    const { body, statusCode } = await app.inject({ url: '/runbooks', ...bearer(token('viewer')) });
    expect(statusCode).toBe(200);
    const ids = new Set([...body.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
    const links = [...body.matchAll(/href="#([^"]+)"/g)].map(([, to]) => to);
    expect(links.length).toBeGreaterThan(40);
    expect(links.filter((to) => !ids.has(to))).toEqual([]);
    const { sections } = readRunbooks();
    expect(sections.length).toBeGreaterThan(20);
    for (const { title } of sections) expect(ids).toContain(runbookPath(title).split('#')[1]);
  });

  it('leave none of the marks of their source, and lead to no document that is not served', async () => {
    const { app, token } = await open();
    const { body } = await app.inject({ url: '/runbooks', ...bearer(token('viewer')) });
    const text = body.replace(/<code>[\s\S]*?<\/code>/g, '').replace(/<[^>]*>/g, '');
    expect(text.match(/\*\*|^\||^- |^#|\]\(|`/gm)).toBeNull();
    expect(body.match(/href="(?!\/|#)[^"]*"/g)).toBeNull();
    expect(body).toContain('<td><code>DNS</code></td>');
  });
});
