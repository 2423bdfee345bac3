// The pages in a real browser over a fleet that is made up: how every page looks at every width, by day and by night, and what must
// not happen whatever names, networks and other sites do. No host is raised; test/live/pages.test.ts has those.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { streamBufferMax } from '../../src/http/api/stream.js';
import { axeFindings, openBrowser, overflowPx, signIn, Visit } from '../support/browser.js';
import { aHost, aJob, aVm, type FleetFixture, nowMs, writeHistory } from '../support/pages.js';
import { type PagesService, startPages } from '../support/pages-service.js';
import { until } from '../support/until.js';

const widths = [390, 1280, 1920];
const themes = ['light', 'dark'] as const;
const hostile = `<img src=x onerror="window.pwned=1">'"><script>window.pwned=2</script>`;
const long = `a-name-without-any-break-${'x'.repeat(200)}`;
const iso = (agoMs: number) => new Date(nowMs - agoMs).toISOString();

const web = aVm('web-1');
const evil = aVm(hostile);
const crashed = aVm('crashed-1', { state: { state: 6, reason: 1 } });

/** Something of everything, some of it hostile. Each test has one of its own, and may change it. */
function madeUp() {
  const cause = {
    code: 'TIMEOUT',
    message: `no answer within 10 s from ${hostile}`,
    hint: 'Check its power.',
  };
  const failed = {
    state: 'failed' as const,
    failure: { code: 'LIBVIRT_ERROR' as const, message: `${hostile} ${long}` },
  };
  return {
    hosts: [
      aHost('kvm-01'),
      aHost('kvm-02', { state: 'down', since: iso(540_000), cause, stale: true, vms: undefined as never }),
      aHost('kvm-03', { labels: { dc: hostile, note: long }, os: hostile, problems: [hostile, long] }),
      aHost(hostile, { state: 'host-key-mismatch', cause }),
    ],
    vms: { 'kvm-01': [web, crashed, aVm(long)], 'kvm-03': [evil] },
    jobs: [
      aJob('j1'),
      aJob('j2', {
        ...failed,
        vm: hostile,
        requestedBy: long,
        reason: hostile,
        steps: [{ at: iso(0), step: hostile }],
      }),
      aJob('j3', { state: 'active', cancel: 'maybe', finishedAt: undefined as never }),
    ],
    collector: { backend: { ok: false, detail: hostile, sinceMs: nowMs - 60_000 } },
  } satisfies FleetFixture;
}

let fleet: ReturnType<typeof madeUp>;
let service: PagesService;
let browser: Browser;
const visit = new Visit();

beforeAll(async () => {
  browser = await openBrowser();
});
afterAll(() => browser?.close());

beforeEach(async () => {
  fleet = madeUp();
  service = await startPages(fleet);
  for (const { domain } of [web, evil]) {
    const host = domain === web.domain ? 'kvm-01' : 'kvm-03';
    service.sources.chronicle.onEvent(host, {
      event: 'stopped',
      detail: hostile,
      domain,
      at: nowMs - 60_000,
    });
  }
});
afterEach(async () => {
  try {
    await visit.end();
  } finally {
    await service[Symbol.asyncDispose]();
  }
});

async function open(
  role: 'viewer' | 'operator' | 'admin',
  options: Parameters<Visit['open']>[1] = {},
): Promise<Page> {
  const page = await visit.open(browser, options);
  await signIn(page, service.url, service.token(role));
  return page;
}

const vmPath = (host: string, { domain }: typeof web) => `/vms/${encodeURIComponent(host)}/${domain.uuid}`;
const live = (page: Page, text: string | RegExp) => page.locator('#live', { hasText: text });

describe('looks', () => {
  const paths = [
    '/',
    '/vms',
    '/hosts/kvm-01',
    '/hosts/kvm-02',
    '/hosts/kvm-03',
    vmPath('kvm-01', web),
    vmPath('kvm-03', evil),
    `${vmPath('kvm-03', evil)}/delete`,
    '/jobs',
    '/jobs/j2',
    '/jobs/j3',
    '/runbooks',
    '/hosts/none',
    '/login',
  ];

  it.each(paths)('%s: nothing is wider than its screen, and axe-core finds nothing serious', async (path) => {
    if (path === '/hosts/none') visit.expects(/status of 404/);
    if (path === '/') await writeHistory(service.sources, fleet, 300_000);
    const page = await open('admin', { bypassCSP: true });
    await page.goto(service.url + path);
    for (const width of widths) {
      for (const colorScheme of themes) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme });
        expect(await overflowPx(page), `${width} ${colorScheme}`).toBe(0);
        expect(await axeFindings(page), `${width} ${colorScheme}`).toEqual([]);
      }
    }
  });

  it('the queues while the store is away are a page that says so', async () => {
    visit.expects(/status of 503/);
    const page = await open('admin');
    await page.goto(`${service.url}/queues`);
    await page.getByRole('heading', { name: 'The store is away' }).waitFor();
    await page.getByText('Try again in 5 seconds.').waitFor();
  });

  it('each problem leads to its section of the runbooks, with the keyboard alone', async () => {
    const page = await open('viewer');
    const link = page
      .locator('#wrong li', { hasText: 'kvm-02 is down' })
      .getByRole('link', { name: /^Runbook/ });
    await link.focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'OutriggerHostStale' }).waitFor();
    expect(await page.evaluate('document.querySelector(":target")?.id')).toBe('outriggerhoststale');
  });

  it('a refusal is a page that says what to do', async () => {
    visit.expects(/status of 403/);
    const page = await open('viewer');
    await page.goto(`${service.url}${vmPath('kvm-01', web)}/stop`);
    await page.getByRole('heading', { name: 'Your role does not allow this' }).waitFor();
    await page.getByText('Sign in with a token of that role').waitFor();
  });
});

