// YAML text → plain data, with the line and column of every node. It refuses what would be ambiguous or dangerous:
// duplicate keys, tags, a second document, alias bombs.
import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  visit,
  type YAMLError,
} from 'yaml';
import type { Complaint } from './problem.js';

export type Path = readonly (string | number)[];
type Position = { line: number; column: number };

export type YamlText = {
  /** Undefined when the text cannot be read as one YAML document. */
  value: unknown;
  faults: (Complaint & Position)[];
  /** Where the node at `path` begins, or the nearest one around it; `key` = the key rather than its value. */
  locate(path: Path, what?: 'key' | 'value'): Position;
};

/** How often one anchor may be used; nested anchors multiply. */
const aliasesMax = 10_000;

export function readYaml(text: string): YamlText {
  const lines = new LineCounter();
  const position = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  let document: Document.Parsed;
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: true,
      merge: false,
    });
  } catch (error) {
    return unreadable(error);
  }
  const faults = [...document.errors, ...document.warnings].map((error) => ({
    ...position(error.pos[0]),
    ...explainYaml(error, document, position),
  }));
  const locate = (path: Path, what: 'key' | 'value' = 'value') =>
    position(findNode(document, path, what)?.range?.[0] ?? 0);
  // A broken structure is not judged further: what it seems to hold is a guess.
  const broken = document.errors.some((error) => error.code !== 'DUPLICATE_KEY');
  if (broken) return { value: undefined, faults: firstPerLine(faults), locate };
  try {
    return { value: document.toJS({ maxAliasCount: aliasesMax }), faults, locate };
  } catch (error) {
    const failed = unreadable(error);
    return { ...failed, faults: [...faults, ...failed.faults], locate };
  }
}

function unreadable(error: unknown): YamlText {
  const tooDeep = error instanceof RangeError;
  const message = tooDeep ? 'the YAML is nested too deeply' : `the YAML cannot be read: ${sentence(error)}`;
  const hint = tooDeep
    ? 'Write it flatter.'
    : 'Check the aliases (*name): the anchor (&name) stands before them.';
  return {
    value: undefined,
    faults: [{ line: 1, column: 1, message, hint }],
    locate: () => ({ line: 1, column: 1 }),
  };
}

/** One mistake often makes several YAML errors on its line. */
function firstPerLine(faults: YamlText['faults']): YamlText['faults'] {
  const seen = new Set<number>();
  return faults.filter(({ line }) => !seen.has(line) && seen.add(line));
}

const yamlMends: Record<string, Complaint> = {
  TAB_AS_INDENT: { message: 'a tab is used for indentation', hint: 'Indent with spaces.' },
  MULTIPLE_DOCS: { message: 'a second YAML document begins here', hint: 'Keep one: take the --- line out.' },
  BLOCK_AS_IMPLICIT_KEY: {
    message: 'a second key on one line',
    hint: 'Put a value that holds ": " in quotes, or indent the key under the line above.',
  },
};

const yamlHints: Record<string, string> = {
  BAD_SCALAR_START: 'Put the value in quotes.',
  BAD_INDENT: 'Line it up with its neighbours, and close every [ and {.',
  MISSING_CHAR: 'Look at the quotes, brackets, colons and dashes of this line and the one before it.',
  TAG_RESOLVE_FAILED: 'Take the tag out, or put the value in quotes.',
};

function explainYaml(
  error: YAMLError,
  document: Document,
  position: (offset: number) => Position,
): Complaint {
  if (error.code === 'DUPLICATE_KEY') return duplicateKey(document, error.pos[0], position);
  return (
    yamlMends[error.code] ?? {
      message: `YAML: ${sentence(error)}`,
      hint: yamlHints[error.code] ?? 'Look at the indentation and punctuation here.',
    }
  );
}

function duplicateKey(document: Document, offset: number, position: (offset: number) => Position): Complaint {
  let found: Complaint | undefined;
  visit(document, {
    Map(_, map) {
      const pair = map.items.find((item) => rangeStart(item.key) === offset);
      if (!pair) return undefined;
      const first = map.items.find((item) => keyText(item) === keyText(pair));
      const line = position(rangeStart(first?.key) ?? 0).line;
      found = {
        message: `duplicate key ${keyText(pair)}: it stands in line ${line} already`,
        hint: 'Keep one of the two.',
      };
      return visit.BREAK;
    },
  });
  return found ?? { message: 'duplicate key', hint: 'Keep one of the two.' };
}

function findNode(document: Document, path: Path, what: 'key' | 'value'): Node | null {
  let node: unknown = document.contents;
  let nearest = document.contents as Node | null;
  for (const [depth, segment] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      // The last of duplicate keys is the one that counts.
      const pair = node.items.findLast((item) => keyText(item) === String(segment));
      if (!pair) return nearest;
      const wantKey = what === 'key' && depth === path.length - 1;
      node = wantKey ? pair.key : (pair.value ?? pair.key);
    } else if (isSeq(node)) {
      node = node.items[Number(segment)];
    } else {
      return nearest;
    }
    if (rangeStart(node) === undefined) return nearest;
    nearest = node as Node;
  }
  return nearest;
}

function keyText(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
}

function rangeStart(node: unknown): number | undefined {
  return isPair(node) ? undefined : (node as Node | null | undefined)?.range?.[0];
}

function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0]?.replace(/[.:]$/, '') ?? text;
}
