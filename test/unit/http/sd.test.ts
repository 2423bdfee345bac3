import { describe, expect, it } from 'vitest';
import { sdTargets } from '../../../src/http/sd.js';

describe('targets', () => {
  it('are the collector and each host, at the address by which we were reached', () => {
    const hosts = [
      { name: 'kvm-1', labels: { rack: 'r1', dc: 'ams1' } },
      { name: 'kvm-2', labels: {} },
    ];
    expect(sdTargets('outrigger.example.net:9177', hosts)).toEqual([
      { targets: ['outrigger.example.net:9177'], labels: { __metrics_path__: '/metrics/collector' } },
      {
        targets: ['outrigger.example.net:9177'],
        labels: { __metrics_path__: '/metrics/hosts/kvm-1', instance: 'kvm-1', rack: 'r1', dc: 'ams1' },
      },
      {
        targets: ['outrigger.example.net:9177'],
        labels: { __metrics_path__: '/metrics/hosts/kvm-2', instance: 'kvm-2' },
      },
    ]);
  });

  it.each(['localhost', '192.0.2.1:9177', '[2001:db8::1]:9177', '[::1]', 'a_b.example'])(
    'may be at %s',
    (host) => {
      expect(sdTargets(host, [])?.[0]?.targets).toEqual([host]);
    },
  );

  it.each([
    undefined,
    '',
    'a b',
    'user@host',
    'host/path',
    'host:',
    'host:123456',
    '2001:db8::1',
    '"',
    'x'.repeat(300),
  ])('are never at %j', (host) => {
    expect(sdTargets(host, [])).toBeUndefined();
  });
});
