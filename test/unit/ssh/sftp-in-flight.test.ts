import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InFlight } from '../../../src/ssh/sftp-in-flight.js';

describe('requests in flight', () => {
  it('are found by their id until they are deleted, in any order and number, oldest first', () => {
    const steps = fc.array(fc.oneof(fc.constant('add' as const), fc.nat()), { maxLength: 600 });
    fc.assert(
      fc.property(steps, (all) => {
        const inFlight = new InFlight<object>();
        const known = new Map<number, object>();
        let last = -1;
        for (const step of all) {
          if (step === 'add') {
            const request = {};
            last = inFlight.add(request);
            known.set(last, request);
          } else {
            const id = [...known.keys()][step % Math.max(1, known.size)] ?? step;
            expect(inFlight.get(id)).toBe(known.get(id));
            inFlight.delete(id);
            known.delete(id);
          }
        }
        expect([...inFlight.values()]).toEqual([...known.values()]);
        expect(inFlight.get(last + 1)).toBeUndefined();
        expect(inFlight.get(-1)).toBeUndefined();
      }),
    );
  });

  it('stay in place while one before them is never answered', () => {
    const inFlight = new InFlight<number>();
    const first = inFlight.add(0);
    for (let n = 1; n < 1_000; n++) {
      const id = inFlight.add(n);
      expect(id).toBe(n);
      expect(inFlight.get(id)).toBe(n);
      if (n % 3 > 0) inFlight.delete(id);
    }
    expect([...inFlight.values()]).toEqual(Array.from({ length: 334 }, (_, n) => n * 3));
    inFlight.delete(first);
    expect(inFlight.get(first)).toBeUndefined();
    expect(inFlight.get(3)).toBe(3);
  });

  it('are given up when one of them is not answered while thousands behind it are', () => {
    const inFlight = new InFlight<string>();
    inFlight.add('never answered');
    const answered = () => inFlight.delete(inFlight.add('answered'));
    for (let n = 1; n < 16_384; n++) answered();
    expect(answered).toThrow('never answered');
  });

  it('are all gone after clear, and their ids are not given again', () => {
    const inFlight = new InFlight<string>();
    const old = inFlight.add('a');
    inFlight.clear();
    expect(inFlight.get(old)).toBeUndefined();
    expect(inFlight.add('b')).toBe(old + 1);
    expect([...inFlight.values()]).toEqual(['b']);
  });
});
