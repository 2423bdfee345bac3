// What OpenMetrics 1.0.0 asks of a page beyond the text format, as far as ours can offend against it. No tool of Debian's
// checks it: promtool reads the older format only.

const suffixes: Record<string, readonly string[]> = {
  counter: ['_total'],
  gauge: [''],
  unknown: [''],
  histogram: ['_bucket', '_sum', '_count'],
};

const metadata = /^# (HELP|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/;
const sample =
  /^([a-zA-Z_:][\w:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"(?:,(?!\})|(?=\})))+\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[+-]Inf)$/;

/** One complaint a line that offends; none for a clean page. */
export function openMetricsComplaints(page: string): string[] {
  const complaints: string[] = [];
  if (!page.endsWith('\n# EOF\n')) return ['the page does not end with # EOF'];
  const lines = page.slice(0, -'\n# EOF\n'.length).split('\n');
  const families = new Map<string, string>();
  const taken = new Map<string, string>();
  let current = { name: '', type: '' };
  for (const [index, line] of lines.entries()) {
    const [, kind, name = '', text = ''] = metadata.exec(line) ?? [];
    if (kind === 'HELP') {
      if (/(^|[^\\])(\\\\)*(\\[^\\n"]|")/.test(text)) complaints.push(`help not escaped: ${line}`);
      if (!lines[index + 1]?.startsWith(`# TYPE ${name} `)) complaints.push(`no type: ${line}`);
    } else if (kind === 'TYPE') {
      if (families.has(name)) complaints.push(`family twice: ${line}`);
      families.set(name, text);
      current = { name, type: text };
      for (const suffix of suffixes[text] ?? []) {
        const other = taken.get(name + suffix);
        if (other !== undefined) complaints.push(`clashes with ${other}: ${line}`);
        taken.set(name + suffix, name);
      }
    } else {
      const series = sample.exec(line)?.[1];
      const names = (suffixes[current.type] ?? []).map((suffix) => current.name + suffix);
      if (series === undefined) complaints.push(`not a sample: ${line}`);
      else if (!names.includes(series)) complaints.push(`not of ${current.type} ${current.name}: ${line}`);
    }
  }
  return complaints;
}
