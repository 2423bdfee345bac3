// libvirt's remote procedures, each once, as data: number, arguments, result. Types are inferred, so a call site cannot
// disagree with the wire. Names of procedures and fields are libvirt's own. It declares what is used and nothing else.
import {
  array,
  type Codec,
  fixedChars,
  int,
  nothing,
  optional,
  rest,
  string,
  struct,
  typedParams,
  uhyper,
  uint,
  uuid,
} from './wire/codec.js';

/** What a caller needs of a procedure of libvirt's remote program; `name` is its key in `procedures`. */
export type Procedure<A, R> = {
  name: string;
  number: number;
  args: Pick<Codec<A>, 'write'>;
  result: Pick<Codec<R>, 'read'>;
};

/** A VM as libvirt names it on the wire; `id` is -1 while it does not run. */
export type DomainRef = { name: string; uuid: string; id: number };

export const domainsMax = 16_384;
const authTypesMax = 20;
const paramsMax = 65_536;

const domain = struct<DomainRef>({ name: string, uuid, id: int });
const oneDomain = struct({ dom: domain });

/** What the payload of `connectGetAllDomainStats` is made of; the client reads it with DomainStatsDecoder instead. */
export const domainStatsRecords = array(struct({ dom: domain, params: typedParams(paramsMax) }), domainsMax);

export const procedures = named({
  connectOpen: procedure(1, struct({ name: optional(string), flags: uint }), nothing),
  connectClose: procedure(2, nothing, nothing),
  connectGetType: procedure(3, nothing, struct({ type: string })),
  connectGetVersion: procedure(4, nothing, struct({ hvVer: uhyper })),
  nodeGetInfo: procedure(
    6,
    nothing,
    struct({
      model: fixedChars(32),
      /** KiB. */
      memory: uhyper,
      cpus: int,
      mhz: int,
      nodes: int,
      sockets: int,
      cores: int,
      threads: int,
    }),
  ),
  connectGetCapabilities: procedure(7, nothing, struct({ capabilities: string })),
  domainCreate: procedure(9, oneDomain, nothing),
  domainDestroy: procedure(12, oneDomain, nothing),
  domainGetXmlDesc: procedure(14, struct({ dom: domain, flags: uint }), struct({ xml: string })),
  domainLookupByName: procedure(23, struct({ name: string }), oneDomain),
  domainLookupByUuid: procedure(24, struct({ uuid }), oneDomain),
  connectGetHostname: procedure(59, nothing, struct({ hostname: string })),
  connectSupportsFeature: procedure(60, struct({ feature: int }), struct({ supported: int })),
  authList: procedure(66, nothing, struct({ types: array(int, authTypesMax) })),
  authPolkit: procedure(70, nothing, struct({ complete: int })),
  connectGetUri: procedure(110, nothing, struct({ uri: string })),
  connectGetLibVersion: procedure(157, nothing, struct({ libVer: uhyper })),
  domainGetState: procedure(212, struct({ dom: domain, flags: uint }), struct({ state: int, reason: int })),
  connectListAllDomains: procedure(
    273,
    struct({ needResults: int, flags: uint }),
    struct({ domains: array(domain, domainsMax), ret: uint }),
  ),
  connectDomainEventCallbackRegisterAny: procedure(
    316,
    struct({ eventId: int, dom: optional(domain) }),
    struct({ callbackId: int }),
  ),
  connectDomainEventCallbackDeregisterAny: procedure(317, struct({ callbackId: int }), nothing),
  connectGetAllDomainStats: procedure(
    344,
    struct({ doms: array(domain, domainsMax), stats: uint, flags: uint }),
    rest,
  ),
});

/** Sent by libvirt unasked, once a callback is registered. */
export const domainEventCallbackLifecycle = {
  number: 318,
  message: struct({ callbackId: int, dom: domain, event: int, detail: int }),
};

/** virConnectOpen: VIR_CONNECT_RO. */
export const connectReadOnly = 1;
/** REMOTE_AUTH_*. */
export const authType = { none: 0, sasl: 1, polkit: 2 } as const;
/** VIR_DRV_FEATURE_*. */
export const feature = { programKeepalive: 10 } as const;
/** VIR_DOMAIN_EVENT_ID_*. */
export const eventId = { lifecycle: 0 } as const;

function procedure<A, R>(number: number, args: Codec<A>, result: Codec<R>) {
  return { number, args, result };
}

function named<T extends Record<string, object>>(table: T): { [K in keyof T]: T[K] & { name: string } } {
  const entries = Object.entries(table).map(([name, entry]) => [name, { ...entry, name }]);
  return Object.fromEntries(entries) as { [K in keyof T]: T[K] & { name: string } };
}