describe('what must not happen', () => {
  it('no name, label, event, cause or step runs as a script, nor after the page has patched itself', async () => {
    const page = await open('admin');
    for (const path of [
      '/',
      '/vms',
      '/hosts/kvm-03',
      `/hosts/${encodeURIComponent(hostile)}`,
      vmPath('kvm-03', evil),
      '/jobs',
      '/jobs/j2',
    ]) {
      await page.goto(service.url + path);
      await live(page, 'Live').waitFor();
      expect(await page.textContent('main'), path).toContain('onerror="window.pwned=1"');
      expect(await page.evaluate('window.pwned'), path).toBeUndefined();
      expect(await page.locator('main img, main script').count(), path).toBe(0);
    }
    await page.goto(service.url);
    await live(page, 'Live').waitFor();
    fleet.hosts.push(
      aHost('new', { state: 'down', since: iso(0), cause: { code: 'X', message: `late ${hostile}` } }),
    );
    service.changes.hostChanged('new');
    await page.getByText('new is down').waitFor();
    expect(await page.textContent('#wrong')).toContain(`late ${hostile}`);
    expect(await page.evaluate('window.pwned')).toBeUndefined();
  });

  it('another site cannot put our pages into a frame', async () => {
    visit.expects(/frame-ancestors/);
    const other = createServer((request, answer) => {
      const path = request.url ?? '/';
      answer
        .setHeader('content-type', 'text/html')
        .end(`<iframe src="${service.url}${path}"></iframe><p>ours`);
    }).listen(0, '127.0.0.1');
    await once(other, 'listening');
    try {
      const page = await open('admin');
      const { port } = other.address() as AddressInfo;
      for (const path of ['/', '/login', '/runbooks', '/queues', '/api/docs']) {
        await page.goto(`http://localhost:${port}${path}`);
        const frame = await until('the frame', () => page.frames().find((one) => one.parentFrame()));
        await until('the refusal', () => frame.url().startsWith('chrome-error:'));
        expect(await frame.textContent('body'), path).not.toMatch(/Outrigger|Fleet|Sign in/);
      }
    } finally {
      other.close();
    }
  });
});

describe('the stream', () => {
  it('says so when the way is cut, and mends itself with what changed meanwhile', async () => {
    visit.expects(/net::ERR_/);
    const page = await open('viewer');
    await live(page, 'Live').waitFor();
    await page.evaluate('window.sameDocument = true');
    await service.cut();
    await live(page, /^Stream cut for \d+ s; trying again$/).waitFor();
    fleet.hosts[0] = aHost('kvm-01', { state: 'auth-failed', since: iso(0) });
    await service.mend();
    await live(page, 'Live').waitFor();
    await page.getByText('kvm-01 refuses our key').waitFor();
    expect(await page.evaluate('window.sameDocument')).toBe(true);
  });

  it('a page of what is not there any more says so, and keeps what it knew', async () => {
    visit.expects(/status of 404/);
    const page = await open('viewer');
    await page.goto(`${service.url}/hosts/kvm-03`);
    await live(page, 'Live').waitFor();
    fleet.hosts.splice(2, 1);
    service.changes.hostChanged('kvm-03');
    await live(page, 'Not here any more').waitFor();
    await page.getByRole('heading', { name: 'kvm-03' }).waitFor();
  });

  it('a page whose session was ended elsewhere says that one is signed out', async () => {
    const page = await open('viewer');
    await live(page, 'Live').waitFor();
    const other = await page.context().newPage();
    await other.goto(service.url);
    await other.getByRole('button', { name: 'Sign out' }).click();
    await other.getByRole('heading', { name: 'Sign in' }).waitFor();
    service.changes.hostChanged('kvm-01');
    await live(page, 'You are signed out').waitFor();
  });

  it('cuts a client that does not read, with an event that says why, and no other', async () => {
    const page = await open('viewer');
    await page.goto(`${service.url}/jobs`);
    await live(page, 'Live').waitFor();
    const slow = connect(service.port, '127.0.0.1');
    slow.write(
      `GET /api/v1/stream HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${service.token('admin')}\r\n\r\n`,
    );
    await once(slow, 'data');
    slow.pause();
    await until('both streams', () => service.changes.listeners === 2);
    fleet.hosts[0] = aHost('kvm-01', { labels: { big: 'x'.repeat(streamBufferMax / 2) } });
    const tell = setInterval(() => service.changes.hostChanged('kvm-01'), 50);
    await until('the cut', () => service.changes.listeners === 1, { timeoutMs: 30_000 }).finally(() =>
      clearInterval(tell),
    );
    let last = '';
    slow.setEncoding('utf8').on('data', (text: string) => {
      last = (last + text).slice(-200);
    });
    slow.resume();
    // with the end of a chunked answer after it
    await until('the event', () => last.includes('event: cut') && last.endsWith('0\r\n\r\n'));
    expect(last).toContain('data: {"why":"it was not read fast enough"}');
    slow.destroy();
    await live(page, 'Live').waitFor();
  });
});
