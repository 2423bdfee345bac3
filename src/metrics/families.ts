// Every family that can appear on a page of hosts, once, in the order of the page.

import { detailsFamilies, domainJobFamilies } from './families-details.js';
import { eventFamilies } from './families-events.js';
import { guestFamilies } from './families-guest.js';
import { hostFamilies } from './families-own.js';
import {
  type MemoryFamily,
  type NetstatFamily,
  type SockstatFamily,
  systemFamilies,
  systemFieldFamilies,
  type VmstatFamily,
} from './families-system.js';
import {
  type HwmonFamily,
  type PowerSupplyFamily,
  type RaplFamily,
  systemHardwareFamilies,
  systemHardwareFieldFamilies,
} from './families-system-hardware.js';
import { systemNetworkFamilies } from './families-system-network.js';
import { vmFamilies } from './families-vm.js';
import type { Family } from './family.js';

export type FamilyName =
  | keyof typeof hostFamilies
  | keyof typeof vmFamilies
  | keyof typeof detailsFamilies
  | keyof typeof domainJobFamilies
  | keyof typeof eventFamilies
  | keyof typeof guestFamilies
  | keyof typeof systemFamilies
  | keyof typeof systemNetworkFamilies
  | keyof typeof systemHardwareFamilies
  | HwmonFamily
  | PowerSupplyFamily
  | RaplFamily
  | MemoryFamily
  | VmstatFamily
  | NetstatFamily
  | SockstatFamily;

export const families: ReadonlyMap<FamilyName, Family> = new Map(
  Object.entries({
    ...hostFamilies,
    ...vmFamilies,
    ...detailsFamilies,
    ...domainJobFamilies,
    ...eventFamilies,
    ...guestFamilies,
    ...systemFamilies,
    ...systemFieldFamilies,
    ...systemNetworkFamilies,
    ...systemHardwareFamilies,
    ...systemHardwareFieldFamilies,
  }) as [FamilyName, Family][],
);
