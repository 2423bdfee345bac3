// The house rules that a machine can hold: the floors (imports go down only), one header a file, bounded length, named
// exports. It says how many files it saw, so that an empty search cannot pass. It refuses to judge style: biome does.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const linesMax = 400;
/** The house had more files than this when the count was last looked at. */
const filesMin = 80;

/** Every room of src/ and its floor; the longest matching prefix counts. Folders end in a slash. */
const floors: Readonly<Record<string, number>> = {
  'core/': 0,
  'libvirt/wire/': 1,
  'libvirt/uri.ts': 1,
  'libvirt/': 2,
  'ssh/': 2,
  'inventory/': 2,
  'fleet/': 3,
  'pollers/': 4,
  'ops/': 4,
  'metrics/': 4,
  'backend/': 4,
  'audit/': 4,
  'queue/': 5,
  'http/': 6,
  'service.ts': 7,
  'cli/': 8,
};

/** Outside the floors: it may import what it likes, and only cli/ imports it, lazily. */
const simulator = 'sim/';

/** Sideways imports that are allowed because nothing of them is left at run time. */
const typesOnly = new Set(['metrics/ → pollers/', 'backend/ → pollers/']);

/** libvirt/ and ssh/ do not know each other; these alone know both. */
const joiners = new Set(['fleet/', 'service.ts', 'cli/']);

type Import = { from: string; to: string; line: number; typeOnly: boolean; lazy: boolean };
type Source = { path: string; text: string; tree: ts.SourceFile; imports: Import[] };

const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts'))
  .map((path) => path.replaceAll('\\', '/'))
  .sort()
  .map(read);

function read(path: string): Source {
  const text = readFileSync(join(root, 'src', path), 'utf8');
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
  return { path, text, tree, imports: importsOf(path, tree) };
}

/** Relative imports; `to` is a path inside src/, or begins with ../ when it leads out of it. */
function importsOf(path: string, tree: ts.SourceFile): Import[] {
  const imports: Import[] = [];
  const add = (specifier: ts.Node | undefined, typeOnly: boolean, lazy: boolean) => {
    if (!specifier || !ts.isStringLiteralLike(specifier) || !specifier.text.startsWith('.')) return;
    const to = relative(join(root, 'src'), resolve(root, 'src', dirname(path), specifier.text));
    imports.push({
      from: path,
      to: to.replace(/\.js$/, '.ts'),
      line: lineOf(tree, specifier),
      typeOnly,
      lazy,
    });
  };
  const visit = (node: ts.Node) => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, isTypeOnly(node), false);
    else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly, false);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, true, false);
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      add(node.arguments[0], false, true);
    }
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return imports;
}

