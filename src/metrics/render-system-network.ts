// Renders a host's network beyond its traffic. A part that the sample lacks has no line.
import type { NetClass } from '../pollers/sys/netclass.js';
import type { SystemSample } from '../pollers/system.js';
import { type Columns, eachOnce, type Lines } from './exposition.js';
import { netClassFamilies } from './families-system-network.js';
import type { Labels } from './label-bytes.js';

const bytesPerMegabit = 125_000;
/** IFF_UP among the flags of a device. */
const upFlag = 1;

/** `host` is the label of the host. */
export function renderSystemNetwork(lines: Lines, host: Labels, sample: SystemSample): void {
  for (const net of eachOnce(sample.netClasses ?? [], ({ device }) => device))
    renderNetClass(lines, host, net);
  for (const [device, entries] of Object.entries(sample.arp ?? {})) {
    lines.add('node_arp_entries', lines.label(host, 'device', device), entries);
  }
  for (const bond of eachOnce(sample.bonds ?? [], ({ master }) => master)) {
    const labels = lines.label(host, 'master', bond.master);
    lines.add('node_bonding_slaves', labels, bond.slaves);
    lines.add('node_bonding_active', labels, bond.active);
  }
  renderConntrack(lines, host, sample);
  renderSoftnet(lines, host, sample);
  for (const [ip, queues] of Object.entries(sample.udpQueues ?? {})) {
    const labels = lines.label(host, 'ip', ip);
    lines.add('node_udp_queues', lines.label(labels, 'queue', 'rx'), queues.rx);
    lines.add('node_udp_queues', lines.label(labels, 'queue', 'tx'), queues.tx);
  }
}

function renderNetClass(lines: Lines, host: Labels, net: NetClass): void {
  const labels = lines.label(host, 'device', net.device);
  const { values, operstate } = net;
  lines.add('node_network_up', labels, operstate === 'up' ? 1 : 0);
  lines.addAll(netClassColumns, labels, values);
  if (values.speed !== undefined)
    lines.add('node_network_speed_bytes', labels, values.speed * bytesPerMegabit);
  const { flags } = values;
  const adminstate = flags === undefined ? 'unknown' : (flags & upFlag) === upFlag ? 'up' : 'down';
  const info = { ...net, adminstate };
  let all = host;
  for (const name of infoLabels) all = lines.label(all, name, info[name]);
  lines.add('node_network_info', all, 1);
}

const infoLabels = [
  'address',
  'adminstate',
  'broadcast',
  'device',
  'duplex',
  'ifalias',
  'operstate',
] as const;

const netClassColumns: Columns<NetClass['values']> = netClassFamilies.map(
  ([field, family]) => [family, (values) => values[field]] as const,
);

function renderConntrack(lines: Lines, host: Labels, { conntrack }: SystemSample): void {
  const stat = conntrack?.stat;
  if (!stat) return;
  lines.add('node_nf_conntrack_stat_found', host, stat.found);
  lines.add('node_nf_conntrack_stat_invalid', host, stat.invalid);
  lines.add('node_nf_conntrack_stat_ignore', host, stat.ignore);
  lines.add('node_nf_conntrack_stat_insert', host, stat.insert);
  lines.add('node_nf_conntrack_stat_insert_failed', host, stat.insert_failed);
  lines.add('node_nf_conntrack_stat_drop', host, stat.drop);
  lines.add('node_nf_conntrack_stat_early_drop', host, stat.early_drop);
  lines.add('node_nf_conntrack_stat_search_restart', host, stat.search_restart);
}

function renderSoftnet(lines: Lines, host: Labels, { softnet = [] }: SystemSample): void {
  for (const counts of eachOnce(softnet, ({ cpu }) => String(cpu))) {
    const labels = lines.label(host, 'cpu', String(counts.cpu));
    lines.add('node_softnet_processed_total', labels, counts.processed);
    lines.add('node_softnet_dropped_total', labels, counts.dropped);
    lines.add('node_softnet_times_squeezed_total', labels, counts.timesSqueezed);
    lines.add('node_softnet_cpu_collision_total', labels, counts.cpuCollision);
    lines.add('node_softnet_received_rps_total', labels, counts.receivedRps);
    lines.add('node_softnet_flow_limit_count_total', labels, counts.flowLimitCount);
    lines.add('node_softnet_backlog_len', labels, counts.backlogLength);
  }
}
