// The pages in a real browser, on the running service with a real host: what on-call does at night, and what must not happen.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Lab, type LabHost, raiseLab } from '../../lab/lab.js';
import { mintToken } from '../../src/http/auth/tokens.js';
import { openBrowser, overflowPx, signIn, Visit } from '../support/browser.js';
import { Service } from '../support/outrigger.js';
import { until } from '../support/until.js';

let lab: Lab;
let host: LabHost;
let service: Service;
let browser: Browser;
const visit = new Visit();
const tokens = { viewer: mintToken(), operator: mintToken(), admin: mintToken() };
const hostileName = '<img src=x onerror="window.pwned=1">';
const broken = 'kvm-broken';

beforeAll(async () => {
  lab = await raiseLab({ name: 'pages', hosts: 1, guests: ['web-1'] });
  const [first] = lab.hosts;
  if (!first) throw new Error('the lab has a host');
  host = first;
  await defineHostile(host);
  const tokensFile = join(lab.dir, 'tokens.yaml');
  const entries = Object.entries(tokens).map(
    ([role, { sha256 }]) => `  - { name: ${role}, role: ${role}, sha256: ${sha256} }`,
  );
  await writeFile(tokensFile, `version: 1\ntokens:\n${entries.join('\n')}\n`, { mode: 0o600 });
  const inventory = await readFile(lab.inventoryFile, 'utf8');
  await writeFile(
    lab.inventoryFile,
    `${inventory.trimEnd()}\n  - { name: ${broken}, address: 127.0.0.1, ssh: { port: 1 } }\n`,
  );
  service = await Service.start(lab.inventoryFile, { AGENT_API_TOKENS_FILE: tokensFile });
  browser = await openBrowser();
  await service.pageWhen('the host up', (page) => page.value('libvirt_up', { instance: host.name }) === 1);
  await until('the store', () => service.logged('store up')[0]);
});

afterAll(async () => {
  await browser?.close();
  await service?.[Symbol.asyncDispose]();
  await lab?.down();
});

afterEach(() => visit.end());

/** A VM that is never started, with a name that no page may take at its word. */
async function defineHostile(on: LabHost): Promise<void> {
  const name = hostileName.replaceAll('<', '&lt;').replaceAll('"', '&quot;');
  const xml = `<domain type='qemu'><name>${name}</name><memory>16384</memory><os><type arch='x86_64'>hvm</type></os></domain>`;
  const file = '/tmp/hostile.xml';
  await on.exec(['sh', '-c', `cat > ${file} <<'END'\n${xml}\nEND`]);
  await on.virsh('define', file);
}

async function open(role: keyof typeof tokens, options: Parameters<Browser['newContext']>[0] = {}) {
  const page = await visit.open(browser, options);
  await signIn(page, service.url, tokens[role].token.expose());
  return page;
}

const vmLink = (page: Page) => page.locator('#vms').getByRole('link', { name: 'web-1', exact: true });
const stateOf = async (vm: string) => (await host.virsh('domstate', vm)).trim();

