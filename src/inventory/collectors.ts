// Which of a host's own figures are read, in the words of node_exporter: `collectors: [cpu, meminfo]` are exactly these (its
// --collector.disable-defaults), `collectors: [no-hwmon]` all but this one (its --no-collector.hwmon). It refuses names it does
// not know, since a slip would silently cost figures.
import { suggest } from '../core/suggest.js';
import { Refusal, shown } from './fields.js';

/** Those of node_exporter's default collectors whose figures stand in files. All of them run unless the inventory says otherwise. */
export const collectorNames = [
  'arp',
  'bonding',
  'conntrack',
  'cpu',
  'cpufreq',
  'diskstats',
  'dmi',
  'edac',
  'entropy',
  'filefd',
  'filesystem',
  'hwmon',
  'kernel_hung',
  'loadavg',
  'mdadm',
  'meminfo',
  'netclass',
  'netdev',
  'netstat',
  'nvme',
  'os',
  'powersupplyclass',
  'pressure',
  'rapl',
  'schedstat',
  'selinux',
  'sockstat',
  'softnet',
  'stat',
  'thermal_zone',
  'time',
  'udp_queues',
  'uname',
  'vmstat',
] as const;
export type CollectorName = (typeof collectorNames)[number];

/** Of node_exporter's defaults, what cannot be had: it needs a system call, a socket or a command, or nobody has asked yet. */
const elsewhere: ReadonlySet<string> = new Set(
  'bcache bcachefs btrfs dmmultipath fibrechannel infiniband ipvs nfs nfsd systemd tapestats textfile timex watchdog xfs zfs'.split(
    ' ',
  ),
);

const negation = 'no-';
const listHint = 'Write collectors: [cpu, meminfo] for these alone, or [no-hwmon] for all but this one.';

/** In the order of `collectorNames`, each once. */
export function collectorList(raw: unknown): CollectorName[] | Refusal {
  if (!Array.isArray(raw)) return new Refusal(`must be a list, not ${shown(raw)}`, listHint);
  if (raw.length === 0) return new Refusal('names no collector', listHint);
  const named = new Set<CollectorName>();
  let negated = 0;
  for (const item of raw) {
    const negates = typeof item === 'string' && item.startsWith(negation);
    const name = collectorName(negates ? item.slice(negation.length) : item, negates);
    if (name instanceof Refusal) return name;
    if (named.has(name)) return new Refusal(`names ${name} twice`, 'Keep one of the two.');
    named.add(name);
    if (negates) negated += 1;
  }
  if (negated > 0 && negated < raw.length) {
    return new Refusal(`mixes names with ${negation} and without`, listHint);
  }
  if (negated === collectorNames.length) return new Refusal('leaves no collector', listHint);
  return collectorNames.filter((name) => named.has(name) === (negated === 0));
}

function collectorName(raw: unknown, negates: boolean): CollectorName | Refusal {
  const known = collectorNames.find((name) => name === raw);
  if (known) return known;
  if (typeof raw === 'string' && elsewhere.has(raw)) {
    return new Refusal(`names ${raw}, which node_exporter has and Outrigger does not`, 'Leave it out.');
  }
  const near = typeof raw === 'string' ? suggest(raw, collectorNames) : undefined;
  return new Refusal(
    `names an unknown collector: ${shown(raw)}`,
    near ? `Did you mean ${negates ? negation : ''}${near}?` : `Known here: ${collectorNames.join(', ')}.`,
  );
}
