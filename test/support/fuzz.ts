// What is asked wrongly over HTTP, for the fuzzers: odd texts, headers, tokens and bodies, the bytes of a request, and what comes
// back. It refuses to judge the answers: each fuzzer says what must hold.
import { connect } from 'node:net';
import fc from 'fast-check';

const answerWithinMs = 5_000;

export const stackLike = / {4}at .*(\.[jt]s\b|node:)|node_modules|\/src\/|\/dist\//;

export type Answer = { status: number; headers: Map<string, string>; body: string };

/**
 * Writes the bytes and reads what comes back: to the end of the connection, or of the first event of a stream. Undefined when the
 * connection was closed without a word. Rejects when neither comes in time. `half`: nothing more will be sent, and we say so.
 */
export function exchange(
  port: number,
  bytes: string | Buffer,
  { half = false } = {},
): Promise<Answer | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    const chunks: Buffer[] = [];
    const late = setTimeout(() => {
      socket.destroy();
      reject(
        new Error(`no end in ${answerWithinMs} ms after ${JSON.stringify(String(bytes).slice(0, 500))}`),
      );
    }, answerWithinMs);
    const end = () => {
      clearTimeout(late);
      socket.destroy();
      resolve(answerOf(Buffer.concat(chunks).toString('utf8')));
    };
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      if (isWhole(Buffer.concat(chunks).toString('latin1'))) end();
    });
    socket.on('close', end);
    socket.on('error', () => undefined);
    socket.write(bytes);
    if (half) socket.end();
  });
}

/** The first event of a stream, or as much as was announced. */
function isWhole(text: string): boolean {
  if (text.includes('event: hello')) return true;
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const announced = /^content-length: (\d+)$/im.exec(head)?.[1];
  return announced !== undefined && rest.join('\r\n\r\n').length >= Number(announced);
}

function answerOf(text: string): Answer | undefined {
  const [head = '', ...rest] = text.split('\r\n\r\n');
  const [first = '', ...lines] = head.split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1]);
  if (!status) return undefined;
  const headers = lines.map((line) => /^([^:]*): ?(.*)$/.exec(line)?.slice(1) ?? ['', '']);
  return {
    status,
    headers: new Map(headers.map(([name = '', value = '']) => [name.toLowerCase(), value])),
    body: rest.join('\r\n\r\n'),
  };
}

export const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  {
    weight: 3,
    arbitrary: fc.constantFrom('kvm-01', 'web-1', 'odd', 'stop', '0', '-1', '1e9', '__proto__', 'null'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '../../etc/passwd',
      '..%2f',
      '<script>',
      "' OR 1=1",
      '\r\nX-Evil: 1',
      '\u202e',
      '\ud800',
    ),
  },
  { weight: 1, arbitrary: fc.integer({ min: 200, max: 9_000 }).map((length) => 'x'.repeat(length)) },
);

export function wellFormed(value: string): string {
  return value.replaceAll(/[\ud800-\udfff]/gu, '?');
}

/** As it stands in a URL: mostly encoded as it must be, now and then not. */
export const inUrl = fc.tuple(text, fc.integer({ min: 0, max: 9 })).map(([value, how]) => {
  const encoded = encodeURIComponent(wellFormed(value));
  if (how === 0) return `${encoded}%`;
  if (how === 1) return `${encoded}%c3%28`;
  return how === 2 ? encoded.replaceAll('%', '%25') : encoded;
});

export const authorization = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom('Bearer admin-token', 'Bearer operator-token', 'Bearer confined-token'),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'Bearer viewer-token',
      'Bearer viewer-token',
      'Bearer ',
      'bearer admin-token',
      'Basic YTpi',
      '',
    ),
  },
  { weight: 1, arbitrary: fc.base64String({ maxLength: 2_000 }).map((token) => `Bearer ${token}`) },
  { weight: 1, arbitrary: fc.constant('Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.') },
);

const jobLike = fc.record(
  {
    op: fc.oneof(fc.constantFrom('stop', 'start', 'delete', 'reset', 'list'), text),
    host: fc.oneof(fc.constant('kvm-01'), text, fc.integer()),
    vm: fc.oneof(fc.constant('web-1'), text, fc.constant(null)),
    params: fc.oneof(fc.dictionary(text, fc.jsonValue(), { maxKeys: 4 }), fc.jsonValue()),
    expectedUuid: fc.oneof(fc.uuid(), text),
    deadline: fc.oneof(fc.constant('2020-01-01T00:00:00Z'), text),
    dryRun: fc.oneof(fc.boolean(), text),
    reason: text,
  },
  { requiredKeys: [] },
);

export const body = fc.oneof(
  { weight: 6, arbitrary: jobLike.map((value) => Buffer.from(JSON.stringify(value))) },
  { weight: 2, arbitrary: fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom('{"__proto__":{"x":1}}', '{"a":', '[['.repeat(5_000), '')
      .map((t) => Buffer.from(t)),
  },
  { weight: 1, arbitrary: fc.constant(Buffer.alloc(70_000, 'x')) },
);

export const headers = fc.record(
  {
    'content-type': fc.constantFrom(
      'application/json',
      'application/json; charset=utf-16',
      'text/plain',
      'multipart/form-data',
      'x',
      'application/x-www-form-urlencoded',
    ),
    'content-encoding': fc.constantFrom('gzip', 'identity', 'br, gzip'),
    'idempotency-key': fc.oneof(fc.uuid(), fc.string({ maxLength: 300 })),
    'if-none-match': fc.oneof(fc.constantFrom('*', 'W/"x"', '"'), fc.string({ maxLength: 60 })),
    'last-event-id': fc.string({ maxLength: 300 }),
    accept: fc.constantFrom('text/html', 'nonsense', '*/*;q=0'),
    cookie: fc.constantFrom('a=b', 'outrigger_session=x', ';;;='),
    host: fc.constantFrom('evil.example', 'localhost', 'a b'),
    'x-forwarded-for': fc.constantFrom('127.0.0.1', 'x'),
  },
  { requiredKeys: [] },
);

/** What node's parser lets through: what it does not is a case of its own below. */
export function headerText(value: string): string {
  return value.replaceAll(/[^\x20-\x7e]/g, '?');
}

export const methods = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'QUERY',
];

/** What is asked: on one connection, which ends with the answer. */
export type Asked = {
  method: string;
  url: string;
  authorization: string | undefined;
  headers: Readonly<Record<string, string | undefined>>;
  body: Buffer;
};

/** The answer, whatever it is. Rejects when none comes, or none in time. */
export async function send(
  port: number,
  { method, url, authorization, headers, body }: Asked,
): Promise<Answer> {
  const given = Object.entries({
    host: 'x',
    ...(authorization !== undefined && { authorization }),
    ...headers,
    'content-length': String(body.length),
  });
  const lines = given.map(([name, value]) => `${name}: ${headerText(value ?? '')}`);
  const head = `${method} ${url} HTTP/1.1\r\n${lines.join('\r\n')}\r\nconnection: close\r\n\r\n`;
  const answer = await exchange(port, Buffer.concat([Buffer.from(head), body]));
  if (!answer) throw new Error('closed without an answer');
  return answer;
}
