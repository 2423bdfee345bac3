// Many questions to one daemon, a few at a time: more would only wait in its queue, and ours is bounded.
const atATimeDefault = 8;

export async function inTurns<T, R>(
  items: readonly T[],
  ask: (item: T, index: number) => Promise<R>,
  atATime = atATimeDefault,
): Promise<R[]> {
  const answers = new Array<R>(items.length);
  const turns = items.entries();
  const worker = async () => {
    for (const [index, item] of turns) answers[index] = await ask(item, index);
  };
  await Promise.all(Array.from({ length: Math.min(atATime, items.length) }, worker));
  return answers;
}
