// The files of a lab host, as text: accounts, sshd, libvirtd, keys, guests. Pure: it writes nothing.

export const pollUser = 'outrigger';
export const opsUser = 'outrigger-ops';
export const pollUid = 64310;
export const opsUid = 64311;

export type SshdOptions = {
  /** Default true. With false the keys allow virt-ssh-helper instead of the socket. */
  allowStreamLocalForwarding?: boolean;
  /** Which way to libvirt the authorized_keys lines leave open. Default: socket, or helper where forwarding is forbidden. */
  keys?: 'socket' | 'helper';
  /** Makes the polling key's SFTP server log every open and every refused write to syslogFile (adds "-l VERBOSE" to its command). */
  sftpLog?: boolean;
  /** Default DEBUG1, which shows every request on every channel in sshdLogFile. */
  logLevel?: 'INFO' | 'VERBOSE' | 'DEBUG1' | 'DEBUG2' | 'DEBUG3';
  /** OpenSSH >= 9.8 refuses a source for a while after failed logins. Off here unless true, as all tests come from one address. */
  penalties?: boolean;
  /** More lines for sshd_config; they stand first, so they win. */
  extra?: readonly string[];
};

export type GuestOptions = {
  /** false: ignores the power button. Default true. */
  acpi?: boolean;
  /** false: no guest agent runs. Default true. */
  agent?: boolean;
  /** Default 96. */
  memoryMiB?: number;
  /** false: defined, and left shut off. Default true. */
  start?: boolean;
};
export type GuestSpec = GuestOptions & { name: string };

export type Accounts = { passwd: string; group: string; shadow: string };

/** The machine's accounts and the two users of the lab. */
export function withLabUsers(machine: Accounts): Accounts {
  const lines = (text: string) => text.split('\n').filter((line) => line !== '');
  const others = (text: string) => lines(text).filter((line) => !/^(outrigger|outrigger-ops):/.test(line));
  const group = others(machine.group).map((line) =>
    /^libvirt:/.test(line) ? `${line}${line.endsWith(':') ? '' : ','}${opsUser}` : line,
  );
  const join = (text: string[]) => `${text.join('\n')}\n`;
  return {
    passwd: join([
      ...others(machine.passwd),
      `${pollUser}:x:${pollUid}:${pollUid}::/home/${pollUser}:/bin/sh`,
      `${opsUser}:x:${opsUid}:${opsUid}::/home/${opsUser}:/bin/sh`,
    ]),
    group: join([...group, `${pollUser}:x:${pollUid}:`, `${opsUser}:x:${opsUid}:`]),
    shadow: join([...others(machine.shadow), `${pollUser}:*:19700::::::`, `${opsUser}:*:19700::::::`]),
  };
}

export function sshdConfig(address: string, options: SshdOptions, opensshVersion: number): string {
  return `${[
    ...(options.extra ?? []),
    ...(opensshVersion >= 9.8 && options.penalties !== true ? ['PerSourcePenalties no'] : []),
    'Port 22',
    `ListenAddress ${address}`,
    'HostKey /run/lab/ssh/ssh_host_ed25519_key',
    'HostKey /run/lab/ssh/ssh_host_ecdsa_key',
    'PidFile /run/sshd.pid',
    `LogLevel ${options.logLevel ?? 'DEBUG1'}`,
    'UsePAM no',
    'UseDNS no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'AuthorizedKeysFile .ssh/authorized_keys',
    `AllowStreamLocalForwarding ${options.allowStreamLocalForwarding === false ? 'no' : 'yes'}`,
    'Subsystem sftp internal-sftp',
  ].join('\n')}\n`;
}

const sftpServer = '/usr/lib/openssh/sftp-server';

