// What was opened, to be closed in reverse order (AsyncDisposableStack, which Node 20 lacks). One that fails to close
// does not keep the others from closing: its error goes to `onError`.

export class Closers {
  readonly #closers: (() => Promise<void>)[] = [];

  add(close: () => Promise<void>): void {
    this.#closers.push(close);
  }

  async close(onError: (error: unknown) => void): Promise<void> {
    for (let close = this.#closers.pop(); close; close = this.#closers.pop()) await close().catch(onError);
  }
}
