// What pollers may do with the jobs key: ask guests' agents, which libvirt refuses on its read-only socket, and set the
// period of balloon statistics. It refuses everything else, and hosts whose inventory entry asks for neither. It has
// connections of its own, so that agents which never answer fill up no job's: libvirtd serves 5 calls a client.
import { HostError } from '../core/errors.js';
import type { Log } from '../core/log.js';
import type { Host } from '../inventory/host.js';
import type { CallOptions, LibvirtClient } from '../libvirt/client.js';
import { affectFlag, type DomainRef, procedures } from '../libvirt/procedures.js';
import { OpsSessions, type OpsSessionsDeps } from './ops-session.js';

/** Longer than most hosts' intervals: polls that come regularly keep their connection. */
export const pollsIdleMs = 10 * 60_000;

/** Each rejects with a HostError. */
export type OpsLibvirt = {
  /** `types`: bits of guestInfoType. */
  guestInfo(dom: DomainRef, types: number, options?: CallOptions): ReturnType<typeof guestInfo>;
  /** For libvirt before 5.7, which does not know guestInfo. */
  guestFilesystems(dom: DomainRef, options?: CallOptions): ReturnType<typeof guestFilesystems>;
  guestHostname(dom: DomainRef, options?: CallOptions): ReturnType<typeof guestHostname>;
  /** Of a running VM, until it ends. */
  setBalloonPeriod(dom: DomainRef, seconds: number, options?: CallOptions): Promise<void>;
};

export class OpsForPolls {
  readonly #sessions: OpsSessions;
  readonly #log: Log;

  constructor(deps: OpsSessionsDeps) {
    this.#log = deps.log.child({ use: 'polls' });
    this.#sessions = new OpsSessions({ ...deps, idleMs: pollsIdleMs, log: this.#log });
  }

  /** Follows the inventory: a host that asks for none of this any more loses its connection. */
  apply(hosts: readonly Host[]): void {
    this.#sessions.apply(hosts.filter(wantsOps));
  }

  /** Throws HostError with outcome `not-sent`. */
  async libvirt(host: Host, signal?: AbortSignal): Promise<OpsLibvirt> {
    if (!wantsOps(host)) {
      throw new HostError('BAD_REQUEST', {
        host: host.name,
        outcome: 'not-sent',
        message: 'the inventory lets polls of this host use no jobs key',
      });
    }
    return confined(await this.#sessions.get(host, signal), this.#log);
  }

  retryNow(): void {
    this.#sessions.retryNow();
  }

  close(): Promise<void> {
    return this.#sessions.close();
  }
}

function wantsOps({ poll }: Host): boolean {
  return poll.guestMs !== undefined || poll.balloonPeriodS !== undefined;
}

function confined(client: LibvirtClient, log: Log): OpsLibvirt {
  return {
    guestInfo: (dom, types, options) => guestInfo(client, dom, types, options),
    guestFilesystems: (dom, options) => guestFilesystems(client, dom, options),
    guestHostname: (dom, options) => guestHostname(client, dom, options),
    setBalloonPeriod: async (dom, period, options) => {
      await client.call(
        procedures.domainSetMemoryStatsPeriod,
        { dom, period, flags: affectFlag.live },
        options,
      );
      log.info({ host: client.host, vm: dom.name, periodS: period }, 'balloon statistics turned on');
    },
  };
}

async function guestInfo(client: LibvirtClient, dom: DomainRef, types: number, options?: CallOptions) {
  const { params } = await client.call(procedures.domainGetGuestInfo, { dom, types, flags: 0 }, options);
  return params;
}

async function guestFilesystems(client: LibvirtClient, dom: DomainRef, options?: CallOptions) {
  const { info } = await client.call(procedures.domainGetFsInfo, { dom, flags: 0 }, options);
  return info;
}

async function guestHostname(client: LibvirtClient, dom: DomainRef, options?: CallOptions) {
  const { hostname } = await client.call(procedures.domainGetHostname, { dom, flags: 0 }, options);
  return hostname;
}