function isTypeOnly({ importClause }: ts.ImportDeclaration): boolean {
  if (!importClause) return false;
  if (importClause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const named = importClause.namedBindings;
  if (importClause.name || !named || !ts.isNamedImports(named)) return false;
  return named.elements.length > 0 && named.elements.every((element) => element.isTypeOnly);
}

function lineOf(tree: ts.SourceFile, node: ts.Node): number {
  return tree.getLineAndCharacterOfPosition(node.getStart(tree)).line + 1;
}

function roomOf(path: string): string | undefined {
  return [...Object.keys(floors), simulator]
    .filter((room) => path === room || (room.endsWith('/') && path.startsWith(room)))
    .sort((a, b) => b.length - a.length)[0];
}

/** Why an import is against the rules, or undefined. */
function fault({ from, to, typeOnly, lazy }: Import): string | undefined {
  const [here, there] = [roomOf(from), roomOf(to)];
  if (to.startsWith('..')) return 'leads out of src/';
  if (here === undefined || there === undefined) return 'is not in a room with a floor';
  if (here === there || here === simulator) return undefined;
  if (there === simulator) {
    return here === 'cli/' && lazy
      ? undefined
      : 'only cli/ imports the simulator, with import() where it is used';
  }
  const [mine, theirs] = [floors[here] ?? 0, floors[there] ?? 0];
  if (theirs < mine) return undefined;
  if (typeOnly && typesOnly.has(`${here} → ${there}`)) return undefined;
  return theirs > mine ? `goes up, from floor ${mine} to ${theirs}` : `goes sideways on floor ${mine}`;
}

function everyNode(tree: ts.SourceFile, found: (node: ts.Node) => string | undefined): string[] {
  const faults: string[] = [];
  const visit = (node: ts.Node) => {
    const text = found(node);
    if (text) faults.push(`src/${tree.fileName}:${lineOf(tree, node)}: ${text}`);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return faults;
}

describe('the floors', () => {
  test(`${sources.length} files were seen: all there are`, () => {
    const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'src'], {
      cwd: root,
      encoding: 'utf8',
    })
      .split('\n')
      .filter((path) => path.endsWith('.ts') && existsSync(join(root, path)));
    expect(sources.length).toBe(new Set(listed).size);
    expect(sources.length).toBeGreaterThanOrEqual(filesMin);
    expect(sources.reduce((sum, { imports }) => sum + imports.length, 0)).toBeGreaterThan(sources.length);
  });

  test('every file of src/ is in a room that has a floor', () => {
    expect(sources.filter(({ path }) => !roomOf(path)).map(({ path }) => path)).toEqual([]);
  });

  test('imports go down only', () => {
    const faults = sources.flatMap(({ imports }) =>
      imports.flatMap((found) => {
        const why = fault(found);
        return why ? [`src/${found.from}:${found.line}: ${found.to}: ${why}`] : [];
      }),
    );
    expect(faults).toEqual([]);
  });

  test('imports lead to files that exist', () => {
    const faults = sources.flatMap(({ imports }) =>
      imports.filter(({ to }) => !existsSync(join(root, 'src', to))).map(({ from, to }) => `${from}: ${to}`),
    );
    expect(faults).toEqual([]);
  });

  test('fleet/ joins libvirt/ and ssh/; below the composition nothing else knows both', () => {
    const faults = sources.flatMap(({ path, imports }) => {
      const used = new Set(imports.filter(({ typeOnly }) => !typeOnly).map(({ to }) => roomOf(to)));
      const both = used.has('libvirt/') && used.has('ssh/');
      return both && !joiners.has(roomOf(path) ?? '') ? [path] : [];
    });
    expect(faults).toEqual([]);
  });

  test.each([
    ['core/errors.ts', 'ssh/connect.ts', /goes up, from floor 0 to 2/],
    ['ssh/connect.ts', 'libvirt/client.ts', /goes sideways on floor 2/],
    ['libvirt/wire/xdr.ts', 'libvirt/uri.ts', /goes sideways on floor 1/],
    ['metrics/page.ts', 'pollers/vms.ts', /goes sideways on floor 4/],
    ['service.ts', 'sim/host.ts', /only cli\//],
    ['cli/demo.ts', 'sim/host.ts', /only cli\//],
    ['cli/run.ts', '../lab/lab.ts', /leads out of src/],
    ['cli/run.ts', 'elsewhere/x.ts', /not in a room/],
  ])('the rule itself: %s may not import %s', (from, to, expected) => {
    expect(fault({ from, to, line: 1, typeOnly: false, lazy: false })).toMatch(expected);
  });

  test('the rule itself: what is allowed', () => {
    const allowed = (from: string, to: string, how: Partial<Import> = {}) =>
      fault({ from, to, line: 1, typeOnly: false, lazy: false, ...how });
    expect(allowed('inventory/load.ts', 'libvirt/uri.ts')).toBeUndefined();
    expect(allowed('metrics/page.ts', 'pollers/vms.ts', { typeOnly: true })).toBeUndefined();
    expect(allowed('cli/demo.ts', 'sim/host.ts', { lazy: true })).toBeUndefined();
    expect(allowed('sim/host.ts', 'libvirt/wire/xdr.ts')).toBeUndefined();
  });
});

describe('each file', () => {
  test('begins with a comment that says why it exists', () => {
    const bare = sources.filter(({ text }) => !/^(#![^\n]*\n)?(\/\/ \S|\/\*)/.test(text));
    expect(bare.map(({ path }) => path)).toEqual([]);
  });

  test(`has at most ${linesMax} lines`, () => {
    const long = sources.filter(({ text }) => text.trimEnd().split('\n').length > linesMax);
    expect(long.map(({ path }) => path)).toEqual([]);
  });

  test('has named exports and no enum', () => {
    const faults = sources.flatMap(({ tree }) =>
      everyNode(tree, (node) => {
        if (ts.isExportAssignment(node)) return 'a default export';
        if (ts.isEnumDeclaration(node)) return 'an enum: write a union';
        const modifiers = ts.canHaveModifiers(node) ? ts.getModifiers(node) : undefined;
        return modifiers?.some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword)
          ? 'a default export'
          : undefined;
      }),
    );
    expect(faults).toEqual([]);
  });

  test('writes to the console only in cli/', () => {
    const faults = sources
      .filter(({ path }) => roomOf(path) !== 'cli/')
      .flatMap(({ tree }) =>
        everyNode(tree, (node) =>
          ts.isPropertyAccessExpression(node) && node.expression.getText(tree) === 'console'
            ? node.getText(tree)
            : undefined,
        ),
      );
    expect(faults).toEqual([]);
  });

  test('holds no note of unfinished work', () => {
    const notes = sources.flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line, index) => (/\b(TODO|FIXME|XXX|HACK)\b/.test(line) ? [`${path}:${index + 1}`] : [])),
    );
    expect(notes).toEqual([]);
  });
});

test('no test is skipped, singled out or left for later', () => {
  const tests = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.test.ts'),
  );
  expect(tests.length).toBeGreaterThan(5);
  const marked = tests.filter((path) =>
    /\b(test|it|describe)\.(skip|only|todo|fails)\b/.test(readFileSync(join(root, 'test', path), 'utf8')),
  );
  expect(marked).toEqual([]);
});
