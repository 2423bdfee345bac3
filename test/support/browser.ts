// A headless Chromium for tests of the pages: whatever a page complains of fails its test, axe-core judges a page, and a page may
// sign in.
import axe from 'axe-core';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';

const executablePath = '/usr/bin/chromium';
/** Worth failing for. */
const impacts = new Set(['serious', 'critical']);

type Finding = { id: string; impact: string; nodes: { html: string }[] };
type ContextOptions = Parameters<Browser['newContext']>[0];

export function openBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath, args: ['--no-sandbox'] });
}

/**
 * The pages that a test opens. Errors of scripts and of the console, those of the content security policy among them, are kept;
 * `end`, after each test, closes the pages and fails for every complaint that the test did not say it expects.
 */
export class Visit {
  readonly #contexts: BrowserContext[] = [];
  readonly #complaints: string[] = [];
  #expected: RegExp[] = [];

  async open(browser: Browser, options: ContextOptions = {}): Promise<Page> {
    const context = await browser.newContext(options);
    this.#contexts.push(context);
    context.on('weberror', (error) => this.#complaints.push(String(error.error())));
    context.on('console', (message) => {
      if (message.type() === 'error') this.#complaints.push(`${message.text()} ${message.location().url}`);
    });
    return context.newPage();
  }

  /** Chromium tells of each answer of 400 and above, and of each lost connection: a test that makes one says so. */
  expects(...complaints: RegExp[]): void {
    this.#expected.push(...complaints);
  }

  async end(): Promise<void> {
    for (const context of this.#contexts.splice(0)) await context.close();
    const expected = this.#expected;
    this.#expected = [];
    const unexpected = this.#complaints.splice(0).filter((text) => !expected.some((one) => one.test(text)));
    expect(unexpected, 'what pages complained of').toEqual([]);
  }
}

export async function signIn(page: Page, url: string, token: string): Promise<void> {
  await page.goto(`${url}/login`);
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('link', { name: 'Fleet', exact: true }).waitFor();
}

/** What axe-core finds serious or critical; the policy of the page forbids scripts like axe, so it runs in a context that ignores it. */
export async function axeFindings(page: Page): Promise<string[]> {
  await page.evaluate(`window.axe ?? (() => { ${axe.source} })()`);
  const { violations } = (await page.evaluate('axe.run({ resultTypes: ["violations"] })')) as {
    violations: Finding[];
  };
  return violations
    .filter(({ impact }) => impacts.has(impact))
    .map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes[0]?.html.slice(0, 200)}`);
}

/** How far the page can be scrolled sideways, in CSS pixels; tables scroll in regions of their own. */
export async function overflowPx(page: Page): Promise<number> {
  return (await page.evaluate(
    'document.documentElement.scrollWidth - document.documentElement.clientWidth',
  )) as number;
}
