// The graphs that a host's page and a VM's page have in common: what disks and networks carry. It refuses to know whose they are.
import type { HostSeries, Points, VmSeries } from '../../fleet/history.js';
import { chart } from './chart.js';
import type { Markup } from './html.js';
import { bytesPerSecond } from './words.js';

type Of = (series: HostSeries & VmSeries) => Points | undefined;

/** `empty`: said where there is nothing to draw. */
export function throughputCharts(of: Of, empty?: string): Markup[] {
  const common = { say: bytesPerSecond, binary: true, ...(empty !== undefined && { empty }) };
  return [
    chart({
      title: 'Disks',
      lines: [
        { name: 'read', points: of('diskReadBytesPerSecond') },
        { name: 'written', points: of('diskWriteBytesPerSecond') },
      ],
      ...common,
    }),
    chart({
      title: 'Network',
      lines: [
        { name: 'received', points: of('netReceiveBytesPerSecond') },
        { name: 'sent', points: of('netTransmitBytesPerSecond') },
      ],
      ...common,
    }),
  ];
}
