// The shape of the inventory file. Strict: every key is known here or it is a problem. It judges one piece at a time
// (defaults, one group, one host), so that a fault in one does not hide the faults in the others.
import { z } from 'zod';
import { collectorList } from './collectors.js';
import * as field from './fields.js';
import { Refusal } from './fields.js';

/** A value that `parse` makes of the raw one, or an issue in its words. */
function value<T>(parse: (raw: unknown) => T | Refusal) {
  return z.unknown().transform((raw, context): T => {
    const parsed = parse(raw);
    if (!(parsed instanceof Refusal)) return parsed;
    context.addIssue({ code: 'custom', message: parsed.message, params: { hint: parsed.hint } });
    return z.NEVER;
  });
}

/** A section that stands there with nothing under it is an absent section. */
function section<S extends z.ZodType>(schema: S) {
  return z.preprocess((raw) => raw ?? undefined, schema.optional()).optional();
}

const Ssh = z.strictObject({
  user: value(field.user).optional(),
  port: value(field.port).optional(),
  keyFile: value(field.filePath).optional(),
  keyPassphraseFile: value(field.filePath).optional(),
  knownHostsFile: value(field.filePath).optional(),
  agent: value(field.agent).optional(),
  jump: value(field.jump).optional(),
  opsUser: value(field.user).optional(),
  opsKeyFile: value(field.filePath).optional(),
});

const Libvirt = z.strictObject({
  uri: value(field.daemonUriText).optional(),
  socket: value(field.socket).optional(),
  transport: value(field.transport).optional(),
});

const Poll = z.strictObject({
  interval: value(field.duration(field.pollIntervalMinMs, field.pollIntervalMaxMs)).optional(),
  details: value(field.duration(field.pollIntervalMinMs, field.detailsIntervalMaxMs)).optional(),
  guest: value(field.guestInterval).optional(),
  balloonPeriod: value(field.balloonPeriod).optional(),
  collectors: value(collectorList).optional(),
});

const Labels = z.unknown().transform((raw, context): Record<string, string> => {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
    const message = `must be a mapping of names to text, not ${field.shown(raw)}`;
    context.addIssue({ code: 'custom', message, params: { hint: 'Write labels: { rack: r1 }.' } });
    return z.NEVER;
  }
  const labels: [string, string][] = [];
  for (const [key, given] of Object.entries(raw)) {
    const name = field.labelName(key);
    const text = name instanceof Refusal ? name : field.labelValue(given);
    if (!(name instanceof Refusal) && !(text instanceof Refusal)) {
      labels.push([name, text]);
    } else if (text instanceof Refusal) {
      const params = { hint: text.hint, atKey: name instanceof Refusal };
      context.addIssue({ code: 'custom', path: [key], message: text.message, params });
    }
  }
  return Object.fromEntries(labels);
});

const layerShape = {
  labels: section(Labels),
  ssh: section(Ssh),
  libvirt: section(Libvirt),
  poll: section(Poll),
  ops: value(field.flag).optional(),
  maintenance: value(field.flag).optional(),
};

/** What may stand in `defaults`, in a group and on a host. */
export const Layer = z.strictObject(layerShape);
export type Layer = z.infer<typeof Layer>;

export const HostEntry = z.strictObject({
  name: value(field.hostName),
  id: value(field.agentId).optional(),
  address: value(field.address).optional(),
  uri: value(field.uri).optional(),
  groups: value(field.groupList).optional(),
  ...layerShape,
});
export type HostEntry = z.infer<typeof HostEntry>;

export const rootKeys = ['version', 'defaults', 'groups', 'hosts'] as const;
export const hostKeys = Object.keys(HostEntry.shape);
export const layerKeys = Object.keys(layerShape);

/** Sections with fixed keys, by their name. */
export const sectionKeys: Readonly<Record<string, readonly string[]>> = {
  ssh: Object.keys(Ssh.shape),
  libvirt: Object.keys(Libvirt.shape),
  poll: Object.keys(Poll.shape),
};
