// virt-ssh-helper, the command that libvirt installs for clients over SSH: its command line, and what its end means.
// It refuses any URI that a shell could read as more than a word. No I/O.
import { HostError } from '../core/errors.js';
import { quoted } from './connect-errors.js';

export const helperErrorBytesMax = 4 * 1024;

const daemonUriShape = /^[a-z]+:\/\/\/[A-Za-z0-9._/-]{0,256}$/;

/** Throws BAD_REQUEST for a URI that is not a plain one of the daemon. */
export function helperCommand(host: string, daemonUri: string, readOnly: boolean): string {
  if (!daemonUriShape.test(daemonUri)) {
    throw new HostError('BAD_REQUEST', {
      host,
      message: `${quoted(daemonUri)}: not a URI that virt-ssh-helper can be given`,
      hint: 'Use qemu:///system.',
      outcome: 'not-sent',
    });
  }
  return `virt-ssh-helper ${readOnly ? '-r ' : ''}'${daemonUri}'`;
}

export type HelperExit = { code: number | null; complaint: string; receivedBytes?: number; text?: boolean };

const shellNotFound = 127;

/** Why the helper ended, as an error; undefined when it had done its work. */
export function helperEnd(
  host: string,
  exit: HelperExit,
  context: (error: HostError) => HostError = (error) => error,
): HostError | undefined {
  const { code, complaint, receivedBytes = 0, text = false } = exit;
  if (!text && code === 0) return undefined;
  if (!text && receivedBytes > 0 && complaint === '') return undefined;
  const said = quoted(complaint);
  const make = (as: 'SOCKET_MISSING' | 'SOCKET_DENIED' | 'FORWARD_DENIED', message: string, hint: string) =>
    context(new HostError(as, { host, message, hint, outcome: 'not-sent' }));
  if (/permission denied/i.test(said)) {
    return make('SOCKET_DENIED', `virt-ssh-helper: ${said}`, 'Put the user in group libvirt on the host.');
  }
  if (code === shellNotFound || /not found/i.test(said)) {
    const hint = 'Install libvirt 6.8 or newer there, or allow stream-local forwarding in sshd_config.';
    return make('SOCKET_MISSING', 'virt-ssh-helper is not installed on the host', hint);
  }
  if (/no such file|connection refused|cannot connect/i.test(said)) {
    return make(
      'SOCKET_MISSING',
      quoted(`virt-ssh-helper: ${said}`),
      'Start libvirtd (or virtqemud) on the host.',
    );
  }
  const why = said || (code === null ? 'it was ended' : `exit ${code}`);
  const hint =
    'Let the key run virt-ssh-helper, or allow it the socket: permitopen and AllowStreamLocalForwarding.';
  return make('FORWARD_DENIED', `the host does not run virt-ssh-helper: ${why}`, hint);
}
