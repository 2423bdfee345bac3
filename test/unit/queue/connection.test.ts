import { describe, expect, it } from 'vitest';
import { clientOptions, printableAddress, StoreClients, urlAddress } from '../../../src/queue/connection.js';
import { unfitness } from '../../../src/queue/store-monitor.js';

describe('addresses', () => {
  it('reads a URL whole and prints it without its secrets', () => {
    const address = urlAddress('rediss://agent:p%40ss@redis.example.net:6380/2');
    expect(clientOptions(address, 'producer')).toMatchObject({
      host: 'redis.example.net',
      port: 6380,
      db: 2,
      username: 'agent',
      password: 'p@ss',
      tls: { servername: 'redis.example.net' },
    });
    expect(printableAddress(address)).toBe('rediss://redis.example.net:6380/2');
    expect(JSON.stringify(address)).not.toContain('p%40ss');
  });

  it('knows the short forms', () => {
    expect(clientOptions(urlAddress('redis://127.0.0.1'), 'worker')).toMatchObject({ port: 6379, db: 0 });
    expect(clientOptions(urlAddress('redis://127.0.0.1'), 'worker')).not.toHaveProperty('tls');
    expect(clientOptions(urlAddress('redis://[::1]:7000'), 'worker')).toMatchObject({
      host: '::1',
      port: 7000,
    });
    expect(printableAddress(urlAddress('redis://[::1]:7000'))).toBe('redis://[::1]:7000');
    expect(clientOptions({ kind: 'socket', path: '/x/store.sock' }, 'worker')).toMatchObject({
      path: '/x/store.sock',
    });
  });

  it('takes no options from the query', () => {
    expect(
      clientOptions(urlAddress('redis://h?enableOfflineQueue=true&password=x'), 'producer'),
    ).toMatchObject({
      enableOfflineQueue: false,
    });
    expect(clientOptions(urlAddress('redis://h?password=x'), 'producer')).not.toHaveProperty('password');
  });

  it.each(['http://h', 'localhost:6379', 'redis://', 'not a url', 'redis://h/queue'])(
    'refuses %s in one line',
    (url) => {
      expect(() => new StoreClients(urlAddress(url))).toThrow(/^AGENT_REDIS_URL must be redis:\/\/.*[^\n]$/);
    },
  );

  it('refuses without showing the password', () => {
    expect(() => new StoreClients(urlAddress('http://u:hunter2@h'))).toThrow(/^(?!.*hunter2)/);
  });
});

describe('kinds of connection', () => {
  const address = urlAddress('redis://h');
  it('a worker waits for the store', () => {
    expect(clientOptions(address, 'worker')).toMatchObject({
      maxRetriesPerRequest: null,
      enableOfflineQueue: true,
    });
    expect(clientOptions(address, 'worker')).not.toHaveProperty('commandTimeout');
  });
  it('a producer does not', () => {
    const options = clientOptions(address, 'producer');
    expect(options).toMatchObject({ enableOfflineQueue: false });
    expect(options.commandTimeout).toBeLessThanOrEqual(5_000);
  });
  it('both try again within about two seconds, for ever', () => {
    const { retryStrategy } = clientOptions(address, 'worker');
    for (const attempt of [1, 10, 100_000]) {
      expect(retryStrategy?.(attempt)).toBeGreaterThan(0);
      expect(retryStrategy?.(attempt)).toBeLessThanOrEqual(2_050);
    }
  });
});

describe('fitness of a store', () => {
  it.each([
    ['redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\n', []],
    ['redis_version:5.0.7\r\nmaxmemory_policy:noeviction\r\n', [/5\.0\.7.*6\.2/]],
    ['redis_version:6.2.0\r\nmaxmemory_policy:allkeys-lru\r\n', [/allkeys-lru.*noeviction/]],
    ['redis_version:7.2.4\r\nvalkey_version:8.1.0\r\nmaxmemory_policy:noeviction\r\n', []],
    ['redis_version:4.0.0\r\nmaxmemory_policy:volatile-ttl\r\n', [/4\.0\.0/, /volatile-ttl/]],
    ['nothing of the kind', []],
  ])('%j', (info, expected) => {
    const found = unfitness(info);
    expect(found).toHaveLength(expected.length);
    for (const [n, pattern] of expected.entries()) expect(found[n]).toMatch(pattern);
  });
});
