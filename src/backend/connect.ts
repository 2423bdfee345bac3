// One connection to the backend: TCP, through a proxy's CONNECT where there is one, then TLS. It tells what is wrong with a
// certificate instead of passing OpenSSL's code on, and hands out no socket whose peer is not proven.
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls';
import { type Clock, systemClock } from '../core/clock.js';
import { BackendError, quoted } from './backend-error.js';
import type { TlsMaterial } from './tls-files.js';
import { certificateError, handshakeError } from './tls-problem.js';

/** Of a proxy's answer to CONNECT. */
const proxyHeadBytesMax = 16_384;

export type ConnectOptions = {
  url: URL;
  /** For the whole way: proxy, TCP and TLS. */
  timeoutMs: number;
  verify: boolean;
  material: TlsMaterial;
  proxy?: URL | undefined;
  clock?: Clock;
  /** Of the backend's certificate, wall milliseconds. */
  onCertificate?: (expiresAtMs: number) => void;
};

/** Rejects with BackendError, at the latest after `timeoutMs`; the outcome is `not-sent`. */
export async function connectBackend(options: ConnectOptions): Promise<Socket> {
  const { timeoutMs, url, clock = systemClock } = options;
  const opened: Socket[] = [];
  let timer: { cancel(): void } | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = clock.after(timeoutMs, () =>
      reject(unreachable(`no connection to ${url.host} within ${timeoutMs / 1000} s`)),
    );
  });
  try {
    return await Promise.race([open(options, opened), late]);
  } catch (error) {
    // The outermost first: Node crashes when a socket goes away beneath its TLS.
    for (const socket of opened.reverse()) socket.on('error', () => undefined).destroy();
    throw error;
  } finally {
    timer?.cancel();
  }
}

async function open(options: ConnectOptions, opened: Socket[]): Promise<Socket> {
  const { url, proxy } = options;
  const socket = proxy ? await throughProxy(proxy, url, opened) : await tcp(url, opened);
  socket.setNoDelay(true);
  return url.protocol === 'https:' ? secure(socket, options, opened) : socket;
}

function tcp(url: URL, opened: Socket[], what = 'the backend'): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const host = bare(url.hostname);
    const socket = connectTcp({ host, port: portOf(url), keepAlive: true });
    opened.push(socket);
    const fail = (cause: Error) => reject(tcpError(cause as NodeJS.ErrnoException, url, what));
    socket.once('error', fail);
    socket.once('connect', () => {
      socket.off('error', fail);
      resolve(socket);
    });
  });
}

function tcpError(cause: NodeJS.ErrnoException, url: URL, what: string): BackendError {
  const code =
    cause.code ?? (cause instanceof AggregateError ? (cause.errors[0]?.code as string | undefined) : '');
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return unreachable(`the name of ${what} is not known to DNS: ${url.hostname}`, cause);
  }
  if (code === 'ECONNREFUSED') return unreachable(`nothing listens at ${what}: ${url.host}`, cause);
  return unreachable(`no connection to ${what}: ${url.host}`, cause);
}

