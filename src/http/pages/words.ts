// Figures and times in words for people: short, with a unit, the same everywhere. What is not known is a dash, never 0.
import { html, type Markup } from './html.js';

export const unknown = '–';

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;
const kibi = 1024;

export function bytes(value: number | undefined): string {
  if (value === undefined) return unknown;
  let scaled = value;
  let unit = 0;
  while (scaled >= kibi && unit < units.length - 1) {
    scaled /= kibi;
    unit++;
  }
  return `${short(scaled)} ${units[unit]}`;
}

export function bytesPerSecond(value: number | undefined): string {
  return value === undefined ? unknown : `${bytes(value)}/s`;
}

export function percent(value: number | undefined): string {
  return value === undefined ? unknown : `${short(value)} %`;
}

export function plain(value: number | undefined): string {
  return value === undefined ? unknown : short(value);
}

/** Whole numbers with thousands apart. */
export function count(value: number): string {
  return value.toLocaleString('en-GB');
}

/** `1 host`, `2 hosts`. */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

function short(value: number): string {
  const digits = value >= 9.95 || value === 0 ? 0 : value >= 0.995 ? 1 : 2;
  return value.toFixed(digits);
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;

/** `12 s`, `4 min`, `3 h`, `2 d`. page.js writes the same words as time goes by. */
export function duration(ms: number): string {
  const span = Math.max(0, ms);
  if (span < minute) return `${Math.round(span / second)} s`;
  if (span < hour) return `${Math.floor(span / minute)} min`;
  if (span < day) return `${Math.floor(span / hour)} h`;
  return `${Math.floor(span / day)} d`;
}

/** How long ago, with the moment itself at hand; kept true by page.js. */
export function ago(atMs: number | undefined, nowMs: number): Markup {
  if (atMs === undefined || !Number.isFinite(atMs)) return html`${unknown}`;
  const moment = new Date(atMs).toISOString();
  return html`<time datetime="${moment}" title="${moment}" data-ago>${duration(nowMs - atMs)} ago</time>`;
}
