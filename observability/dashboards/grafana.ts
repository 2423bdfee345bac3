// The words that our dashboards are written in, and their translation to Grafana's JSON (schema 38: Grafana 10 and newer).
// Panels flow from left to right under their row; ids follow from the order. It refuses to know any metric.

/** Prometheus expression and legend; a legend may hold {{label}}. */
export type Query = readonly [expr: string, legend: string];

/** From this value on, this colour; green below. */
export type Thresholds = readonly (readonly [number, string])[];

type Looks = {
  title: string;
  /** What to make of it, shown behind the panel's (i). */
  description: string;
  unit: string;
  width: number;
  height?: number;
  thresholds?: Thresholds;
  decimals?: number;
  min?: number;
  max?: number;
  links?: readonly Link[];
};

export type Link = { title: string; url: string };

type Panel = { height: number; width: number; json: object };
export type Row = { title: string; panels: readonly Panel[]; collapsed?: boolean };

export type Dashboard = {
  uid: string;
  title: string;
  description: string;
  variables: readonly object[];
  annotations: readonly object[];
  rows: readonly Row[];
};

const schemaVersion = 38;
const columns = 24;
export const datasource = { type: 'prometheus', uid: '$datasource' };

const green: Thresholds = [];

/** Lines over time. `stack` for parts of a whole. */
export function graph(
  looks: Looks & { queries: readonly Query[]; stack?: boolean; negative?: RegExp },
): Panel {
  const { queries, stack = false, negative } = looks;
  return panel('timeseries', looks, 8, targets(queries, 'range'), {
    defaults: {
      color: { mode: 'palette-classic' },
      custom: {
        drawStyle: 'line',
        lineWidth: 1,
        fillOpacity: stack ? 30 : 8,
        showPoints: 'never',
        spanNulls: false,
        stacking: { mode: stack ? 'normal' : 'none', group: 'A' },
        thresholdsStyle: { mode: looks.thresholds ? 'line' : 'off' },
      },
    },
    overrides: negative ? [below(negative)] : [],
    options: {
      legend: {
        displayMode: 'table',
        placement: 'bottom',
        showLegend: true,
        calcs: ['mean', 'max', 'lastNotNull'],
      },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  });
}

/** Series whose name matches are drawn below the axis: the other direction. */
function below(pattern: RegExp): object {
  return {
    matcher: { id: 'byRegexp', options: String(pattern) },
    properties: [{ id: 'custom.transform', value: 'negative-Y' }],
  };
}

/** One figure now; `words` replaces values by text and colour. */
export function stat(
  looks: Looks & {
    query: Query;
    words?: Readonly<Record<string, readonly [string, string]>>;
    spark?: boolean;
    text?: boolean;
  },
): Panel {
  const { query, words, spark = false, text = false } = looks;
  return panel('stat', looks, 4, targets([query], spark ? 'range' : 'instant'), {
    defaults: { color: { mode: 'thresholds' }, mappings: words ? [mapping(words)] : [] },
    overrides: [],
    options: {
      colorMode: looks.thresholds || words ? 'background' : 'value',
      graphMode: spark ? 'area' : 'none',
      justifyMode: 'auto',
      textMode: text ? 'name' : 'auto',
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    },
  });
}

/** Bars of what is fullest, slowest, oldest. */
export function bars(looks: Looks & { queries: readonly Query[] }): Panel {
  return panel('bargauge', looks, 8, targets(looks.queries, 'instant'), {
    defaults: { color: { mode: 'thresholds' } },
    overrides: [],
    options: {
      displayMode: 'basic',
      orientation: 'horizontal',
      showUnfilled: true,
      valueMode: 'color',
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    },
  });
}

/** `query` alone: its value; `label` alone: what the rows share; both: a label that only this query has. */
export type Column = {
  name: string;
  query?: string;
  label?: string;
  unit?: string;
  thresholds?: Thresholds;
  words?: Readonly<Record<string, readonly [string, string]>>;
  link?: Link;
};

/** A table of what shares its labels: a row each, a column a query. */
export function table(
  looks: Looks & { columns: readonly Column[]; sortBy: string; descending?: boolean },
): Panel {
  const asked = looks.columns.filter((column) => column.query !== undefined);
  const field = (column: Column) =>
    column.label ?? (asked.length === 1 ? 'Value' : `Value #${letter(asked.indexOf(column))}`);
  return panel(
    'table',
    looks,
    10,
    asked.map(({ query = '' }, index) => ({
      ...target(query, '', index),
      instant: true,
      range: false,
      format: 'table',
    })),
    {
      defaults: { custom: { align: 'auto', filterable: true }, noValue: '' },
      overrides: looks.columns.map((column) => ({
        matcher: { id: 'byName', options: column.name },
        properties: columnLooks(column),
      })),
      options: { showHeader: true, sortBy: [{ displayName: looks.sortBy, desc: looks.descending ?? false }] },
      transformations: [
        { id: 'merge', options: {} },
        {
          id: 'filterFieldsByName',
          options: { include: { names: looks.columns.map(field) } },
        },
        {
          id: 'organize',
          options: {
            indexByName: Object.fromEntries(looks.columns.map((column, index) => [field(column), index])),
            renameByName: Object.fromEntries(looks.columns.map((column) => [field(column), column.name])),
          },
        },
      ],
    },
  );
}

function columnLooks({ unit, thresholds, words, link }: Column): object[] {
  const cell = { id: 'custom.cellOptions', value: { type: 'color-background', mode: 'basic' } };
  return [
    ...(unit ? [{ id: 'unit', value: unit }] : []),
    ...(thresholds ? [{ id: 'thresholds', value: steps(thresholds) }, cell] : []),
    ...(words ? [{ id: 'mappings', value: [mapping(words)] }, cell] : []),
    ...(link ? [{ id: 'links', value: [{ ...link, targetBlank: false }] }] : []),
  ];
}

type Parts = {
  defaults: object;
  overrides: readonly object[];
  options: object;
  transformations?: readonly object[];
};

function panel(type: string, looks: Looks, height: number, asked: readonly object[], parts: Parts): Panel {
  const { title, description, unit, width, thresholds = green, decimals, min, max, links } = looks;
  const json = {
    type,
    title,
    description,
    datasource,
    targets: asked,
    fieldConfig: {
      defaults: {
        unit,
        ...(decimals !== undefined && { decimals }),
        ...(min !== undefined && { min }),
        ...(max !== undefined && { max }),
        thresholds: steps(thresholds),
        ...(links && { links: links.map((link) => ({ ...link, targetBlank: false })) }),
        ...parts.defaults,
      },
      overrides: parts.overrides,
    },
    options: parts.options,
    ...(parts.transformations && { transformations: parts.transformations }),
  };
  return { height: looks.height ?? height, width, json };
}

function targets(queries: readonly Query[], how: 'range' | 'instant'): object[] {
  return queries.map(([expr, legend], index) => ({
    ...target(expr, legend, index),
    instant: how === 'instant',
    range: how === 'range',
  }));
}

function target(expr: string, legend: string, index: number): object {
  const oneLine = expr.trim().replaceAll(/\s+/g, ' ');
  return {
    refId: letter(index),
    datasource,
    editorMode: 'code',
    expr: oneLine,
    legendFormat: legend || '__auto',
  };
}

function letter(index: number): string {
  return String.fromCharCode('A'.charCodeAt(0) + index);
}

function steps(thresholds: Thresholds): object {
  const base = { color: 'green', value: null };
  return { mode: 'absolute', steps: [base, ...thresholds.map(([value, color]) => ({ color, value }))] };
}

function mapping(words: Readonly<Record<string, readonly [string, string]>>): object {
  const entries = Object.entries(words).map(([value, [text, color]], index) => [
    value,
    { text, color, index },
  ]);
  return { type: 'value', options: Object.fromEntries(entries) };
}

/** The choice of Prometheus; every dashboard has it. */
export const datasourceVariable = {
  name: 'datasource',
  label: 'Prometheus',
  type: 'datasource',
  query: 'prometheus',
  current: {},
  hide: 0,
  refresh: 1,
  includeAll: false,
  multi: false,
  options: [],
};

export type Variable = {
  name: string;
  label: string;
  query: string;
  regex?: string;
  all?: boolean;
  first?: string;
};

/** A choice among the values that a Prometheus query finds. With `all`, any value, and more than one. */
export function variable({ name, label, query, regex = '', all = false, first }: Variable): object {
  return {
    name,
    label,
    type: 'query',
    datasource,
    definition: query,
    query: { query, refId: `Prometheus-${name}` },
    regex,
    refresh: 2,
    sort: 1,
    hide: 0,
    includeAll: all,
    multi: all,
    ...(all && { allValue: '.*' }),
    options: [],
    current: all
      ? { selected: true, text: ['All'], value: ['$__all'] }
      : first
        ? { selected: true, text: first, value: first }
        : {},
  };
}

/** A mark at the time that is the value of each series, in seconds. */
export function marksAt(name: string, color: string, expr: string, title: string, text: string): object {
  return {
    name,
    datasource,
    enable: true,
    hide: false,
    iconColor: color,
    expr: `${expr} * 1000`,
    useValueForTime: true,
    step: '60s',
    titleFormat: title,
    textFormat: text,
  };
}

/** A mark while the expression finds series. */
export function marksWhile(name: string, color: string, expr: string, title: string, text: string): object {
  return {
    name,
    datasource,
    enable: true,
    hide: false,
    iconColor: color,
    expr,
    step: '60s',
    titleFormat: title,
    textFormat: text,
  };
}

/** The whole dashboard as Grafana imports it. */
export function dashboardJson({ uid, title, description, variables, annotations, rows }: Dashboard): object {
  return {
    uid,
    title,
    description,
    tags: ['outrigger'],
    schemaVersion,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    timezone: 'browser',
    links: [
      {
        type: 'dashboards',
        title: 'Outrigger',
        tags: ['outrigger'],
        asDropdown: false,
        includeVars: false,
        keepTime: true,
        targetBlank: false,
      },
    ],
    annotations: { list: annotations },
    templating: { list: [datasourceVariable, ...variables] },
    panels: placed(rows),
  };
}

function placed(rows: readonly Row[]): object[] {
  const all: object[] = [];
  let id = 1;
  let y = 0;
  for (const { title, panels, collapsed = false } of rows) {
    const inside: object[] = [];
    const row = { id: id++, type: 'row', title, collapsed, gridPos: { x: 0, y, w: columns, h: 1 } };
    y++;
    let x = 0;
    let high = 0;
    for (const { width, height, json } of panels) {
      if (x + width > columns) {
        y += high;
        x = 0;
        high = 0;
      }
      inside.push({ id: id++, gridPos: { x, y, w: width, h: height }, ...json });
      x += width;
      high = Math.max(high, height);
    }
    y += high;
    all.push({ ...row, panels: collapsed ? inside : [] }, ...(collapsed ? [] : inside));
  }
  return all;
}
