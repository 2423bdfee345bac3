// What more than one dashboard says: links from one to the other, words and colours of states, limits. It refuses to hold
// anything that only one dashboard needs.
import type { Link, Thresholds } from './grafana.js';

/** Keeps the Prometheus and the time that are chosen. */
const kept = ['datasource:queryparam', '__url_time_range'].map((name) => `\${${name}}`).join('&');

/** From a table's row, by the columns named Host and VM. */
export const toHost: Link = {
  title: 'This host',
  url: `/d/outrigger-host?var-instance=\${__data.fields.Host:percentencode}&${kept}`,
};
export const toVm: Link = {
  title: 'This VM',
  url: `/d/outrigger-vm?var-instance=\${__data.fields.Host:percentencode}&var-domain=\${__data.fields.VM:percentencode}&${kept}`,
};

/** From a line, by its labels. */
export const toHostOfLine: Link = {
  title: 'This host',
  url: `/d/outrigger-host?var-instance=\${__field.labels.instance:percentencode}&${kept}`,
};
export const toVmOfLine: Link = {
  title: 'This VM',
  url: `/d/outrigger-vm?var-instance=\${__field.labels.instance:percentencode}&var-domain=\${__field.labels.domain:percentencode}&${kept}`,
};

export const vmStates = {
  0: ['no state', 'gray'],
  1: ['running', 'green'],
  2: ['blocked', 'yellow'],
  3: ['paused', 'orange'],
  4: ['shutting down', 'yellow'],
  5: ['shut off', 'gray'],
  6: ['crashed', 'red'],
  7: ['suspended', 'blue'],
} as const;

export const upWords = { 0: ['down', 'red'], 1: ['up', 'green'] } as const;
export const yesIsBad = { 0: ['no', 'green'], 1: ['YES', 'red'] } as const;

export const sessionStateWords = {
  up: ['up', 'green'],
  connecting: ['connecting', 'yellow'],
  degraded: ['degraded', 'orange'],
  down: ['down', 'red'],
  'auth-failed': ['auth-failed', 'red'],
  'host-key-mismatch': ['host-key-mismatch', 'red'],
  maintenance: ['maintenance', 'blue'],
} as const;

/** Shares of 1. */
export const busy: Thresholds = [
  [0.8, 'orange'],
  [0.95, 'red'],
];
/** As the alerts have it. */
export const nearlyFull: Thresholds = [
  [0.9, 'orange'],
  [0.97, 'red'],
];
export const steal: Thresholds = [
  [0.05, 'orange'],
  [0.1, 'red'],
];
/** Seconds a request. */
export const latency: Thresholds = [
  [0.02, 'orange'],
  [0.1, 'red'],
];
export const anyIsBad: Thresholds = [[1, 'red']];
export const neutral: Thresholds = [[0, 'blue']];
