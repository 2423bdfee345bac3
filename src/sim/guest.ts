// What the agent in a simulated guest tells, as libvirt's typed parameters: one filesystem that fills slowly, one user, Debian.
import { guestInfoType } from '../libvirt/procedures.js';
import type { TypedParam } from '../libvirt/wire/codec.js';
import type { SimVm } from './vm.js';

/** `types` 0: all. */
export function guestInfo(vm: SimVm, types: number): TypedParam[] {
  const has = (type: number) => types === 0 || (types & type) !== 0;
  const [disk] = vm.disks;
  const totalBytes = Math.floor((disk?.capacity ?? 0) * 0.95);
  return [
    ...(has(guestInfoType.users) ? users : []),
    ...(has(guestInfoType.os) ? debian : []),
    ...(has(guestInfoType.timezone) ? timezone : []),
    ...(has(guestInfoType.hostname) ? [text('hostname', vm.name)] : []),
    ...(has(guestInfoType.filesystem)
      ? [
          count('fs.count', 1),
          text('fs.0.name', 'vda1'),
          text('fs.0.mountpoint', '/'),
          text('fs.0.fstype', 'ext4'),
          { field: 'fs.0.total-bytes', type: 'ullong', value: totalBytes } as const,
          { field: 'fs.0.used-bytes', type: 'ullong', value: Math.floor(totalBytes * 0.4) } as const,
          count('fs.0.disk.count', 1),
          text('fs.0.disk.0.alias', 'vda'),
        ]
      : []),
  ];
}

const text = (field: string, value: string): TypedParam => ({ field, type: 'string', value });
const count = (field: string, value: number): TypedParam => ({ field, type: 'uint', value });

const users: TypedParam[] = [count('user.count', 1), text('user.0.name', 'root')];
const debian: TypedParam[] = [
  text('os.id', 'debian'),
  text('os.name', 'Debian GNU/Linux'),
  text('os.pretty-name', 'Debian GNU/Linux 12 (bookworm)'),
  text('os.version', '12 (bookworm)'),
  text('os.version-id', '12'),
  text('os.machine', 'x86_64'),
  text('os.kernel-release', '6.1.0-28-amd64'),
];
const timezone: TypedParam[] = [
  text('timezone.name', 'UTC'),
  { field: 'timezone.offset', type: 'int', value: 0 },
];