async function throughProxy(proxy: URL, target: URL, opened: Socket[]): Promise<Socket> {
  let socket = await tcp(proxy, opened, 'the proxy');
  if (proxy.protocol === 'https:') socket = await secureProxy(socket, proxy, opened);
  const authority = `${target.hostname}:${portOf(target)}`;
  const user = decodeURIComponent(proxy.username);
  const login = `${user}:${decodeURIComponent(proxy.password)}`;
  const authorization = user ? `Proxy-Authorization: Basic ${Buffer.from(login).toString('base64')}\r\n` : '';
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${authorization}\r\n`);
  const head = await proxyHead(socket, proxy);
  const [, status = '', reason = ''] = /^HTTP\/1\.[01] (\d{3}) ?([^\r\n]*)/.exec(head) ?? [];
  if (/^2/.test(status)) return socket;
  if (status === '407') {
    throw new BackendError('BACKEND_UNREACHABLE', {
      message: `the proxy ${proxy.host} wants a user and a password`,
      hint: 'Put them into the proxy’s URL: http://user:password@proxy:port.',
      outcome: 'not-sent',
      retrySoon: false,
    });
  }
  const said = status ? `${status} ${quoted(reason)}`.trim() : 'no HTTP';
  throw unreachable(`the proxy ${proxy.host} does not connect to ${authority}: ${said}`);
}

function secureProxy(socket: Socket, proxy: URL, opened: Socket[]): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const host = bare(proxy.hostname);
    const secured = connectTls({ socket, host, ...serverName(host), minVersion: 'TLSv1.2' });
    opened.push(secured);
    const fail = (cause: Error) =>
      reject(
        new BackendError('BACKEND_TLS', {
          message: `TLS with the proxy ${proxy.host} failed`,
          hint: 'Look at the proxy’s certificate; a private CA of the proxy belongs in NODE_EXTRA_CA_CERTS.',
          outcome: 'not-sent',
          retrySoon: false,
          cause,
        }),
      );
    secured.once('error', fail);
    secured.once('secureConnect', () => {
      secured.off('error', fail);
      resolve(secured);
    });
  });
}

/** Up to the empty line. A proxy has nothing to send after it before we speak. */
function proxyHead(socket: Socket, proxy: URL): Promise<string> {
  return new Promise((resolve, reject) => {
    let head = '';
    const settle = () => {
      socket.pause();
      socket.off('data', onData);
      socket.off('error', onEnd);
      socket.off('close', onEnd);
    };
    const onEnd = (cause?: unknown) => {
      settle();
      reject(unreachable(`the proxy ${proxy.host} hung up`, cause instanceof Error ? cause : undefined));
    };
    const onData = (chunk: Buffer) => {
      head += chunk.toString('latin1');
      const ended = head.includes('\r\n\r\n');
      if (!ended && head.length <= proxyHeadBytesMax) return;
      settle();
      if (ended) resolve(head);
      else reject(unreachable(`the proxy ${proxy.host} does not answer in HTTP`));
    };
    socket.on('data', onData);
    socket.once('error', onEnd);
    socket.once('close', onEnd);
  });
}

function secure(socket: Socket, options: ConnectOptions, opened: Socket[]): Promise<TLSSocket> {
  const { url, verify, material, onCertificate, clock = systemClock } = options;
  const host = bare(url.hostname);
  return new Promise((resolve, reject) => {
    const secured = connectTls({
      socket,
      host,
      ...serverName(host),
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      // Judged below, before the socket is handed out, with the certificate at hand for the words.
      rejectUnauthorized: false,
      ...(material.ca !== undefined && { ca: material.ca }),
      ...(material.cert !== undefined && { cert: material.cert }),
      ...(material.key !== undefined && { key: material.key }),
    });
    opened.push(secured);
    const fail = (cause?: unknown) => {
      const hungUp = unreachable('the connection broke during the TLS handshake', cause);
      reject(handshakeError(cause, material.cert !== undefined) ?? hungUp);
    };
    const onClose = () => fail();
    secured.once('error', fail);
    secured.once('close', onClose);
    secured.once('secureConnect', () => {
      secured.off('error', fail);
      secured.off('close', onClose);
      const certificate = secured.getPeerCertificate();
      const expiresAtMs = Date.parse(certificate.valid_to);
      if (!Number.isNaN(expiresAtMs)) onCertificate?.(expiresAtMs);
      if (!verify || secured.authorized) resolve(secured);
      else reject(certificateError(codeOf(secured), certificate as PeerCertificate, host, clock.wallMs()));
    });
  });
}

/** Node gives a code here, whatever its types say. */
function codeOf({ authorizationError }: TLSSocket): string {
  return String((authorizationError as { code?: string } | undefined)?.code ?? authorizationError);
}

function serverName(host: string): { servername?: string } {
  return isIP(host) ? {} : { servername: host };
}

function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

function portOf(url: URL): number {
  return Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
}

function unreachable(message: string, cause?: unknown): BackendError {
  return new BackendError('BACKEND_UNREACHABLE', {
    message,
    outcome: 'not-sent',
    hint: 'Look at AGENT_BACKEND_URL, and whether the backend runs and can be reached from here.',
    ...(cause !== undefined && { cause }),
  });
}
