// Settings from the environment, judged once at the start. Every problem is named, not only the first. It refuses to
// guess: a wrong value, or a variable and its _FILE at the same time, is a problem; an empty variable counts as unset.
import { accessSync, closeSync, constants, openSync, readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { z } from 'zod';
import type { LogLevel } from './log.js';
import { Secret } from './secret.js';
import { addresses, Refused, roleMap, shard, shown } from './setting-values.js';
import { didYouMean } from './suggest.js';

/** Largest file that a NAME_FILE may name, bytes. */
const valueBytesMax = 64 * 1024;

const secondMs = 1000;
const dayS = 86_400;
const portMax = 65_535;

const logLevels = ['DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL'] as const satisfies readonly LogLevel[];
const loopbackName = /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/i;

/** A setting: raw text → value. */
function setting<T>(parse: (text: string) => T) {
  return z.string().transform((text, context): T => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
      return z.NEVER;
    }
  });
}

const text = setting((given) => given);
const secret = setting((given) => new Secret(given));

const flag = setting((given) => {
  if (/^(true|1|yes|on)$/i.test(given)) return true;
  if (/^(false|0|no|off)$/i.test(given)) return false;
  throw new Refused(`must be true or false, not ${shown(given)}`);
});

function number(min: number, max: number, what: string, whole = false) {
  return setting((given) => {
    const value = /^\d{1,12}(\.\d{1,9})?$/.test(given) ? Number(given) : Number.NaN;
    if (value >= min && value <= max && (!whole || Number.isInteger(value))) return value;
    throw new Refused(`must be ${what} from ${min} to ${max}, not ${shown(given)}`);
  });
}

/** Seconds → milliseconds. */
function seconds(min: number, max: number) {
  return number(min, max, 'a number of seconds').transform((value) => Math.round(value * secondMs));
}

/** A file that must be there, and readable, when the service starts. */
const readableFile = setting((path) => {
  try {
    accessSync(path, constants.R_OK);
    if (statSync(path).isDirectory()) throw new Refused(`names a folder: ${path}: name the file in it`);
    return path;
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused(`names a file that ${cannotRead(error)}: ${path}: create it, or unset the variable`);
  }
});

/** `stdout` and `-` stand for standard output. Otherwise a file that can be appended to; it is created here. */
const logFile = setting((path): string | undefined => {
  if (path === 'stdout' || path === '-') return undefined;
  try {
    closeSync(openSync(path, 'a', 0o640));
    return path;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'its folder does not exist' : cannotWrite(error);
    throw new Refused(
      `names a file that cannot be written: ${path}: ${why}; mend that, or unset the variable`,
    );
  }
});

function url(schemes: readonly string[], example: string) {
  return (given: string): URL => {
    const parsed = URL.canParse(given) ? new URL(given) : undefined;
    if (parsed?.hostname && schemes.includes(parsed.protocol)) return parsed;
    const names = schemes.map((scheme) => `${scheme}//`).join(' or ');
    throw new Refused(`must be a URL that begins with ${names}, such as ${example}`);
  };
}

function httpUrl(given: string): string {
  const parsed = url(['https:', 'http:'], 'https://backend.example.net')(given);
  if (parsed.username || parsed.password) {
    throw new Refused('holds a user or password: take them out; AGENT_TOKEN is what the backend wants');
  }
  if (parsed.search || parsed.hash) throw new Refused('holds a ? or #: give the address alone');
  return parsed.href.replace(/\/+$/, '');
}

const redisUrl = setting((given) => {
  url(['redis:', 'rediss:'], 'redis://127.0.0.1:6379')(given);
  return new Secret(given);
});

type ListenAddress = { host: string; port: number };

/** `host:port`, `[v6]:port`, `:port` or a port alone (all IPv4 addresses). Port 0 takes any free one. */
function listenAddress(given: string): ListenAddress {
  const match = /^(?:(\[[^\]]*\]|[^:[\]]*):)?(\d{1,5})$/.exec(given);
  const port = Number(match?.[2]);
  const named = match?.[1] ?? '';
  const host = named.replace(/^\[(.*)\]$/, '$1');
  const bracketed = named.startsWith('[');
  const good = host === '' ? !bracketed : bracketed ? isIP(host) === 6 : isListenName(host);
  if (match && good && port <= portMax) return { host: host === '' ? '0.0.0.0' : host, port };
  throw new Refused(`must be address:port, such as 127.0.0.1:9177 or [::1]:9177, not ${shown(given)}`);
}

