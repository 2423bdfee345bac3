// /api/docs in a real browser: the page shows the API's routes, and nothing that it does is against its own policy.
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ApiRig, apiRig, bearer } from '../support/api.js';
import { openBrowser, Visit } from '../support/browser.js';
import type { OpenApi } from '../support/openapi.js';

let rig: ApiRig;
let browser: Browser;

beforeAll(async () => {
  rig = await apiRig([]);
  await rig.app.listen({ port: 0, host: '127.0.0.1' });
  browser = await openBrowser();
});

afterAll(async () => {
  await browser?.close();
  await rig?.[Symbol.asyncDispose]();
});

it('shows every route, opens one, and has nothing to complain of', async () => {
  const url = `http://127.0.0.1:${(rig.app.server.address() as AddressInfo).port}`;
  const visit = new Visit();
  const page = await visit.open(browser, { extraHTTPHeaders: bearer('viewer') });
  const elsewhere: string[] = [];
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) elsewhere.push(request.url());
  });
  await page.goto(`${url}/api/docs`);
  await page.getByText('Ask for a job').waitFor();
  const document = await rig.app.inject({ url: '/api/openapi.json', headers: bearer('viewer') });
  const { paths } = document.json<OpenApi>();
  // A route stands under each of its tags.
  const shown = await page.locator('.opblock-summary-path').allTextContents();
  expect([...new Set(shown)].sort()).toEqual(Object.keys(paths).sort());
  await page.getByText('Ask for a job').click();
  await page.getByText('Idempotency-Key').first().waitFor();
  expect(elsewhere).toEqual([]);
  await visit.end();
});
