// The log: JSON lines, one constant message each, with data as fields. Pretty on a terminal. It refuses to format data
// into messages, and errors are written as code, text and hint, never as a stack at INFO and above.
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

/** Lines that wait for a log file that takes none; more are dropped. */
const logBufferBytesMax = 1024 * 1024;

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
  if (file) return logFile(file);
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

/** A full disk costs log lines, never the service: it is told on standard error, and the file is tried again. */
function logFile(file: string): DestinationStream {
  const stream = pino.destination({
    dest: file,
    append: true,
    mode: 0o640,
    sync: false,
    maxLength: logBufferBytesMax,
  });
  let told = '';
  stream.on('error', (error: Error) => {
    if (error.message !== told)
      process.stderr.write(`the log file ${file} cannot be written: ${error.message}\n`);
    told = error.message;
  });
  return stream;
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
