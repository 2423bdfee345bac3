import { describe, expect, it } from 'vitest';
import { HostError } from '../../../src/core/errors.js';
import { daemonUri, parseLibvirtUri } from '../../../src/libvirt/uri.js';

const ssh = { transport: 'ssh', driver: 'qemu', path: '/system', address: 'kvm-01' };

describe('parseLibvirtUri', () => {
  it.each([
    ['qemu+ssh://kvm-01/system', ssh],
    ['QEMU+SSH://kvm-01/system', ssh],
    ['qemu+ssh://root@kvm-01:2222/system', { ...ssh, user: 'root', port: 2222 }],
    ['qemu+ssh://root@kvm-01:/system', { ...ssh, user: 'root' }],
    ['qemu+ssh://a%40corp@kvm-01/system', { ...ssh, user: 'a@corp' }],
    ['qemu+ssh://[2001:db8::1]:22/system', { ...ssh, address: '2001:db8::1', port: 22 }],
    ['qemu+ssh://[fe80::1%25eth0]/system', { ...ssh, address: 'fe80::1%eth0' }],
    ['qemu+ssh://192.0.2.11/session', { ...ssh, address: '192.0.2.11', path: '/session' }],
    [
      'qemu+ssh://kvm-01/system?keyfile=/run/secrets/poll%20key&known_hosts=/etc/kh&socket=/run/x.sock',
      { ...ssh, keyFile: '/run/secrets/poll key', knownHostsFile: '/etc/kh', socket: '/run/x.sock' },
    ],
    ['qemu+ssh://kvm-01/system?no_verify=0&known_hosts_verify=normal&no_tty=1', ssh],
    ['qemu+ssh://kvm-01/system?mode=direct&proxy=native', { ...ssh, mode: 'direct', proxy: 'native' }],
    ['qemu+ssh://kvm-01/system?netcat=/bin/nc', ssh],
    ['qemu+ssh://kvm-01/system?sshauth=agent,password', { ...ssh, auth: ['agent'] }],
    ['qemu+ssh://kvm-01/system?name=qemu:///session', { ...ssh, name: 'qemu:///session' }],
    ['test+ssh://kvm-01/default', { ...ssh, driver: 'test', path: '/default' }],
    ['test+ssh://kvm-01/etc/lab%20one.xml', { ...ssh, driver: 'test', path: '/etc/lab one.xml' }],
    ['qemu:///system', { transport: 'local', driver: 'qemu', path: '/system' }],
    ['test:///default', { transport: 'local', driver: 'test', path: '/default' }],
    [
      'qemu:///system?socket=/run/lv/sock',
      { transport: 'local', driver: 'qemu', path: '/system', socket: '/run/lv/sock' },
    ],
  ])('reads %s', (text, expected) => {
    expect(parseLibvirtUri(text)).toEqual(expected);
  });

  it.each([
    ['kvm-01', 'not a libvirt URI', 'qemu+ssh://user@host/system'],
    ['qemu+ssh://kvm-01/system#x', 'not a libvirt URI', ''],
    ['qemy+ssh://kvm-01/system', 'driver "qemy"', 'Did you mean qemu?'],
    ['xen+ssh://kvm-01/', 'driver "xen"', 'supported are'],
    ['qemu+tls://kvm-01/system', 'transport "tls"', 'qemu+ssh://kvm-01/'],
    ['qemu+tcp://kvm-01/system', 'transport "tcp"', 'qemu+ssh://kvm-01/'],
    ['qemu+libssh2://root@kvm-01/system', 'transport "libssh2"', 'qemu+ssh://kvm-01/'],
    ['qemu+ext://kvm-01/system', 'transport "ext"', 'qemu+ssh://'],
    ['qemu+unix:///system', 'transport "unix"', '?socket='],
    ['qemu://kvm-01/system', 'means TLS', 'qemu+ssh://kvm-01/'],
    ['qemu+ssh:///system', 'names no host', '//user@host'],
    ['qemu+ssh://kvm 01/system', 'is not a host', ''],
    ['qemu+ssh://2001:db8::1/system', 'is not a host', '[address]'],
    ['qemu+ssh://[kvm-01]/system', 'is not a host', ''],
    ['qemu+ssh://kvm-01:0/system', 'not a port', '65535'],
    ['qemu+ssh://kvm-01:ssh/system', 'not a port', '65535'],
    ['qemu+ssh://@kvm-01/system', 'user before @ is empty', ''],
    ['qemu+ssh://root@kvm-01/sytem', 'no "/sytem"', 'Did you mean /system?'],
    ['qemu+ssh://root@kvm-01', 'no ""', '/system'],
    ['qemu+ssh://kvm-01/system?keyfil=/x', 'unknown parameter "keyfil"', 'Did you mean keyfile?'],
    ['qemu+ssh://kvm-01/system?zzzzzzzzz=1', 'unknown parameter', 'known are keyfile'],
    ['qemu+ssh://kvm-01/system?keyfile=/x&keyfile=/y', 'given twice', ''],
    ['qemu+ssh://kvm-01/system?keyfile=', 'is empty', ''],
    ['qemu+ssh://kvm-01/system?no_verify=1', 'always verified', 'outrigger enroll'],
    ['qemu+ssh://kvm-01/system?known_hosts_verify=ignore', 'always verified', 'outrigger enroll'],
    ['qemu+ssh://kvm-01/system?known_hosts_verify=auto', 'always verified', 'outrigger enroll'],
    ['qemu+ssh://kvm-01/system?proxy=netcat', 'proxy=netcat', 'virt-ssh-helper'],
    ['qemu+ssh://kvm-01/system?sshauth=password', 'sshauth=password', 'privkey'],
    ['qemu+ssh://kvm-01/system?command=/usr/bin/ssh', 'not supported', 'no ssh program'],
    ['qemu+ssh://kvm-01/system?mode=drect', 'mode=drect', 'Did you mean direct?'],
    ['qemu+ssh://kvm-01/system?name=xen:///', 'name=xen:///', 'name=qemu:///system'],
    ['qemu+ssh://kvm-01/system?keyfile=%zz', 'broken %-escape', '%25'],
    ['qemu+ssh://kvm-01/system?keyfile=/a%00b', 'control character', ''],
    ['qemu:///system?keyfile=/x', 'unknown parameter "keyfile"', ''],
    ['test:///', 'needs a path', '/default'],
  ])('refuses %s', (text, message, hint) => {
    const error = refusal(text);
    expect(error).toMatchObject({ code: 'BAD_REQUEST', outcome: 'not-sent' });
    expect(error.message).toContain(message);
    expect(error.hint ?? '').toContain(hint);
  });

  it('refuses a text without bound', () => {
    expect(refusal(`qemu+ssh://${'a'.repeat(3000)}/system`).message).toContain('at most 2048');
  });

  it('never repeats a password', () => {
    for (const text of [
      'qemu+ssh://root:hunter2@kvm-01/system',
      'qemu+tls://root:hunter2@kvm-01/',
      'root:hunter2@kvm',
    ]) {
      const { message, hint } = refusal(text);
      expect(`${message} ${hint}`).not.toContain('hunter2');
    }
    expect(refusal('qemu+ssh://root:hunter2@kvm-01/system').message).toContain('must not hold a password');
  });
});

describe('daemonUri', () => {
  it.each([
    ['qemu+ssh://root@kvm-01:22/system?socket=/x', 'qemu:///system'],
    ['test+ssh://kvm-01/default', 'test:///default'],
    ['test+ssh://kvm-01/etc/lab%20one.xml', 'test:///etc/lab%20one.xml'],
    ['qemu+ssh://kvm-01/system?name=qemu:///session', 'qemu:///session'],
    ['qemu:///system', 'qemu:///system'],
  ])('of %s is %s', (text, expected) => {
    expect(daemonUri(parseLibvirtUri(text))).toBe(expected);
  });
});

function refusal(text: string): HostError {
  try {
    parseLibvirtUri(text);
  } catch (error) {
    if (error instanceof HostError) return error;
    throw error;
  }
  throw new Error(`${text} was accepted`);
}
