// zod's issues → problems in the operator's words: the host or group by name, the key as written, what is wrong, the mend.
import type { z } from 'zod';
import { didYouMean } from '../core/suggest.js';
import type { Path, YamlText } from './document.js';
import { shown } from './fields.js';
import { type Complaint, makeProblem, type Problem } from './problem.js';
import { hostKeys, layerKeys, rootKeys, sectionKeys } from './schema.js';

export type Issue = z.core.$ZodIssue;

/** The problems of one piece of the file that stands at `base`; `label` is what people call the piece. */
export function explainIssues(
  issues: readonly Issue[],
  { file, yaml, base, label }: { file: string; yaml: YamlText; base: Path; label: string },
): Problem[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map((segment) => (typeof segment === 'symbol' ? String(segment) : segment));
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) =>
        makeProblem(file, yaml.locate([...base, ...path, key], 'key'), unknownKey(key, path, label)),
      );
    }
    const params = issue.code === 'custom' ? issue.params : undefined;
    const at = yaml.locate([...base, ...path], params?.atKey ? 'key' : 'value');
    const subject = path.length > 0 ? `${label}: ${pathText(path)}` : label;
    const { message, hint } = complaintOf(issue);
    return [makeProblem(file, at, { message: `${subject} ${message}`, hint: hint ?? params?.hint })];
  });
}

function complaintOf(issue: Issue): Complaint {
  if (issue.code === 'custom') return { message: issue.message };
  if (issue.code === 'invalid_type') {
    const wanted =
      issue.expected === 'object' || issue.expected === 'record' ? 'a mapping of keys' : issue.expected;
    const got = 'input' in issue && issue.input !== undefined ? `, not ${shown(issue.input)}` : '';
    if ('input' in issue && issue.input === null)
      return { message: 'is empty', hint: 'Give it keys, or take it out.' };
    return { message: `must be ${wanted}${got}` };
  }
  return { message: `is not valid: ${issue.message}` };
}

function pathText(path: Path): string {
  return path
    .map((segment, depth) => (typeof segment === 'number' ? `[${segment}]` : depth ? `.${segment}` : segment))
    .join('');
}

const secretKeys = /^(pass(word|phrase)?|(private|ssh)?_?key|token|secret|(ssh|key)_?pass(word|phrase)?)$/i;

export function unknownKey(key: string, path: Path, label: string): Complaint {
  const section = typeof path[0] === 'string' ? path[0] : undefined;
  const known = section ? (sectionKeys[section] ?? []) : keysOf(label);
  const place = section ? `${label}: ${pathText(path)}` : label;
  return { message: `${place}: unknown key ${key}`, hint: unknownKeyHint(key, section, known) };
}

function unknownKeyHint(key: string, section: string | undefined, known: readonly string[]): string {
  if (key === '<<') return 'YAML merge keys are not used here: put shared keys in a group.';
  const near = didYouMean(key, known);
  if (near) return near;
  for (const [home, keys] of Object.entries(sectionKeys)) {
    const meant = keys.find(
      (candidate) => candidate.toLowerCase() === key.toLowerCase().replaceAll(/[_-]/g, ''),
    );
    if (meant && home !== section) return `It belongs under ${home}: write ${home}: { ${meant}: … }.`;
  }
  if (secretKeys.test(key)) {
    return 'Secrets never stand in the inventory: name a file with ssh.keyFile or ssh.keyPassphraseFile.';
  }
  if (hostKeys.includes(key)) return 'It belongs on a host.';
  return `Known here: ${known.join(', ')}.`;
}

function keysOf(label: string): readonly string[] {
  if (label === rootLabel) return rootKeys;
  return label.startsWith('host ') ? hostKeys : layerKeys;
}

export const rootLabel = 'the inventory';

export function hostLabel(index: number, entry: unknown): string {
  const name = entry !== null && typeof entry === 'object' && 'name' in entry ? entry.name : undefined;
  return typeof name === 'string' && name !== '' ? `host ${shown(name)}` : `host number ${index + 1}`;
}
