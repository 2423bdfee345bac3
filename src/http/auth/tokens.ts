// The API tokens: how one is made, and the file they are kept in. The file holds SHA-256 hashes, never a token. A plain, fast
// hash is right here and would be wrong for passwords: a token is 256 random bits, so there is nothing to guess, whatever a
// guess costs; and a fast hash lets each request be checked anew. It refuses a file that it does not understand wholly.
import { createHash, randomBytes } from 'node:crypto';
import { z } from 'zod';
import { Secret } from '../../core/secret.js';
import { didYouMean } from '../../core/suggest.js';
import { readYaml, type YamlText } from '../../inventory/document.js';
import { makeProblem, type Problem } from '../../inventory/problem.js';
import type { Confinement } from './principal.js';
import { type Role, roles } from './roles.js';

export type ApiToken = {
  readonly name: string;
  readonly role: Role;
  /** Of the token's text, lower case hex. */
  readonly sha256: string;
  readonly confinement: Confinement;
  /** Wall milliseconds. */
  readonly expiresMs?: number;
};

const tokenPrefix = 'outrigger_';
const tokenBytes = 32;
export const tokensMax = 1_000;
const patternsMax = 1_000;
const labelsMax = 32;
const labelLengthMax = 255;
const problemsMax = 20;

const hostPattern = /^[a-z0-9.*-]{1,253}$/;
const labelKey = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/;

const TokenName = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/,
    'must be 1 to 64 letters, digits, dots, dashes, underscores and @, a letter or digit first',
  );
const Hosts = z
  .array(z.string().regex(hostPattern, 'must be a host’s name of the inventory; * stands for any letters'))
  .min(1, 'must name a host, or be taken out')
  .max(patternsMax, `must have at most ${patternsMax} entries`);
const Labels = z
  .record(z.string(), z.string().min(1).max(labelLengthMax, `must have at most ${labelLengthMax} characters`))
  .refine(
    (labels) => Object.keys(labels).every((key) => labelKey.test(key)),
    'must have names of labels as keys',
  )
  .refine((labels) => Object.keys(labels).length > 0, 'must name a label, or be taken out')
  .refine((labels) => Object.keys(labels).length <= labelsMax, `must have at most ${labelsMax} labels`);
const Expires = z.string().transform((text, context): number => {
  const ms = parseExpiry(text);
  if (ms !== undefined) return ms;
  context.addIssue({
    code: 'custom',
    message: 'must be a day (2027-01-31) or a time (2027-01-31T12:00:00Z)',
  });
  return z.NEVER;
});

const TokenEntry = z.strictObject({
  name: TokenName,
  role: z.enum(roles, `must be one of ${roles.join(', ')}`),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits, as `outrigger token create` prints'),
  hosts: Hosts.optional(),
  labels: Labels.optional(),
  expires: Expires.optional(),
});
const TokensDocument = z.strictObject({
  version: z.literal(1, 'must be 1'),
  tokens: z.array(TokenEntry).max(tokensMax, `must have at most ${tokensMax} entries`),
});

/** What a new entry may say; throws ZodError. */
export const NewToken = TokenEntry.omit({ sha256: true, expires: true });

/** Wall milliseconds; a day ends with its last moment, UTC. */
export function parseExpiry(text: string): number | undefined {
  const day = /^\d{4}-\d{2}-\d{2}$/.test(text);
  if (!day && !/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/.test(text))
    return undefined;
  const ms = Date.parse(day ? `${text}T23:59:59.999Z` : text);
  // The 31st of February is no day, although Date would take it for one in March.
  if (Number.isNaN(ms) || (day && new Date(ms).toISOString().slice(0, 10) !== text)) return undefined;
  return ms;
}

export function mintToken(): { token: Secret; sha256: string } {
  const text = tokenPrefix + randomBytes(tokenBytes).toString('base64url');
  return { token: new Secret(text), sha256: hashToken(text) };
}

