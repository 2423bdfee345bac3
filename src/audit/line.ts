// One line of the audit log: JSON, chained to the line before by that one's hash. Every field has a limit, so that no VM
// name and no error text makes a giant line, and nothing that looks like a secret is written. It does no I/O.
//
//   {"seq":7,"at":"…","prev":"<hash of line 6>","kind":"begin",…,"hash":"<sha256 of this line without its hash>"}
import { createHash } from 'node:crypto';
import { HostError } from '../core/errors.js';

export const entryKinds = ['begin', 'end', 'refused', 'settled', 'access'] as const;
export type EntryKind = (typeof entryKinds)[number];

export type AuditEntry = {
  /** `begin`: about to be sent. `end`: how the act or the job ended. `settled`: found out after a crash. `access`: over HTTP. */
  kind: EntryKind;
  requestId: string;
  op: string;
  /** The act's stable name; without one the entry is about the whole job. */
  act?: string | undefined;
  host: string;
  vm?: { readonly name: string; readonly uuid: string } | undefined;
  requestedBy: string;
  reason?: string | undefined;
  before?: unknown;
  after?: unknown;
  outcome?: string | undefined;
  error?: string | undefined;
};

/** What a crash left behind and cannot be read: its length and hash, so that it stays as it was found. */
export type TornMark = { bytes: number; sha256: string };

/** A place in the chain. */
export type Link = { seq: number; hash: string };

/** A line that is whole: its hash is that of its text. Whether it follows the one before is for the reader to judge. */
export type AuditLine = Link & {
  at: string;
  prev: string;
  kind: EntryKind | 'torn';
  /** Of the whole line. */
  bytes: number;
  /** All fields, as written. */
  fields: Readonly<Record<string, unknown>>;
};

/** Before the first line. */
export const chainStart: Link = { seq: 0, hash: '0'.repeat(64) };

/** UTF-16 units; longer ones are refused, because they are what acts are known by. */
const identityLengthMax = { requestId: 512, act: 5_000 } as const;
/** UTF-16 units; longer ones are cut, and their length and hash written. */
const textLengthMax = { name: 255, reason: 1_024, error: 2_048 } as const;
/** UTF-16 units of `before` and `after` as JSON. */
const valueLengthMax = 49_152;
const cutLength = 1_024;
/** What all the limits above come to, with every character escaped. */
export const lineBytesMax = 768 * 1024;

const hashTail = /^,"hash":"([0-9a-f]{64})"\}$/;
const hashTailBytes = 75;
const secretKey = /passw|passphrase|secret|token|credential|private.?key/i;
const urlPassword = /(:\/\/[^\s/:@]*):[^\s/@]*@/g;
/** What may deceive a reader at a terminal and JSON leaves as it is. */
const deceiving = /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** The entry within its limits. Throws AUDIT when it cannot be written without changing what it is about. */
export function entryFields(entry: AuditEntry): Record<string, unknown> {
  for (const field of ['requestId', 'act'] as const) {
    if ((entry[field]?.length ?? 0) > identityLengthMax[field]) {
      throw new HostError('AUDIT', {
        host: clip(entry.host, textLengthMax.name),
        outcome: 'not-sent',
        message: `${field} is too long for the audit log: ${entry[field]?.length} characters`,
      });
    }
  }
  const { vm } = entry;
  return {
    kind: entry.kind,
    requestId: entry.requestId,
    op: clip(entry.op, textLengthMax.name),
    act: entry.act,
    host: clip(entry.host, textLengthMax.name),
    vm: vm && { name: clip(vm.name, textLengthMax.name), uuid: clip(vm.uuid, textLengthMax.name) },
    requestedBy: clip(entry.requestedBy, textLengthMax.name),
    reason: clipped(entry.reason, textLengthMax.reason),
    before: bounded(entry.before),
    after: bounded(entry.after),
    outcome: clipped(entry.outcome, textLengthMax.name),
    error: clipped(entry.error, textLengthMax.error),
  };
}

export function tornFields({ bytes, sha256 }: TornMark): Record<string, unknown> {
  return { kind: 'torn', bytes, sha256 };
}

/** The line after `previous`, with its line break. */
export function formLine(
  previous: Link,
  atMs: number,
  fields: Readonly<Record<string, unknown>>,
): AuditLine & { text: string } {
  const head = { seq: previous.seq + 1, at: new Date(atMs).toISOString(), prev: previous.hash };
  const body = JSON.stringify({ ...head, ...fields }).replaceAll(deceiving, escaped);
  const hash = sha256(body);
  const kind = fields.kind as AuditLine['kind'];
  const text = `${body.slice(0, -1)},"hash":"${hash}"}\n`;
  return { ...head, kind, fields, hash, text, bytes: Buffer.byteLength(text) };
}

/** The line (without its line break), or undefined when it is not one that was written so. */
export function parseLine(bytes: Buffer): AuditLine | undefined {
  if (bytes.length <= hashTailBytes || bytes.length > lineBytesMax) return undefined;
  const body = bytes.subarray(0, bytes.length - hashTailBytes);
  const hash = hashTail.exec(bytes.toString('latin1', body.length))?.[1];
  if (!hash || createHash('sha256').update(body).update('}').digest('hex') !== hash) return undefined;
  try {
    const fields = JSON.parse(`${body}}`) as Record<string, unknown>;
    const { seq, at, prev, kind } = fields;
    if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 1) return undefined;
    if (typeof at !== 'string' || typeof prev !== 'string' || typeof kind !== 'string') return undefined;
    if (kind !== 'torn' && !entryKinds.includes(kind as EntryKind)) return undefined;
    return { seq, at, prev, hash, kind: kind as AuditLine['kind'], bytes: bytes.length + 1, fields };
  } catch {
    return undefined;
  }
}

/** The mark of a `torn` line. */
export function tornMark({ kind, fields: { bytes, sha256 } }: AuditLine): TornMark | undefined {
  if (kind !== 'torn' || typeof bytes !== 'number' || typeof sha256 !== 'string') return undefined;
  return { bytes, sha256 };
}

export function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

function clipped(text: string | undefined, lengthMax: number): string | undefined {
  return text === undefined ? undefined : clip(text, lengthMax);
}

function clip(text: string, lengthMax: number): string {
  const safe = text.replaceAll(urlPassword, '$1:[secret]@');
  if (safe.length <= lengthMax) return safe;
  return `${safe.slice(0, lengthMax)}… (${text.length} characters, sha256 ${sha256(text)})`;
}

function bounded(value: unknown): unknown {
  let text: string | undefined;
  try {
    text = JSON.stringify(value, plain);
  } catch {
    return '[cannot be written as JSON]';
  }
  if (text === undefined || text.length <= valueLengthMax) return text && JSON.parse(text);
  return { cut: text.slice(0, cutLength), characters: text.length, sha256: sha256(text) };
}

function plain(key: string, value: unknown): unknown {
  if (secretKey.test(key) && value !== null && value !== undefined) return '[secret]';
  if (typeof value === 'bigint') return value.toString();
  return typeof value === 'string' ? value.replaceAll(urlPassword, '$1:[secret]@') : value;
}

function escaped(char: string): string {
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