function isListenName(host: string): boolean {
  if (isIP(host)) return true;
  return !/^[\d.]+$/.test(host) && /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(host);
}

const logLevel = setting((given): LogLevel => {
  const known = logLevels.find((level) => level === given.toUpperCase());
  if (known) return known;
  const near = didYouMean(given, logLevels);
  throw new Refused(`must be one of ${logLevels.join(', ')}, not ${shown(given)}${near ? `. ${near}` : ''}`);
});

const daemonUri = setting((given) => {
  if (/^(qemu|test):\/\/\/[^?#\s]+$/.test(given)) return given;
  throw new Refused(
    `must be a URI on the host itself, such as qemu:///system, not ${shown(given)}: a host's own qemu+ssh:// URI belongs in the inventory`,
  );
});

const agentId = setting((given) => {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(given)) return given;
  throw new Refused(
    `must be a UUID, or up to 128 letters, digits, dots, dashes and underscores, not ${shown(given)}`,
  );
});

const exporters = ['inovex', 'tinkoff'] as const;

const metricsCompat = setting((given): (typeof exporters)[number] => {
  const known = exporters.find((exporter) => exporter === given.toLowerCase());
  if (known) return known;
  const near = didYouMean(given, exporters);
  throw new Refused(`must be one of ${exporters.join(', ')}, not ${shown(given)}${near ? `. ${near}` : ''}`);
});

/** Every variable, in the order people read about them. Defaults are those outside the container image. */
const Environment = z.object({
  AGENT_INVENTORY: text.default('./inventory.yaml'),
  AGENT_LISTEN: setting(listenAddress).default({ host: '127.0.0.1', port: 9177 }),
  AGENT_DATA_DIR: text.default('./data'),
  AGENT_REDIS_URL: redisUrl.optional(),
  AGENT_SHARD: setting(shard).optional(),
  AGENT_BACKEND_URL: setting(httpUrl).optional(),
  AGENT_BACKEND_INSECURE: flag.default(false),
  AGENT_TOKEN: secret.optional(),
  AGENT_ID: agentId.optional(),
  AGENT_NAME: text.default('outrigger'),
  AGENT_LIBVIRT_URI: daemonUri.default('qemu:///system'),
  AGENT_SSL_VERIFY: flag.default(true),
  AGENT_SSL_CA_PATH: readableFile.optional(),
  AGENT_SSL_CERT_PATH: readableFile.optional(),
  AGENT_SSL_KEY_PATH: readableFile.optional(),
  AGENT_POLL_INTERVAL: seconds(0.1, 3600).default(15 * secondMs),
  AGENT_METRICS_INTERVAL: seconds(1, dayS).default(60 * secondMs),
  AGENT_HEARTBEAT_INTERVAL: seconds(1, dayS).default(30 * secondMs),
  AGENT_API_TIMEOUT: seconds(0.1, 3600).default(30 * secondMs),
  AGENT_RETRY_ATTEMPTS: number(0, 100, 'a whole number', true).default(3),
  AGENT_RETRY_BACKOFF: number(1, 60, 'a number').default(2),
  AGENT_LOG_LEVEL: logLevel.default('INFO'),
  AGENT_LOG_FILE: logFile.optional(),
  AGENT_AUTO_REGISTER: flag.default(true),
  AGENT_UPDATE_CHECK_INTERVAL: seconds(0, 30 * dayS).default(3600 * secondMs),
  AGENT_API_TOKENS_FILE: readableFile.optional(),
  AGENT_JWKS_URL: setting(httpUrl).optional(),
  AGENT_JWT_AUDIENCE: text.optional(),
  AGENT_JWT_ISSUER: text.optional(),
  AGENT_JWT_ROLE_CLAIM: text.default('role'),
  AGENT_JWT_ROLE_MAP: setting(roleMap).optional(),
  AGENT_JWT_HOSTS_CLAIM: text.optional(),
  AGENT_TRUSTED_PROXIES: setting(addresses).optional(),
  AGENT_METRICS_TOKEN_FILE: readableFile.optional(),
  AGENT_METRICS_COMPAT: metricsCompat.default('inovex'),
  AGENT_API_URL: setting(httpUrl).default('http://127.0.0.1:9177'),
  AGENT_API_TOKEN: secret.optional(),
});
type Environment = z.infer<typeof Environment>;
type Name = keyof Environment;

const names = Object.keys(Environment.shape) as Name[];

/** The settings in force. Durations are milliseconds; a key that may be undefined was not set. */
export type Settings = ReturnType<typeof settingsOf>;

export type LoadedSettings = {
  /** Absent when there is any problem. */
  settings?: Settings;
  /** One line each: the variable, what is wrong, the mend. */
  problems: string[];
  /** One line each; they stop nothing. */
  warnings: string[];
};

/** Reads `env` and the files that NAME_FILE variables name. */
export function loadSettings(env: Readonly<Record<string, string | undefined>>): LoadedSettings {
  const { raw, sources, problems } = readVariables(env);
  const parsed = Environment.safeParse(raw);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      problems.push(`${sources.get(String(issue.path[0])) ?? String(issue.path[0])} ${issue.message}`);
    }
  }
  problems.push(...contradictions(raw));
  const warnings = [...unknownNames(env), ...(parsed.success ? advice(parsed.data) : [])];
  if (!parsed.success || problems.length > 0) return { problems, warnings };
  return { settings: settingsOf(parsed.data), problems, warnings };
}

