// The stream of changes: what is told, to whom, what those who come back are told, and that nobody who does not read is waited
// for.
import { once } from 'node:events';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { streamBufferMax, streamsPerPrincipalMax } from '../../../../src/http/api/stream.js';
import type { Host } from '../../../../src/inventory/host.js';
import { type ApiRig, apiRig, type apiTokens, bearer } from '../../../support/api.js';
import { settle } from '../../../support/fake-clock.js';
import { aHost } from '../../../support/host.js';
import { until } from '../../../support/until.js';
import { running, stopped } from '../../metrics/fixtures.js';

const collectMs = 250;
let rig: ApiRig;

type Event = { event: string; id: string; data: Record<string, unknown> };

class Listener {
  text = '';
  ended = false;
  readonly stream: Readable;

  constructor(stream: Readable) {
    this.stream = stream;
    stream.on('data', (chunk) => {
      this.text += String(chunk);
    });
    stream.on('close', () => {
      this.ended = true;
    });
  }

  get events(): Event[] {
    return [...this.text.matchAll(/event: (\S+)\n(?:id: (\S+)\n)?data: (.*)\n\n/g)].map(
      ([, event = '', id = '', data = '']) => ({ event, id, data: JSON.parse(data) }),
    );
  }

  named(event: string): Event[] {
    return this.events.filter((one) => one.event === event);
  }

  async hello(): Promise<this> {
    await until('hello', () => this.named('hello')[0]);
    return this;
  }
}

async function start(hosts: Host[] = [aHost({ name: 'kvm-01' }), aHost({ name: 'kvm-02' })]): Promise<void> {
  rig = await apiRig(hosts);
  await settle();
}

afterEach(() => rig[Symbol.asyncDispose]());

async function listen(query = '', who: keyof typeof apiTokens = 'viewer') {
  const answer = await rig.app.inject({
    url: `/api/v1/stream${query}`,
    headers: bearer(who),
    payloadAsStream: true,
  });
  expect([answer.statusCode, answer.headers['content-type']]).toEqual([
    200,
    'text/event-stream; charset=utf-8',
  ]);
  return new Listener(answer.stream()).hello();
}

/** Over a real connection, which can be lost. */
async function connect(lastEventId?: string): Promise<Listener> {
  const { port } = rig.app.server.address() as AddressInfo;
  const headers = { ...bearer('viewer'), ...(lastEventId && { 'last-event-id': lastEventId }) };
  const asked = request({ port, host: '127.0.0.1', path: '/api/v1/stream', headers, agent: false }).end();
  const [answer] = (await once(asked, 'response')) as [Readable];
  return new Listener(answer).hello();
}

function sample(host: string, ...vms: ReturnType<typeof running>[]): void {
  rig.samples.put(host, 'vms', { takenAtMs: 1, vms });
  rig.deps.changes.hostChanged(host);
}

async function collected(): Promise<void> {
  await rig.clock.advance(collectMs);
  await settle();
}

const states = (events: Event[]) => events.map(({ data }) => `${data.host}/${data.name} ${data.state}`);

