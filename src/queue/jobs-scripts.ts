// The store's side of the job engine, as Lua: each script is one decision that must not be torn. All of them may be sent
// twice with the same words. They refuse to touch BullMQ's own keys, except to see whether a job is there.
import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';

export type Script = { lua: string; sha: string; keys: number };

function script(keys: number, lua: string): Script {
  return { lua, keys, sha: createHash('sha1').update(lua).digest('hex') };
}

/** Runs a script by its hash; a store that does not know it yet is given the text. */
export async function runScript(
  client: Redis,
  { sha, lua, keys }: Script,
  args: readonly (string | number)[],
): Promise<unknown> {
  try {
    return await client.evalsha(sha, keys, ...args);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
    return client.eval(lua, keys, ...args);
  }
}

/**
 * A request's record: body, job (the leader), life (who works on it now), state (open | done), begun (JSON), vm (JSON), cancel,
 * ok, answer. Jobs of a VM have places in sorted sets, by when they were due, and a key each that lives while they keep asking:
 * the line, of those that came and have not found their VM yet, by the words that they call it; the waiters, of those that
 * know it and found it locked. Scripts that ask whether a job is there are told with what BullMQ's keys of jobs begin, in their
 * last ARGV.
 */
const waiting = `
local function unfinished(job)
  local key = ARGV[#ARGV] .. job
  return redis.call('EXISTS', key) == 1 and redis.call('HEXISTS', key, 'finishedOn') == 0
end
local function waits(waiters, job)
  if redis.call('EXISTS', waiters .. ':' .. job) == 1 and unfinished(job) then return true end
  redis.call('ZREM', waiters, job)
  return false
end
local function join(places, due, job, ms)
  redis.call('ZADD', places, due, job)
  redis.call('PEXPIRE', places, 86400000)
  redis.call('SET', places .. ':' .. job, '1', 'PX', ms)
end`;

const leave = `
local function leave(places, job)
  redis.call('ZREM', places, job)
  redis.call('DEL', places .. ':' .. job)
end`;

const giveBack = `${waiting}
local function nextWaiter(waiters)
  for _, job in ipairs(redis.call('ZRANGE', waiters, 0, 63)) do
    if waits(waiters, job) then return job end
  end
  return ''
end
local function release(lock, waiters, holder)
  if holder == '' or redis.call('GET', lock) ~= holder then return '' end
  redis.call('DEL', lock)
  return nextWaiter(waiters)
end`;

// KEYS record followers cancel line · ARGV body job life lifePrefix ttlMs busy due waiterMs jobPrefix
// due is '' for a job that takes no VM.
export const openScript = script(
  4,
  `${waiting}
local f = redis.call('HMGET', KEYS[1], 'body', 'job', 'life', 'state', 'cancel', 'ok', 'answer', 'begun', 'vm')
local body, job, life = ARGV[1], ARGV[2], ARGV[3]
local function lead(vm)
  if f[5] or redis.call('EXISTS', KEYS[3]) == 1 then return {'cancelled', vm} end
  if ARGV[7] ~= '' then join(KEYS[4], ARGV[7], job, ARGV[8]) end
  return {'lead', vm}
end
if not f[1] then
  redis.call('HSET', KEYS[1], 'body', body, 'job', job, 'life', life, 'state', 'open')
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return lead('')
end
if f[1] ~= body then return {'other'} end
if f[4] == 'done' then return {'done', f[6], f[7]} end
local held = f[3] and ((f[3] == life and ARGV[6] == '1')
  or (f[3] ~= life and redis.call('EXISTS', ARGV[4] .. f[3]) == 1))
if f[2] ~= job then
  if held or unfinished(f[2]) then
    redis.call('SADD', KEYS[2], job)
    redis.call('PEXPIRE', KEYS[2], ARGV[5])
    return {'follow', f[2]}
  end
elseif held then
  return {'held'}
end
redis.call('HSET', KEYS[1], 'job', job, 'life', life)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if f[8] then return {'begun', f[9] or '', f[8]} end
return lead(f[9] or '')`,
);

// KEYS lock waiters fence record line · ARGV job life lifePrefix leaseMs due waiterMs vm jobPrefix
export const lockScript = script(
  5,
  `${waiting}${leave}
local job, life = ARGV[1], ARGV[2]
local function wait()
  join(KEYS[2], ARGV[5], job, ARGV[6])
  return {'busy'}
end
local due, number = tonumber(ARGV[5]), tonumber(job) or 0
local function isAfterAnother(places)
  local found = redis.call('ZRANGE', places, 0, 63, 'WITHSCORES')
  for n = 1, #found, 2 do
    local other, theirs = found[n], tonumber(found[n + 1])
    if theirs > due then return false end
    local before = theirs < due or (tonumber(other) or 0) < number
    if before and waits(places, other) then return true end
  end
  return false
end
if redis.call('HGET', KEYS[4], 'life') ~= life or redis.call('HGET', KEYS[4], 'job') ~= job then return {'lost'} end
local holder = redis.call('GET', KEYS[1])
if holder then
  local theirLife, theirJob = string.match(holder, '^([^|]*)|[^|]*|(.*)$')
  local ours = theirJob == job and (theirLife == life or redis.call('EXISTS', ARGV[3] .. theirLife) == 0)
  if not ours then return wait() end
elseif isAfterAnother(KEYS[2]) or isAfterAnother(KEYS[5]) then
  return wait()
end
leave(KEYS[2], job)
leave(KEYS[5], job)
holder = life .. '|' .. redis.call('INCR', KEYS[3]) .. '|' .. job
redis.call('SET', KEYS[1], holder, 'PX', ARGV[4])
redis.call('HSET', KEYS[4], 'vm', ARGV[7])
return {'held', holder}`,
);

