// What of the outbox is in the store, beside BullMQ's own keys: the entries, each host's lane in order, and what is known
// of the whole. Each script is one step that must not be torn, and may be sent twice. It refuses to drop a result.
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { runScript, type Script } from './jobs-scripts.js';
import type { Line } from './outbox-journal.js';
import type { OutboxEntry, OutboxLimits } from './outbox-types.js';

function script(lua: string): Script {
  return { lua, keys: 6, sha: createHash('sha1').update(lua).digest('hex') };
}

// KEYS meta entries index events lanes taken · ARGV lanePrefix …
// A member of index and events is host/id/atMs; of a lane, id. The score of all three is the order in which they came.
const removal = `
local function remove(member)
  local host, id = string.match(member, '^([^/]+)/([^/]+)/')
  local text = redis.call('HGET', KEYS[2], id)
  if text then redis.call('HINCRBY', KEYS[1], 'bytes', -#text) end
  redis.call('HDEL', KEYS[2], id)
  redis.call('ZREM', KEYS[3], member)
  redis.call('ZREM', KEYS[4], member)
  redis.call('ZREM', ARGV[1] .. host, id)
  if redis.call('EXISTS', ARGV[1] .. host) == 0 then redis.call('SREM', KEYS[5], host) end
  return text and 1 or 0
end`;

// ARGV lanePrefix entriesMax bytesMax, then for each line: life number member host id event text
const takeScript = script(`${removal}
for at = 4, #ARGV, 7 do
  local life, number, member, host, id, event, text = unpack(ARGV, at, at + 6)
  if tonumber(number) > tonumber(redis.call('HGET', KEYS[6], life) or '0') then
    redis.call('HSET', KEYS[6], life, number)
    local order = redis.call('HINCRBY', KEYS[1], 'order', 1)
    redis.call('HSET', KEYS[2], id, text)
    redis.call('HINCRBY', KEYS[1], 'bytes', #text)
    redis.call('ZADD', KEYS[3], order, member)
    if event == '1' then redis.call('ZADD', KEYS[4], order, member) end
    redis.call('ZADD', ARGV[1] .. host, order, id)
    redis.call('SADD', KEYS[5], host)
  end
end
local dropped = {}
while redis.call('ZCARD', KEYS[3]) > tonumber(ARGV[2])
  or tonumber(redis.call('HGET', KEYS[1], 'bytes') or '0') > tonumber(ARGV[3]) do
  local oldest = redis.call('ZRANGE', KEYS[4], 0, 0)[1]
  if not oldest then break end
  remove(oldest)
  table.insert(dropped, oldest)
end
return dropped`);

// ARGV lanePrefix member
const removeScript = script(`${removal}
return remove(ARGV[2])`);

// ARGV lanePrefix host
const headScript = script(`
local lane = ARGV[1] .. ARGV[2]
while true do
  local id = redis.call('ZRANGE', lane, 0, 0)[1]
  if not id then
    redis.call('SREM', KEYS[5], ARGV[2])
    return false
  end
  local text = redis.call('HGET', KEYS[2], id)
  if text then return text end
  redis.call('ZREM', lane, id)
end`);

const statsScript = script(`
return {redis.call('ZCARD', KEYS[3]), redis.call('HGET', KEYS[1], 'bytes') or '0', redis.call('ZRANGE', KEYS[3], 0, 0)[1] or ''}`);

export type Stored = { entries: number; bytes: number; oldestMs: number | undefined };

export class OutboxRecords {
  readonly #client: Redis;
  readonly #keys: readonly string[];
  readonly #takenKey: string;
  readonly #lanesKey: string;
  readonly #lanePrefix: string;

  constructor(client: Redis, instanceId: string) {
    const prefix = `outrigger:outbox:${instanceId}:`;
    this.#client = client;
    this.#lanesKey = `${prefix}lanes`;
    this.#takenKey = `${prefix}taken`;
    this.#lanePrefix = `${prefix}lane:`;
    const names = ['meta', 'entries', 'index', 'events'].map((name) => prefix + name);
    this.#keys = [...names, this.#lanesKey, this.#takenKey];
  }

  /** Takes lines over, in order; those that it has are passed by. Resolves with the hosts whose events made room. */
  async take(lines: readonly Line[], { entriesMax, bytesMax }: OutboxLimits): Promise<string[]> {
    const fields = lines.flatMap((line) => [
      ...[line.life, line.number, memberOf(line), line.host, line.id],
      ...[line.kind === 'event' ? '1' : '0', line.text],
    ]);
    const dropped = (await this.#run(takeScript, [entriesMax, bytesMax, ...fields])) as string[];
    return dropped.map((member) => member.split('/')[0] ?? '');
  }

  /** Numbers of lives that nothing is left of are of no more use. */
  async forgetLives(but: string): Promise<void> {
    const lives = (await this.#client.hkeys(this.#takenKey)).filter((life) => life !== but);
    if (lives.length > 0) await this.#client.hdel(this.#takenKey, ...lives);
  }

  /** The entry whose turn it is. */
  async head(host: string): Promise<OutboxEntry | undefined> {
    const text = await this.#run(headScript, [host]);
    return text ? (JSON.parse(String(text)) as OutboxEntry) : undefined;
  }

  async remove(entry: OutboxEntry): Promise<void> {
    await this.#run(removeScript, [memberOf(entry)]);
  }

  /** Hosts that have entries. */
  lanes(): Promise<string[]> {
    return this.#client.smembers(this.#lanesKey);
  }

  async stats(): Promise<Stored> {
    const [entries, bytes, oldest] = (await this.#run(statsScript, [])) as [number, string, string];
    const atMs = Number(oldest.split('/')[2]);
    return { entries, bytes: Number(bytes), oldestMs: oldest ? atMs : undefined };
  }

  #run(which: Script, args: readonly (string | number)[]): Promise<unknown> {
    return runScript(this.#client, which, [...this.#keys, this.#lanePrefix, ...args]);
  }
}

function memberOf({ host, id, atMs }: Pick<OutboxEntry, 'host' | 'id' | 'atMs'>): string {
  return `${host}/${id}/${Math.floor(atMs)}`;
}
