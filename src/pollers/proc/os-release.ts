// /etc/os-release: NAME=value lines in the shell's quoting. Keys are the file's own (ID, PRETTY_NAME …).
import type { Problem } from '../problems.js';
import { boundedLines, hostileRecord } from './text.js';

const linesMax = 64;
const valueCharsMax = 256;

export function parseOsRelease(text: string, problem: Problem): Record<string, string> {
  const values = hostileRecord<string>();
  for (const line of boundedLines(text, linesMax, problem)) {
    if (/^\s*(#|$)/.test(line)) continue;
    const match = /^([A-Z][A-Z0-9_]{0,63})=(.*)$/.exec(line);
    if (!match?.[1] || match[2] === undefined) problem(`bad line ${line}`);
    else values[match[1]] = unquote(match[2].trim()).slice(0, valueCharsMax);
  }
  return values;
}

function unquote(text: string): string {
  const quote = text[0];
  const quoted = text.length >= 2 && (quote === '"' || quote === "'") && text.endsWith(quote);
  const inner = quoted ? text.slice(1, -1) : text;
  return quote === "'" ? inner : inner.replaceAll(/\\(["$`\\])/g, '$1');
}