// KEYS record lock cancel · ARGV life job holder leaseMs begun
export const gateScript = script(
  3,
  `
local f = redis.call('HMGET', KEYS[1], 'life', 'job', 'cancel', 'begun', 'state')
if f[1] ~= ARGV[1] or f[2] ~= ARGV[2] or f[5] ~= 'open' then return 'lost' end
if not f[4] and (f[3] or redis.call('EXISTS', KEYS[3]) == 1) then return 'cancelled' end
if ARGV[3] ~= '' then
  if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 'lost' end
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
redis.call('HSET', KEYS[1], 'begun', ARGV[5])
return 'ok'`,
);

// KEYS record lock cancel · ARGV life job holder leaseMs body begun vm ttlMs
// What a store forgot in a crash is put back.
export const renewScript = script(
  3,
  `
local f = redis.call('HMGET', KEYS[1], 'body', 'life', 'job', 'cancel', 'state', 'begun')
if f[1] then
  if (f[2] and f[2] ~= ARGV[1]) or f[3] ~= ARGV[2] or f[5] ~= 'open' then return 'lost' end
end
if ARGV[3] ~= '' then
  local holder = redis.call('GET', KEYS[2])
  if holder and holder ~= ARGV[3] then return 'lost' end
  redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4])
end
redis.call('HSET', KEYS[1], 'body', ARGV[5], 'job', ARGV[2], 'life', ARGV[1], 'state', 'open')
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'begun', ARGV[6]) end
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'vm', ARGV[7]) end
redis.call('PEXPIRE', KEYS[1], ARGV[8])
if not f[6] and ARGV[6] == '' and (f[4] or redis.call('EXISTS', KEYS[3]) == 1) then return 'cancelled' end
return 'ok'`,
);

// KEYS record followers lock waiters cancel line · ARGV life job holder body ok answer cancelledAnswer ttlMs jobPrefix
export const finishScript = script(
  6,
  `${giveBack}${leave}
local f = redis.call('HMGET', KEYS[1], 'life', 'state', 'ok', 'answer', 'cancel', 'begun', 'job')
local status, ok, answer = 'done', ARGV[5], ARGV[6]
if f[2] == 'done' then
  ok, answer = f[3], f[4]
elseif (f[1] and f[1] ~= ARGV[1]) or (f[7] and f[7] ~= ARGV[2]) then
  status = 'lost'
else
  if ok == '1' and not f[6] and (f[5] or redis.call('EXISTS', KEYS[5]) == 1) then
    ok, answer = '0', ARGV[7]
  end
  redis.call('HSET', KEYS[1], 'body', ARGV[4], 'job', ARGV[2], 'state', 'done', 'ok', ok, 'answer', answer)
  redis.call('HDEL', KEYS[1], 'life', 'cancel', 'begun', 'vm')
  redis.call('PEXPIRE', KEYS[1], ARGV[8])
  redis.call('DEL', KEYS[5])
end
local reply = {status, ok, answer, release(KEYS[3], KEYS[4], ARGV[3])}
if status == 'done' then
  leave(KEYS[6], ARGV[2])
  for _, job in ipairs(redis.call('SMEMBERS', KEYS[2])) do table.insert(reply, job) end
  redis.call('DEL', KEYS[2])
end
return reply`,
);

// KEYS record lock waiters · ARGV life job holder keepMs jobPrefix
// With keepMs the lock stays for that long: what was begun on the VM is not settled yet.
export const releaseScript = script(
  3,
  `${giveBack}
if redis.call('HGET', KEYS[1], 'life') == ARGV[1] and redis.call('HGET', KEYS[1], 'job') == ARGV[2] then
  redis.call('HDEL', KEYS[1], 'life')
end
if ARGV[4] ~= '0' then
  if redis.call('GET', KEYS[2]) == ARGV[3] then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
  return ''
end
return release(KEYS[2], KEYS[3], ARGV[3])`,
);

// KEYS record · ARGV body job ttlMs
export const cancelScript = script(
  1,
  `
local f = redis.call('HMGET', KEYS[1], 'body', 'state', 'begun', 'job')
if not f[1] then
  redis.call('HSET', KEYS[1], 'body', ARGV[1], 'job', ARGV[2], 'state', 'open')
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  f[4] = ARGV[2]
elseif f[1] ~= ARGV[1] then
  return {'unknown'}
elseif f[2] == 'done' or f[3] then
  return {'too late'}
end
redis.call('HSET', KEYS[1], 'cancel', '1')
return {'cancelled', f[4]}`,
);
