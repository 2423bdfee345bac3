// Loaded into a service with --import: on SIGUSR2 its wall clock steps back an hour, as NTP or an operator would do it.
// The monotonic clock stays.
const realNow = Date.now;
const RealDate = Date;
let offsetMs = 0;

process.on('SIGUSR2', () => {
  offsetMs -= 3_600_000;
});

Date.now = () => realNow() + offsetMs;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [Date.now()] : args, newTarget),
});
