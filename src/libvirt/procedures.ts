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
const domainAndFlags = struct({ dom: domain, flags: uint });

/** A snapshot as libvirt names it on the wire. */
export type SnapshotRef = { name: string; dom: DomainRef };
const snapshot = struct<SnapshotRef>({ name: string, dom: domain });
const snapshotAndFlags = struct({ snap: snapshot, flags: uint });

export type PoolRef = { name: string; uuid: string };
const pool = struct<PoolRef>({ name: string, uuid });

/** `pool` is the pool's name; `key` is the path, for volumes that are files or devices. */
export type VolumeRef = { pool: string; name: string; key: string };
const volume = struct<VolumeRef>({ pool: string, name: string, key: string });

/** libvirt's own limits. */
const snapshotsMax = 16_384;
const poolsMax = 4_096;
const volumesMax = 16_384;
const interfacesMax = 2_048;
const addressesMax = 2_048;
const guestParamsMax = 2_048;
const guestFilesystemsMax = 256;
const filesystemDisksMax = 256;

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
  domainGetAutostart: procedure(15, oneDomain, struct({ autostart: int })),
  domainLookupByName: procedure(23, struct({ name: string }), oneDomain),
  domainLookupByUuid: procedure(24, struct({ uuid }), oneDomain),
  domainReboot: procedure(27, domainAndFlags, nothing),
  domainResume: procedure(28, oneDomain, nothing),
  domainSetAutostart: procedure(29, struct({ dom: domain, autostart: int }), nothing),
  domainSuspend: procedure(34, oneDomain, nothing),
  connectGetHostname: procedure(59, nothing, struct({ hostname: string })),
  connectSupportsFeature: procedure(60, struct({ feature: int }), struct({ supported: int })),
  authList: procedure(66, nothing, struct({ types: array(int, authTypesMax) })),
  authPolkit: procedure(70, nothing, struct({ complete: int })),
  storagePoolRefresh: procedure(83, struct({ pool, flags: uint }), nothing),
  storagePoolGetInfo: procedure(
    87,
    struct({ pool }),
    /** Bytes. */
    struct({ state: uint, capacity: uhyper, allocation: uhyper, available: uhyper }),
  ),
  storageVolDelete: procedure(94, struct({ vol: volume, flags: uint }), nothing),
  storageVolLookupByPath: procedure(97, struct({ path: string }), struct({ vol: volume })),
  storageVolGetXmlDesc: procedure(99, struct({ vol: volume, flags: uint }), struct({ xml: string })),
  connectGetUri: procedure(110, nothing, struct({ uri: string })),
  domainIsPersistent: procedure(151, oneDomain, struct({ persistent: int })),
  connectGetLibVersion: procedure(157, nothing, struct({ libVer: uhyper })),
  domainGetJobInfo: procedure(
    163,
    oneDomain,
    /** Milliseconds and bytes. */
    struct({
      type: int,
      timeElapsed: uhyper,
      timeRemaining: uhyper,
      dataTotal: uhyper,
      dataProcessed: uhyper,
      dataRemaining: uhyper,
      memTotal: uhyper,
      memProcessed: uhyper,
      memRemaining: uhyper,
      fileTotal: uhyper,
      fileProcessed: uhyper,
      fileRemaining: uhyper,
    }),
  ),
  domainHasManagedSaveImage: procedure(183, domainAndFlags, struct({ result: int })),
  domainSnapshotCreateXml: procedure(
    185,
    struct({ dom: domain, xmlDesc: string, flags: uint }),
    struct({ snap: snapshot }),
  ),
  domainSnapshotGetXmlDesc: procedure(186, snapshotAndFlags, struct({ xml: string })),
  domainSnapshotLookupByName: procedure(
    189,
    struct({ dom: domain, name: string, flags: uint }),
    struct({ snap: snapshot }),
  ),
  domainHasCurrentSnapshot: procedure(190, domainAndFlags, struct({ result: int })),
  domainSnapshotCurrent: procedure(191, domainAndFlags, struct({ snap: snapshot })),
  domainRevertToSnapshot: procedure(192, snapshotAndFlags, nothing),
  domainSnapshotDelete: procedure(193, snapshotAndFlags, nothing),
  domainGetBlockInfo: procedure(
    194,
    struct({ dom: domain, path: string, flags: uint }),
    /** Bytes. */
    struct({ allocation: uhyper, capacity: uhyper, physical: uhyper }),
  ),
  domainCreateWithFlags: procedure(196, domainAndFlags, oneDomain),
  domainGetState: procedure(212, struct({ dom: domain, flags: uint }), struct({ state: int, reason: int })),
  domainUndefineFlags: procedure(231, domainAndFlags, nothing),
  domainDestroyFlags: procedure(234, domainAndFlags, nothing),
  domainReset: procedure(245, domainAndFlags, nothing),
  domainShutdownFlags: procedure(258, domainAndFlags, nothing),
  domainPmWakeup: procedure(267, domainAndFlags, nothing),
  connectListAllDomains: procedure(
    273,
    struct({ needResults: int, flags: uint }),
    struct({ domains: array(domain, domainsMax), ret: uint }),
  ),
  domainListAllSnapshots: procedure(
    274,
    struct({ dom: domain, needResults: int, flags: uint }),
    struct({ snapshots: array(snapshot, snapshotsMax), ret: int }),
  ),
  domainGetHostname: procedure(277, domainAndFlags, struct({ hostname: string })),
  connectListAllStoragePools: procedure(
    281,
    struct({ needResults: int, flags: uint }),
    struct({ pools: array(pool, poolsMax), ret: uint }),
  ),
  storagePoolListAllVolumes: procedure(
    282,
    struct({ pool, needResults: int, flags: uint }),
    struct({ vols: array(volume, volumesMax), ret: uint }),
  ),
  /** `period`: seconds. */
  domainSetMemoryStatsPeriod: procedure(308, struct({ dom: domain, period: int, flags: uint }), nothing),
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
  domainGetFsInfo: procedure(
    349,
    domainAndFlags,
    struct({
      info: array(
        struct({
          mountpoint: string,
          name: string,
          fstype: string,
          devAlias: array(string, filesystemDisksMax),
        }),
        guestFilesystemsMax,
      ),
      ret: uint,
    }),
  ),
  domainInterfaceAddresses: procedure(
    353,
    struct({ dom: domain, source: uint, flags: uint }),
    struct({
      ifaces: array(
        struct({
          name: string,
          hwaddr: optional(string),
          addrs: array(struct({ type: int, addr: string, prefix: uint }), addressesMax),
        }),
        interfacesMax,
      ),
    }),
  ),
  domainGetGuestInfo: procedure(
    418,
    struct({ dom: domain, types: uint, flags: uint }),
    struct({ params: typedParams(guestParamsMax) }),
  ),
});

