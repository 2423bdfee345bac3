// The frame of every page: head, the line at the top, the main part. It names no style and no script but our own files, for
// the content security policy allows no other. It refuses to know what stands in the main part.
import type { Principal } from '../auth/principal.js';
import { assetUrl } from './assets.js';
import { html, type Markup } from './html.js';

/** The request as a page sees it: who looks, and with what taste. */
export type Viewer = {
  principal: Principal | undefined;
  /** The hidden field of every form. */
  csrf: { name: string; value: string } | undefined;
  theme: 'dark' | 'light' | undefined;
  nowMs: number;
};

export type Section = 'fleet' | 'vms' | 'jobs' | 'runbooks';

export type PageOptions = {
  viewer: Viewer;
  title: string;
  section?: Section;
  /** Where changes come from that this page shows; without it the page stands still. */
  stream?: string;
  /** The page is fetched again at most so often. */
  refreshMs?: number;
  /** And that often whatever the stream says. */
  alsoEveryMs?: number | undefined;
  main: Markup;
};

const refreshMsDefault = 3_000;
/** What of /api/v1/stream means: look again. */
const streamEvents = ['host', 'host-removed', 'vm', 'vm-removed', 'job', 'job-removed', 'reset'] as const;

const links = [
  ['fleet', '/', 'Fleet'],
  ['vms', '/vms', 'VMs'],
  ['jobs', '/jobs', 'Jobs'],
  ['queues', '/queues', 'Queues'],
  ['runbooks', '/runbooks', 'Runbooks'],
  ['docs', '/api/docs', 'API'],
] as const;

export function page({
  viewer,
  title,
  section,
  stream,
  refreshMs = refreshMsDefault,
  alsoEveryMs,
  main,
}: PageOptions): string {
  const theme = viewer.theme && html` data-theme="${viewer.theme}"`;
  const also = alsoEveryMs !== undefined && html` data-also-ms="${alsoEveryMs}"`;
  const live = stream && html` data-stream="${stream}" data-stream-events="${streamEvents.join(' ')}"`;
  return `<!doctype html>\n${html`<html lang="en"${theme}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · Outrigger</title>
<link rel="icon" href="${assetUrl('icon')}" type="image/svg+xml">
<link rel="stylesheet" href="${assetUrl('style')}">
<script type="module" src="${assetUrl('script')}"></script>
</head>
<body data-now-ms="${viewer.nowMs}" data-refresh-ms="${refreshMs}"${also}${live}>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<a class="brand" href="/">${brand}Outrigger</a>
${
  viewer.principal &&
  html`<nav aria-label="Pages">${links.map(
    ([name, href, text]) =>
      html`<a href="${href}"${name === section && html` aria-current="page"`}>${text}</a>`,
  )}</nav>`
}
<div class="who"><span id="live" class="live" hidden></span>${who(viewer)}<button id="theme" type="button" class="quiet" hidden></button></div>
</header>
<main id="main" tabindex="-1">
${main}
</main>
</body>
</html>`}`;
}

function who({ principal, csrf }: Viewer): Markup {
  if (!principal) return html``;
  if (principal.via === 'loopback') {
    return html`<span>Not signed in: reading from this machine</span><a href="/login">Sign in</a>`;
  }
  const out =
    csrf &&
    html`<form method="post" action="/logout">${hidden(csrf)}<button class="quiet">Sign out</button></form>`;
  return html`<span><b>${principal.name}</b> · ${principal.role}${principal.confined && ', some hosts'}</span>${out}`;
}

export function hidden(field: { name: string; value: string } | undefined): Markup {
  return html`${field && html`<input type="hidden" name="${field.name}" value="${field.value}">`}`;
}

const brand = html`<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" aria-hidden="true" focusable="false"><path d="M2 9h15M2 16h10M17 5c3 0 4 2 4 4s-1 4-4 4M7 9v7M12 9v7"/></svg>`;
