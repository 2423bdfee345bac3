// `virsh domstats --raw` as the oracle for our decoder: both sides as a flat map of libvirt's whole field names.
import type { DomainStats } from '../../src/libvirt/stats.js';

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
export function fieldsOf({ domain: _, ...groups }: DomainStats): Map<string, number | string> {
  const { other, vcpus, nets, blocks, iothreads, ...records } = groups;
  const fields = new Map<string, number | string>();
  const add = (prefix: string, record: object) => {
    for (const [key, value] of Object.entries(record)) fields.set(`${prefix}${key}`, value);
  };
  for (const [group, record] of Object.entries(records)) add(`${group}.`, record);
  for (const [group, list] of Object.entries({
    vcpu: vcpus,
    net: nets,
    block: blocks,
    iothread: iothreads,
  })) {
    list.forEach((record, index) => {
      add(`${group}.${index}.`, record);
    });
  }
  add('', other);
  return fields;
}
