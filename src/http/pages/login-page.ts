// The pages for who is not (or not enough) known: the form that takes a token, and what a person sees instead of a problem.
// They show nothing of the fleet.
import type { LoginView } from '../auth/login.js';
import { type ProblemDetails, type ProblemType, problemBody, problemTypes } from '../problem.js';
import { html } from './html.js';
import { page, type Viewer } from './layout.js';
import { counted } from './words.js';

export type LoginPageInput = { viewer: Viewer; view: LoginView };

export function loginPage({ viewer, view: { next, message, hint } }: LoginPageInput): string {
  return page({
    viewer,
    title: 'Sign in',
    main: html`<section class="card narrow"><header><h1>Sign in</h1></header><form class="body stack" method="post" action="/login">
${message && html`<p class="note note-bad" role="alert">${message}${hint && html` ${hint}`}</p>`}
<label class="field">Token<input type="password" name="token" autocomplete="current-password" required maxlength="16000"${message && html` aria-invalid="true"`}></label>
<input type="hidden" name="next" value="${next}">
<button class="main">Sign in</button>
<p class="small muted">An admin makes tokens: <code>outrigger token create --name YOU --role viewer</code></p>
</form></section>`,
  });
}

/** What a person can do about it: the problem's own hint is for scripts here. */
const helps: Partial<Record<ProblemType, string>> = {
  unauthenticated: 'Sign in again. What you sent was not done.',
  forbidden: 'Sign in with a token of that role; an admin makes one.',
  'cross-site': 'Go back, load the page again, and try once more. Nothing was done.',
  'not-found':
    'The link may be old, or a letter of the address is wrong. What there is can be found from the fleet page.',
  'host-unknown': 'It may have been taken out of the inventory, or your token is for other hosts.',
  'vm-unknown': 'It may have been deleted, or moved to another host: look for its name among the VMs.',
  'job-unknown': 'Jobs are kept for some days. What was done stands in the audit log.',
  refused: 'Nothing was done. Go back: the page says what is possible now.',
  'store-away':
    'Hosts and VMs are watched all the same. Try again when the fleet page says that the store is back.',
  internal: 'Nothing is known of what was done: look before you try again. The log of the service says more.',
};

/** A problem as a person gets it. */
export function problemPage(viewer: Viewer, type: ProblemType, details: ProblemDetails): string {
  const [status, title] = problemTypes[type];
  const { retryAfterSeconds } = details;
  const { detail } = problemBody(type, details);
  const wait = retryAfterSeconds !== undefined && `Try again in ${counted(retryAfterSeconds, 'second')}.`;
  const help = helps[type] ?? details.hint;
  const signIn = !viewer.principal || viewer.principal.via === 'loopback' || status === 403;
  return page({
    viewer,
    title,
    main: html`<section class="card narrow"><header><h1>${title}</h1><span class="muted">${status}</span></header><div class="body stack"><p>${sentence(detail)}</p>${help && html`<p>${help}</p>`}${wait && html`<p>${wait}</p>`}<p><a href="/">To the fleet page</a>${status === 404 && html` · <a href="/vms">All VMs</a>`}${signIn && html` · <a href="/login">Sign in</a>`}</p></div></section>`,
  });
}

function sentence(text: string): string {
  const said = `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
  return /[.!?…]$/.test(said) ? said : `${said}.`;
}
