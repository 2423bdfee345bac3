// The one error type that crosses module borders. It carries a code for machines, a sentence for people, and what is
// known of the outcome. It refuses to repeat its cause's text: `describe` walks the chain when a person must see it.

/** What became of the request. Only `not-sent` may be retried blindly. */
export type Outcome = 'not-sent' | 'failed' | 'unknown';

export type ErrorCode =
  // reaching the host
  | 'DNS'
  | 'REFUSED'
  | 'UNREACHABLE'
  | 'TIMEOUT'
  | 'CLOSED'
  // the host's identity, and ours
  | 'HOST_KEY_UNKNOWN'
  | 'HOST_KEY_MISMATCH'
  | 'HOST_KEY_REVOKED'
  | 'KNOWN_HOSTS'
  | 'KEY_FILE'
  | 'AUTH_FAILED'
  // what the host lets us do
  | 'FORWARD_DENIED'
  | 'SOCKET_MISSING'
  | 'SOCKET_DENIED'
  | 'POLKIT_DENIED'
  | 'SFTP_DENIED'
  | 'FILE_MISSING'
  | 'FILE_ERROR'
  // libvirt
  | 'LIBVIRT_ERROR'
  | 'PROTOCOL_ERROR'
  // the backend
  | 'BACKEND_UNREACHABLE'
  | 'BACKEND_REFUSED'
  | 'BACKEND_TLS'
  | 'BACKEND_ANSWER'
  // our own side
  | 'HOST_DOWN'
  | 'HOST_BUSY'
  | 'ABORTED'
  | 'INVENTORY'
  | 'SETTINGS'
  | 'STORE'
  | 'AUDIT'
  | 'BAD_REQUEST'
  | 'INTERNAL';

export type ErrorDetails = {
  message?: string;
  /** Inventory name, or the address while no name is known. */
  host?: string;
  outcome?: Outcome;
  /** What to do about it: one imperative sentence, shown to people under the message. */
  hint?: string;
  cause?: unknown;
};

/** An error that is an answer and no accident, and comes often: without its stack, which costs more than all the rest of it. */
export function stackless<T extends Error>(make: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return make();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

export class HostError extends Error {
  override readonly name: string = 'HostError';
  readonly code: ErrorCode;
  readonly host: string | undefined;
  readonly outcome: Outcome;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, details: ErrorDetails = {}) {
    super(
      details.message ?? code.toLowerCase().replaceAll('_', ' '),
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.code = code;
    this.host = details.host;
    this.outcome = details.outcome ?? 'failed';
    this.hint = details.hint;
  }
}

/** The error as a HostError; anything unforeseen becomes INTERNAL with the original as its cause. */
export function asHostError(error: unknown, details: ErrorDetails = {}): HostError {
  if (error instanceof HostError) return error;
  return new HostError('INTERNAL', { message: 'unexpected error', ...details, cause: error });
}

const chainDepthMax = 8;

/** The whole chain on one line, outermost first: `cannot open libvirt: permission denied`. No stack, no newline. */
export function describe(error: unknown): string {
  return joined(chain(error));
}

/** The same for people: what our own errors say, without the words of the libraries below them. */
export function summary(error: unknown): string {
  const own = chain(error).filter((link) => link instanceof HostError && link.code !== 'INTERNAL');
  return own.length > 0 ? joined(own) : describe(error);
}

function chain(error: unknown): unknown[] {
  const links: unknown[] = [];
  let at: unknown = error;
  for (let depth = 0; at !== undefined && at !== null && depth < chainDepthMax; depth++) {
    links.push(at);
    at = at instanceof Error ? at.cause : undefined;
  }
  return links;
}

function joined(links: readonly unknown[]): string {
  const parts: string[] = [];
  for (const link of links) {
    const text = link instanceof Error ? link.message : String(link);
    if (text && !parts.some((part) => part.includes(text))) parts.push(text);
  }
  return parts.join(': ').replaceAll(/\s+/g, ' ');
}

/** The hint nearest to the surface of the chain. */
export function hintOf(error: unknown): string | undefined {
  for (const link of chain(error)) if (link instanceof HostError && link.hint) return link.hint;
  return undefined;
}
