// Why a call to the backend failed: what a HostError says, and whether the same call may succeed later. It refuses to quote
// more of an answer than a line: what answers may be anybody.
import { type ErrorCode, type ErrorDetails, HostError } from '../core/errors.js';

export type BackendErrorDetails = ErrorDetails & {
  /** Of the answer, when there was one. */
  status?: number;
  /** The same report may be taken later. False: the backend refuses its content for good. Default true. */
  retryable?: boolean;
  /** Trying again within seconds makes sense. Default: as `retryable`. */
  retrySoon?: boolean;
  /** What the backend asked for by Retry-After. */
  retryAfterMs?: number | undefined;
};

export class BackendError extends HostError {
  override readonly name = 'BackendError';
  readonly status: number | undefined;
  readonly retryable: boolean;
  readonly retrySoon: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(code: Extract<ErrorCode, `BACKEND_${string}`>, details: BackendErrorDetails) {
    super(code, details);
    this.status = details.status;
    this.retryable = details.retryable ?? true;
    this.retrySoon = details.retrySoon ?? this.retryable;
    this.retryAfterMs = details.retryAfterMs;
  }
}

const quotedCharsMax = 200;

/** Text from outside on one line, cut, without what could forge a log or a screen. */
export function quoted(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\s]+/gu, ' ').trim();
  return line.length > quotedCharsMax ? `${line.slice(0, quotedCharsMax)}…` : line;
}

/** For metrics: what became of one request. */
export function classOf(error: unknown): string {
  if (!(error instanceof BackendError)) return error instanceof HostError ? 'aborted' : 'internal';
  if (error.status !== undefined && error.code !== 'BACKEND_ANSWER')
    return `${Math.floor(error.status / 100)}xx`;
  if (error.code === 'BACKEND_UNREACHABLE') return 'unreachable';
  return error.code === 'BACKEND_TLS' ? 'tls' : 'answer';
}
