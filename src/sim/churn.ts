// What happens in a fleet by itself: VMs are born, die, are paused and go on, each with its events. One timer for the whole fleet;
// which host and what comes from the seed. It leaves the VMs that a host began with alone, but for a pause.
import type { Clock, Timer } from '../core/clock.js';
import type { SimHost } from './host.js';
import { seededRandom, seedOf } from './random.js';
import { type SimVm, vmState } from './vm.js';

export type ChurnOptions = { perMinute: number; seed: number; clock: Clock };

const bornPrefix = 'job-';
/** Of one host. */
const bornMax = 8;
const minuteMs = 60_000;

export class Churn {
  readonly #hosts: readonly SimHost[];
  readonly #o: ChurnOptions;
  readonly #random: () => number;
  #timer: Timer | undefined;
  #births = 0;

  constructor(hosts: readonly SimHost[], options: ChurnOptions) {
    this.#hosts = hosts;
    this.#o = options;
    this.#random = seededRandom(seedOf(options.seed, 'churn'));
  }

  start(): void {
    if (this.#o.perMinute <= 0 || this.#hosts.length === 0) return;
    const delayMs = (minuteMs / this.#o.perMinute) * (0.5 + this.#random());
    this.#timer = this.#o.clock.after(delayMs, () => {
      this.#happen();
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #happen(): void {
    const host = this.#hosts[Math.floor(this.#random() * this.#hosts.length)];
    if (!host) return;
    const born = [...host.vms].filter(({ name }) => name.startsWith(bornPrefix));
    const chance = this.#random();
    if (chance < 0.35 && born.length < bornMax) {
      this.#birth(host);
      return;
    }
    if (chance < 0.6 && born[0]) {
      die(host, born[0]);
      return;
    }
    const vms = [...host.vms].filter(({ active, stuck }) => active && !stuck);
    const vm = vms[Math.floor(this.#random() * vms.length)];
    if (vm) pauseOrResume(host, vm);
  }

  #birth(host: SimHost): void {
    host.create(host.define(`${bornPrefix}${++this.#births}`));
  }
}

function die(host: SimHost, vm: SimVm): void {
  if (vm.active) host.destroy(vm);
  for (const { chain } of vm.disks) for (const path of chain) host.volumes.delete(path);
  host.undefine(vm, 0xff);
}

function pauseOrResume(host: SimHost, vm: SimVm): void {
  if (vm.state === vmState.running) host.suspend(vm);
  else host.resume(vm);
}
