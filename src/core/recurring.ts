// One copy of each word that every host says again: `virtio`, `qcow2`, a type of machine, the name of a network. A hundred
// thousand disks and interfaces would hold as many copies of them. It refuses to grow: when it is full, it begins anew, and what
// was given out stays as it is.
const wordsMax = 4_096;
const recordsMax = 1_024;
/** What is longer is hardly said twice. */
const charsMax = 64;
const recordCharsMax = 256;

const words = new Map<string, string>();
/** By what they say. */
const records = new Map<string, object>();

/** The same text, and mostly the same string as the last time. Give it a copy: what it keeps would keep a larger text alive. */
export function recurring(text: string): string {
  if (text.length > charsMax) return text;
  const known = words.get(text);
  if (known !== undefined) return known;
  if (words.size >= wordsMax) words.clear();
  words.set(text, text);
  return text;
}

/** The same for a small record: frozen, since many hold it. */
export function recurringRecord<T extends Readonly<Record<string, string | number | undefined>>>(
  record: T,
): Readonly<T> {
  const key = JSON.stringify(record);
  const known = records.get(key);
  if (known !== undefined) return known as Readonly<T>;
  if (records.size >= recordsMax) records.clear();
  if (key.length <= recordCharsMax) records.set(key, Object.freeze(record));
  return record;
}
