// Servers that misbehave: silence at every step, half-open transports, bytes that are not SSH, SFTP without end. Each
// must end in an error within its deadline and leave nothing open.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import {
  type AddressInfo,
  connect as connectTcp,
  createServer,
  type Socket,
  type Server as TcpServer,
} from 'node:net';
import { join } from 'node:path';
import ssh2, { type Connection, type ServerChannel } from 'ssh2';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { LibvirtClient } from '../../../src/libvirt/client.js';
import { SshConnector, type SshTarget } from '../../../src/ssh/connect.js';
import type { ReadOptions } from '../../../src/ssh/file-reader.js';
import { fetchHostKeys } from '../../../src/ssh/scan.js';
import { type KeyPair, makeKey, makeTempDir } from '../../support/sshd.js';
import { until } from '../../support/until.js';

let dir: string;
let key: KeyPair;
let hostKey: KeyPair;
const cleanups: (() => unknown)[] = [];

beforeAll(() => {
  dir = makeTempDir('outrigger-faults-');
  key = makeKey(join(dir, 'key'));
  hostKey = makeKey(join(dir, 'host_key'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

type Listening = { port: number; sockets: Set<Socket> };

function track(server: TcpServer): Promise<Listening> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  });
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return new Promise((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve({ port: (server.address() as AddressInfo).port, sockets })),
  );
}

/** A TCP server that does what `onSocket` does. */
const tcpServer = (onSocket: (socket: Socket) => void) =>
  track(
    createServer((socket) => {
      socket.resume();
      onSocket(socket);
    }),
  );

/** An SSH server that lets everybody in. */
async function sshServer(onReady: (client: Connection) => void): Promise<Listening> {
  const server = new ssh2.Server({ hostKeys: [readFileSync(hostKey.file)] }, (client) => {
    client.on('error', () => {});
    client.on('authentication', (context) => context.accept());
    client.on('ready', () => onReady(client));
  });
  return track(createServer({ noDelay: true }, (socket) => server.injectSocket(socket)));
}

type SftpServer = {
  on(event: string, listener: (id: number, ...rest: never[]) => void): SftpServer;
  handle(id: number, handle: Buffer): void;
  data(id: number, data: Buffer): void;
  name(id: number, names: { filename: string; longname: string; attrs: object }[]): void;
  status(id: number, code: number): void;
};

const sftpServer = (onSftp: (sftp: SftpServer) => void) =>
  sshServer((client) => {
    client.on('session', (accept) => {
      accept().on('sftp', (accept) => onSftp(accept() as unknown as SftpServer));
    });
  });

const { STATUS_CODE } = ssh2.utils.sftp;
const bytes = (text: string) => Buffer.from(text);

function target(port: number): SshTarget {
  const file = join(dir, `known_hosts_${port}`);
  writeFileSync(file, `[127.0.0.1]:${port} ${hostKey.publicKey}\n`);
  return {
    host: 'kvm-01',
    address: '127.0.0.1',
    port,
    user: 'outrigger',
    keyFile: key.file,
    knownHostsFiles: [file],
  };
}

const connector = () => new SshConnector({ agentSocket: undefined });

async function connect(port: number) {
  const connection = await connector().connect(target(port), { timeoutMs: 5_000 });
  cleanups.push(() => connection.end());
  return connection;
}

async function failure(work: Promise<unknown>): Promise<HostError> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(HostError);
  return error as HostError;
}

