// Every family that can appear on a page of hosts, once, in the order of the page.

import { hostFamilies } from './families-own.js';
import {
  type MemoryFamily,
  type NetstatFamily,
  type SockstatFamily,
  systemFamilies,
  systemFieldFamilies,
  type VmstatFamily,
} from './families-system.js';
import { vmFamilies } from './families-vm.js';
import type { Family } from './family.js';

export type FamilyName =
  | keyof typeof hostFamilies
  | keyof typeof vmFamilies
  | keyof typeof systemFamilies
  | MemoryFamily
  | VmstatFamily
  | NetstatFamily
  | SockstatFamily;

export const families: ReadonlyMap<FamilyName, Family> = new Map(
  Object.entries({ ...hostFamilies, ...vmFamilies, ...systemFamilies, ...systemFieldFamilies }) as [
    FamilyName,
    Family,
  ][],
);
