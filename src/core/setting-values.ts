// Texts of settings that have parts: what each says, or why it is refused. It refuses to guess, and knows no variable by name.
import { isIP } from 'node:net';
import type { Shard } from './shard.js';

const shownCharsMax = 60;

/** Carries what follows the variable's name: `must be …`. */
export class Refused extends Error {}

/** What was given, quoted and cut. */
export function shown(given: string): string {
  return JSON.stringify(given.length > shownCharsMax ? `${given.slice(0, shownCharsMax)}…` : given);
}

/** A fleet that needs more is divided otherwise. */
const shardsMax = 1_000;

/** `i/n`: part i of n. */
export function shard(given: string): Shard {
  const [, index, count] = /^(\d{1,4})\/(\d{1,4})$/.exec(given)?.map(Number) ?? [];
  if (index && count && index <= count && count <= shardsMax) return { index, count };
  const example = count && count <= shardsMax ? count : 4;
  throw new Refused(
    `must be the number of this part and of all, from 1/${example} to ${example}/${example} for ${example} parts, not ${shown(given)}`,
  );
}

const roleNames = ['viewer', 'operator', 'admin'] as const;

/** `said=role, other=role`. */
export function roleMap(given: string): ReadonlyMap<string, (typeof roleNames)[number]> {
  const found = new Map<string, (typeof roleNames)[number]>();
  for (const pair of given.split(',')) {
    const [said = '', role = '', ...more] = pair.split('=').map((part) => part.trim());
    if (!said || !role || more.length > 0 || found.has(said)) {
      throw new Refused(
        `must be pairs such as oncall=operator,platform=admin, each once, not ${shown(given)}`,
      );
    }
    const known = roleNames.find((name) => name === role);
    if (!known) throw new Refused(`must give roles of ${roleNames.join(', ')}, not ${shown(role)}`);
    found.set(said, known);
  }
  return found;
}

/** IP addresses and networks, separated by commas. */
export function addresses(given: string): string[] {
  return given.split(',').map((part) => {
    const text = part.trim();
    const [address = '', bits, ...more] = text.split('/');
    const version = isIP(address);
    const whole =
      bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
    if (version && whole && more.length === 0) return text;
    throw new Refused(`must be IP addresses or networks such as 127.0.0.1,10.0.0.0/8, not ${shown(given)}`);
  });
}
