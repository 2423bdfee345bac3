// What a metric family is: its type, its labels and its help, as data. Labels are those beside `instance`, which every
// series of a host carries on the fleet page.

type FamilyType = 'gauge' | 'counter' | 'untyped' | 'histogram';

export type Family = { type: FamilyType; help: string; labels: readonly string[] };

export function gauge(help: string, ...labels: string[]): Family {
  return { type: 'gauge', help, labels };
}

export function counter(help: string, ...labels: string[]): Family {
  return { type: 'counter', help, labels };
}

/** node_exporter's type for figures that may be either. */
export function untyped(help: string, ...labels: string[]): Family {
  return { type: 'untyped', help, labels };
}

export function histogram(help: string, ...labels: string[]): Family {
  return { type: 'histogram', help, labels };
}
