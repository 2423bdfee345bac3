// The VM operations as buttons: which there are, whether each makes sense now, and what it asks before it is sent. The answer
// here is a courtesy: the job itself looks again and decides. It refuses to hide why a button is off.
import type { Host, Vm } from '../api/schemas.js';
import type { Principal } from '../auth/principal.js';
import { leastRole, roleMayOp } from '../auth/roles.js';
import { html, type Markup, path } from './html.js';
import { hidden } from './layout.js';

type Field =
  | { name: string; label: string; kind: 'checkbox' }
  | { name: string; label: string; kind: 'text'; hint: string };

export type PageOperation = {
  op: string;
  title: string;
  /** States of the VM in which it makes sense; undefined: all. */
  states?: readonly Vm['state'][];
  danger?: boolean;
  /** What will happen, after the VM's name. */
  what: string;
  fields: readonly Field[];
  /** The VM's name must be typed. */
  typeName?: boolean;
};

const active = ['running', 'blocked', 'paused', 'pmsuspended', 'shutdown'] as const;
const turns = ['running', 'blocked'] as const;
const force: Field = {
  name: 'force',
  label: 'Take its power away if it does not do so within a minute (what is not on its disk is lost)',
  kind: 'checkbox',
};

export const pageOperations: readonly PageOperation[] = [
  {
    op: 'start',
    title: 'Start',
    states: ['shutoff', 'crashed'],
    what: 'is started.',
    fields: [],
  },
  {
    op: 'stop',
    title: 'Stop',
    states: active,
    what: 'is asked to shut down.',
    fields: [force],
  },
  {
    op: 'restart',
    title: 'Restart',
    states: active,
    what: 'is asked to boot again.',
    fields: [force],
  },
  {
    op: 'pause',
    title: 'Pause',
    states: turns,
    what: 'stands still where it is, with its memory kept, until it is resumed.',
    fields: [],
  },
  {
    op: 'resume',
    title: 'Resume',
    states: ['paused', 'pmsuspended'],
    what: 'goes on where it stands.',
    fields: [],
  },
  {
    op: 'snapshot',
    title: 'Snapshot',
    what: 'gets a snapshot, which may take a while.',
    fields: [
      { name: 'name', label: 'Name of the snapshot', kind: 'text', hint: 'Empty: a name with the time' },
    ],
  },
  {
    op: 'reset',
    title: 'Reset',
    states: ['running', 'blocked', 'paused'],
    danger: true,
    what: 'is reset as by its reset button: what is not on its disk is lost.',
    fields: [],
  },
  {
    op: 'delete',
    title: 'Delete',
    danger: true,
    what: 'is deleted for good. This cannot be undone.',
    fields: [
      { name: 'force', label: 'Also when it runs: its power is taken away first', kind: 'checkbox' },
      { name: 'removeStorage', label: 'Delete its disks, too', kind: 'checkbox' },
    ],
    typeName: true,
  },
];

export function pageOperation(op: string): PageOperation | undefined {
  return pageOperations.find((one) => one.op === op);
}

/** Why no operation can be asked for here now; undefined: some can. */
export function whyNone(host: Host, principal: Principal, storeUp: boolean): string | undefined {
  if (principal.via === 'loopback') return 'Sign in as an operator to touch VMs.';
  if (!pageOperations.some(({ op }) => principal.mayOp(op)))
    return `Your role, ${principal.role}, may look and not touch.`;
  if (!host.ops.allowed) return `Jobs are refused: ${host.ops.why ?? 'this host is only watched'}.`;
  if (!storeUp) return 'The store is away: no jobs can be taken now.';
  if (!host.libvirt) return `libvirt on ${host.name} does not answer: jobs would fail.`;
  return undefined;
}

/** Why this one makes no sense or is not allowed now. */
export function whyNot({ op, states }: PageOperation, vm: Vm, principal: Principal): string | undefined {
  if (!principal.mayOp(op)) return `needs the role ${leastRole((role) => roleMayOp(role, op)) ?? 'admin'}`;
  if (states && !states.includes(vm.state)) return `it is ${vm.state}`;
  return undefined;
}

export function operationButtons(host: Host, vm: Vm, principal: Principal, storeUp: boolean): Markup {
  const none = whyNone(host, principal, storeUp);
  if (none && !pageOperations.some(({ op }) => principal.mayOp(op)))
    return html`<p class="muted" data-key="why">${none}</p>`;
  const buttons = pageOperations.map((operation) => {
    const why = none ?? whyNot(operation, vm, principal);
    const { op, title, danger } = operation;
    if (!why)
      return html`<a class="button${danger && ' danger'}" data-key="${op}" data-confirm href="${path('vms', vm.host, vm.uuid, op)}">${title}</a>`;
    return html`<button type="button" disabled data-key="${op}-off" title="${why}">${title}<span class="hidden-text"> (${why})</span></button>`;
  });
  return html`<div class="actions" role="group" aria-label="Operations on ${vm.name}">${buttons}</div>${none && html`<p class="muted" data-key="why">${none}</p>`}`;
}

export type ConfirmForm = {
  operation: PageOperation;
  vm: Vm;
  csrf: { name: string; value: string } | undefined;
  idempotencyKey: string;
  /** What was wrong with the form before. */
  message?: string | undefined;
};

export function confirmForm({ operation, vm, csrf, idempotencyKey, message }: ConfirmForm): Markup {
  const { op, title, what, fields, typeName, danger } = operation;
  const typed =
    typeName &&
    html`<label class="field">Type the VM's name, ${vm.name}, to say that you mean it<input name="typedName" autocomplete="off" spellcheck="false" required maxlength="255"></label>`;
  return html`<form class="stack" method="post" action="${path('vms', vm.host, vm.uuid, op)}" data-confirm-form>
<h1 id="confirm-title">${title} <bdi>${vm.name}</bdi> on ${vm.host}?</h1>
${message && html`<p class="note note-bad" role="alert">${message}</p>`}
<p><b><bdi>${vm.name}</bdi></b> ${what} It is ${vm.state} now.</p>
${fields.map(fieldMarkup)}${typed}
${hidden(csrf)}<input type="hidden" name="idempotencyKey" value="${idempotencyKey}"><input type="hidden" name="expectedUuid" value="${vm.uuid}">
<div class="actions"><button class="main${danger && ' danger'}">${title} <bdi>${vm.name}</bdi></button><a class="button" data-cancel href="${path('vms', vm.host, vm.uuid)}">Leave it as it is</a></div>
</form>`;
}

function fieldMarkup(field: Field): Markup {
  if (field.kind === 'checkbox') {
    return html`<label class="field"><span><input type="checkbox" name="${field.name}" value="true">${field.label}</span></label>`;
  }
  return html`<label class="field">${field.label}<input name="${field.name}" maxlength="255" placeholder="${field.hint}"></label>`;
}

/** The job's params from the form: only fields that the operation has. */
export function paramsOf(
  { fields }: PageOperation,
  form: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const params: Record<string, unknown> = {};
  for (const { name, kind } of fields) {
    const value = Object.hasOwn(form, name) ? form[name] : undefined;
    if (kind === 'checkbox' && value === 'true') params[name] = true;
    if (kind === 'text' && typeof value === 'string' && value.trim()) params[name] = value.trim();
  }
  return params;
}
