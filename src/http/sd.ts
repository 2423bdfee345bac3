// The targets that Prometheus' http_sd asks for: each host's own page, and the collector's. It refuses addresses other
// than the one by which the asker has reached us: what a proxy or a stranger puts into X-Forwarded-Host is not looked at.

/** The names of labels are those of Prometheus, and none that it or a series uses: the inventory sees to that. */
export type SdHost = { name: string; labels: Readonly<Record<string, string>> };
export type SdTarget = { targets: [string]; labels: Record<string, string> };

/** host[:port], the host a name, an IPv4 address or an IPv6 address in brackets. */
const authority = /^(?:[a-z0-9][a-z0-9._-]{0,252}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

/** Undefined when the Host header is not an address. */
export function sdTargets(hostHeader: string | undefined, hosts: readonly SdHost[]): SdTarget[] | undefined {
  if (hostHeader === undefined || !authority.test(hostHeader)) return undefined;
  const target = (path: string, labels: Record<string, string>): SdTarget => ({
    targets: [hostHeader],
    labels: { ...labels, __metrics_path__: path },
  });
  return [
    target('/metrics/collector', {}),
    ...hosts.map(({ name, labels }) => target(`/metrics/hosts/${name}`, { ...labels, instance: name })),
  ];
}
