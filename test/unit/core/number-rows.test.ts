import { describe, expect, it } from 'vitest';
import { RowList, rowShape } from '../../../src/core/number-rows.js';
import { plainRows } from '../../support/plain-rows.js';

type Device = { device: string; received: number; sent: number; errors?: number };
const shape = rowShape<Device>('device', ['received', 'sent', 'errors']);

function add(list: RowList<Device>, device: string, ...numbers: number[]): void {
  list.begin(device);
  for (const number of numbers) list.push(number);
}

describe('rows of numbers', () => {
  it('are what was pushed, in order, however many; what was not pushed is absent', () => {
    const list = new RowList(shape, 1);
    for (let n = 0; n < 100; n++) add(list, `d${n}`, n, 2 ** 53 - n, ...(n % 2 ? [n / 8] : []));
    expect(plainRows(list.rows())).toEqual(
      Array.from({ length: 100 }, (_, n) => ({
        ...{ device: `d${n}`, received: n, sent: 2 ** 53 - n },
        errors: n % 2 ? n / 8 : undefined,
      })),
    );
  });

  it('leave no trace of one that was dropped, and take the later of two with one key', () => {
    const list = new RowList(shape, 4);
    add(list, 'a', 1, 2, 3);
    add(list, 'bad', 9, 9, 9);
    list.drop('bad');
    expect(list.has('bad')).toBe(false);
    add(list, 'b', 4);
    add(list, 'a', 5, 6);
    expect(plainRows(list.rows())).toEqual([
      { device: 'a', received: 5, sent: 6, errors: undefined },
      { device: 'b', received: 4, sent: undefined, errors: undefined },
    ]);
  });

  it('can be copied with another number, are not to be written, and show in JSON', () => {
    const list = new RowList(shape, 1);
    add(list, 'a', 1, 2);
    const [row] = list.rows();
    if (!row) throw new Error('no row');
    const other = shape.changed(row, 'errors', 7);
    expect([row.errors, other.errors, other.device, other.sent]).toEqual([undefined, 7, 'a', 2]);
    expect(() => {
      row.sent = 5;
    }).toThrow(TypeError);
    expect(JSON.parse(JSON.stringify([other]))).toEqual([{ device: 'a', received: 1, sent: 2, errors: 7 }]);
    expect(new RowList(shape, 0).rows()).toEqual([]);
  });
});
