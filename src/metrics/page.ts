// Pages of samples, rendered when they are asked for: each family once, with one HELP and one TYPE.
import { familyHead, Lines, label } from './exposition.js';
import { families } from './families.js';

/** Writes a part of the page of one host. */
export type Part = (lines: Lines) => void;

/** A chunk is sent when it holds at least this many characters. */
const chunkCharsMin = 64 * 1024;

/** The page of many hosts. */
export function* fleetPage(parts: Iterable<Part>): Generator<string> {
  const lines = new Lines();
  for (const part of parts) part(lines);
  const texts = lines.texts();
  let chunk = '';
  for (const [name, family] of families) {
    const text = texts.get(name);
    if (text === undefined) continue;
    chunk += familyHead(name, family) + text;
    if (chunk.length < chunkCharsMin) continue;
    yield chunk;
    chunk = '';
  }
  if (chunk) yield chunk;
}

/** The page of one host: the same parts, without the instance label. */
export function hostPage(instance: string, parts: Iterable<Part>): string {
  // In a label value these quotes would be escaped, so that only the label itself matches.
  const own = `{${label('instance', instance)}`;
  let page = '';
  for (const chunk of fleetPage(parts)) page += chunk;
  return page.replaceAll(`${own},`, '{').replaceAll(`${own}}`, '');
}
