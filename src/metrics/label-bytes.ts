// Label values come from hosts: here they are bounded and escaped, and what the formats cannot carry is replaced. The labels
// of a line are put together as bytes in one place, each behind the last, as things lie in one another: host, VM, disk. So the
// labels of one disk take the place of those of the disk before, and no line makes an object.

const labelCharsMax = 1024;
/** What a character takes at the most, in UTF-8 or escaped. */
const charBytesMax = 3;
const bytesMin = 1024;
/** Views of labels that are shorter are kept: there is one for each length, whatever the labels are. */
const keptViewBytesMax = 1024;
const [comma = 0, equals = 0, quote = 0, backslash = 0, space = 0, tilde = 0] = Buffer.from(',="\\ ~');

/**
 * The labels of a line: how many of the bytes they are. Good until a label is put behind some of them: `label(host, …)` ends
 * what was behind `host` before.
 */
export type Labels = number & { readonly of: 'labels' };

export const noLabels = 0 as Labels;

/** A label value as it stands between the quotes. */
export function escapeLabel(value: string): string {
  // Almost all names need nothing: one test instead of four passes.
  if (value.length <= labelCharsMax && /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/.test(value)) return value;
  const bounded = value.length > labelCharsMax ? `${value.slice(0, labelCharsMax - 1)}…` : value;
  return (
    bounded
      .replaceAll('\\', '\\\\')
      .replaceAll('"', '\\"')
      .replaceAll('\n', '\\n')
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is replaced
      .replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f\p{Surrogate}]/gu, '\ufffd')
  );
}

export class LabelBytes {
  #bytes: Buffer = Buffer.alloc(bytesMin);
  /** By length. */
  #views: Buffer[] = [];

  /** As they stand between the braces; good as long as the labels are. */
  of(labels: Labels): Buffer {
    const known = this.#views[labels];
    if (known) return known;
    const view = this.#bytes.subarray(0, labels);
    if (labels < keptViewBytesMax) this.#views[labels] = view;
    return view;
  }

  /** `labels`, and `name="value"` behind them. */
  put(labels: Labels, name: string, value: string): Labels {
    const valueCharsMax = Math.min(value.length, labelCharsMax);
    this.#reserve(labels + name.length + ',=""'.length + valueCharsMax * charBytesMax, labels);
    const bytes = this.#bytes;
    let end: number = labels;
    if (labels !== noLabels) bytes[end++] = comma;
    for (let n = 0; n < name.length; n++) bytes[end++] = name.charCodeAt(n);
    bytes[end++] = equals;
    bytes[end++] = quote;
    end = writeValue(bytes, end, value);
    bytes[end++] = quote;
    return end as Labels;
  }

  #reserve(length: number, kept: Labels): void {
    if (length <= this.#bytes.length) return;
    const larger = Buffer.alloc(2 * length);
    this.#bytes.copy(larger, 0, 0, kept);
    this.#bytes = larger;
    this.#views = [];
  }
}

/** Escaped. Where it ends. */
function writeValue(bytes: Buffer, start: number, value: string): number {
  const { length } = value;
  if (length > labelCharsMax) return start + bytes.write(escapeLabel(value), start);
  // For the few characters of a name quicker than a call of write().
  for (let n = 0; n < length; n++) {
    const char = value.charCodeAt(n);
    const isPlain = char >= space && char <= tilde && char !== quote && char !== backslash;
    if (!isPlain) return start + bytes.write(escapeLabel(value), start);
    bytes[start + n] = char;
  }
  return start + length;
}
