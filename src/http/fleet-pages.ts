// What is on show of each host: its newest rendered samples while they are news, and its state always. It refuses to show
// figures of a host that is not connected or that stopped answering: those series go away, `libvirt_up 0` and the ages stay.
import type { Fleet } from '../fleet/fleet.js';
import type { SampleStore } from '../fleet/samples.js';
import { type HostSession, sessionStates } from '../fleet/session.js';
import type { RenderedSample } from '../metrics/families.js';
import { renderHostState } from '../metrics/host-state.js';
import { fleetPage, hostPage } from '../metrics/page.js';
import { renderSystem } from '../metrics/render-system.js';
import { renderVms } from '../metrics/render-vms.js';
import { type PollerName, partOf, pollerNames, type Samples } from '../pollers/runner.js';

/** A sample older than this many poll intervals is no longer shown, though the host is connected. */
const staleAfterIntervals = 3;
/** The least age at which a sample goes: short intervals forgive one slow poll. */
const staleAfterMsMin = 30_000;

type Renderers = { [P in PollerName]: (instance: string, sample: Samples[P]) => RenderedSample };

const renderers: Renderers = { vms: renderVms, system: renderSystem };

type Rendered = Partial<Record<PollerName, RenderedSample>>;

export class FleetPages {
  readonly #rendered = new Map<string, Rendered>();

  constructor(
    private readonly fleet: Fleet,
    private readonly samples: SampleStore<Samples>,
    /** Since a heartbeat last reached the backend. */
    private readonly heartbeatAgeMs: (host: string) => number | undefined,
  ) {}

  /** Renders a sample when it arrives, so that a scrape only puts text together. */
  put<P extends PollerName>(host: string, poller: P, sample: Samples[P]): void {
    const rendered = this.#rendered.get(host) ?? {};
    const render: Renderers[P] = renderers[poller];
    rendered[poller] = render(host, sample);
    this.#rendered.set(host, rendered);
  }

  /** Forgets hosts that left the inventory. */
  retain(hosts: ReadonlySet<string>): void {
    for (const name of this.#rendered.keys()) if (!hosts.has(name)) this.#rendered.delete(name);
  }

  /** The whole fleet in chunks, every series with its `instance`. */
  all(): Iterable<string> {
    return fleetPage(this.#parts(this.fleet.sessions()));
  }

  /** One host without the instance label; undefined for a host that the inventory does not have. */
  one(name: string): string | undefined {
    const session = this.fleet.find(name);
    return session && hostPage(name, this.#parts([session]));
  }

  *#parts(sessions: Iterable<HostSession>): Generator<RenderedSample> {
    for (const session of sessions) {
      yield this.#state(session);
      const rendered = this.#rendered.get(session.host.name);
      if (!rendered) continue;
      for (const poller of pollerNames) {
        const sample = rendered[poller];
        if (sample && this.#isNews(session, poller)) yield sample;
      }
    }
  }

  #isNews(session: HostSession, poller: PollerName): boolean {
    const { name, poll } = session.host;
    const staleMs = Math.max(staleAfterIntervals * poll.intervalMs, staleAfterMsMin);
    const ageMs = this.samples.ageMs(name, poller);
    return session.has(partOf[poller]) && ageMs !== undefined && ageMs <= staleMs;
  }

  #state(session: HostSession): RenderedSample {
    const { name, labels, maintenance } = session.host;
    const records = pollerNames.map((poller) => this.samples.get(name, poller)?.last);
    const taken = records.map((record) => record?.takenAtMs).filter((ms) => ms !== undefined);
    const vms = this.samples.get(name, 'vms');
    return renderHostState({
      instance: name,
      up: session.has('way'),
      libvirtUp: session.has('libvirt') && vms !== undefined && !vms.failure,
      state: session.status.state,
      states: sessionStates,
      maintenance,
      ...(taken.length > 0 && { lastSuccessMs: Math.max(...taken) }),
      samples: pollerNames.flatMap((poller) => {
        const ageMs = this.samples.ageMs(name, poller);
        const problems =
          poller === 'system' ? this.samples.get(name, 'system')?.last?.sample.problems.length : undefined;
        return ageMs === undefined ? [] : [{ poller, ageMs, problems }];
      }),
      heartbeatAgeMs: this.heartbeatAgeMs(name),
      cause: session.status.cause?.code,
      info: labels,
    });
  }
}
