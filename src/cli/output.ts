// What the commands print: tables that line up and fit the terminal, colour on a terminal only. It refuses to decide what
// is good or bad.
import { styleText } from 'node:util';
import cliTruncate from 'cli-truncate';
import stringWidth from 'string-width';

export type Style = 'green' | 'yellow' | 'red' | 'gray' | 'bold';

export type Paint = (style: Style, text: string) => string;

/** `text` in colour on a terminal, unless NO_COLOR is set; anywhere when FORCE_COLOR is. */
export function painter(stream: { isTTY?: boolean }): Paint {
  const { NO_COLOR, FORCE_COLOR } = process.env;
  const colours = FORCE_COLOR ? FORCE_COLOR !== '0' : stream.isTTY && !NO_COLOR;
  // It has judged already: the stream is not asked again.
  return (style, text) => (colours ? styleText(style, text, { validateStream: false }) : text);
}

/** Columns of a terminal; unbounded elsewhere, so that a pipe gets whole cells. */
export function widthOf(stream: { isTTY?: boolean; columns?: number }): number {
  return stream.isTTY && stream.columns ? stream.columns : Number.POSITIVE_INFINITY;
}

export type Column = {
  title: string;
  /** When the terminal is too narrow the column with the highest goes first; without one it stays. */
  drop?: number;
  /** Is cut before columns go, down to this many columns of the terminal. */
  shrinkTo?: number;
  /** Numbers stand under each other. */
  right?: boolean;
};

const gap = 2;

/** Rows under their head (none when no column has a title), made to fit `width`: long cells are cut first, then columns go. */
export function fittedTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  { width, paint }: { width: number; paint: Paint },
): string {
  const widths = columns.map(({ title }, at) =>
    rows.reduce((most, row) => Math.max(most, stringWidth(row[at] ?? '')), stringWidth(title)),
  );
  const shown = columns.map((_, at) => at);
  const total = () => shown.reduce((sum, at) => sum + (widths[at] ?? 0) + gap, -gap);
  const shrink = () => {
    const over = total() - width;
    const widest = shown
      .filter((at) => (columns[at]?.shrinkTo ?? Number.POSITIVE_INFINITY) < (widths[at] ?? 0))
      .sort((a, b) => (widths[b] ?? 0) - (widths[a] ?? 0))[0];
    if (over <= 0 || widest === undefined) return false;
    widths[widest] = Math.max(columns[widest]?.shrinkTo ?? 0, (widths[widest] ?? 0) - over);
    return true;
  };
  const drop = () => {
    if (total() <= width) return false;
    const last = shown
      .filter((at) => columns[at]?.drop !== undefined)
      .sort((a, b) => (columns[b]?.drop ?? 0) - (columns[a]?.drop ?? 0))[0];
    if (last === undefined) return false;
    shown.splice(shown.indexOf(last), 1);
    return true;
  };
  while (shrink() || drop());
  const line = (cells: readonly string[]) =>
    cut(shown.map((at) => padded(cells[at] ?? '', widths[at] ?? 0, columns[at]?.right)).join('  '), width);
  const titled = columns.some(({ title }) => title);
  const head = titled ? [line(columns.map(({ title }) => paint('bold', title)))] : [];
  return `${[...head, ...rows.map(line)].join('\n')}\n`;
}

function padded(cell: string, width: number, right = false): string {
  const fitting = cut(cell, width);
  const space = ' '.repeat(Math.max(0, width - stringWidth(fitting)));
  return right ? space + fitting : fitting + space;
}

/** The beginning of a line that fits; colours do not count, and stay whole. */
export function cut(line: string, width: number): string {
  const bare = line.trimEnd();
  return stringWidth(bare) <= width ? bare : cliTruncate(bare, width);
}

/** Text from a host, safe for a terminal: control characters and direction marks are shown, not obeyed. */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `3.4 GiB`; `-` for what is not known. */
export function bytes(value: number | undefined): string {
  if (value === undefined) return '-';
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** power;
  return `${power === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${units[power]}`;
}

/** `12s`, `3m`, `5h`, `9d`; `-` for what is not known. */
export function age(seconds: number | undefined): string {
  if (seconds === undefined) return '-';
  if (seconds < 100) return `${Math.round(seconds)}s`;
  if (seconds < 6_000) return `${Math.round(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)}h`;
  return `${Math.round(seconds / 86_400)}d`;
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
