// `outrigger run`: the service in the foreground until SIGTERM or SIGINT. It refuses to go into the background: that is the
// service manager's work.
import { setFlagsFromString } from 'node:v8';
import { createLog } from '../core/log.js';
import { Service } from '../service.js';
import { type Environment, readConfiguration } from './configuration.js';

/** After this long the process ends whatever still hangs. */
const exitWithinMs = 28_000;
/** What libraries leave of a store that died, timers and half-made connections, keeps the process no longer than this. */
const lingerMs = 500;
/**
 * The heap may outgrow what is alive by a quarter before it is cleaned, where V8 alone would let it grow to three times that; and pages
 * of it that are half empty are put together, where V8 alone leaves them as they are until memory runs out.
 */
const heapFlags = ['--heap-growing-percent=25', '--optimize-for-size'];
/** Bytes. ssh2 keeps a few small buffers of each handshake, and each of those keeps the pool alive that it was cut from. */
const bufferPoolSize = 2048;

export async function run(env: Environment): Promise<number> {
  for (const flag of heapFlags) setFlagsFromString(flag);
  Buffer.poolSize = bufferPoolSize;
  const configuration = await readConfiguration(env);
  if (!configuration) return 1;
  const { settings, inventory } = configuration;
  const log = createLog({ level: settings.logLevel, file: settings.logFile });
  const stopSignal = signalled(['SIGTERM', 'SIGINT']);
  const service = await Service.start(settings, inventory, log);
  const reload = () => void service.reload().catch((error) => log.error({ error }, 'reload failed'));
  process.on('SIGHUP', reload);
  const signal = await stopSignal;
  process.off('SIGHUP', reload);
  log.info({ signal }, 'stopping');
  // Stays armed: also what is still open after the stop must not keep the process alive.
  setTimeout(() => {
    log.error('something did not stop in time');
    process.exit(1);
  }, exitWithinMs).unref();
  await service.stop();
  log.info('stopped');
  setTimeout(() => process.exit(), lingerMs).unref();
  return 0;
}

function signalled(signals: readonly NodeJS.Signals[]): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of signals) process.once(signal, resolve);
  });
}
