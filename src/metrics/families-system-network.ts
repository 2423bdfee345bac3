// The families of a host's network beyond its traffic: what its devices are, neighbours, connection tracking, softirqs of
// received packets. Names, types and labels of node_exporter.
import type { NetClassField } from '../pollers/sys/netclass.js';
import { counter, gauge } from './family.js';

const device = 'device';

export const systemNetworkFamilies = {
  node_network_receive_nohandler_total: counter('Packets that no protocol wanted.', device),
  node_network_up: gauge('1 when the operating state of the device is up.', device),
  node_network_info: gauge(
    'What the device is; always 1.',
    ...['address', 'adminstate', 'broadcast', device, 'duplex', 'ifalias', 'operstate'],
  ),
  node_network_address_assign_type: gauge("How the address came about, as the kernel's number.", device),
  node_network_carrier: gauge('1 when a link is there; absent while the device is down.', device),
  node_network_carrier_changes_total: counter('Changes of the carrier.', device),
  node_network_carrier_up_changes_total: counter('Times the carrier came.', device),
  node_network_carrier_down_changes_total: counter('Times the carrier went.', device),
  node_network_device_id: gauge('Number among devices that share an address.', device),
  node_network_dormant: gauge('1 while the device waits for something, such as authentication.', device),
  node_network_flags: gauge("The kernel's flags of the device, as a number.", device),
  node_network_iface_id: gauge('Index of the device.', device),
  node_network_iface_link: gauge('Index of the device that this one lies on; its own when on none.', device),
  node_network_iface_link_mode: gauge("Link mode, as the kernel's number.", device),
  node_network_mtu_bytes: gauge('Largest packet that the device sends.', device),
  node_network_name_assign_type: gauge("How the name came about, as the kernel's number.", device),
  node_network_net_dev_group: gauge('Group of the device.', device),
  node_network_protocol_type: gauge("Kind of the device, as the kernel's number (1 is Ethernet).", device),
  node_network_speed_bytes: gauge(
    'Speed of the link a second; negative, as in node_exporter, when the driver does not know it.',
    device,
  ),
  node_network_transmit_queue_length: gauge('Packets that may wait to be sent.', device),

  node_arp_entries: gauge('Neighbours in the ARP table.', device),
  node_bonding_slaves: gauge('Links of the bond.', 'master'),
  node_bonding_active: gauge('Links of the bond that are up.', 'master'),
  node_nf_conntrack_stat_found: gauge('Lookups of connections that succeeded.'),
  node_nf_conntrack_stat_invalid: gauge('Packets that cannot be tracked.'),
  node_nf_conntrack_stat_ignore: gauge('Packets that belong to a connection already.'),
  node_nf_conntrack_stat_insert: gauge('Connections taken into the table.'),
  node_nf_conntrack_stat_insert_failed: gauge('Connections that were in the table already.'),
  node_nf_conntrack_stat_drop: gauge('Packets dropped since they could not be tracked.'),
  node_nf_conntrack_stat_early_drop: gauge('Connections dropped to make room.'),
  node_nf_conntrack_stat_search_restart: gauge('Lookups begun anew since the table was resized.'),
  node_softnet_processed_total: counter('Packets that the CPU processed.', 'cpu'),
  node_softnet_dropped_total: counter('Packets dropped since the queue of the CPU was full.', 'cpu'),
  node_softnet_times_squeezed_total: counter('Times the CPU had to stop with packets left.', 'cpu'),
  node_softnet_cpu_collision_total: counter('Collisions on the lock of a device while sending.', 'cpu'),
  node_softnet_received_rps_total: counter('Times the CPU was woken for packets of another.', 'cpu'),
  node_softnet_flow_limit_count_total: counter('Times the flow limit was reached.', 'cpu'),
  node_softnet_backlog_len: gauge('Packets that wait for the CPU.', 'cpu'),
  node_udp_queues: gauge('Bytes in the queues of all UDP sockets.', 'ip', 'queue'),
} as const;

/** The kernel's file of each family that is a number of a device; speed is not among them. */
export const netClassFamilies: readonly (readonly [NetClassField, keyof typeof systemNetworkFamilies])[] = [
  ['addr_assign_type', 'node_network_address_assign_type'],
  ['carrier', 'node_network_carrier'],
  ['carrier_changes', 'node_network_carrier_changes_total'],
  ['carrier_up_count', 'node_network_carrier_up_changes_total'],
  ['carrier_down_count', 'node_network_carrier_down_changes_total'],
  ['dev_id', 'node_network_device_id'],
  ['dormant', 'node_network_dormant'],
  ['flags', 'node_network_flags'],
  ['ifindex', 'node_network_iface_id'],
  ['iflink', 'node_network_iface_link'],
  ['link_mode', 'node_network_iface_link_mode'],
  ['mtu', 'node_network_mtu_bytes'],
  ['name_assign_type', 'node_network_name_assign_type'],
  ['netdev_group', 'node_network_net_dev_group'],
  ['tx_queue_len', 'node_network_transmit_queue_length'],
  ['type', 'node_network_protocol_type'],
];
