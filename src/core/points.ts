// A point of a graph in two bytes: 6 bits of exponent, 10 of mantissa. That is true to one part in 2,000, less than a graph
// shows, from 0.00002 to 100 million million, and whole up to 2,048. A large fleet has 20 million points. It refuses negative
// numbers, which no graph has: they are not known.
const mantissaBits = 10;
const floatMantissaBits = 23;
const dropped = floatMantissaBits - mantissaBits;
/** Exponents of a 32-bit float from 2^-16 on: what is less is 0. */
const exponentFrom = 127 - 16;
const offset = exponentFrom << mantissaBits;

export const unknownPoint = 0xffff;
const pointMax = unknownPoint - 1;

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

export function pointOf(value: number): number {
  if (!(value >= 0)) return unknownPoint;
  float[0] = value;
  // half of what is dropped, so that it is rounded
  const point = (((bits[0] as number) + (1 << (dropped - 1))) >>> dropped) - offset;
  return Math.min(Math.max(point, 0), pointMax);
}

export function figureOf(point: number): number | undefined {
  if (point === unknownPoint) return undefined;
  if (point === 0) return 0;
  bits[0] = (point + offset) << dropped;
  return float[0];
}