describe('what answers is not an SSH server that works', () => {
  it.each([
    [
      'talks something else',
      (socket: Socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'.repeat(2000)),
      'PROTOCOL_ERROR',
    ],
    ['sends an endless line', (socket: Socket) => socket.write('x'.repeat(100_000)), 'PROTOCOL_ERROR'],
    ['hangs up at once', (socket: Socket) => socket.end(), 'CLOSED'],
    ['resets the connection', (socket: Socket) => socket.resetAndDestroy(), 'CLOSED'],
    [
      'sends garbage after its banner',
      (socket: Socket) =>
        socket.write(Buffer.concat([Buffer.from('SSH-2.0-x\r\n'), Buffer.alloc(5000, 255)])),
      'PROTOCOL_ERROR',
    ],
    ['says nothing', () => {}, 'TIMEOUT'],
    ['says nothing after its banner', (socket: Socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'), 'TIMEOUT'],
  ])('it %s', async (_, onSocket, code) => {
    const { port, sockets } = await tcpServer((socket) => void onSocket(socket));
    const error = await failure(connector().connect(target(port), { timeoutMs: 300 }));
    expect(error).toMatchObject({ code, host: 'kvm-01', outcome: 'not-sent' });
    expect(error.hint).toBeTruthy();
    if (code === 'TIMEOUT') expect(error.message).toContain('SSH key exchange timed out');
    await until('our side to close', () => sockets.size === 0);
  });

  it('never answers the authentication', async () => {
    const server = new ssh2.Server({ hostKeys: [readFileSync(hostKey.file)] }, (client) => {
      client.on('error', () => {});
      client.on('authentication', () => {});
    });
    const { port, sockets } = await track(
      createServer({ noDelay: true }, (socket) => server.injectSocket(socket)),
    );
    // Long enough for the keys to be exchanged on a machine that is busy.
    expect(await failure(connector().connect(target(port), { timeoutMs: 5_000 }))).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('SSH authentication timed out'),
    });
    await until('our side to close', () => sockets.size === 0);
  });

  it('has no host key that can be enrolled', async () => {
    const { port } = await tcpServer((socket) => socket.end());
    expect(await failure(fetchHostKeys(target(port)))).toMatchObject({ code: 'CLOSED' });
  });
});

describe('handshakes', () => {
  it('are made a few at a time, and those that wait can be called off', async () => {
    const { port, sockets } = await tcpServer(() => {});
    const few = new SshConnector({ handshakesMax: 2, agentSocket: undefined });
    const controller = new AbortController();
    const { signal } = controller;
    let mostAtATime = 0;
    const work = Array.from({ length: 6 }, () =>
      failure(few.connect(target(port), { timeoutMs: 150, signal })),
    );
    const all = Promise.all(work);
    await until('two to begin', () => sockets.size === 2);
    const watch = until(
      'the third turn',
      () => {
        mostAtATime = Math.max(mostAtATime, sockets.size);
        return few.handshakesWaiting <= 2;
      },
      { everyMs: 1 },
    );
    await watch;
    expect(mostAtATime).toBe(2);
    controller.abort();
    const errors = await all;
    expect(errors.map(({ code }) => code).sort()).toEqual([
      ...Array(4).fill('ABORTED'),
      ...Array(2).fill('TIMEOUT'),
    ]);
    await until('our side to close', () => sockets.size === 0);
  });
});

describe('an open connection', () => {
  it('is destroyed when the host does not answer a socket channel', async () => {
    const { port, sockets } = await sshServer((client) => client.on('openssh.streamlocal', () => {}));
    const connection = await connect(port);
    expect(await failure(connection.openUnixSocket('/run/x', { timeoutMs: 100 }))).toMatchObject({
      code: 'TIMEOUT',
      outcome: 'not-sent',
    });
    expect(await connection.closed).toMatchObject({ code: 'TIMEOUT' });
    await until('our side to close', () => sockets.size === 0);
  });

  it('is destroyed when nothing comes back at all', async () => {
    const { port } = await sshServer(() => {});
    const proxied = new Set<Socket>();
    const proxy = await tcpServer((socket) => {
      const onward = connectTcp(port, '127.0.0.1');
      onward.on('error', () => {});
      proxied.add(onward);
      socket.pipe(onward).pipe(socket);
    });
    const connection = await connect(proxy.port);
    for (const socket of [...proxy.sockets, ...proxied]) {
      socket.unpipe();
      socket.pause();
    }
    expect(await failure(connection.files({ timeoutMs: 100 }))).toMatchObject({ code: 'TIMEOUT' });
    expect(await connection.closed).toMatchObject({ code: 'TIMEOUT' });
    for (const socket of proxied) socket.destroy();
  });

  it('ends within its deadline when the other side does not hear the goodbye', async () => {
    const { port, sockets } = await sshServer(() => {});
    const connection = await connect(port);
    for (const socket of sockets) socket.pause();
    await connection.end();
    expect(await connection.closed).toMatchObject({ message: 'closed by us' });
  });

  it('outlives a far address that swallows packets, and closes a channel that comes too late', async () => {
    let accept: (() => { on(event: 'close', listener: () => void): void; resume(): void }) | undefined;
    const { port } = await sshServer((client) => {
      client.on('tcpip', (accepted) => {
        accept = accepted as unknown as typeof accept;
      });
    });
    const connection = await connect(port);
    expect(await failure(connection.openTcp('192.0.2.1', 22, { timeoutMs: 100 }))).toMatchObject({
      code: 'TIMEOUT',
    });
    expect(connection.closedWith).toBeUndefined();
    const late = await until('the request', () => accept?.());
    late.resume();
    const closed = new Promise<void>((resolve) => late.on('close', () => resolve()));
    await closed;
  });

  it('gives up waiting for a channel when the signal aborts', async () => {
    const { port } = await sshServer((client) => client.on('openssh.streamlocal', () => {}));
    const connection = await connect(port);
    const error = await failure(connection.openUnixSocket('/run/x', { signal: AbortSignal.timeout(50) }));
    expect(error).toMatchObject({ code: 'ABORTED' });
    expect(connection.closedWith).toBeUndefined();
  });
});

describe('a helper that has ended before it is spoken to', () => {
  const afterTheHelper = async (end: (channel: ServerChannel, socket: Socket) => void) => {
    const { port, sockets } = await sshServer((client) => {
      client.on('session', (accept) => {
        accept().on('exec', (accept) => {
          // Everything in one segment, as a machine that stood still finds it.
          for (const socket of sockets) {
            socket.cork();
            end(accept(), socket);
            socket.uncork();
          }
        });
      });
    });
    const stream = await (await connect(port)).execHelper('qemu:///system', false);
    const { cause } = await failure(
      LibvirtClient.open(stream, {
        host: 'kvm-01',
        uri: 'qemu:///system',
        readOnly: false,
        timeoutMs: 5_000,
        keepalive: false,
      }),
    );
    return cause;
  };

  it('says why: what it printed, or how it ended', async () => {
    expect(
      await afterTheHelper((channel) => {
        channel.stderr.write("Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied");
        channel.exit(1);
        channel.end();
      }),
    ).toMatchObject({ code: 'SOCKET_DENIED', message: expect.stringContaining('Permission denied') });
    expect(
      await afterTheHelper((channel) => {
        channel.exit(127);
        channel.end();
      }),
    ).toMatchObject({ code: 'SOCKET_MISSING', message: 'virt-ssh-helper is not installed on the host' });
  });

  it('says that libvirt closed the connection when it ended well', async () => {
    expect(
      await afterTheHelper((channel) => {
        channel.exit(0);
        channel.end();
      }),
    ).toMatchObject({ code: 'CLOSED', message: 'libvirt closed the connection' });
  });

  it('says that the connection was lost when that is so', async () => {
    expect(await afterTheHelper((_channel, socket) => socket.end())).toMatchObject({
      code: 'CLOSED',
      message: 'the SSH connection to 127.0.0.1 was lost',
    });
  });
});

describe('SFTP servers', () => {
  it('are asked for everything in one round trip once the shape of a file is known', async () => {
    const pages = ['a'.repeat(4000), 'b'.repeat(3000)];
    let held: (() => void)[] = [];
    let holding = 0;
    const { port } = await sftpServer((sftp) => {
      sftp.on('OPEN', (id) => sftp.handle(id, bytes('h')));
      sftp.on('READ', (id, _handle: Buffer, offset: number) => {
        const page = offset === 0 ? pages[0] : offset === 4000 ? pages[1] : undefined;
        const answer = () => (page ? sftp.data(id, bytes(page)) : sftp.status(id, STATUS_CODE.EOF));
        held.push(answer);
        if (held.length < holding) return;
        for (const run of held) run();
        held = [];
      });
    });
    const files = await (await connect(port)).files();
    expect(await files.read('/proc/x')).toBe(pages.join(''));
    // No answer before all three requests are in: one after the other would never end.
    holding = 3;
    expect(await files.read('/proc/x', { timeoutMs: 2_000 })).toBe(pages.join(''));
  });

  it('are not asked what comes after less than half a page, or after an attribute of /sys', async () => {
    const texts = new Map([
      ['/proc/short', 'a'.repeat(2000)],
      ['/sys/long', 'b'.repeat(3000)],
      ['/proc/long', 'c'.repeat(3000)],
    ]);
    const asked: string[] = [];
    const { port } = await sftpServer((sftp) => {
      sftp.on('OPEN', (id, path) => sftp.handle(id, bytes(path)));
      sftp.on('READ', (id, handle: Buffer, offset: number, length: number) => {
        asked.push(`${handle}`);
        const rest = bytes(texts.get(`${handle}`) ?? '').subarray(offset, offset + length);
        if (rest.length > 0) sftp.data(id, rest);
        else sftp.status(id, STATUS_CODE.EOF);
      });
    });
    const files = await (await connect(port)).files();
    for (const round of ['first', 'as before'])
      for (const [path, text] of texts) expect([round, await files.read(path)]).toEqual([round, text]);
    const once = ['/proc/short', '/sys/long', '/proc/long', '/proc/long'];
    expect(asked).toEqual([...once, ...once]);
  });

  it('may change a file between two reads: what comes is of one moment', async () => {
    const versions = ['1\n', '22\n', '333\n', '4\n', ''];
    let version = 0;
    const { port } = await sftpServer((sftp) => {
      sftp.on('OPEN', (id) => sftp.handle(id, bytes('h')));
      sftp.on('READ', (id, _handle: Buffer, offset: number, length: number) => {
        const rest = bytes(versions[version] ?? '').subarray(offset, offset + length);
        if (rest.length > 0) sftp.data(id, rest);
        else sftp.status(id, STATUS_CODE.EOF);
      });
    });
    const files = await (await connect(port)).files();
    for (version = 0; version < versions.length; version++) {
      expect(await files.read('/proc/x')).toBe(versions[version]);
      expect(await files.read('/proc/x')).toBe(versions[version]);
    }
  });

  it('may lose a handle, which is opened anew once, or the file', async () => {
    let opens = 0;
    let reads = 0;
    let stale = false;
    let gone = false;
    const { port } = await sftpServer((sftp) => {
      sftp.on('OPEN', (id) => {
        if (gone) return sftp.status(id, STATUS_CODE.NO_SUCH_FILE);
        opens++;
        stale = false;
        sftp.handle(id, bytes(`h${opens}`));
      });
      sftp.on('CLOSE', (id) => sftp.status(id, STATUS_CODE.OK));
      sftp.on('READ', (id, _handle: Buffer, offset: number) => {
        reads++;
        if (stale) return sftp.status(id, STATUS_CODE.FAILURE);
        if (offset === 0) return sftp.data(id, bytes('text'));
        return sftp.status(id, STATUS_CODE.EOF);
      });
    });
    const files = await (await connect(port)).files();
    expect(await files.read('/sys/x')).toBe('text');
    stale = true;
    expect(await files.read('/sys/x')).toBe('text');
    expect(opens).toBe(2);
    stale = true;
    gone = true;
    expect(await failure(files.read('/sys/x'))).toMatchObject({ code: 'FILE_MISSING' });
    expect(await files.handlesOpen()).toBe(0);
    const before = reads;
    expect(await failure(files.read('/sys/x'))).toMatchObject({ code: 'FILE_MISSING' });
    expect(reads).toBe(before);
  });

  it('hold no more handles than the limit', async () => {
    const open = new Set<string>();
    let opened = 0;
    let most = 0;
    const { port } = await sftpServer((sftp) => {
      sftp.on('OPEN', (id) => {
        const name = `h${++opened}`;
        open.add(name);
        most = Math.max(most, open.size);
        sftp.handle(id, bytes(name));
      });
      sftp.on('CLOSE', (id, handle: Buffer) => {
        open.delete(handle.toString());
        sftp.status(id, STATUS_CODE.OK);
      });
      sftp.on('READ', (id) => sftp.status(id, STATUS_CODE.EOF));
    });
    const files = await (await connect(port)).files();
    await Promise.all(Array.from({ length: 700 }, (_, i) => files.read(`/proc/${i}`)));
    expect(opened).toBe(700);
    expect(await files.handlesOpen()).toBe(512);
    await until('the rest to be closed', () => open.size === 512);
    expect(most).toBeLessThanOrEqual(512 + 64);
    await Promise.all(Array.from({ length: 50 }, (_, i) => files.read(`/proc/once/${i}`, { once: true })));
    expect(opened).toBe(750);
    expect(await files.handlesOpen()).toBe(512);
    await until('what is read once to be closed', () => open.size === 512);
  });

  it('cannot feed us without end', async () => {
    const attrs = { mode: 0, uid: 0, gid: 0, size: 0, atime: 0, mtime: 0 };
    const names = Array.from({ length: 100 }, (_, i) => ({ filename: `name${i}`, longname: '', attrs }));
    const { port } = await sftpServer((sftp) => {
      sftp.on('OPEN', (id) => sftp.handle(id, bytes('h')));
      sftp.on('OPENDIR', (id) => sftp.handle(id, bytes('d')));
      sftp.on('CLOSE', (id) => sftp.status(id, STATUS_CODE.OK));
      sftp.on('READ', (id, _handle: Buffer, _offset: number, length: number) =>
        sftp.data(id, Buffer.alloc(length, 120)),
      );
      sftp.on('READDIR', (id) => sftp.name(id, names));
    });
    const files = await (await connect(port)).files();
    expect(await failure(files.read('/proc/endless'))).toMatchObject({
      code: 'FILE_ERROR',
      message: expect.stringContaining('larger than'),
    });
    expect(await failure(files.list('/proc'))).toMatchObject({
      code: 'FILE_ERROR',
      message: expect.stringContaining('entries'),
    });
  });

  it('that hang are noticed also when the poll that asked has left already', async () => {
    let sessions = 0;
    const { port } = await sftpServer((sftp) => {
      sessions++;
      sftp.on('OPEN', (id) => sftp.handle(id, bytes('h')));
      sftp.on('READ', (id) => {
        if (sessions > 1) sftp.status(id, STATUS_CODE.EOF);
      });
    });
    const files = await (await connect(port)).files();
    const left = failure(files.read('/proc/x', { timeoutMs: 200, signal: AbortSignal.timeout(50) }));
    expect(await left).toMatchObject({ code: 'ABORTED' });
    const text = await until('a new session', () =>
      files.read('/proc/y', { timeoutMs: 5_000 }).then(
        () => 'read',
        () => '',
      ),
    );
    expect(text).toBe('read');
    expect(sessions).toBe(2);
  });
});

describe('files that are read together', () => {
  /** What the taker was told, by place. */
  function told() {
    const all = new Map<number, string | undefined>();
    const taker = {
      take: (place: number, text: string) => void all.set(place, text),
      lack: (place: number, error?: HostError) => void all.set(place, error?.code),
    };
    return { all, taker };
  }

  it('come each for itself, some at a time, and again in one round trip; what is missing is not asked for again', async () => {
    const opened: string[] = [];
    let unanswered = 0;
    let most = 0;
    const { port } = await sftpServer((sftp) => {
      const later = (answer: () => void) => {
        unanswered++;
        most = Math.max(most, unanswered);
        setImmediate(() => {
          unanswered--;
          answer();
        });
      };
      sftp.on('OPEN', (id, path) => {
        opened.push(`${path}`);
        later(() => {
          if (`${path}`.endsWith('/missing')) sftp.status(id, STATUS_CODE.NO_SUCH_FILE);
          else if (`${path}`.endsWith('/closed')) sftp.status(id, STATUS_CODE.PERMISSION_DENIED);
          else sftp.handle(id, bytes(path));
        });
      });
      sftp.on('READ', (id, handle: Buffer) => later(() => sftp.data(id, bytes(`of ${handle}`))));
    });
    const files = await (await connect(port)).files();
    const names = ['missing', 'closed', ...Array.from({ length: 200 }, (_, i) => `${i}`)];
    const paths = names.map((name) => `/sys/${name}`);
    const texts = [undefined, 'FILE_ERROR', ...paths.slice(2).map((path) => `of ${path}`)];
    for (const round of ['first', 'again']) {
      const { all, taker } = told();
      await files.readAll(paths, {}, taker);
      expect([round, all]).toEqual([round, new Map(texts.entries())]);
    }
    expect(opened).toEqual([...paths, '/sys/closed']);
    expect(most).toBe(64);
    expect(await files.handlesOpen()).toBe(200);
  });

  it('end with what their taker throws; it is told nothing more, and the session goes on', async () => {
    const { port } = await sftpServer((sftp) => {
      sftp.on('OPEN', (id, path) => sftp.handle(id, bytes(path)));
      sftp.on('READ', (id) => sftp.data(id, bytes('text')));
    });
    const files = await (await connect(port)).files();
    const paths = Array.from({ length: 100 }, (_, i) => `/sys/${i}`);
    for (const at of [0, 50, 99]) {
      const { all, taker } = told();
      const take = (place: number, text: string) => {
        taker.take(place, text);
        if (all.size > at) throw new Error('enough');
      };
      await expect(files.readAll(paths, {}, { ...taker, take })).rejects.toThrow('enough');
      expect(all.size).toBe(at + 1);
    }
    const { all, taker } = told();
    await files.readAll(paths, {}, taker);
    expect(all.size).toBe(100);
  });

  it('end, and tell nothing more, when a file of theirs hangs, their poll leaves, or the connection breaks', async () => {
    let atTheHang = () => {};
    const { port, sockets } = await sftpServer((sftp) => {
      sftp.on('OPEN', (id, path) => sftp.handle(id, bytes(path)));
      sftp.on('READ', (id, handle: Buffer) => {
        if (`${handle}` === '/sys/hangs') atTheHang();
        else sftp.data(id, bytes('text'));
      });
    });
    const paths = ['/sys/a', '/sys/hangs', '/sys/b'];
    const rounds = async () => {
      const files = await (await connect(port)).files();
      return async (options: ReadOptions) => {
        const { all, taker } = told();
        const { code, message } = await failure(files.readAll(paths, options, taker));
        const atTheEnd = [...all.values()];
        // What comes after it: the answers that were under way are there by then.
        await files.read('/sys/c', { timeoutMs: 5_000 }).catch(() => undefined);
        expect([...all.values()]).toEqual(atTheEnd);
        return { code, message };
      };
    };
    const hang = await rounds();
    for (let n = 0; n < 2; n++)
      expect(await hang({ timeoutMs: 200 })).toEqual({
        code: 'TIMEOUT',
        message: '/sys/hangs: no answer within 200 ms',
      });
    expect(await hang({})).toMatchObject({ code: 'TIMEOUT', message: expect.stringContaining('not tried') });
    const leaves = new AbortController();
    atTheHang = () => leaves.abort();
    expect(await (await rounds())({ signal: leaves.signal })).toMatchObject({ code: 'ABORTED' });
    atTheHang = () => {
      for (const socket of sockets) socket.destroy();
    };
    expect(await (await rounds())({})).toMatchObject({ code: 'CLOSED' });
  });
});
