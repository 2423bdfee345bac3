// Names and labels of another exporter, for those whose dashboards ask for them: AGENT_METRICS_COMPAT=tinkoff writes
// Tinkoff/libvirt-exporter's where it says the same thing in other words. It refuses to invent what we do not have, and
// leaves alone what that exporter does not have.
import type { FamilyName } from './families.js';

/** What a family is called there; of labels that differ, their name, or null where it has none. */
type Renamed = { name: string; labels?: Readonly<Record<string, string | null>> };

export type Compat = ReadonlyMap<FamilyName, Renamed>;

const pool = { storage_pool: 'pool' };

const tinkoffNames: Partial<Record<FamilyName, Renamed>> = {
  libvirt_domain_info_state: { name: 'libvirt_domain_info_vstate', labels: { state_desc: null } },
  libvirt_domain_openstack_info: {
    name: 'libvirt_domain_info_meta',
    labels: {
      instance_id: 'uuid',
      flavor_name: 'flavor',
      user_id: 'user_uuid',
      project_id: 'project_uuid',
    },
  },
  libvirt_domain_memory_stats_current_balloon_bytes: {
    name: 'libvirt_domain_memory_stats_actual_balloon_bytes',
  },
  libvirt_domain_memory_stats_disk_caches_bytes: { name: 'libvirt_domain_memory_stats_disk_cache_bytes' },
  libvirt_domain_block_stats_info: {
    name: 'libvirt_domain_block_meta',
    labels: { target_bus: 'bus', driver_cache: 'cache', driver_discard: 'discard' },
  },
  libvirt_domain_block_stats_allocation_bytes: { name: 'libvirt_domain_block_stats_allocation' },
  libvirt_domain_interface_stats_info: { name: 'libvirt_domain_interface_meta' },
  libvirt_storage_pool_capacity_bytes: { name: 'libvirt_pool_info_capacity_bytes', labels: pool },
  libvirt_storage_pool_allocation_bytes: { name: 'libvirt_pool_info_allocation_bytes', labels: pool },
  libvirt_storage_pool_available_bytes: { name: 'libvirt_pool_info_available_bytes', labels: pool },
};

/** By the value of AGENT_METRICS_COMPAT; inovex's names are those in the code. */
export const compats: Readonly<Record<'inovex' | 'tinkoff', Compat | undefined>> = {
  inovex: undefined,
  tinkoff: new Map(Object.entries(tinkoffNames) as [FamilyName, Renamed][]),
};

/** `labels` as they stand between the braces. */
export function renameLabels(labels: string, renames: Readonly<Record<string, string | null>>): string {
  let renamed = '';
  for (const [, name = '', value = ''] of labels.matchAll(/(\w+)=("(?:[^"\\]|\\.)*")/g)) {
    const to = Object.hasOwn(renames, name) ? renames[name] : name;
    if (to) renamed += `${renamed && ','}${to}=${value}`;
  }
  return renamed;
}
