// Whether the backend knows of a newer collector. It only compares: it never downloads.
const versionForm = /^v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$/;

/** By the rules of semver; false when either is no version. */
export function isNewer(latest: string, ours: string): boolean {
  const [a, b] = [versionForm.exec(latest.trim()), versionForm.exec(ours.trim())];
  if (!a || !b) return false;
  for (const part of [1, 2, 3]) {
    const difference = Number(a[part]) - Number(b[part]);
    if (difference !== 0) return difference > 0;
  }
  const [pre, ourPre] = [a[4], b[4]];
  if (pre === ourPre || ourPre === undefined) return false;
  return pre === undefined || comparePre(pre, ourPre) > 0;
}

function comparePre(a: string, b: string): number {
  const [left, right] = [a.split('.'), b.split('.')];
  for (const [index, one] of left.entries()) {
    const other = right[index];
    if (other === undefined) return 1;
    if (one === other) continue;
    const [numeric, otherNumeric] = [/^\d+$/.test(one), /^\d+$/.test(other)];
    if (numeric && otherNumeric) return Number(one) - Number(other);
    if (numeric !== otherNumeric) return numeric ? -1 : 1;
    return one < other ? -1 : 1;
  }
  return left.length - right.length;
}
