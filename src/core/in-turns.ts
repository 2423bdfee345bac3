// Many questions to one daemon, a few at a time: more would only wait in its queue, and ours is bounded.
const atATimeDefault = 8;

export async function inTurns<T, R>(
  items: readonly T[],
  ask: (item: T, index: number) => Promise<R>,
  atATime = atATimeDefault,
): Promise<R[]> {
  const answers = new Array<R>(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      answers[index] = await ask(items[index] as T, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atATime, items.length) }, worker));
  return answers;
}
