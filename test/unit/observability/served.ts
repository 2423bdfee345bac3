// The names and labels that /metrics can have: from the families, and from prom-client for the collector's own process.
import { collectDefaultMetrics, Registry } from 'prom-client';
import { families } from '../../../src/metrics/families.js';
import { ownFamilies } from '../../../src/metrics/families-own.js';
import type { Family } from '../../../src/metrics/family.js';

const declared = new Map<string, Family>([...families, ...Object.entries(ownFamilies)]);

export function processNames(): string[] {
  const register = new Registry();
  collectDefaultMetrics({ register, prefix: 'outrigger_' });
  return register.getMetricsAsArray().map(({ name }) => name);
}

export function servedNames(): string[] {
  const own = [...declared].flatMap(([name, { type }]) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
  return [...own, ...processNames()];
}

/** With those that a scrape adds; undefined for a name that is not declared, or whose labels are not fixed. */
export function servedLabels(name: string): Set<string> | undefined {
  const family = declared.get(name) ?? declared.get(name.replace(/_(bucket|sum|count)$/, ''));
  if (!family || name === 'outrigger_host_info') return undefined;
  return new Set([...family.labels, 'instance', 'job', 'le']);
}
