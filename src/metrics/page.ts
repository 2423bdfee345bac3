// Pages from rendered parts: each family once, with one HELP and one TYPE. Pages come in chunks, so that a fleet of
// thousands is never one string. It refuses to render: parts are text already.
import { escapeLabel, familyHead } from './exposition.js';
import { type FamilyName, families, type RenderedSample } from './families.js';

/** A chunk is sent when it holds at least this many characters. */
const chunkCharsMin = 64 * 1024;

/** The page of many hosts. The parts are taken when the first chunk is asked for. */
export function* fleetPage(parts: Iterable<RenderedSample>): Generator<string> {
  const byFamily = new Map<FamilyName, string[]>();
  for (const part of parts) {
    for (const [family, lines] of part) {
      const all = byFamily.get(family);
      if (all) all.push(lines);
      else byFamily.set(family, [lines]);
    }
  }
  let chunk = '';
  for (const [name, family] of families) {
    const all = byFamily.get(name);
    if (!all) continue;
    chunk += familyHead(name, family);
    for (const lines of all) {
      chunk += lines;
      if (chunk.length >= chunkCharsMin) {
        yield chunk;
        chunk = '';
      }
    }
  }
  if (chunk) yield chunk;
}

/** The page of one host: the same parts, without the instance label. */
export function hostPage(instance: string, parts: Iterable<RenderedSample>): string {
  // In a label value these quotes would be escaped, so that only the label itself matches.
  const own = `{instance="${escapeLabel(instance)}"`;
  let page = '';
  for (const chunk of fleetPage(parts)) page += chunk;
  return page.replaceAll(`${own},`, '{').replaceAll(`${own}}`, '');
}