export function hashToken(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** The tokens of the file's text, or every problem with its line. */
export function parseTokens(text: string, file: string): { tokens?: ApiToken[]; problems: Problem[] } {
  const yaml = readYaml(text);
  const problems = yaml.faults.map((fault) => makeProblem(file, fault, fault));
  if (yaml.value === undefined || yaml.value === null) {
    if (problems.length === 0) problems.push(emptyFile(file));
    return { problems: problems.slice(0, problemsMax) };
  }
  const parsed = TokensDocument.safeParse(yaml.value, { reportInput: true });
  if (!parsed.success) {
    for (const issue of parsed.error.issues) problems.push(...explain(issue, file, yaml));
    return { problems: problems.slice(0, problemsMax) };
  }
  const { tokens: entries } = parsed.data;
  problems.push(...duplicates(entries, file, yaml));
  if (problems.length > 0) return { problems: problems.slice(0, problemsMax) };
  const tokens = entries.map(({ name, role, sha256, hosts, labels, expires }) => ({
    ...{ name, role, sha256, confinement: { hosts, labels } },
    ...(expires !== undefined && { expiresMs: expires }),
  }));
  return { tokens, problems };
}

function emptyFile(file: string): Problem {
  return makeProblem(
    file,
    { line: 1, column: 1 },
    {
      message: 'the tokens file is empty',
      hint: 'Make a token with `outrigger token create --name … --role …`, or write `version: 1` and `tokens: []`.',
    },
  );
}

function duplicates(entries: readonly z.infer<typeof TokenEntry>[], file: string, yaml: YamlText): Problem[] {
  return (['name', 'sha256'] as const).flatMap((field) => {
    const seen = new Set<string>();
    return entries.flatMap((entry, index) => {
      if (!seen.has(entry[field])) {
        seen.add(entry[field]);
        return [];
      }
      const message = `token ${entry.name}: another token has the same ${field}`;
      return [
        makeProblem(file, yaml.locate(['tokens', index, field]), { message, hint: 'Keep one of the two.' }),
      ];
    });
  });
}

const knownKeys = { '': Object.keys(TokensDocument.shape), tokens: Object.keys(TokenEntry.shape) };

function explain(issue: z.core.$ZodIssue, file: string, yaml: YamlText): Problem[] {
  const path = issue.path.map((segment) => (typeof segment === 'symbol' ? String(segment) : segment));
  const where =
    path[0] === 'tokens' && typeof path[1] === 'number' ? labelOf(yaml.value, path[1]) : 'the tokens file';
  if (issue.code === 'unrecognized_keys') {
    const known = path.length === 0 ? knownKeys[''] : knownKeys.tokens;
    return issue.keys.map((key) =>
      makeProblem(file, yaml.locate([...path, key], 'key'), {
        message: `${where}: unknown key ${printable(key)}`,
        hint: didYouMean(key, known) ?? `Known here: ${known.join(', ')}.`,
      }),
    );
  }
  const key = path[0] === 'tokens' ? path.slice(2).join('.') : path.join('.');
  const missing = issue.code === 'invalid_type' && issue.input === undefined;
  const said = missing
    ? 'is missing'
    : issue.code === 'invalid_type'
      ? `must be ${typeName(issue.expected)}`
      : issue.message;
  return [makeProblem(file, yaml.locate(path), { message: `${where}${key ? `: ${key}` : ''} ${said}` })];
}

function typeName(expected: string): string {
  const names: Record<string, string> = {
    object: 'a mapping of keys',
    record: 'a mapping of keys',
    array: 'a list',
    string: 'text',
  };
  return names[expected] ?? expected;
}

function labelOf(value: unknown, index: number): string {
  const entries = (value as { tokens?: unknown } | null)?.tokens;
  const name = Array.isArray(entries) ? (entries[index] as { name?: unknown } | null)?.name : undefined;
  return typeof name === 'string' && name !== '' ? `token ${printable(name)}` : `token number ${index + 1}`;
}

/** A slip may have put the token where a name belongs: no more than its beginning is told. */
function printable(text: string): string {
  return JSON.stringify(text.length > 24 ? `${text.slice(0, 12)}…` : text);
}
