// Where the value of a domain statistic belongs, told from libvirt's name for it. Names recur on every host, so what was found
// is kept for all connections. It refuses to grow without bound: when too many different names have come, it forgets them all.

export type RecordGroup = 'state' | 'cpu' | 'balloon' | 'vcpu' | 'perf' | 'memory' | 'dirtyrate' | 'other';
export type ListGroup = 'vcpus' | 'nets' | 'blocks' | 'iothreads';

/** `place` is the same for all fields of one record. */
export type Field = { name: string; place: number; key: string } & (
  | { group: RecordGroup; index: undefined }
  | { group: ListGroup; index: number }
);

/** A field with a higher index goes to `other`. */
const elementIndexMax = 16_383;
/** Different field names remembered, over all connections. */
const fieldsRememberedMax = 32_768;
/** libvirt's own limit is 80. */
export const fieldCharsRememberedMax = 128;

const fields = new Map<string, Field>();

export function fieldNamed(name: string): Field {
  const known = fields.get(name);
  if (known) return known;
  const field = fieldOf(name);
  if (name.length <= fieldCharsRememberedMax) {
    if (fields.size >= fieldsRememberedMax) fields.clear();
    fields.set(name, field);
  }
  return field;
}

const recordGroups: readonly RecordGroup[] = [
  'other',
  'state',
  'cpu',
  'balloon',
  'vcpu',
  'perf',
  'memory',
  'dirtyrate',
];
const listGroups = new Map<string, ListGroup>([
  ['vcpu', 'vcpus'],
  ['net', 'nets'],
  ['block', 'blocks'],
  ['iothread', 'iothreads'],
]);
const listOrder = [...listGroups.keys()];
/** group, index, key; a key of digits alone would turn the record into an array. */
const fieldForm = /^([a-z]+)\.(?:(0|[1-9]\d{0,4})\.)?(.*\D.*)$/s;

function fieldOf(name: string): Field {
  const [, head = '', digits, key = ''] = fieldForm.exec(name) ?? [];
  const list = listGroups.get(head);
  const index = Number(digits);
  if (list !== undefined && index <= elementIndexMax) {
    const place = recordGroups.length + index * listGroups.size + listOrder.indexOf(head);
    return { name, place, key, group: list, index };
  }
  const group = recordGroups.find((known) => known === head);
  if (group === undefined || group === 'other' || digits !== undefined) {
    return { name, place: 0, key: /\D/.test(name) ? name : `.${name}`, group: 'other', index: undefined };
  }
  return { name, place: recordGroups.indexOf(group), key, group, index: undefined };
}