/** The authorized_keys lines: each key can do its one thing and nothing else. */
export function authorizedKeys(
  pollKey: string,
  opsKey: string,
  options: SshdOptions,
): { poll: string; ops: string } {
  const way = options.keys ?? (options.allowStreamLocalForwarding === false ? 'helper' : 'socket');
  const log = options.sftpLog ? ' -l VERBOSE -f AUTH' : '';
  if (way === 'helper') {
    const poll = `case \\"$SSH_ORIGINAL_COMMAND\\" in *virt-ssh-helper*) exec virt-ssh-helper -r qemu:///system ;; *) exec ${sftpServer} -R${log} ;; esac`;
    return {
      poll: `restrict,command="${poll}" ${pollKey}\n`,
      ops: `restrict,command="exec virt-ssh-helper qemu:///system" ${opsKey}\n`,
    };
  }
  const socket = (name: string) => `restrict,port-forwarding,permitopen="[/run/libvirt/${name}]:*"`;
  return {
    poll: `${socket('libvirt-sock-ro')},command="internal-sftp -R${log}" ${pollKey}\n`,
    ops: `${socket('libvirt-sock')},command="/bin/false" ${opsKey}\n`,
  };
}

export function libvirtdConf(uuid: string): string {
  return `host_uuid = "${uuid}"
unix_sock_group = "libvirt"
unix_sock_ro_perms = "0777"
unix_sock_rw_perms = "0770"
auth_unix_ro = "polkit"
auth_unix_rw = "polkit"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
`;
}

export const qemuConf = `security_driver = "none"
namespaces = []
`;

export type GuestPlace = { bridge: string; tap: string; mac: string; ip: string; peer: string };

export function domainXml(guest: GuestSpec, place: GuestPlace): string {
  const memoryMiB = guest.memoryMiB ?? 96;
  const words = [
    'console=ttyS0',
    'quiet',
    'panic=-1',
    `lab.name=${guest.name}`,
    `lab.ip=${place.ip}`,
    `lab.peer=${place.peer}`,
    ...(guest.acpi === false ? ['lab.acpi=0'] : []),
    ...(guest.agent === false ? ['lab.agent=0'] : []),
  ];
  const disk = (target: string, file: string, format: string) => `
    <disk type='file' device='disk'>
      <driver name='qemu' type='${format}'/>
      <source file='/var/lib/libvirt/images/${file}'/>
      <target dev='${target}' bus='virtio'/>
      <serial>${guest.name}-${target}</serial>
    </disk>`;
  return `<domain type='qemu'>
  <name>${guest.name}</name>
  <memory unit='MiB'>${memoryMiB}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>/run/image/vmlinuz</kernel>
    <initrd>/run/image/initrd</initrd>
    <cmdline>${words.join(' ')}</cmdline>
  </os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>${disk('vda', `${guest.name}.qcow2`, 'qcow2')}${hasSecondDisk(guest.name) ? disk('vdb', `${guest.name}-data.raw`, 'raw') : ''}
    <controller type='usb' model='none'/>
    <interface type='bridge'>
      <mac address='${place.mac}'/>
      <source bridge='${place.bridge}'/>
      <target dev='${place.tap}'/>
      <model type='virtio'/>
    </interface>
    <serial type='file'><source path='/var/log/libvirt/qemu/${guest.name}.console'/><target port='0'/></serial>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <memballoon model='virtio'><stats period='5'/></memballoon>
  </devices>
</domain>
`;
}

/** Guests named db-… get a second disk, a raw one. */
export function hasSecondDisk(guest: string): boolean {
  return guest.startsWith('db');
}

/** n guests: web-1, db-1, web-2, db-2, … */
export function guestNames(count: number): string[] {
  return Array.from(
    { length: count },
    (_, index) => `${index % 2 === 0 ? 'web' : 'db'}-${Math.floor(index / 2) + 1}`,
  );
}

type InventoryLab = {
  pollKeyFile: string;
  opsKeyFile: string;
  knownHostsFile: string;
  hosts: readonly { name: string; address: string }[];
};

export function inventoryText(lab: InventoryLab): string {
  const hosts = lab.hosts.map((host) => `  - name: ${host.name}\n    address: ${host.address}\n`);
  return `version: 1
defaults:
  ssh:
    user: ${pollUser}
    port: 22
    keyFile: ${lab.pollKeyFile}
    opsUser: ${opsUser}
    opsKeyFile: ${lab.opsKeyFile}
    knownHostsFile: ${lab.knownHostsFile}
hosts:${hosts.length === 0 ? ' []' : ''}
${hosts.join('')}`;
}
