// What the pages do beyond HTML: they follow the fleet live, and ask before a VM is touched. The server writes every word: when the
// stream says that something changed, the page is fetched again and its live parts are patched in place, so that focus, scroll
// and what is being typed stay. Everything works without this file, too. It never makes markup of data.

const body = document.body;
const state = document.getElementById('live');
const refreshMinMs = Number(body.dataset.refreshMs) || 3000;
/** Without a stream the page is fetched so often. */
const pollMs = 15_000;
const retryMinMs = 2_000;
const retryMaxMs = 30_000;
const fetchTimeoutMs = 15_000;

/* times go on by themselves, on the server's clock */

let clockOffsetMs = 0;

function takeClock(root) {
  const nowMs = Number(root.dataset.nowMs);
  if (Number.isFinite(nowMs)) clockOffsetMs = nowMs - Date.now();
}

/** The same words as words.ts writes. */
function duration(ms) {
  const span = Math.max(0, ms);
  if (span < 60_000) return `${Math.round(span / 1000)} s`;
  if (span < 3_600_000) return `${Math.floor(span / 60_000)} min`;
  if (span < 86_400_000) return `${Math.floor(span / 3_600_000)} h`;
  return `${Math.floor(span / 86_400_000)} d`;
}

function writeTimes() {
  if (document.hidden) return;
  for (const time of document.querySelectorAll('time[data-ago]')) {
    const text = `${duration(Date.now() + clockOffsetMs - Date.parse(time.dateTime))} ago`;
    const node = time.firstChild;
    if (node && node.data !== text) node.data = text;
  }
  if (cutSince !== undefined) say(`Stream cut for ${duration(Date.now() - cutSince)}; trying again`, true);
}

/* patching */

/** Makes `now` what `next` is, keeping every element that is in both. */
function patch(now, next) {
  for (const { name } of [...now.attributes]) {
    if (!next.hasAttribute(name) && !kept(now, name)) now.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (now.getAttribute(name) !== value && !kept(now, name)) now.setAttribute(name, value);
  }
  if (now instanceof HTMLInputElement || now instanceof HTMLSelectElement) return;
  patchChildren(now, next);
}

/** What the user has changed stays: an open section, an open dialog. */
function kept(element, name) {
  return name === 'open' && (element instanceof HTMLDetailsElement || element instanceof HTMLDialogElement);
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset?.key || undefined : undefined;
}

