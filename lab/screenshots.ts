// `npm run screenshots`: the pictures of the README, taken from the demo: three real hosts, one of them with its libvirtd stopped, a
// few jobs, and some minutes of history. It refuses to paint anything that the service did not say.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';

const root = fileURLToPath(new URL('..', import.meta.url));
const imagesDir = `${root}docs/images`;
const demoWithinMs = 300_000;
/** Graphs of VMs get a point a minute. Minutes of it may be given as the argument. */
const historyMinutes = Number(process.argv[2] ?? 6);
const laptop = { width: 1280, height: 860 };
const phone = { width: 390, height: 844 };

type Demo = { child: ChildProcess; url: string; token: string };

async function startDemo(): Promise<Demo> {
  const child = spawn(process.execPath, ['--import', 'tsx', `${root}lab/demo.ts`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error('the demo does not run')), demoWithinMs);
    child.once('exit', () => reject(new Error('the demo ended')));
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      process.stdout.write(text);
      said += text;
      const [, url] = /(http:\/\/[\d.:]+)\/ +the fleet page/.exec(said) ?? [];
      const [, token] = /sign in with the token +(\S+)/.exec(said) ?? [];
      if (!url || !token || !said.includes('Ctrl-C ends')) return;
      clearTimeout(late);
      resolve({ child, url, token });
    });
  });
}

async function ask(demo: Demo, op: string, host: string, vm: string, params = {}): Promise<void> {
  const answer = await fetch(`${demo.url}/api/v1/jobs`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${demo.token}`,
      'content-type': 'application/json',
      'idempotency-key': crypto.randomUUID(),
    },
    body: JSON.stringify({ op, host, vm, params }),
  });
  if (!answer.ok) throw new Error(`${op}: ${await answer.text()}`);
}

function stopLibvirtd(host: string): Promise<void> {
  const argv = ['--import', 'tsx', `${root}lab/main.ts`, 'exec', host, '--', 'pkill', 'libvirtd'];
  return new Promise((resolve) => spawn(process.execPath, argv).once('exit', () => resolve()));
}

async function open(
  browser: Browser,
  { url, token }: Demo,
  viewport: typeof laptop,
  colorScheme: 'light' | 'dark',
): Promise<Page> {
  const page = await browser.newPage({ viewport, colorScheme, deviceScaleFactor: 1 });
  await page.goto(`${url}/login`);
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('#live', { hasText: 'Live' }).waitFor();
  return page;
}

async function takeAll(browser: Browser, demo: Demo): Promise<void> {
  const take = (page: Page, name: string) => page.screenshot({ path: `${imagesDir}/${name}.png` });
  const light = await open(browser, demo, laptop, 'light');
  await take(light, 'fleet');
  await light.goto(`${demo.url}/hosts/kvm-1`);
  await light.locator('#live', { hasText: 'Live' }).waitFor();
  await take(light, 'host');
  const dark = await open(browser, demo, laptop, 'dark');
  await dark.locator('#vms').getByRole('link', { name: 'web-1', exact: true }).first().click();
  await dark.locator('#live', { hasText: 'Live' }).waitFor();
  await take(dark, 'vm-dark');
  await take(await open(browser, demo, phone, 'dark'), 'phone');
}

const demo = await startDemo();
try {
  await ask(demo, 'restart', 'kvm-1', 'web-1', { mode: 'cold' });
  await ask(demo, 'snapshot', 'kvm-1', 'db-1');
  await ask(demo, 'pause', 'kvm-2', 'web-1');
  await ask(demo, 'stop', 'kvm-2', 'web-1', { timeoutSeconds: 5 });
  console.log(`Waiting ${historyMinutes} minutes for a history to show …`);
  await new Promise((resolve) => setTimeout(resolve, historyMinutes * 60_000));
  await stopLibvirtd('kvm-3');
  await new Promise((resolve) => setTimeout(resolve, 20_000));
  await mkdir(imagesDir, { recursive: true });
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  await takeAll(browser, demo);
  await browser.close();
  console.log(`The pictures are in ${imagesDir}`);
} finally {
  const over = new Promise((resolve) => demo.child.once('exit', resolve));
  demo.child.kill('SIGINT');
  await over;
}
