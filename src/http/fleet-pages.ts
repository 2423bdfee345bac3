// What is on show of each host: its newest samples while they are news, and its state always. It refuses to show
// figures of a host that is not connected or that stopped answering: those series go away, `libvirt_up 0` and the ages stay.
import type { DomainEvents } from '../fleet/domain-events.js';
import type { Fleet } from '../fleet/fleet.js';
import type { SampleStore } from '../fleet/samples.js';
import { type HostSession, sessionStates } from '../fleet/session.js';
import type { Compat } from '../metrics/compat.js';
import type { Format, Lines } from '../metrics/exposition.js';
import { renderHostState } from '../metrics/host-state.js';
import { type FleetPageOptions, type FleetPart, fleetPage, HostPages, type Page } from '../metrics/page.js';
import { renderDetails } from '../metrics/render-details.js';
import { renderDomainJobs } from '../metrics/render-domain-jobs.js';
import { renderChanges, renderEvents } from '../metrics/render-events.js';
import { renderGuest } from '../metrics/render-guest.js';
import { renderSystem } from '../metrics/render-system.js';
import { renderVms } from '../metrics/render-vms.js';
import { type PollerName, pollerNames, type Samples } from '../pollers/runner.js';
import { isNews } from './freshness.js';

type Renderers = { [P in PollerName]: (lines: Lines, instance: string, sample: Samples[P]) => void };

const renderers: Renderers = {
  vms: renderVms,
  system: renderSystem,
  details: renderDetails,
  'domain-jobs': renderDomainJobs,
  guest: renderGuest,
  // On show with the VMs that started.
  starts: () => undefined,
};

export class FleetPages {
  readonly #hosts: HostPages;

  constructor(
    private readonly fleet: Fleet,
    private readonly samples: SampleStore<Samples>,
    private readonly events: DomainEvents,
    /** Since a heartbeat last reached the backend. */
    private readonly heartbeatAgeMs: (host: string) => number | undefined,
    private readonly compat: Compat | undefined,
  ) {
    this.#hosts = new HostPages(compat);
  }

  /** The whole fleet in chunks, every series with its `instance`; without the end of the page. */
  all(options: FleetPageOptions): AsyncIterable<Buffer> {
    const sessions = [...this.fleet.sessions()];
    return fleetPage(() => this.#parts(sessions), { ...options, compat: this.compat });
  }

  /** One host without the instance label; undefined for a host that the inventory does not have. */
  one(name: string, format: Format): Page | undefined {
    const session = this.fleet.find(name);
    if (!session) return undefined;
    const parts = [...this.#parts([session])].map(({ write }) => write);
    return this.#hosts.page(parts, format);
  }

  /** Hosts whose sample is on show, by poller. */
  onShow(): Record<PollerName, number> {
    const sessions = [...this.fleet.sessions()];
    const count = (poller: PollerName) =>
      sessions.filter((session) => isNews(session, this.samples, poller)).length;
    return Object.fromEntries(pollerNames.map((poller) => [poller, count(poller)])) as Record<
      PollerName,
      number
    >;
  }

  *#parts(sessions: Iterable<HostSession>): Generator<FleetPart> {
    for (const session of sessions) {
      yield { kind: 'state', write: (lines) => this.#state(lines, session) };
      yield { kind: 'events', write: (lines) => renderEvents(lines, session.host.name, this.events) };
      if (isNews(session, this.samples, 'vms'))
        yield { kind: 'changes', write: (lines) => this.#changes(lines, session.host.name) };
      for (const poller of pollerNames) {
        if (!isNews(session, this.samples, poller)) continue;
        yield { kind: poller, write: (lines) => this.#sample(lines, session.host.name, poller) };
      }
    }
  }

  #sample<P extends PollerName>(lines: Lines, host: string, poller: P): void {
    const render: Renderers[P] = renderers[poller];
    const last = this.samples.get(host, poller)?.last;
    if (last) render(lines, host, last.sample);
  }

  #changes(lines: Lines, host: string): void {
    const vms = this.samples.get(host, 'vms')?.last?.sample;
    const starts = this.samples.get(host, 'starts');
    // After a failure nobody has looked whether it is still the same life of the VM.
    const known = starts?.failure ? undefined : starts?.last?.sample;
    if (vms) renderChanges(lines, host, vms, this.events, known);
  }

  #state(lines: Lines, session: HostSession): void {
    const { name, labels, maintenance } = session.host;
    const records = pollerNames.map((poller) => this.samples.get(name, poller)?.last);
    const taken = records.map((record) => record?.takenAtMs).filter((ms) => ms !== undefined);
    const vms = this.samples.get(name, 'vms');
    renderHostState(lines, name, {
      up: session.has('way'),
      libvirtUp: session.has('libvirt') && vms !== undefined && !vms.failure,
      state: session.status.state,
      states: sessionStates,
      maintenance,
      ...(taken.length > 0 && { lastSuccessMs: Math.max(...taken) }),
      samples: pollerNames.flatMap((poller) => {
        const ageMs = this.samples.ageMs(name, poller);
        const sample = this.samples.get(name, poller)?.last?.sample;
        const problems = sample && 'problems' in sample ? sample.problems.length : undefined;
        return ageMs === undefined ? [] : [{ poller, ageMs, problems }];
      }),
      heartbeatAgeMs: this.heartbeatAgeMs(name),
      cause: session.status.cause?.code,
      info: labels,
    });
  }
}
