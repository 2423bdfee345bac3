// Renders a host's network beyond its traffic. A part that the sample lacks has no line.
import type { NetClass } from '../pollers/sys/netclass.js';
import type { SystemSample } from '../pollers/system.js';
import { eachOnce, type Lines, label } from './exposition.js';
import { netClassFamilies } from './families-system-network.js';

const bytesPerMegabit = 125_000;
/** IFF_UP among the flags of a device. */
const upFlag = 1;

/** `host` is the label of the host. */
export function renderSystemNetwork(lines: Lines, host: string, sample: SystemSample): void {
  const deviceOf = ({ device }: { device: string }) => `${host},${label('device', device)}`;
  for (const [{ receiveNohandler }, labels] of eachOnce(sample.netDevices ?? [], deviceOf)) {
    lines.add('node_network_receive_nohandler_total', labels, receiveNohandler);
  }
  for (const [net, labels] of eachOnce(sample.netClasses ?? [], deviceOf))
    renderNetClass(lines, host, labels, net);
  for (const [device, entries] of Object.entries(sample.arp ?? {})) {
    lines.add('node_arp_entries', deviceOf({ device }), entries);
  }
  const masterOf = ({ master }: { master: string }) => `${host},${label('master', master)}`;
  for (const [bond, labels] of eachOnce(sample.bonds ?? [], masterOf)) {
    lines.add('node_bonding_slaves', labels, bond.slaves);
    lines.add('node_bonding_active', labels, bond.active);
  }
  renderConntrack(lines, host, sample);
  renderSoftnet(lines, host, sample);
  for (const [ip, queues] of Object.entries(sample.udpQueues ?? {})) {
    lines.add('node_udp_queues', `${host},ip="${ip}",queue="rx"`, queues.rx);
    lines.add('node_udp_queues', `${host},ip="${ip}",queue="tx"`, queues.tx);
  }
}

function renderNetClass(lines: Lines, host: string, labels: string, net: NetClass): void {
  const { values, operstate } = net;
  lines.add('node_network_up', labels, operstate === 'up' ? 1 : 0);
  for (const [field, family] of netClassFamilies) lines.add(family, labels, values[field]);
  if (values.speed !== undefined)
    lines.add('node_network_speed_bytes', labels, values.speed * bytesPerMegabit);
  const { flags } = values;
  const adminstate = flags === undefined ? 'unknown' : (flags & upFlag) === upFlag ? 'up' : 'down';
  const info = { ...net, adminstate };
  const names = ['address', 'adminstate', 'broadcast', 'device', 'duplex', 'ifalias', 'operstate'] as const;
  lines.add('node_network_info', [host, ...names.map((name) => label(name, info[name]))].join(','), 1);
}

function renderConntrack(lines: Lines, host: string, { conntrack }: SystemSample): void {
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

function renderSoftnet(lines: Lines, host: string, { softnet = [] }: SystemSample): void {
  for (const [counts, labels] of eachOnce(softnet, ({ cpu }) => `${host},cpu="${cpu}"`)) {
    lines.add('node_softnet_processed_total', labels, counts.processed);
    lines.add('node_softnet_dropped_total', labels, counts.dropped);
    lines.add('node_softnet_times_squeezed_total', labels, counts.timesSqueezed);
    lines.add('node_softnet_cpu_collision_total', labels, counts.cpuCollision);
    lines.add('node_softnet_received_rps_total', labels, counts.receivedRps);
    lines.add('node_softnet_flow_limit_count_total', labels, counts.flowLimitCount);
    lines.add('node_softnet_backlog_len', labels, counts.backlogLength);
  }
}
