// Node's, ssh2's and the helper's errors in the words and codes that people and machines get.
import { describe, expect, it } from 'vitest';
import { type Attempt, handshakeError, quoted, tcpError } from '../../../src/ssh/connect-errors.js';
import { helperCommand, helperEnd } from '../../../src/ssh/helper.js';
import { socketPaths } from '../../../src/ssh/libvirt-channel.js';
import type { SshTarget } from '../../../src/ssh/target.js';

const target: SshTarget = {
  host: 'kvm-01',
  address: '2001:db8::1',
  port: 2222,
  user: 'outrigger',
  knownHostsFiles: [],
};
const failed = (o: object) => Object.assign(new Error('failed'), o);

describe('TCP errors', () => {
  it.each([
    ['ENOTFOUND', 'DNS'],
    ['EAI_AGAIN', 'DNS'],
    ['ECONNREFUSED', 'REFUSED'],
    ['EHOSTUNREACH', 'UNREACHABLE'],
    ['ENETUNREACH', 'UNREACHABLE'],
    ['ETIMEDOUT', 'TIMEOUT'],
    ['ECONNRESET', 'CLOSED'],
    ['EMFILE', 'INTERNAL'],
    ['ESOMETHING', 'UNREACHABLE'],
  ])('%s is %s', (code, expected) => {
    const error = tcpError(target, failed({ code }));
    expect(error).toMatchObject({ code: expected, host: 'kvm-01', outcome: 'not-sent' });
    expect(error.hint).toBeTruthy();
  });

  it('write an IPv6 address so that the port can be told from it', () => {
    expect(tcpError(target, failed({ code: 'ECONNREFUSED' })).message).toBe(
      '[2001:db8::1]:2222 refuses connections',
    );
  });
});

describe('handshake errors', () => {
  const attempt: Attempt = {
    stage: 'authentication',
    offered: ['ssh-ed25519 SHA256:x (/k)'],
    methodsLeft: ['publickey'],
    partial: false,
  };

  it.each([
    [
      'a refused key',
      failed({ level: 'client-authentication' }),
      attempt,
      'AUTH_FAILED',
      /refused ssh-ed25519 SHA256:x \(\/k\)/,
    ],
    [
      'too many keys',
      Object.assign(new Error('Too many authentication failures'), { code: 2 }),
      attempt,
      'AUTH_FAILED',
      /too many keys/,
    ],
    [
      'two factors',
      failed({ level: 'client-authentication' }),
      { ...attempt, partial: true, methodsLeft: ['keyboard-interactive'] },
      'AUTH_FAILED',
      /wants more \(keyboard-interactive\)/,
    ],
    [
      'no keys',
      failed({ level: 'client-authentication' }),
      { ...attempt, methodsLeft: ['password'] },
      'AUTH_FAILED',
      /takes no keys/,
    ],
    ['an agent', failed({ level: 'agent' }), attempt, 'KEY_FILE', /agent refused/],
    ['silence', failed({ level: 'client-timeout' }), attempt, 'TIMEOUT', /authentication timed out/],
    [
      'too many connections',
      Object.assign(new Error('Too many connections'), { code: 12 }),
      attempt,
      'CLOSED',
      /Too many connections/,
    ],
    [
      'an early end',
      new Error('Connection lost before handshake'),
      { ...attempt, stage: 'key exchange' as const },
      'CLOSED',
      /before SSH began/,
    ],
    ['a late end', new Error('No response from server'), attempt, 'CLOSED', /during authentication/],
    [
      'no algorithm',
      new Error('Handshake failed: no matching key exchange algorithm'),
      attempt,
      'PROTOCOL_ERROR',
      /in common/,
    ],
    [
      'nonsense',
      new Error('Invalid packet'),
      { ...attempt, stage: 'key exchange' as const },
      'PROTOCOL_ERROR',
      /does not speak SSH/,
    ],
  ])('%s', (_, error, attempt, code, words) => {
    const told = handshakeError(target, attempt, error);
    expect(told).toMatchObject({
      code,
      host: 'kvm-01',
      outcome: 'not-sent',
      message: expect.stringMatching(words),
    });
    expect(told.hint).toBeTruthy();
  });

  it('quote the other side on one line and not for ever', () => {
    expect(quoted('a\u001b[31m\nb\r\n')).toBe('a [31m b');
    expect(quoted('x'.repeat(1000)).length).toBeLessThan(250);
  });
});

describe('virt-ssh-helper', () => {
  it('is given a plain URI or nothing', () => {
    expect(helperCommand('h', 'qemu:///system', true)).toBe(`virt-ssh-helper -r 'qemu:///system'`);
    expect(helperCommand('h', 'qemu:///session', false)).toBe(`virt-ssh-helper 'qemu:///session'`);
    for (const uri of [
      "qemu:///system'; x",
      'qemu:///a b',
      'qemu:///$(x)',
      'qemu://host/system',
      'qemu:///a?b=c',
      '',
      'qemu:///a\nb',
    ]) {
      expect(() => helperCommand('h', uri, true), uri).toThrow(
        expect.objectContaining({ code: 'BAD_REQUEST' }),
      );
    }
  });

  it.each([
    [{ code: 0, complaint: '' }, undefined],
    [{ code: 1, complaint: '', receivedBytes: 100 }, undefined],
    [{ code: 127, complaint: 'sh: 1: virt-ssh-helper: not found' }, 'SOCKET_MISSING'],
    [{ code: 1, complaint: "Failed to connect socket to '/x': Permission denied" }, 'SOCKET_DENIED'],
    [{ code: 1, complaint: "Failed to connect socket to '/x': No such file or directory" }, 'SOCKET_MISSING'],
    [{ code: 1, complaint: '' }, 'FORWARD_DENIED'],
    [{ code: null, complaint: 'This service allows sftp connections only.', text: true }, 'FORWARD_DENIED'],
  ])('that ended with %j', (exit, code) => {
    expect(helperEnd('kvm-01', exit)?.code).toBe(code);
  });
});

it('looks for the classic socket first, then for the driver\u2019s own', () => {
  expect(socketPaths('qemu:///system', true)).toEqual([
    '/run/libvirt/libvirt-sock-ro',
    '/run/libvirt/virtqemud-sock-ro',
  ]);
  expect(socketPaths('qemu:///system', false)).toEqual([
    '/run/libvirt/libvirt-sock',
    '/run/libvirt/virtqemud-sock',
  ]);
  expect(socketPaths('test:///default', false)).toEqual(['/run/libvirt/libvirt-sock']);
});
