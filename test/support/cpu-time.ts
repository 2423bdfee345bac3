/** A watch that tells the CPU milliseconds of this process since it was made: what other processes take does not count. */
export function cpuWatch(): () => number {
  const before = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
}