function readVariables(env: Readonly<Record<string, string | undefined>>) {
  const raw: Partial<Record<Name, string>> = {};
  /** What people wrote: `AGENT_TOKEN`, or `AGENT_TOKEN_FILE` when the value came from there. */
  const sources = new Map<string, string>();
  const problems: string[] = [];
  for (const name of names) {
    const value = env[name]?.trim();
    const fileName = `${name}_FILE`;
    const file = env[fileName]?.trim();
    if (value && file) {
      problems.push(`${name} and ${fileName} are both set: keep one`);
    } else if (value) {
      raw[name] = value;
    } else if (file) {
      const read = readValue(file);
      sources.set(name, `${fileName} (the text of ${file})`);
      if ('value' in read) raw[name] = read.value;
      else problems.push(`${fileName} ${read.problem}`);
    }
  }
  return { raw, sources, problems };
}

function readValue(file: string): { value: string } | { problem: string } {
  try {
    if (statSync(file).size > valueBytesMax) {
      return {
        problem: `names a file larger than ${valueBytesMax / 1024} KiB: ${file}: name a file that holds the value alone`,
      };
    }
    const value = readFileSync(file, 'utf8').trim();
    return value
      ? { value }
      : { problem: `names an empty file: ${file}: write the value into it, or unset the variable` };
  } catch (error) {
    return { problem: `names a file that ${cannotRead(error)}: ${file}: create it, or unset the variable` };
  }
}

function cannotRead(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'does not exist';
  if (code === 'EACCES' || code === 'EPERM') return 'this user may not read';
  if (code === 'EISDIR') return 'is a folder';
  return `cannot be read (${code ?? String(error)})`;
}

function cannotWrite(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return 'this user may not write it';
  if (code === 'EISDIR') return 'it is a folder';
  return code ?? String(error);
}

/** Rules about two variables; they look at raw text so that they are told also when another variable is wrong. */
function contradictions(raw: Partial<Record<Name, string>>): string[] {
  const problems: string[] = [];
  const insecure = /^(true|1|yes|on)$/i.test(raw.AGENT_BACKEND_INSECURE ?? '');
  if (isPlainHttpElsewhere(raw.AGENT_BACKEND_URL) && !insecure) {
    problems.push(
      'AGENT_BACKEND_URL must be https, because the token would travel in the clear: use https, or set AGENT_BACKEND_INSECURE=true',
    );
  }
  if (isPlainHttpElsewhere(raw.AGENT_JWKS_URL)) {
    problems.push(
      'AGENT_JWKS_URL must be https, because whoever changes the answer can sign tokens: use https',
    );
  }
  const pair = ['AGENT_SSL_CERT_PATH', 'AGENT_SSL_KEY_PATH'] as const;
  for (const [set, missing] of [pair, [pair[1], pair[0]] as const]) {
    if (raw[set] && !raw[missing]) {
      problems.push(
        `${missing} is missing, because ${set} is set: mutual TLS needs the certificate and its key, set both or neither`,
      );
    }
  }
  for (const name of ['AGENT_JWT_AUDIENCE', 'AGENT_JWT_ISSUER'] as const) {
    if (raw.AGENT_JWKS_URL && !raw[name]) {
      problems.push(
        `${name} is missing, because AGENT_JWKS_URL is set: without it, tokens made for others would be let in`,
      );
    }
  }
  return problems;
}

