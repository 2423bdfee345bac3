// The answer to virConnectListAllDomains. Lists rarely change, and are asked for at every interval: an answer of the same bytes as
// the last one is the last one's list, and nothing is made of it. It refuses to hold a domain twice that the poll of statistics
// holds already.
import { type DomainRef, procedures } from './procedures.js';
import type { XdrReader } from './wire/xdr.js';

type Last = { bytes: Buffer; domains: readonly DomainRef[] };

/** One per connection. */
export class DomainLists {
  /** By the flags of the question. */
  readonly #last = new Map<number, Last>();

  /** `known`: domains to be named by the same object, as far as they are the same. */
  read(flags: number, reader: XdrReader, known: readonly DomainRef[]): readonly DomainRef[] {
    const start = reader.position;
    const bytes = reader.rest();
    const last = this.#last.get(flags);
    if (last?.bytes.equals(bytes)) return last.domains;
    reader.seek(start);
    const { domains } = procedures.connectListAllDomains.result.read(reader);
    const byUuid = new Map(known.map((domain) => [domain.uuid, domain]));
    const shared = domains.map((domain) => {
      const same = byUuid.get(domain.uuid);
      return same?.id === domain.id && same.name === domain.name ? same : domain;
    });
    // Before the first statistics there is nothing to share with, and this list would stay.
    if (known.length > 0) this.#last.set(flags, { bytes: Buffer.from(bytes), domains: shared });
    return shared;
  }
}