describe('at night', () => {
  it('an operator signs in, finds the broken host and its cause, stops a VM, watches the job end, and signs out', async () => {
    const page = await open('operator');
    const problem = page.locator('#wrong li', { hasText: broken });
    await problem.waitFor();
    expect(await problem.textContent()).toMatch(/is down[\s\S]*outrigger check kvm-broken/);
    await problem.getByRole('link').first().click();
    await page.getByRole('heading', { name: broken }).waitFor();
    expect(await page.locator('#head').textContent()).toContain('refuses connections');

    await page.getByRole('link', { name: 'VMs', exact: true }).click();
    await vmLink(page).click();
    const stop = page.getByRole('link', { name: 'Stop', exact: true });
    await stop.click();
    const dialog = page.getByRole('dialog', { name: `Stop web-1 on ${host.name}?` });
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Stop');
    expect(await stateOf('web-1')).toBe('running');

    await page.keyboard.press('Enter');
    await dialog.getByRole('button', { name: 'Stop web-1' }).click();
    await page.getByRole('heading', { name: 'stop web-1' }).waitFor();
    await page.evaluate('window.sameDocument = true');
    await page.getByText('Done: it is so now and was not before.').waitFor({ timeout: 60_000 });
    expect(await page.evaluate('window.sameDocument')).toBe(true);
    expect(await page.locator('#steps').textContent()).toMatch(/shutdown/);
    expect(await stateOf('web-1')).toBe('shut off');

    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.goto(`${service.url}/vms`);
    expect(new URL(page.url()).pathname).toBe('/login');
  });

  it('the page follows the fleet without loading anew, and focus and what is typed stay', async () => {
    const page = await open('admin');
    await page.goto(`${service.url}/vms?sort=name`);
    const row = page.locator('tr', { hasText: 'web-1' });
    await row.getByText('shutoff').waitFor();
    await page.evaluate('window.sameDocument = true');
    const search = page.getByRole('searchbox');
    await search.fill('web');
    await until('the address to follow', () => page.url().includes('q=web') || undefined);
    await host.virsh('start', 'web-1');
    await row.getByText('running').waitFor();
    expect(await page.evaluate('window.sameDocument')).toBe(true);
    expect(await search.inputValue()).toBe('web');
    expect(await page.evaluate('document.activeElement.value')).toBe('web');
    await page.locator('#live', { hasText: 'Live' }).waitFor();
  });

  it('works without scripts: filter, confirm, and the job’s page', async () => {
    const page = await open('admin', { javaScriptEnabled: false });
    await page.getByLabel('Find VMs by name, UUID or host').fill('web-1');
    await page.getByRole('button', { name: 'Find' }).click();
    await vmLink(page).click();
    await page.getByRole('link', { name: 'Pause', exact: true }).click();
    await page.getByRole('button', { name: 'Pause web-1' }).click();
    await page.getByRole('heading', { name: 'pause web-1' }).waitFor();
    await until('the pause', async () => (await stateOf('web-1')) === 'paused');
    await host.virsh('resume', 'web-1');
  });
});

it('the queues and the API’s browser, which are not ours, fit every screen and complain of nothing', async () => {
  const page = await open('admin');
  for (const [path, shown] of [
    ['/queues', 'text=outrigger-vm-jobs'],
    ['/api/docs', '[data-path="/api/v1/hosts"]'],
  ] as const) {
    await page.goto(service.url + path);
    await page.locator(shown).first().waitFor();
    for (const width of [390, 1280, 1920]) {
      await page.setViewportSize({ width, height: 900 });
      expect(await overflowPx(page), `${path} ${width}`).toBe(0);
    }
  }
});

describe('what must not happen', () => {
  it('a viewer finds no operation, and is refused when it asks all the same', async () => {
    const page = await open('viewer');
    await vmLink(page).click();
    await page.getByText('Your role, viewer, may look and not touch.').waitFor();
    expect(await page.locator('#operations a, #operations button').count()).toBe(0);
    const before = await stateOf('web-1');
    const answer = await page.request.post(`${page.url()}/stop`, { form: { idempotencyKey: 'page-x' } });
    expect(answer.status()).toBe(403);
    expect(await stateOf('web-1')).toBe(before);
  });

  it('a form without the token of its page does nothing', async () => {
    const page = await open('admin');
    await vmLink(page).click();
    const answer = await page.request.post(`${page.url()}/stop`, {
      form: { idempotencyKey: 'page-00000000-0000-4000-8000-000000000000' },
    });
    expect(answer.status()).toBe(403);
    expect(await stateOf('web-1')).toBe('running');
  });

  it('no name runs as a script', async () => {
    const page = await open('admin');
    await page.goto(`${service.url}/vms`);
    await page.getByRole('link', { name: hostileName, exact: true }).click();
    await page.getByRole('heading', { name: hostileName }).waitFor();
    await page.getByRole('link', { name: 'Delete', exact: true }).click();
    await page.getByRole('dialog').getByText('is deleted for good').waitFor();
    expect(await page.evaluate('window.pwned')).toBeUndefined();
  });
});
