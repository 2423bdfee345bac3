// The log: JSON lines, one constant message each, with data as fields. Pretty on a terminal. It refuses to format data
// into messages, and errors are written as code, text and hint, never as a stack at INFO and above.
import { createWriteStream } from 'node:fs';
import { type DestinationStream, type Logger, pino } from 'pino';
import pretty from 'pino-pretty';
import { describe, HostError, hintOf } from './errors.js';

export type Log = Logger;
export type LogLevel = 'DEBUG' | 'INFO' | 'WARNING' | 'ERROR' | 'CRITICAL';

const pinoLevel = {
  DEBUG: 'debug',
  INFO: 'info',
  WARNING: 'warn',
  ERROR: 'error',
  CRITICAL: 'fatal',
} as const;

export type LogOptions = { level: LogLevel; file?: string | undefined; version?: string };

export function createLog({ level, file }: LogOptions): Log {
  return pino(
    {
      level: pinoLevel[level],
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: errorFields },
    },
    destination(file),
  );
}

/** A log that says nothing: the default of library code and tests. */
export const silentLog: Log = pino({ level: 'silent' });

function destination(file: string | undefined): DestinationStream {
  if (file) return createWriteStream(file, { flags: 'a', mode: 0o640 });
  if (process.stdout.isTTY) {
    return pretty({
      colorize: true,
      translateTime: 'SYS:HH:MM:ss',
      ignore: 'pid,hostname',
      singleLine: true,
      sync: true,
    });
  }
  return pino.destination({ dest: 1, sync: false });
}

function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const fields: Record<string, unknown> = { text: describe(error) };
  if (error instanceof HostError) {
    fields.code = error.code;
    fields.outcome = error.outcome;
  } else {
    fields.stack = error.stack;
  }
  const hint = hintOf(error);
  if (hint) fields.hint = hint;
  return fields;
}
