// V8 throws compiled code away when the last object of the kind that it was made for is collected. What lives for a few lines of
// a poll, a reader of one answer, is never alive when the heap is searched, every few seconds with a thousand hosts: its code would be
// compiled anew as often. One of each such kind that stays is enough. It refuses to give it back.

const kept: object[] = [];

/** `one`: made by its constructor as all others are, so that it is of their shape. */
export function keepOne(one: object): void {
  kept.push(one);
}
