// Changes as they happen: server-sent events of hosts, VMs and jobs, filtered to what the caller asked for and may see. Each
// client has a bounded buffer of its own: one that does not read is cut, and told so. It refuses to wait for any of them.
import { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { Clock, Timer } from '../../core/clock.js';
import type { Principal } from '../auth/principal.js';
import { type Change, type ChangeFeed, type ChangeTopic, changeTopics } from '../changes.js';
import { HttpProblem } from '../problem.js';
import { type ApiApp, type ApiDeps, gateOf, hostUnknown, maySee, principalOf } from './context.js';
import { problems } from './docs.js';

export const streamsMax = 200;
export const streamsPerPrincipalMax = 40;
/** UTF-16 units that wait for a client that does not read. */
export const streamBufferMax = 2_000_000;
/** A proxy takes a silent connection for a dead one. */
const beatMs = 15_000;
/** What was written to a client that is cut has so long to arrive. */
const cutMs = 2_000;
const reconnectMs = 2_000;
const busyRetrySeconds = 10;
const topicsParam = z.union([z.enum(changeTopics), z.array(z.enum(changeTopics)).max(changeTopics.length)]);

const StreamQuery = z.strictObject({
  topic: topicsParam.optional().describe('May be repeated; without it, all'),
  host: z.string().min(1).max(255).optional().describe('Only what is about this host'),
  job: z.string().min(1).max(200).optional().describe('Only this job, and no hosts or VMs'),
});

const example = [
  'retry: 2000\n\nevent: hello\nid: 9c1f0a2b3c4d-17\ndata: {"resumed":false}\n',
  'event: vm\nid: 9c1f0a2b3c4d-18\ndata: {"host":"kvm-01","name":"web-1","state":"shutoff",…}\n',
].join('\n');

export function addStream(app: ApiApp, deps: ApiDeps): void {
  const streams = new Set<ClientStream>();
  endWithServer(app as unknown as FastifyInstance, streams);
  app.get(
    '/stream',
    {
      exposeHeadRoute: false,
      config: { need: 'read' },
      schema: {
        tags: ['fleet', 'jobs'],
        summary: 'What changes, as server-sent events',
        description: [
          'Events: `hello` (first), `host`, `host-removed`, `vm`, `vm-removed`, `job`, `job-removed`; their data is the shape of the API.',
          'A `vm` comes when its state changes, a `host` with each of its samples. `reset`: events were lost, read everything anew.',
          '`cut`: the stream ends here, and `why`. `Last-Event-ID` resumes a stream within a minute or so.',
        ].join(' '),
        querystring: StreamQuery,
        headers: z.object({ 'last-event-id': z.string().max(200).optional() }),
        response: {
          200: {
            description: 'The stream; it does not end',
            content: { 'text/event-stream': { schema: z.string().meta({ examples: [example] }) } },
          },
          ...problems('host-unknown', 'busy'),
        },
      },
    },
    async (request, reply) => {
      const principal = principalOf(request);
      const { topic, host, job } = request.query;
      if (host !== undefined && !deps.view.find(host, gateOf(request)))
        throw hostUnknown(deps, host, gateOf(request));
      refuseTooMany(streams, principal);
      const topics = new Set<ChangeTopic>(job ? ['jobs'] : topic ? [topic].flat() : changeTopics);
      const wanted = (change: Change) =>
        topics.has(change.topic) &&
        (host === undefined || change.host === host) &&
        (job === undefined || change.jobId === job) &&
        maySee(deps, principal, change.host);
      const stream = new ClientStream(deps, principal, wanted, request.headers['last-event-id']);
      streams.add(stream);
      stream.readable.once('close', () => streams.delete(stream));
      return reply
        .header('content-type', 'text/event-stream; charset=utf-8')
        .header('cache-control', 'no-store')
        .header('x-accel-buffering', 'no')
        .serializer(String)
        .send(stream.readable as never);
    },
  );
}

function refuseTooMany(streams: ReadonlySet<ClientStream>, principal: Principal): void {
  const own = [...streams].filter((stream) => stream.principal.name === principal.name).length;
  if (streams.size < streamsMax && own < streamsPerPrincipalMax) return;
  const detail =
    own < streamsPerPrincipalMax
      ? `${streamsMax} streams are open`
      : `${principal.name} has ${streamsPerPrincipalMax} streams open`;
  throw new HttpProblem('busy', { detail, retryAfterSeconds: busyRetrySeconds });
}

function endWithServer(app: FastifyInstance, streams: ReadonlySet<ClientStream>): void {
  app.addHook('preClose', async () => {
    for (const stream of streams) stream.cut('the service stops');
  });
}

type StreamDeps = { changes: ChangeFeed; clock: Clock };

class ClientStream {
  readonly principal: Principal;
  readonly readable = new Readable({ read: () => undefined, encoding: 'utf8' });
  readonly #changes: ChangeFeed;
  readonly #clock: Clock;
  readonly #wanted: (change: Change) => boolean;
  readonly #leave: () => void;
  #timer: Timer;
  #ended = false;

  constructor(
    { changes, clock }: StreamDeps,
    principal: Principal,
    wanted: (change: Change) => boolean,
    lastEventId: string | undefined,
  ) {
    this.principal = principal;
    this.#changes = changes;
    this.#clock = clock;
    this.#wanted = wanted;
    this.readable.once('close', () => this.#end());
    const missed = this.#missed(lastEventId);
    this.#leave = changes.listen({
      onChange: (change) => this.#tell(change),
      onGap: () => this.#write('reset', changes.lastId, '{}'),
    });
    this.readable.push(`retry: ${reconnectMs}\n\n`);
    this.#write(
      'hello',
      missed?.[0] ? missed[0].id - 1 : changes.lastId,
      JSON.stringify({ resumed: missed !== undefined }),
    );
    for (const change of missed ?? []) this.#tell(change);
    if (lastEventId !== undefined && !missed) this.#write('reset', changes.lastId, '{}');
    this.#timer = clock.after(beatMs, () => this.#beat());
  }

  cut(why: string): void {
    if (this.#ended) return;
    this.#write('cut', undefined, JSON.stringify({ why }));
    this.#end();
    this.readable.push(null);
    this.#clock.after(cutMs, () => this.readable.destroy());
  }

  #missed(lastEventId: string | undefined): readonly Change[] | undefined {
    const [, name, id] = /^([0-9a-f]{12})-(\d{1,15})$/.exec(lastEventId ?? '') ?? [];
    return name === this.#changes.name ? this.#changes.since(Number(id)) : undefined;
  }

  #tell(change: Change): void {
    if (!this.#ended && this.#wanted(change)) this.#write(change.event, change.id, change.data);
  }

  #write(event: string, id: number | undefined, data: string): void {
    if (this.#ended) return;
    const name = id === undefined ? '' : `id: ${this.#changes.name}-${id}\n`;
    this.readable.push(`event: ${event}\n${name}data: ${data}\n\n`);
    if (event !== 'cut' && this.readable.readableLength > streamBufferMax)
      this.cut('it was not read fast enough');
  }

  #beat(): void {
    if (this.#ended) return;
    if (!this.principal.isCurrent()) this.cut('the token or the session has ended');
    if (this.#ended) return;
    this.readable.push(': beat\n\n');
    this.#timer = this.#clock.after(beatMs, () => this.#beat());
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#timer.cancel();
    this.#leave();
  }
}
