// Reads observability/ for its tests: rules, their tests, dashboards, and the names that an expression uses.
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';

const root = resolve(import.meta.dirname, '../../..');
export const folder = join(root, 'observability');

export type Rule = {
  record?: string;
  alert?: string;
  expr: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
};

type RuleFile = { groups: { name: string; rules: Rule[] }[] };

type ExpectedAlert = { exp_labels: Record<string, string>; exp_annotations?: Record<string, string> };
export type AlertTest = { alertname: string; exp_alerts: ExpectedAlert[] };
type RuleTestFile = { tests: { name: string; alert_rule_test?: AlertTest[] }[] };

export function filesIn(name: string, ending: string): string[] {
  return readdirSync(join(folder, name))
    .filter((file) => file.endsWith(ending))
    .sort()
    .map((file) => join(folder, name, file));
}

export function text(path: string): string {
  return readFileSync(resolve(root, path), 'utf8');
}

function rules(): Rule[] {
  return filesIn('prometheus', '.rules.yml').flatMap((file) =>
    (parse(text(file)) as RuleFile).groups.flatMap((group) => group.rules),
  );
}

export const recorded = rules().filter(({ record }) => record !== undefined);
export const alerts = rules().filter(({ alert }) => alert !== undefined);

export const alertTests: AlertTest[] = filesIn('tests', '.test.yml').flatMap((file) =>
  (parse(text(file)) as RuleTestFile).tests.flatMap((test) => test.alert_rule_test ?? []),
);

const words = new Set(['and', 'or', 'unless', 'bool', 'offset', 'inf', 'nan', 'start', 'end']);

/** The metric names of a PromQL expression, variables of Grafana allowed. */
export function metricNames(expr: string): string[] {
  const bare = expr
    .replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')
    .replaceAll(/\{[^{}]*\}/g, ' ')
    .replaceAll(/\[[^\]]*\]/g, ' ')
    .replaceAll(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)/g, ' ')
    .replaceAll(/\boffset\s+\S+/g, ' ');
  return [...bare.matchAll(/(?<![\w:$.])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])/g)]
    .map(([, name = '']) => name)
    .filter((name) => !words.has(name) && !/^\d/.test(name));
}
