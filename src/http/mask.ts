// Hides what looks like a secret in values that somebody else wrote, before they are shown: by the key's name, and by the shapes
// that our own and other people's secrets have. It refuses to be the only guard: our own secrets never go where this is needed.
const shown = '[secret]';
const secretKey = /passw|passphrase|secret|token|credential|authorization|cookie|private.?key|api.?key/i;

const shapes: readonly (readonly [RegExp, string])[] = [
  // user:password@ in a URL, also without a user
  [/(:\/\/[^\s/:@"']{0,255}):[^\s/@"']{1,1024}@/g, `$1:${shown}@`],
  [/-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[\s\S]*?(-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|$)/g, shown],
  [/\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*/g, shown],
  [/\boutrigger_[\w-]{20,}/g, shown],
  [/\b(bearer|basic) +[\w.~+/=-]{8,}/gi, `$1 ${shown}`],
  [
    /\b(password|passphrase|secret|token|api_?key)(["']?\s{0,4}[=:]\s{0,4}["']?)[^\s"',;&[]{3,1024}/gi,
    `$1$2${shown}`,
  ],
];

/** A copy as plain JSON; undefined when it cannot be one. `known`: texts that are secrets, whatever they look like. */
export function masked(value: unknown, known: readonly string[] = []): unknown {
  const plain = (key: string, held: unknown): unknown => {
    if (held === null || held === undefined || held === '') return held;
    if (secretKey.test(key)) return shown;
    return typeof held === 'string' ? maskedText(held, known) : held;
  };
  try {
    const text = JSON.stringify(value, plain);
    return text === undefined ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function maskedText(text: string, known: readonly string[] = []): string {
  let safe = text;
  for (const secret of known) if (secret !== '') safe = safe.replaceAll(secret, shown);
  for (const [shape, instead] of shapes) safe = safe.replace(shape, instead);
  return safe;
}