function patchChildren(now, next) {
  const byKey = new Map();
  for (const child of now.childNodes) {
    const key = keyOf(child);
    if (key) byKey.set(key, child);
  }
  let at = now.firstChild;
  for (const wanted of [...next.childNodes]) {
    const key = keyOf(wanted);
    let found = key ? byKey.get(key) : at;
    if (found && !key && keyOf(found)) found = undefined;
    if (found && sameKind(found, wanted)) {
      if (found === at) at = at.nextSibling;
      else now.insertBefore(found, at);
      if (found.nodeType === Node.ELEMENT_NODE) patch(found, wanted);
      else if (found.data !== wanted.data) found.data = wanted.data;
    } else {
      now.insertBefore(document.importNode(wanted, true), at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function sameKind(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName;
}

/* fetching the page again */

let refreshing = false;
let dueAgain = false;
/** The page's newest answer was a refusal. */
let unread = false;
let timer;
let lastMs = performance.now();

function refreshSoon() {
  if (document.hidden) {
    dueAgain = true;
    return;
  }
  if (refreshing) {
    dueAgain = true;
    return;
  }
  timer ??= setTimeout(refresh, Math.max(0, lastMs + refreshMinMs - performance.now()));
}

async function refresh() {
  clearTimeout(timer);
  timer = undefined;
  refreshing = true;
  dueAgain = false;
  const url = location.href;
  try {
    const answer = await fetch(url, {
      headers: { accept: 'text/html' },
      signal: AbortSignal.timeout(fetchTimeoutMs),
      cache: 'no-store',
    });
    if (new URL(answer.url).pathname === '/login') {
      say('You are signed out: load the page again', true);
      stopFollowing();
      return;
    }
    const text = await answer.text();
    if (url !== location.href) return;
    if (!answer.ok) refused(answer.status);
    else if (answer.headers.get('content-type')?.startsWith('text/html')) take(text);
  } catch {
    // the stream says when the service is away, and its return brings the next refresh
  } finally {
    refreshing = false;
    lastMs = performance.now();
    if (dueAgain) refreshSoon();
  }
}

/** What is on the page stays, and the page says that it is how it was. */
function refused(status) {
  unread = true;
  if (cutSince === undefined)
    say(
      status === 404 ? 'Not here any more: this is how it was' : `Not readable now (${status}); trying again`,
      true,
    );
  setTimeout(refreshSoon, pollMs);
}

function take(text) {
  if (unread && cutSince === undefined) say('Live', false);
  unread = false;
  const next = new DOMParser().parseFromString(text, 'text/html');
  takeClock(next.body);
  const focused = document.activeElement;
  for (const part of next.querySelectorAll('[data-live]')) {
    const here = part.id && document.getElementById(part.id);
    if (here) patch(here, part);
  }
  // a row that moved lost the focus on its way
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  document.title = next.title;
}

/* the stream */

let source;
let cutSince;
let retryMs = retryMinMs;
let retryTimer;
let polling;
let stopped = false;

function say(text, cut) {
  if (!state) return;
  state.hidden = false;
  if (state.textContent !== text) state.textContent = text;
  state.classList.toggle('live-cut', cut);
}

function follow() {
  const url = body.dataset.stream;
  if (!url || stopped) return;
  source = new EventSource(url);
  source.onopen = () => {
    if (cutSince !== undefined) refreshSoon();
    cutSince = undefined;
    retryMs = retryMinMs;
    clearInterval(polling);
    polling = undefined;
    if (!unread) say('Live', false);
  };
  source.onerror = () => {
    source.close();
    cut();
  };
  for (const name of (body.dataset.streamEvents ?? '').split(' ')) {
    if (name) source.addEventListener(name, refreshSoon);
  }
}

function cut() {
  if (stopped) return;
  cutSince ??= Date.now();
  polling ??= setInterval(refreshSoon, pollMs);
  clearTimeout(retryTimer);
  retryTimer = setTimeout(follow, retryMs);
  retryMs = Math.min(retryMaxMs, retryMs * 2);
  say(`Stream cut for ${duration(Date.now() - cutSince)}; trying again`, true);
}

function stopFollowing() {
  stopped = true;
  cutSince = undefined;
  source?.close();
  clearTimeout(retryTimer);
  clearInterval(polling);
}

/* filters: as one types, without a full reload; the address follows, so that it can be shared */

let typing;

document.addEventListener('input', (event) => {
  const form = event.target.form;
  if (!form?.matches('form[data-filter]')) return;
  clearTimeout(typing);
  typing = setTimeout(() => {
    const search = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) search.append(name, value);
    const url = new URL(form.action, location.href);
    if (url.pathname !== location.pathname) return;
    url.search = search.toString();
    history.replaceState(null, '', url);
    refresh();
  }, 250);
});

/* asking before a VM is touched: the confirm page's form, in a dialog */

document.addEventListener('click', async (event) => {
  const link = event.target.closest?.('a[data-confirm]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  let form;
  try {
    const answer = await fetch(link.href, { signal: AbortSignal.timeout(fetchTimeoutMs) });
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    form = page.querySelector('form[data-confirm-form]');
  } catch {
    form = undefined;
  }
  if (!form) {
    location.assign(link.href);
    return;
  }
  ask(document.importNode(form, true), link);
});

function ask(form, link) {
  const dialog = document.createElement('dialog');
  const heading = form.querySelector('h1, h2');
  if (heading?.id) dialog.setAttribute('aria-labelledby', heading.id);
  dialog.append(form);
  dialog.addEventListener('close', () => {
    dialog.remove();
    link.focus();
  });
  form.querySelector('[data-cancel]')?.addEventListener('click', (event) => {
    event.preventDefault();
    dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
}

/* dark and light */

const themes = ['auto', 'dark', 'light'];
const themeButton = document.getElementById('theme');

function themeNow() {
  return document.documentElement.dataset.theme ?? 'auto';
}

if (themeButton) {
  const label = () => {
    themeButton.textContent = `Theme: ${themeNow()}`;
  };
  themeButton.hidden = false;
  label();
  themeButton.addEventListener('click', () => {
    const theme = themes[(themes.indexOf(themeNow()) + 1) % themes.length];
    if (theme === 'auto') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    const secure = location.protocol === 'https:' ? '; Secure' : '';
    // biome-ignore lint/suspicious/noDocumentCookie: the cookie store is not in every browser yet
    document.cookie = `theme=${theme}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
    label();
  });
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && dueAgain) refreshSoon();
});
addEventListener('pagehide', () => source?.close());
addEventListener('pageshow', (event) => {
  if (event.persisted && !stopped) follow();
});

takeClock(body);
setInterval(writeTimes, 1000);
if (body.dataset.alsoMs) setInterval(refreshSoon, Number(body.dataset.alsoMs));
follow();
