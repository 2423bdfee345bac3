// The addresses of a VM's interfaces, from whoever knows them: the guest agent first, then the leases of libvirt's networks,
// then the host's ARP table. What comes from a guest is the guest's word: it is taken as text, bounded, and labelled with its source.
import { isIP } from 'node:net';
import { z } from 'zod';
import type { LibvirtClient } from '../libvirt/client.js';
import { addressSource, procedures } from '../libvirt/procedures.js';
import { agentTimeoutMs, bounded, readTimeoutMs } from './bounds.js';
import type { DomainInterface } from './domain-xml.js';
import type { JobContext } from './operation.js';
import type { VmFacts } from './vm.js';

type Source = keyof typeof addressSource;

export type GuestAddress = { address: string; prefix: number; source: Source };
export type GuestInterface = DomainInterface & { addresses: GuestAddress[]; guestName?: string };

const addressesMax = 64;
const interfacesMax = 128;

/** An interface as it is told; a guest may tell anything. */
const Told = z.array(
  z.object({
    name: z.string().max(256),
    hwaddr: z.string().max(64).nullable(),
    addrs: z.array(
      z.object({
        addr: z
          .string()
          .max(64)
          .refine((addr) => isIP(addr) !== 0),
        prefix: z.number().int().min(0).max(128),
      }),
    ),
  }),
);
type Told = z.infer<typeof Told>;

export async function readAddresses(
  client: LibvirtClient,
  agentClient: LibvirtClient | undefined,
  ctx: JobContext,
  { ref }: Pick<VmFacts, 'ref'>,
  interfaces: readonly DomainInterface[],
): Promise<GuestInterface[]> {
  const ask = async (source: Source, from: LibvirtClient | undefined): Promise<Told> => {
    if (!from) return [];
    const args = { dom: ref, source: addressSource[source], flags: 0 };
    const timeoutMs = source === 'agent' ? agentTimeoutMs : readTimeoutMs;
    try {
      const { ifaces } = await from.call(procedures.domainInterfaceAddresses, args, bounded(ctx, timeoutMs));
      return ifaces.slice(0, interfacesMax).flatMap((told) => Told.safeParse([told]).data ?? []);
    } catch (error) {
      if (ctx.signal.aborted) throw error;
      return [];
    }
  };
  const [agent, lease, arp] = await Promise.all([
    ask('agent', agentClient),
    ask('lease', client),
    ask('arp', client),
  ]);
  return interfaces.map((device) => {
    const addresses = new Map<string, GuestAddress>();
    for (const [source, told] of [
      ['agent', agent],
      ['lease', lease],
      ['arp', arp],
    ] as const) {
      for (const { addr, prefix } of told.filter(sameMac(device)).flatMap(({ addrs }) => addrs)) {
        if (!addresses.has(addr) && addresses.size < addressesMax)
          addresses.set(addr, { address: addr, prefix, source });
      }
    }
    const guestName = agent.find(sameMac(device))?.name;
    return {
      ...device,
      addresses: [...addresses.values()],
      ...(guestName && { guestName: shown(guestName) }),
    };
  });
}

function sameMac({ mac }: DomainInterface): (told: Told[number]) => boolean {
  return ({ hwaddr }) => mac !== undefined && hwaddr?.toLowerCase() === mac.toLowerCase();
}

function shown(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?').slice(0, 64);
}
