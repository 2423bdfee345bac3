// The pages for who is not (or not enough) known: the form that takes a token, and what a person sees instead of a problem.
// They show nothing of the fleet.
import type { LoginView } from '../auth/login.js';
import { html } from './html.js';
import { page, type Viewer } from './layout.js';

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
<p class="small muted">An admin makes tokens with <code>outrigger token create --name YOU --role viewer</code>.</p>
</form></section>`,
  });
}

export type ErrorPageInput = {
  viewer: Viewer;
  status: number;
  title: string;
  detail: string;
  hint?: string | undefined;
};

export function errorPage({ viewer, status, title, detail, hint }: ErrorPageInput): string {
  const signIn = !viewer.principal || viewer.principal.via === 'loopback';
  return page({
    viewer,
    title,
    main: html`<section class="card narrow"><header><h1>${title}</h1><span class="muted">${status}</span></header><div class="body stack"><p>${detail}</p>${hint && html`<p>${hint}</p>`}<p><a href="/">To the fleet page</a>${signIn && html` · <a href="/login">Sign in</a>`}</p></div></section>`,
  });
}
