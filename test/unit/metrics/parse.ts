// A small reader of the text format, enough to look at what was rendered.

export type Series = { name: string; labels: Record<string, string>; value: number };

export function parseSeries(page: string): Series[] {
  return page
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/s.exec(line);
      if (!match?.[1]) throw new Error(`not a series: ${line}`);
      const labels: Record<string, string> = {};
      for (const [, name = '', value = ''] of (match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) {
        labels[name] = value;
      }
      return { name: match[1], labels, value: Number(match[3]) };
    });
}

/** `name type` of every family. */
export function parseTypes(page: string): Map<string, string> {
  return new Map(
    [...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = '', type = '']) => [name, type]),
  );
}

/** Identifies a series; empty labels count as absent, as they do in Prometheus. */
export function seriesKey({ name, labels }: Series): string {
  const pairs = Object.entries(labels).filter(([, value]) => value !== '');
  return `${name} ${JSON.stringify(pairs.sort(([a], [b]) => (a < b ? -1 : 1)))}`;
}
