// What a connection is made to, and the limits every part of ssh/ keeps to. No behaviour.

export type SshTarget = {
  /** Inventory name or address: used in errors. */
  host: string;
  address: string;
  port: number;
  user: string;
  keyFile?: string;
  keyPassphraseFile?: string;
  /** true: the agent at SSH_AUTH_SOCK; a string: the agent at that socket. */
  agent?: boolean | string;
  knownHostsFiles: readonly string[];
  /** In the order they are passed, outermost first. */
  jump?: readonly SshTarget[];
};

export type WaitOptions = { timeoutMs?: number; signal?: AbortSignal | undefined };

export const limits = {
  /** DNS, TCP, every jump, key exchange and authentication together. */
  connectTimeoutMs: 20_000,
  /** One channel: a socket forward, an SFTP session, the helper. */
  channelTimeoutMs: 10_000,
  /** Goodbye on a connection that we end, before its socket is destroyed. */
  endTimeoutMs: 2_000,
  /** Handshakes at a time: each costs some 4 ms of CPU here and some on the other side. */
  handshakesMax: 16,
  keepaliveIntervalMs: 15_000,
  /** Unanswered keepalives before the connection counts as dead. */
  keepaliveCountMax: 3,
} as const;

/** `address:port`, an IPv6 address in brackets. */
export function addressAndPort(address: string, port: number): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

/** `user@address`, with the port when it is not 22. */
export function endpoint({ user, address, port }: SshTarget): string {
  return `${user}@${port === 22 ? address : addressAndPort(address, port)}`;
}
