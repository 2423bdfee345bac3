// Rules against what we serve, their tests and the runbooks. promtool itself runs them in test/live/observability.test.ts.
import { describe, expect, it } from 'vitest';
import { alerts, alertTests, metricNames, recorded, text } from './files.js';
import { servedLabels, servedNames } from './served.js';

const names = new Set([...servedNames(), ...recorded.map(({ record = '' }) => record), 'up']);
const isAboutAHost = (expr: string) =>
  metricNames(expr).some((name) =>
    /^(libvirt_|node_|outrigger_(host|domain)_|instance\w*:outrigger_(host|domain|storage))/.test(name),
  );

describe('the reader of expressions', () => {
  it.each([
    ['sum by (le, a) (rate(x_total{b="c_d"}[5m])) / (y:z:ratio > 0)', ['x_total', 'y:z:ratio']],
    ['a unless on (instance) (b offset 30m == 1) or c{d=~"e|f"}', ['a', 'b', 'c']],
    ['max_over_time(a[1d] offset 30m) < 14 * 86400 - time()', ['a']],
    ['rate(a{instance="$instance"}[$__rate_interval]) * on (b) group_left (c) d > bool 1e3', ['a', 'd']],
  ])('finds the names of %s', (expr, expected) => {
    expect(metricNames(expr)).toEqual(expected);
  });
});

describe('rules', () => {
  it('use only names that are served or recorded', () => {
    const unknown = [...recorded, ...alerts].flatMap(({ record, alert, expr }) =>
      metricNames(expr)
        .filter((name) => !names.has(name))
        .map((name) => `${record ?? alert}: ${name}`),
    );
    expect(unknown).toEqual([]);
  });

  it('use only labels that the series have', () => {
    const wrong = [...recorded, ...alerts].flatMap(({ record, alert, expr }) =>
      [...expr.matchAll(/([a-zA-Z_:][\w:]*)\{([^}]*)\}/g)].flatMap(([, name = '', matchers = '']) => {
        const labels = servedLabels(name);
        return [...matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)]
          .map(([, label = '']) => label)
          .filter((label) => labels && !labels.has(label))
          .map((label) => `${record ?? alert}: ${name}{${label}}`);
      }),
    );
    expect(wrong).toEqual([]);
  });

  it('record under names that say which labels stay, and what it is', () => {
    expect(recorded.length).toBeGreaterThan(10);
    const odd = recorded.filter(({ record = '' }) => !/^[a-z_]+:outrigger_[a-z_]+:[a-z0-9_]+$/.test(record));
    expect(odd).toEqual([]);
  });
});

describe.each(alerts.map((alert) => [`${alert.alert} (${alert.labels?.severity})`, alert] as const))(
  '%s',
  (_name, rule) => {
    const { alert = '', expr, labels, annotations } = rule;
    const tests = alertTests.filter(({ alertname }) => alertname === alert);

    it('has a severity, a summary, a description and a runbook', () => {
      expect(labels?.severity).toMatch(/^(critical|warning|info)$/);
      expect(annotations?.summary).toBeTruthy();
      expect(annotations?.description).toMatch(/\.\s*$/);
      const [file = '', anchor] = annotations?.runbook_url?.split('#') ?? [];
      expect(file).toBe('docs/runbooks.md');
      const anchors = [...text(file).matchAll(/^## (\S+)$/gm)].map(([, heading = '']) =>
        heading.toLowerCase(),
      );
      expect(anchors).toContain(anchor);
    });

    it('names the host or collector that it is about', () => {
      const named = /\$labels\.(instance|job)/;
      if (alert !== 'OutriggerFleetStale') expect(annotations?.description).toMatch(named);
    });

    it('leaves out hosts in maintenance', () => {
      const exempt = ['OutriggerHostMaintenanceLong', 'OutriggerFleetStale', 'OutriggerHostStale'];
      if (isAboutAHost(expr) && !exempt.includes(alert)) {
        expect(expr).toMatch(/unless on \(instance\) \(outrigger_host_maintenance == 1\)\s*$/);
      }
    });

    it('has a promtool case that fires, with its words, and one that does not', () => {
      const fired = tests.flatMap(({ exp_alerts }) => exp_alerts);
      const own = fired.filter(({ exp_labels }) => exp_labels.severity === labels?.severity);
      expect(own.length).toBeGreaterThan(0);
      expect(
        own.every(({ exp_annotations }) => exp_annotations?.summary && exp_annotations.description),
      ).toBe(true);
      const silent = tests.filter(({ exp_alerts }) =>
        exp_alerts.every(({ exp_labels }) => exp_labels.severity !== labels?.severity),
      );
      expect(silent.length).toBeGreaterThan(0);
    });
  },
);

it('every promtool case and every section of the runbooks belongs to an alert', () => {
  const known = new Set(alerts.map(({ alert }) => alert));
  expect(alertTests.filter(({ alertname }) => !known.has(alertname))).toEqual([]);
  const sections = [...text('docs/runbooks.md').matchAll(/^## (\S+)$/gm)].map(([, heading]) => heading);
  expect(sections.toSorted()).toEqual([...known].toSorted());
});
