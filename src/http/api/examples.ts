// The examples in the OpenAPI document, by the name of their shape; a test holds them against the schemas.
import { problemBody } from '../problem.js';
import type { AuditEntry, Host, Job, NewJob, QueueState, Vm } from './schemas.js';

const uuid = '7d3e2c1a-0b4f-4c6d-9e8a-1f2b3c4d5e6f';

const hostExample: Host = {
  name: 'kvm-01',
  address: '192.0.2.11',
  groups: ['ams1'],
  labels: { dc: 'ams1', rack: 'r1' },
  state: 'up',
  since: '2026-11-20T22:14:03.120Z',
  maintenance: false,
  ops: { allowed: true },
  ssh: true,
  libvirt: true,
  files: true,
  via: '/run/libvirt/libvirt-sock-ro',
  stale: false,
  sampledAt: '2026-11-21T03:00:12.000Z',
  sampleAgeSeconds: 4.2,
  vms: { total: 24, running: 22 },
  cpus: 32,
  load: { one: 6.1, five: 5.8, fifteen: 5.5 },
  memory: { totalBytes: 270_000_000_000, availableBytes: 81_000_000_000 },
  filesystems: [{ mountpoint: '/', sizeBytes: 480_000_000_000, availableBytes: 200_000_000_000 }],
  uptimeSeconds: 3_456_000,
  kernel: 'Linux 6.1.0-28-amd64',
  os: 'Debian GNU/Linux 12 (bookworm)',
};

const vmExample: Vm = {
  host: 'kvm-01',
  name: 'web-1',
  uuid,
  state: 'running',
  reason: 'booted',
  busy: false,
  stale: false,
  sampledAt: '2026-11-21T03:00:12.000Z',
  vcpus: 2,
  cpuSecondsTotal: 81_234.5,
  memory: { maximumBytes: 4_294_967_296, currentBytes: 4_294_967_296, rssBytes: 3_100_000_000 },
  disks: [
    { device: 'vda', capacityBytes: 21_474_836_480, readBytesTotal: 1_048_576, writtenBytesTotal: 524_288 },
  ],
  interfaces: [{ device: 'vnet3', receivedBytesTotal: 9_000_000, transmittedBytesTotal: 4_000_000 }],
};

const newJobExample: NewJob = {
  op: 'stop',
  host: 'kvm-01',
  vm: 'web-1',
  params: { timeoutSeconds: 60 },
  reason: 'maintenance window 4711',
};

const steps = [{ at: '2026-11-21T03:00:14.012Z', step: 'shutdown requested' }];

const jobExample: Job = {
  id: 'j5f2c9a1e0b7d43c88f10',
  op: 'stop',
  state: 'completed',
  host: 'kvm-01',
  vm: 'web-1',
  params: { timeoutSeconds: 60 },
  dryRun: false,
  requestId: '0e8c2c9e-5d0f-4a3a-9a55-0f5d9f0f7a11',
  requestedBy: 'anna',
  reason: 'maintenance window 4711',
  createdAt: '2026-11-21T03:00:13.900Z',
  startedAt: '2026-11-21T03:00:13.950Z',
  finishedAt: '2026-11-21T03:00:16.120Z',
  steps,
  result: {
    op: 'stop',
    host: 'kvm-01',
    vm: { name: 'web-1', uuid },
    outcome: 'changed',
    before: { state: 'running', reason: 'booted' },
    after: { state: 'shutoff', reason: 'shutdown' },
    steps,
    data: null,
    durationMs: 2_100,
  },
  cancel: 'too-late',
};

const queueExample: QueueState = {
  name: 'outrigger-vm-jobs',
  waiting: 1,
  active: 2,
  delayed: 0,
  completed: 4_130,
  failed: 12,
  running: 2,
  workers: 1,
  oldestWaitingSeconds: 0.8,
};

const auditExample: AuditEntry = {
  seq: 412,
  at: '2026-11-21T03:00:14.001Z',
  kind: 'begin',
  requestId: '0e8c2c9e-5d0f-4a3a-9a55-0f5d9f0f7a11',
  op: 'stop',
  act: 'shutdown',
  host: 'kvm-01',
  vm: { name: 'web-1', uuid },
  requestedBy: 'anna',
  reason: 'maintenance window 4711',
  before: { state: 'running', reason: 'booted' },
  hash: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
};

const next = 'WyJrdm0tMDEiXQ';

export const examples = {
  Host: hostExample,
  HostPage: { items: [hostExample], next, total: 120 },
  Vm: vmExample,
  VmPage: { items: [vmExample], total: 1 },
  NewJob: newJobExample,
  Job: jobExample,
  JobPage: { items: [jobExample], next },
  QueueState: queueExample,
  AuditEntry: auditExample,
  AuditPage: { items: [auditExample], next },
  Problem: problemBody('host-unknown', {
    detail: 'no host "kvm-1" in the inventory',
    hint: 'Did you mean kvm-01?',
  }),
};
