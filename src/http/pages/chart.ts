// Graphs as SVG, made on the server: lines over the last hour, their words beside them. The lines are for the eye only: what
// they say (now, least, most) always stands there as text. It refuses to draw what is not known: a gap stays a gap.
import type { Points } from '../../fleet/history.js';
import { html, type Markup } from './html.js';

export type Line = { name: string; points: Points | undefined };
type Say = (value: number | undefined) => string;

export type ChartOptions = {
  title: string;
  lines: readonly Line[];
  say: Say;
  /** The top of the scale; else a round number above the highest value. */
  top?: number | undefined;
  /** Round in powers of 1024, as bytes are said. */
  binary?: boolean;
  /** What stands there while there is nothing to draw. */
  empty?: string;
};

const width = 600;
const height = 120;
const sparkWidth = 96;
const sparkHeight = 22;
/** More than these do not show in a sparkline, and cost bytes a thousand times. */
const sparkPoints = 32;
/** Polls that may fail before the line has a gap. */
const gapOfPolls = 2;
/** Room for the stroke at the edges. */
const margin = 2;

/** A figure with its own scale from 0, a legend where there is more than one line, and the last hour below. */
export function chart({
  title,
  lines,
  say,
  top,
  binary = false,
  empty = 'Nothing to draw yet: wait for two polls.',
}: ChartOptions): Markup {
  const values = lines.flatMap(({ points }) => points?.filter((value) => value !== undefined) ?? []);
  if (values.length < 2) {
    return html`<figure class="chart"><figcaption><span class="chart-title">${title}</span></figcaption><p class="empty small">${empty}</p></figure>`;
  }
  const scale = top ?? niceTop(Math.max(...values), binary);
  const drawn = lines.map(({ points = [] }, index) =>
    paths(points, scale, width, height, `line line-${index + 1}`),
  );
  return html`<figure class="chart"><figcaption><span class="chart-title">${title}</span>${lines.map(
    (line, index) => legend(line, index, say, lines.length > 1),
  )}</figcaption><div class="plot"><div class="scale" aria-hidden="true"><span>${say(scale)}</span><span>${say(0)}</span></div><svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" aria-hidden="true" focusable="false"><path class="grid" d="M0 ${margin}H${width}M0 ${height / 2}H${width}M0 ${height - margin}H${width}"/>${drawn}</svg><div class="span" aria-hidden="true"><span>1 h ago</span><span>30 min</span><span>now</span></div></div></figure>`;
}

function legend({ name, points = [] }: Line, index: number, say: Say, named: boolean): Markup {
  const values = points.filter((value) => value !== undefined);
  const now = values.at(-1);
  const range =
    values.length > 0
      ? html` <span class="range">${say(Math.min(...values))} to ${say(Math.max(...values))}</span>`
      : '';
  const mark = named ? html`<i class="mark mark-${index + 1}" aria-hidden="true"></i>${name} ` : '';
  return html`<span class="legend">${mark}<b>${say(now)}</b>${range}</span>`;
}

/** For a table's cell, whose text says the value: hidden from screen readers. */
export function sparkline(points: Points | undefined, top?: number): Markup {
  const few = thinned(points ?? [], sparkPoints);
  const values = few.filter((value) => value !== undefined);
  if (values.length < 2) return html``;
  const scale = Math.max(top ?? 0, ...values) || 1;
  return html`<svg class="spark" viewBox="0 0 ${sparkWidth} ${sparkHeight}" width="${sparkWidth}" height="${sparkHeight}" preserveAspectRatio="none" aria-hidden="true" focusable="false">${paths(few, scale, sparkWidth, sparkHeight, 'line line-1')}</svg>`;
}

/** A share from 0 to 100 as a bar; the text beside it says the value. */
export function bar(percent: number | undefined, warnAt = 85, badAt = 95): Markup {
  if (percent === undefined) return html``;
  const share = Math.min(100, Math.max(0, percent));
  const level = share >= badAt ? 'bad' : share >= warnAt ? 'warn' : 'ok';
  return html`<svg class="bar bar-${level}" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" focusable="false"><rect class="bar-all" width="100" height="6"/><rect class="bar-part" width="${share.toFixed(1)}" height="6"/></svg>`;
}

function paths(points: Points, scale: number, w: number, h: number, name: string): Markup {
  const known = points.flatMap((value, index) => (value === undefined ? [] : [{ value, index }]));
  const gap = gapOf(known.map(({ index }) => index));
  const step = points.length > 1 ? w / (points.length - 1) : w;
  let d = '';
  for (const [at, { value, index }] of known.entries()) {
    const [before, after] = [known[at - 1], known[at + 1]];
    const joined = before !== undefined && index - before.index <= gap;
    const x = round(index * step);
    const y = round(h - margin - (Math.min(value, scale) / (scale || 1)) * (h - 2 * margin));
    // a point alone is a short dash, or it would not show
    const alone = !joined && (after === undefined || after.index - index > gap);
    d += alone
      ? `M${round(Math.max(0, x - step / 2))} ${y}h${round(step)}`
      : `${joined ? 'L' : 'M'}${x} ${y}`;
  }
  return html`<path class="${name}" d="${d}"/>`;
}

/** Points this far apart still belong together: polls come less often than steps, and now and then one is late. */
function gapOf(places: readonly number[]): number {
  const apart = places.slice(1).map((place, index) => place - (places[index] ?? place));
  apart.sort((a, b) => a - b);
  return (apart[Math.floor(apart.length / 2)] ?? 1) * gapOfPolls;
}

/** The mean of each run of points, so that a short sparkline shows the whole hour. */
function thinned(points: Points, most: number): Points {
  const run = Math.ceil(points.length / most);
  if (run <= 1) return points;
  return Array.from({ length: Math.ceil(points.length / run) }, (_, index) => {
    const values = points.slice(index * run, (index + 1) * run).filter((value) => value !== undefined);
    return values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : undefined;
  });
}

/** At or above the highest value: 1, 2 or 5 times a power of ten, or a power of two. */
function niceTop(highest: number, binary: boolean): number {
  if (!(highest > 0)) return 1;
  if (binary) return 2 ** Math.ceil(Math.log2(highest));
  const power = 10 ** Math.floor(Math.log10(highest));
  return ([1, 2, 5, 10].find((step) => step * power >= highest) ?? 10) * power;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
