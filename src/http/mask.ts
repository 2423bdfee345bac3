// Hides what looks like a secret in values that somebody else wrote, before they are shown: by the key's name, and passwords in
// URLs. It refuses to be the only guard: our own secrets never go where this would be needed.

const secretKey = /passw|passphrase|secret|token|credential|private.?key/i;
const urlPassword = /(:\/\/[^\s/:@]*):[^\s/@]*@/g;
const shown = '[secret]';

/** A copy as plain JSON; undefined when it cannot be one. */
export function masked(value: unknown): unknown {
  try {
    const text = JSON.stringify(value, plain);
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function maskedText(text: string): string {
  return text.replaceAll(urlPassword, `$1:${shown}@`);
}

function plain(key: string, value: unknown): unknown {
  if (value === null || value === undefined) return value;
  if (secretKey.test(key)) return shown;
  return typeof value === 'string' ? maskedText(value) : value;
}