function isPlainHttpElsewhere(given: string | undefined): boolean {
  if (!given || !URL.canParse(given)) return false;
  const { protocol, hostname } = new URL(given);
  return protocol === 'http:' && !loopbackName.test(hostname);
}

function unknownNames(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = new Set<string>(names.flatMap((name) => [name, `${name}_FILE`]));
  return Object.keys(env)
    .filter((name) => name.startsWith('AGENT_') && !known.has(name))
    .map((name) => {
      const candidates = name.endsWith('_FILE') ? known : names;
      return `${name} is not a setting and is ignored. ${didYouMean(name, candidates) ?? 'Take it out.'}`;
    });
}

function advice(env: Environment): string[] {
  const warnings: string[] = [];
  if (env.AGENT_BACKEND_URL && env.AGENT_AUTO_REGISTER && !env.AGENT_TOKEN) {
    warnings.push(
      'AGENT_TOKEN is not set: hosts cannot be registered with the backend unless it knows them already',
    );
  }
  if (env.AGENT_BACKEND_URL && env.AGENT_SHARD && !env.AGENT_ID) {
    warnings.push(
      'AGENT_ID is not set: a host that moves to another shard becomes another agent at the backend; give all shards the same one',
    );
  }
  if (env.AGENT_BACKEND_URL && !env.AGENT_SSL_VERIFY) {
    warnings.push(
      'AGENT_SSL_VERIFY is false: anyone between here and the backend can read and change what is sent',
    );
  }
  return warnings;
}

function settingsOf(env: Environment) {
  return {
    inventoryFile: env.AGENT_INVENTORY,
    listen: env.AGENT_LISTEN,
    dataDir: env.AGENT_DATA_DIR,
    redisUrl: env.AGENT_REDIS_URL,
    shard: env.AGENT_SHARD,
    backendUrl: env.AGENT_BACKEND_URL,
    backendInsecure: env.AGENT_BACKEND_INSECURE,
    token: env.AGENT_TOKEN,
    agentId: env.AGENT_ID,
    agentName: env.AGENT_NAME,
    libvirtUri: env.AGENT_LIBVIRT_URI,
    sslVerify: env.AGENT_SSL_VERIFY,
    sslCaPath: env.AGENT_SSL_CA_PATH,
    sslCertPath: env.AGENT_SSL_CERT_PATH,
    sslKeyPath: env.AGENT_SSL_KEY_PATH,
    pollIntervalMs: env.AGENT_POLL_INTERVAL,
    metricsIntervalMs: env.AGENT_METRICS_INTERVAL,
    heartbeatIntervalMs: env.AGENT_HEARTBEAT_INTERVAL,
    apiTimeoutMs: env.AGENT_API_TIMEOUT,
    retryAttempts: env.AGENT_RETRY_ATTEMPTS,
    retryBackoff: env.AGENT_RETRY_BACKOFF,
    logLevel: env.AGENT_LOG_LEVEL,
    logFile: env.AGENT_LOG_FILE,
    autoRegister: env.AGENT_AUTO_REGISTER,
    updateCheckIntervalMs: env.AGENT_UPDATE_CHECK_INTERVAL,
    apiTokensFile: env.AGENT_API_TOKENS_FILE,
    jwksUrl: env.AGENT_JWKS_URL,
    jwtAudience: env.AGENT_JWT_AUDIENCE,
    jwtIssuer: env.AGENT_JWT_ISSUER,
    jwtRoleClaim: env.AGENT_JWT_ROLE_CLAIM,
    jwtRoleMap: env.AGENT_JWT_ROLE_MAP,
    jwtHostsClaim: env.AGENT_JWT_HOSTS_CLAIM,
    trustedProxies: env.AGENT_TRUSTED_PROXIES,
    metricsTokenFile: env.AGENT_METRICS_TOKEN_FILE,
    metricsCompat: env.AGENT_METRICS_COMPAT,
    apiUrl: env.AGENT_API_URL,
    apiToken: env.AGENT_API_TOKEN,
  };
}
