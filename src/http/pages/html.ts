// The one way to make HTML here: a template tag that escapes every value put into it, unless that value is markup made by
// the tag itself. Names come from hosts and are hostile: characters that make a screen lie (control characters, direction
// overrides) are shown as U+FFFD. It refuses to make markup of a plain string.

export class Markup {
  constructor(private readonly text: string) {}

  toString(): string {
    return this.text;
  }
}

/** undefined, null and false are nothing. */
type Value = Markup | string | number | boolean | undefined | null | readonly Value[];

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
};

/** Control characters but for the line break and the tab, line and paragraph separators, direction marks, lone surrogates. */
const lying = /(?![\n\t])\p{Cc}|[\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff]|\p{Cs}/gu;

export function escapeHtml(text: string): string {
  return text.replace(lying, '\ufffd').replace(/[&<>"'`]/g, (char) => entities[char] ?? char);
}

/** Values must stand in text or in quoted attributes. */
export function html(strings: TemplateStringsArray, ...values: Value[]): Markup {
  let text = strings[0] ?? '';
  for (let index = 0; index < values.length; index++) {
    text += written(values[index]) + (strings[index + 1] ?? '');
  }
  return new Markup(text);
}

function written(value: Value): string {
  if (value === undefined || value === null || value === false || value === true) return '';
  if (value instanceof Markup) return value.toString();
  if (typeof value === 'object') {
    let text = '';
    for (const one of value) text += written(one);
    return text;
  }
  return escapeHtml(String(value));
}

/** A path of segments that come from outside, each encoded. */
export function path(...segments: string[]): string {
  return `/${segments.map((segment) => encodeURIComponent(segment.replace(/\p{Cs}/gu, '\ufffd'))).join('/')}`;
}

type Query = Readonly<Record<string, string | number | readonly string[] | undefined>>;

/** `?a=b`, or nothing; what is empty or undefined is left out. */
export function query(parameters: Query): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    const values = Array.isArray(value) ? value : [value];
    for (const one of values) if (one !== undefined && one !== '') search.append(name, String(one));
  }
  return search.size > 0 ? `?${search}` : '';
}