/** Sent by libvirt unasked, once a callback is registered. */
export const domainEventCallbackLifecycle = {
  number: 318,
  message: struct({ callbackId: int, dom: domain, event: int, detail: int }),
};

/** As the one above; a guest that was reset from inside or outside has it in place of a lifecycle event. */
export const domainEventCallbackReboot = {
  number: 319,
  message: struct({ callbackId: int, dom: domain }),
};

/** virConnectOpen: VIR_CONNECT_RO. */
export const connectReadOnly = 1;
/** REMOTE_AUTH_*. */
export const authType = { none: 0, sasl: 1, polkit: 2 } as const;
/** VIR_DRV_FEATURE_*. */
export const feature = { programKeepalive: 10 } as const;
/** VIR_DOMAIN_EVENT_ID_*. */
export const eventId = { lifecycle: 0, reboot: 1 } as const;
/** VIR_CONNECT_LIST_DOMAINS_*. */
export const listDomainsFlag = { active: 1, running: 16, hasSnapshot: 4096 } as const;
/** VIR_DOMAIN_GUEST_INFO_*. */
export const guestInfoType = { users: 1, os: 2, timezone: 4, hostname: 8, filesystem: 16 } as const;
/** virDomainState, in order. */
export const domainStates = [
  'nostate',
  'running',
  'blocked',
  'paused',
  'shutdown',
  'shutoff',
  'crashed',
  'pmsuspended',
] as const;
export type DomainState = (typeof domainStates)[number];
/** VIR_DOMAIN_START_*. */
export const startFlag = { paused: 1 } as const;
/** VIR_DOMAIN_SHUTDOWN_* and VIR_DOMAIN_REBOOT_*, which are the same. */
export const shutdownFlag = { acpi: 1, agent: 2 } as const;
/** VIR_DOMAIN_DESTROY_*. */
export const destroyFlag = { graceful: 1 } as const;
/** VIR_DOMAIN_UNDEFINE_*. */
export const undefineFlag = {
  managedSave: 1,
  snapshotsMetadata: 2,
  nvram: 4,
  checkpointsMetadata: 16,
  tpm: 32,
} as const;
/** VIR_DOMAIN_XML_*. */
export const xmlFlag = { inactive: 2 } as const;
/** VIR_DOMAIN_SNAPSHOT_CREATE_*. */
export const snapshotCreateFlag = { diskOnly: 16, quiesce: 64, atomic: 128 } as const;
/** VIR_DOMAIN_SNAPSHOT_DELETE_*. */
export const snapshotDeleteFlag = { children: 1 } as const;
/** VIR_DOMAIN_SNAPSHOT_REVERT_*. */
export const snapshotRevertFlag = { running: 1, paused: 2, force: 4 } as const;
/** VIR_DOMAIN_SNAPSHOT_LIST_*. */
export const listSnapshotsFlag = { roots: 1 } as const;
/** VIR_DOMAIN_AFFECT_*. */
export const affectFlag = { live: 1 } as const;
/** VIR_CONNECT_LIST_STORAGE_POOLS_*. */
export const listPoolsFlag = { active: 2 } as const;
/** VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_*. */
export const addressSource = { lease: 0, agent: 1, arp: 2 } as const;

function procedure<A, R>(number: number, args: Codec<A>, result: Codec<R>) {
  return { number, args, result };
}

function named<T extends Record<string, object>>(table: T): { [K in keyof T]: T[K] & { name: string } } {
  const entries = Object.entries(table).map(([name, entry]) => [name, { ...entry, name }]);
  return Object.fromEntries(entries) as { [K in keyof T]: T[K] & { name: string } };
}
