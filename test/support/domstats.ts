// `virsh domstats --raw` as the oracle for our decoder: both sides as a flat map of libvirt's whole field names.
import type { DomainStats, StatRecord } from '../../src/libvirt/stats.js';

/** Domain name → field → text, as virsh printed it. */
export function domstats(text: string): Map<string, Map<string, string>> {
  const domains = new Map<string, Map<string, string>>();
  let fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, name] = /^Domain: '(.*)'$/.exec(line) ?? [];
    const [, field, value] = /^ {2}([^=]+)=(.*)$/.exec(line) ?? [];
    if (name !== undefined) {
      fields = new Map();
      domains.set(name, fields);
    } else if (field !== undefined && value !== undefined) {
      fields.set(field, value);
    }
  }
  return domains;
}

/** Our record, flattened back to libvirt's names. */
export function fieldsOf(stats: DomainStats): Map<string, number | string> {
  const fields = new Map<string, number | string>();
  const add = (prefix: string, record: StatRecord) => {
    for (const [key, value] of Object.entries(plainRecord(record)))
      if (value !== undefined) fields.set(`${prefix}${key}`, value);
  };
  const { state, cpu, balloon, vcpu, perf, memory, dirtyrate, other } = stats;
  const records = { state, cpu, balloon, vcpu, perf, memory, dirtyrate };
  for (const [group, record] of Object.entries(records)) add(`${group}.`, record);
  const { vcpus, nets, blocks, iothreads } = stats;
  const lists = { vcpu: vcpus, net: nets, block: blocks, iothread: iothreads };
  for (const [group, list] of Object.entries(lists))
    for (const [index, record] of list.entries()) add(`${group}.${index}.`, record);
  add('', other);
  return fields;
}

/** With properties of its own in place of getters, to compare with what is expected. */
export function plain(stats: DomainStats): DomainStats {
  const { domain, state, cpu, balloon, vcpu, vcpus, nets, blocks, iothreads } = stats;
  const { perf, memory, dirtyrate, other } = stats;
  return {
    domain,
    state: plainRecord(state),
    cpu: plainRecord(cpu),
    balloon: plainRecord(balloon),
    vcpu: plainRecord(vcpu),
    vcpus: vcpus.map(plainRecord),
    nets: nets.map(plainRecord),
    blocks: blocks.map(plainRecord),
    iothreads: iothreads.map(plainRecord),
    perf: plainRecord(perf),
    memory: plainRecord(memory),
    dirtyrate: plainRecord(dirtyrate),
    other: plainRecord(other),
  };
}

function plainRecord(record: StatRecord): StatRecord {
  const own: StatRecord = {};
  for (const key in record) own[key] = record[key];
  return own;
}
