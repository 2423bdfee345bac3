// Dashboards against what we serve and what Grafana needs. They cannot be looked at here: what is checked is what a Grafana
// would stumble over, or show as an empty panel.
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';
import { dashboardFiles } from '../../../observability/dashboards/files.js';
import { filesIn, metricNames, recorded, text } from './files.js';
import { servedLabels, servedNames } from './served.js';

type Target = { refId: string; expr: string; legendFormat: string; datasource: { uid: string } };
type GridPos = { x: number; y: number; w: number; h: number };
type Panel = {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: GridPos;
  targets?: Target[];
  panels?: Panel[];
  fieldConfig?: { defaults: { unit?: string } };
};
type Variable = { name: string; type: string; definition?: string; query: string | { query: string } };
type Annotation = { name: string; expr: string };
type Dashboard = {
  uid: string;
  title: string;
  schemaVersion: number;
  panels: Panel[];
  templating: { list: Variable[] };
  annotations: { list: Annotation[] };
};

const files = filesIn('grafana', '.json');
const dashboards = files.map((file) => [basename(file), JSON.parse(text(file)) as Dashboard] as const);
const names = new Set([...servedNames(), ...recorded.map(({ record = '' }) => record), 'ALERTS']);

function flat(panels: readonly Panel[]): Panel[] {
  return panels.flatMap((panel) => [panel, ...flat(panel.panels ?? [])]);
}

it('are what the generator writes (npm run dashboards)', () => {
  const written = new Map(dashboardFiles());
  expect(files.map((file) => basename(file))).toEqual([...written.keys()].toSorted());
  for (const file of files) expect(text(file) === written.get(basename(file)), basename(file)).toBe(true);
});

it('have uids and titles of their own', () => {
  expect(dashboards).toHaveLength(4);
  expect(new Set(dashboards.map(([, { uid }]) => uid)).size).toBe(4);
  expect(new Set(dashboards.map(([, { title }]) => title)).size).toBe(4);
});

it('lead to dashboards and variables that exist', () => {
  const variables = new Map(
    dashboards.map(([, { uid, templating }]) => [uid, templating.list.map(({ name }) => name)]),
  );
  const links = dashboards.flatMap(([file]) => [
    ...text(`observability/grafana/${file}`).matchAll(/"\/d\/([^"?]+)\?([^"]+)"/g),
  ]);
  expect(links.length).toBeGreaterThan(5);
  for (const [, uid = '', query = ''] of links) {
    const wanted = [...query.matchAll(/var-(\w+)=/g)].map(([, name]) => name);
    expect(variables.get(uid)).toEqual(expect.arrayContaining(wanted));
  }
});

describe.each(dashboards)('%s', (_file, dashboard) => {
  const panels = flat(dashboard.panels);
  const shown = panels.filter(({ type }) => type !== 'row');
  const variables = dashboard.templating.list;
  const expressions = [
    ...shown.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const)),
    ...dashboard.annotations.list.map(({ name, expr }) => [name, expr] as const),
  ];

  it('has panels that each have a title, words, a unit and a query', () => {
    expect(shown.length).toBeGreaterThan(10);
    const bare = shown.filter(
      ({ title, description, fieldConfig, targets }) =>
        !title || !description || !fieldConfig?.defaults.unit || !targets?.length,
    );
    expect(bare).toEqual([]);
  });

  it('has ids of their own, and no panel over another or beyond the edge', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = new Set<string>();
    for (const {
      title,
      gridPos: { x, y, w, h },
    } of panels) {
      expect(x + w, title).toBeLessThanOrEqual(24);
      for (let row = y; row < y + h; row++)
        for (let column = x; column < x + w; column++) {
          expect(cells.has(`${column},${row}`), title).toBe(false);
          cells.add(`${column},${row}`);
        }
    }
  });

  it('asks only for names that are served or recorded', () => {
    const asked = expressions.flatMap(([title, expr]) => metricNames(expr).map((name) => [title, name]));
    expect(asked.length).toBeGreaterThan(20);
    expect(asked.filter(([, name = '']) => !names.has(name))).toEqual([]);
  });

  it('asks only for labels that the series have', () => {
    const wrong = expressions.flatMap(([title, expr]) =>
      [...expr.matchAll(/([a-zA-Z_:][\w:]*)\{([^}]*)\}/g)].flatMap(([, name = '', matchers = '']) => {
        const labels = servedLabels(name);
        return [...matchers.replaceAll(/"[^"]*"/g, '').matchAll(/(\$?\w+)\s*(?:=~|!~|!=|=)/g)]
          .map(([, label = '']) => label)
          .filter((label) => labels && !labels.has(label))
          .map((label) => `${title}: ${name}{${label}}`);
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('uses only variables that it has, and each that it has', () => {
    const own = ['__rate_interval', '__url_time_range', '__data', '__field'];
    const all = JSON.stringify(dashboard);
    const used = new Set([...all.matchAll(/\$\{?(\w+)/g)].map(([, name = '']) => name));
    const known = new Set([...variables.map(({ name }) => name), ...own, '__all']);
    expect([...used].filter((name) => !known.has(name))).toEqual([]);
    expect(variables.filter(({ name }) => !used.has(name))).toEqual([]);
  });

  it('begins with the choice of Prometheus, and asks it alone', () => {
    expect(variables[0]).toMatchObject({ name: 'datasource', type: 'datasource', query: 'prometheus' });
    const elsewhere = shown
      .flatMap(({ targets = [] }) => targets)
      .filter(({ datasource }) => datasource.uid !== '$datasource');
    expect(elsewhere).toEqual([]);
  });
});
