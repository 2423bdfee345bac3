// What goes wrong in the demo's fleet, so that pages and alerts are worth looking at: one trouble a host, from the second on. The
// first host is always well; a small fleet has fewer troubles.
import type { Clock, Timer } from '../core/clock.js';
import type { Fault } from './faults.js';
import type { SimFleetHost } from './fleet.js';
import { imagesDir, type SimHost } from './host.js';

type Chapter = {
  /** For people, after the host's name. */
  what: string;
  faults?: (host: string) => Fault[];
  begin?: (host: SimFleetHost) => Promise<void> | void;
  /** Again and again, once `everyMs` have passed. */
  act?: (host: SimHost) => void;
};

const everyMs = 20_000;
const slowMs = 2_500;
const fullShare = 0.97;
const troubledVm = 'web-1';

const chapters: readonly Chapter[] = [
  {
    what: 'shows another host key than the one in known_hosts: not connected to, and why is said',
    faults: (host) => [{ host, procedure: 'ssh.connect', action: 'wrong-key' }],
  },
  { what: 'is down: connections are refused', begin: (host) => host.down() },
  {
    what: `is slow: libvirt takes ${slowMs / 1000} s for its figures`,
    faults: (host) => [{ host, procedure: 'connectGetAllDomainStats', action: 'delay', delayMs: slowMs }],
  },
  {
    what: `has a VM that is stuck, ${troubledVm}: its figures are partial, the others' are whole`,
    begin: ({ model }) => {
      const vm = model.byName(troubledVm);
      if (!vm.active) model.create(vm);
      vm.stuck = true;
    },
  },
  {
    what: `has a VM that crashes and is started again, ${troubledVm}`,
    act: (host) => {
      const vm = host.byName(troubledVm);
      if (vm.active) host.crash(vm);
      else host.create(vm);
    },
  },
  {
    what: `has a pool and filesystem that are full, ${imagesDir}`,
    begin: ({ model }) => {
      for (const filesystem of model.filesystems)
        if (filesystem.mountpoint === imagesDir) filesystem.used = fullShare;
    },
  },
];

export function storyFaults(names: readonly string[]): Fault[] {
  return names.slice(1).flatMap((name, index) => chapters[index]?.faults?.(name) ?? []);
}

export function storyLines(names: readonly string[]): string[] {
  return names.slice(1, chapters.length + 1).map((name, index) => `${name} ${chapters[index]?.what ?? ''}`);
}

/** Needs a VM a host. Ends with what it returns. */
export async function tellStory(hosts: readonly SimFleetHost[], clock: Clock): Promise<() => void> {
  const told = hosts.slice(1, chapters.length + 1).map((host, index) => ({ host, chapter: chapters[index] }));
  for (const { host, chapter } of told) await chapter?.begin?.(host);
  let timer: Timer | undefined;
  const next = () => {
    timer = clock.after(everyMs, () => {
      for (const { host, chapter } of told) chapter?.act?.(host.model);
      next();
    });
  };
  next();
  return () => timer?.cancel();
}