describe('the stream', () => {
  it('tells each host once however often it changed, and VMs only when their state does', async () => {
    await start();
    sample('kvm-01', running('web-1'));
    const client = await listen();
    sample('kvm-01', running('web-1'));
    sample('kvm-01', running('web-1', { cpu: { time: 99 } }));
    await collected();
    await until('the host', () => client.named('host').length === 1);
    expect(client.named('host')[0]?.data).toMatchObject({ name: 'kvm-01', vms: { total: 1, running: 1 } });
    expect(client.named('vm')).toEqual([]);
    sample('kvm-01', running('web-1', { state: { state: 3, reason: 1 } }), stopped('new'));
    await collected();
    await until('both VMs', () => client.named('vm').length === 2);
    expect(states(client.named('vm'))).toEqual(['kvm-01/new shutoff', 'kvm-01/web-1 paused']);
    sample('kvm-01', stopped('new'));
    await rig.fleet.apply([aHost({ name: 'kvm-01' })]);
    rig.deps.changes.hostChanged('kvm-02');
    await collected();
    await until(
      'both to be gone',
      () => client.named('vm-removed').length + client.named('host-removed').length === 2,
    );
    expect(client.named('host-removed')[0]?.data).toEqual({ name: 'kvm-02' });
  });

  it('tells jobs as they are, of one host or one job where that is asked', async () => {
    await start();
    rig.jobs.put({ id: 'a', data: { host: 'kvm-01' } });
    rig.jobs.put({ id: 'b', data: { host: 'kvm-02' } });
    const all = await listen('?topic=jobs');
    const one = await listen('?job=b');
    const host = await listen('?host=kvm-01');
    const confined = await listen('', 'confined');
    for (const id of ['a', 'b', 'gone', 'a']) rig.deps.changes.jobChanged(id);
    sample('kvm-02');
    await collected();
    await until('the jobs', () => all.named('job').length === 2 && one.named('job').length === 1);
    const ids = (client: Listener) => client.named('job').map(({ data }) => data.id);
    expect([ids(all), ids(one), ids(host), ids(confined)]).toEqual([['a', 'b'], ['b'], ['a'], ['a']]);
    expect(all.named('job-removed')).toMatchObject([{ data: { id: 'gone' } }]);
    expect(all.named('host')).toEqual([]);
    expect([host.named('host'), confined.named('host'), confined.named('job-removed')]).toEqual([[], [], []]);
  });

  it('goes on where a client was, or says that it must read anew', async () => {
    await start();
    await rig.app.listen({ port: 0, host: '127.0.0.1' });
    const first = await connect();
    sample('kvm-01');
    await collected();
    const seen = await until('the host', () => first.named('host')[0]);
    first.stream.destroy();
    await until('it to leave', () => rig.deps.changes.listeners === 0);
    sample('kvm-02');
    await collected();
    const back = await connect(seen.id);
    await until('what was missed', () => back.named('host')[0]);
    expect(back.events.map(({ event, data }) => [event, data.name ?? data.resumed])).toEqual([
      ['hello', true],
      ['host', 'kvm-02'],
    ]);
    const stranger = await connect('0123456789ab-1');
    await until('reset', () => stranger.named('reset')[0]);
    expect(stranger.named('hello')[0]?.data).toEqual({ resumed: false });
    back.stream.destroy();
    stranger.stream.destroy();
    await until('all to leave', () => rig.deps.changes.listeners === 0);
    await rig.clock.advance(60_000);
    expect((await connect(back.events[1]?.id)).named('hello')[0]?.data).toEqual({
      resumed: false,
    });
  });

  it('says that events were lost when the store could not be asked', async () => {
    await start();
    const client = await listen('?topic=jobs');
    rig.jobs.away = true;
    rig.deps.changes.jobChanged('a');
    await collected();
    await until('reset', () => client.named('reset')[0]);
  });

  it('cuts a client that does not read, and says so', async () => {
    await start([aHost({ name: 'kvm-01', labels: { big: 'x'.repeat(100_000) } })]);
    const client = await listen();
    client.stream.pause();
    for (let n = 0; n < streamBufferMax / 100_000 + 40 && rig.deps.changes.listeners > 0; n++) {
      sample('kvm-01');
      await collected();
    }
    expect(rig.deps.changes.listeners).toBe(0);
    client.stream.resume();
    await until('the end', () => client.named('cut')[0]);
    expect(client.named('cut')[0]?.data).toEqual({ why: 'it was not read fast enough' });
    await until('it to end', () => client.ended);
  });

  it('beats while nothing happens, and ends with the service', async () => {
    await start();
    const client = await listen();
    await rig.clock.advance(31_000);
    await until('two beats', () => client.text.match(/^: beat$/gm)?.length === 2);
    await rig.app.close();
    await until('the end', () => client.named('cut')[0]);
    expect(client.named('cut')[0]?.data).toEqual({ why: 'the service stops' });
  });

  it('is refused to one who has too many, and for a host that is not there', async () => {
    await start();
    for (let n = 0; n < streamsPerPrincipalMax; n++) await listen();
    const ask = (query: string, who: keyof typeof apiTokens) =>
      rig.app.inject({ url: `/api/v1/stream${query}`, headers: bearer(who) });
    const more = await ask('', 'viewer');
    expect([more.statusCode, more.json().type, more.headers['retry-after']]).toEqual([
      503,
      'urn:outrigger:problem:busy',
      '10',
    ]);
    expect((await ask('?host=kvm-02', 'confined')).statusCode).toBe(404);
    expect((await ask('?topic=x', 'admin')).statusCode).toBe(400);
    await listen('', 'admin');
  });
});
