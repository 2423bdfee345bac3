// Numbers as String() writes them, but as bytes and without a string between: pages are numbers for the most part. It
// refuses to round: what the quick ways cannot write exactly, String() does.

/** No number takes more. */
export const numberBytesMax = 25;

const billion = 1e9;
/** Below it a number of so many billionths has at most 15 digits: no shorter decimal means the same double. */
const exactMax = 1e15;
/** What is smaller has an exponent. */
const plainMin = 1e-6;

const [zero, point] = [0x30, 0x2e];

/** Where the number ends. `bytes` has room for it. */
export function writeNumber(bytes: Buffer, start: number, value: number): number {
  if (value >= 0 && value < exactMax) {
    const whole = Math.floor(value);
    if (whole === value) return writeWhole(bytes, start, whole);
    // Times in seconds come from nanoseconds, and most other fractions are shorter.
    const billionths = Math.round(value * billion);
    if (value >= plainMin && billionths < exactMax && billionths / billion === value)
      return writeFraction(bytes, writeWhole(bytes, start, whole), billionths - whole * billion);
  }
  return start + bytes.write(String(value), start, 'latin1');
}

function writeWhole(bytes: Buffer, start: number, value: number): number {
  if (value < billion) return writeDigits(bytes, start, value, digitsOf(value));
  const billions = Math.floor(value / billion);
  const end = writeDigits(bytes, start, billions, digitsOf(billions));
  return writeDigits(bytes, end, value - billions * billion, 9);
}

function writeFraction(bytes: Buffer, start: number, billionths: number): number {
  bytes[start] = point;
  let end = writeDigits(bytes, start + 1, billionths, 9);
  while (bytes[end - 1] === zero) end--;
  return end;
}

/** `value` is whole and below a billion. */
function writeDigits(bytes: Buffer, start: number, value: number, digits: number): number {
  let rest = value | 0;
  for (let at = start + digits - 1; at >= start; at--) {
    const tens = (rest / 10) | 0;
    bytes[at] = zero + rest - tens * 10;
    rest = tens;
  }
  return start + digits;
}

function digitsOf(value: number): number {
  let digits = 1;
  for (let bound = 10; value >= bound; bound *= 10) digits++;
  return digits;
}
