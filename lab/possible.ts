// Says whether this machine can raise lab hosts, and if not, why and what would mend it. Changes nothing.
import { accessSync, constants, existsSync } from 'node:fs';

export type LabPossible = { ok: true } | { ok: false; why: string };

const programs = [
  'busybox',
  'cpio',
  'dbus-daemon',
  'dpkg-deb',
  'ip',
  'iptables',
  'libvirtd',
  'mkfs.ext4',
  'nsenter',
  'qemu-ga',
  'qemu-img',
  'qemu-system-x86_64',
  'ssh',
  'ssh-keygen',
  'sshd',
  'unshare',
  'virsh',
  'virtlogd',
];
const directories = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

export function labPossible(): LabPossible {
  if (process.platform !== 'linux') return { ok: false, why: 'lab hosts need Linux' };
  if (process.getuid?.() !== 0)
    return { ok: false, why: 'lab hosts need root (namespaces, bridges, port 22 on 127.0.x.x)' };
  const missing = programs.filter(
    (name) => !directories.some((directory) => existsSync(`${directory}/${name}`)),
  );
  if (missing.length > 0)
    return { ok: false, why: `not installed: ${missing.join(' ')}; lab/prepare.sh installs them` };
  if (!existsSync('/dev/net/tun'))
    return { ok: false, why: '/dev/net/tun is missing: the guests need tap devices' };
  try {
    accessSync('/proc/self/ns/cgroup', constants.R_OK);
  } catch {
    return { ok: false, why: 'the kernel has no control group namespaces' };
  }
  return { ok: true };
}
