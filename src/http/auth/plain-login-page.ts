// The smallest login page there can be.
import { html } from '../pages/html.js';
import type { LoginView } from './login.js';

export function plainLoginPage({ next, message, hint }: LoginView): string {
  return html`<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in · Outrigger</title>
<h1>Sign in</h1>${message && html`<p role="alert">${message} ${hint}</p>`}
<form method="post" action="/login"><input type="hidden" name="next" value="${next}">
<label>Token <input name="token" type="password" autocomplete="off" required autofocus></label> <button>Sign in</button></form>`.toString();
}
