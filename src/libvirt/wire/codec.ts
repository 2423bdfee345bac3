// Codecs from parts: each says once how a value is read and written, and TypeScript infers the value's type from it.
// They hold no bytes and know no procedure. Lists are bounded by what their elements need at the least.
import { protocolError, type XdrReader, type XdrWriter } from './xdr.js';

export type Codec<T> = {
  read(reader: XdrReader): T;
  write(writer: XdrWriter, value: T): void;
  /** Bytes that the shortest value takes. */
  bytesMin: number;
};

type Primitive = 'int' | 'uint' | 'hyper' | 'uhyper' | 'double';

const number = (kind: Primitive, bytesMin: number): Codec<number> => ({
  read: (reader) => reader[kind](),
  write: (writer, value) => writer[kind](value),
  bytesMin,
});

export const int = number('int', 4);
export const uint = number('uint', 4);
/** 64-bit integers are the nearest double: exact up to 2^53. */
export const hyper = number('hyper', 8);
export const uhyper = number('uhyper', 8);
export const double = number('double', 8);

export const bool: Codec<boolean> = {
  read: (reader) => reader.bool(),
  write: (writer, value) => writer.bool(value),
  bytesMin: 4,
};

export const string: Codec<string> = {
  read: (reader) => reader.string(),
  write: (writer, value) => writer.string(value),
  bytesMin: 4,
};

export const nothing: Codec<void> = { read: () => undefined, write: () => undefined, bytesMin: 0 };

/** What is left of the message, undecoded: for readers that do better than a codec. */
export const rest: Codec<Buffer> = {
  read: (reader) => reader.rest(),
  write: (writer, value) => writer.opaque(value),
  bytesMin: 0,
};

export const hexDigits = '0123456789abcdef';
const dash = 0x2d;
/** Where the next one is put together: pieces that are joined stay pieces in memory, and there is one for each VM. */
const uuidText = Buffer.from('........-....-....-....-............');

/** 16 bytes, as people write them: 8-4-4-4-12, lower case. */
export const uuid: Codec<string> = {
  read: (reader) => {
    let at = 0;
    for (const byte of reader.opaque(16)) {
      if (uuidText[at] === dash) at++;
      uuidText[at++] = hexDigits.charCodeAt(byte >> 4);
      uuidText[at++] = hexDigits.charCodeAt(byte & 15);
    }
    return uuidText.toString('latin1');
  },
  write: (writer, value) => {
    const bytes = Buffer.from(value.replaceAll('-', ''), 'hex');
    if (bytes.length !== 16) throw new RangeError(`${value} is not a UUID`);
    writer.opaque(bytes);
  },
  bytesMin: 16,
};

/** libvirt's `char name[length]`: each character in a word of its own, ended by a zero. */
export function fixedChars(length: number): Codec<string> {
  return {
    read: (reader) => {
      const chars = Array.from({ length }, () => reader.int() & 0xff);
      return Buffer.from(chars).toString('utf8').replace(/\0.*$/s, '');
    },
    write: (writer, value) => {
      const chars = Buffer.from(value);
      for (let index = 0; index < length; index++) writer.int(chars[index] ?? 0);
    },
    bytesMin: 4 * length,
  };
}

export function optional<T>(of: Codec<T>): Codec<T | null> {
  return {
    read: (reader) => (reader.bool() ? of.read(reader) : null),
    write: (writer, value) => {
      writer.bool(value !== null);
      if (value !== null) of.write(writer, value);
    },
    bytesMin: 4,
  };
}

export function array<T>(of: Codec<T>, countMax: number): Codec<T[]> {
  return {
    read: (reader) => {
      const values: T[] = [];
      for (let left = reader.count(of.bytesMin, countMax); left > 0; left--) values.push(of.read(reader));
      return values;
    },
    write: (writer, values) => {
      writer.uint(values.length);
      for (const value of values) of.write(writer, value);
    },
    bytesMin: 4,
  };
}

/** Fields in the order in which they are written here. */
export function struct<T extends object>(fields: { [K in keyof T]: Codec<T[K]> }): Codec<T> {
  const names = Object.keys(fields) as (keyof T)[];
  return {
    read: (reader) => {
      const value = {} as T;
      for (const name of names) value[name] = fields[name].read(reader);
      return value;
    },
    write: (writer, value) => {
      for (const name of names) fields[name].write(writer, value[name]);
    },
    bytesMin: names.reduce((sum, name) => sum + fields[name].bytesMin, 0),
  };
}

/** libvirt's self-describing values; `type` is its VIR_TYPED_PARAM_*. */
export type TypedParam = { field: string } & (
  | { type: 'int' | 'uint' | 'llong' | 'ullong' | 'double'; value: number }
  | { type: 'boolean'; value: boolean }
  | { type: 'string'; value: string }
);

export const typedParamNumber = {
  int: 1,
  uint: 2,
  llong: 3,
  ullong: 4,
  double: 5,
  boolean: 6,
  string: 7,
} as const;

const typedParam: Codec<TypedParam> = {
  read: (reader) => {
    const field = reader.string();
    const type = reader.uint();
    switch (type) {
      case typedParamNumber.int:
        return { field, type: 'int', value: reader.int() };
      case typedParamNumber.uint:
        return { field, type: 'uint', value: reader.uint() };
      case typedParamNumber.llong:
        return { field, type: 'llong', value: reader.hyper() };
      case typedParamNumber.ullong:
        return { field, type: 'ullong', value: reader.uhyper() };
      case typedParamNumber.double:
        return { field, type: 'double', value: reader.double() };
      case typedParamNumber.boolean:
        return { field, type: 'boolean', value: reader.bool() };
      case typedParamNumber.string:
        return { field, type: 'string', value: reader.string() };
      default:
        throw protocolError(`a value of the unknown type ${type}`);
    }
  },
  write: (writer, param) => {
    writer.string(param.field);
    writer.uint(typedParamNumber[param.type]);
    if (param.type === 'string') writer.string(param.value);
    else if (param.type === 'boolean') writer.bool(param.value);
    else typedNumber[param.type].write(writer, param.value);
  },
  bytesMin: 12,
};

const typedNumber = { int, uint, llong: hyper, ullong: uhyper, double } as const;

export const typedParams = (countMax: number): Codec<TypedParam[]> => array(typedParam, countMax);
