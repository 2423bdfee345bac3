// What a scraper may be sent, from its Accept and Accept-Encoding (RFC 9110): the exposition format, and gzip or not. What
// it cannot be given is answered in the plainest form, as the Prometheus libraries do: it refuses to answer 406.
import type { Format } from '../metrics/exposition.js';

export const contentTypes: Readonly<Record<Format, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** Longer headers than a scraper sends are taken for absent. */
const headerCharsMax = 1024;

/** OpenMetrics 1.0.0 where it is named and wanted at least as much as text. */
export function formatFor(accept: string | undefined): Format {
  const ranges = weighed(accept);
  const openMetrics = best(ranges, ({ value, parameters }) => {
    const version = parameters.get('version');
    return value === 'application/openmetrics-text' && (version === undefined || version === '1.0.0');
  });
  const text = best(ranges, ({ value, parameters }) => {
    const version = parameters.get('version');
    return value === 'text/plain' && (version === undefined || version === '0.0.4');
  });
  return openMetrics > 0 && openMetrics >= text ? 'openmetrics' : 'text';
}

export function acceptsGzip(acceptEncoding: string | undefined): boolean {
  const codings = weighed(acceptEncoding);
  const named = codings.filter(({ value }) => value === 'gzip' || value === 'x-gzip');
  return best(named.length > 0 ? named : codings.filter(({ value }) => value === '*'), () => true) > 0;
}

type Weighed = { value: string; parameters: ReadonlyMap<string, string>; q: number };

function best(all: readonly Weighed[], isMeant: (one: Weighed) => boolean): number {
  return Math.max(0, ...all.filter(isMeant).map(({ q }) => q));
}

function weighed(header: string | undefined): Weighed[] {
  if (header === undefined || header.length > headerCharsMax) return [];
  return header.split(',').map((item) => {
    const [value = '', ...pairs] = item.split(';').map((text) => text.trim().toLowerCase());
    const parameters = new Map(
      pairs.map((pair) => {
        const [name = '', text = ''] = pair.split('=', 2);
        return [name.trim(), text.trim().replace(/^"(.*)"$/, '$1')] as const;
      }),
    );
    const q = parameters.get('q');
    return {
      value,
      parameters,
      q: q === undefined ? 1 : /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(q) ? Number(q) : 0,
    };
  });
}
