// Runs the sample backend of src/sim/backend alone:  AGENT_TOKEN=… npx tsx examples/backend/main.ts
// BACKEND_LISTEN (127.0.0.1:8080), BACKEND_TLS_CERT, BACKEND_TLS_KEY, BACKEND_CLIENT_CA (files, PEM), BACKEND_LATEST_VERSION.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createBackend } from '../../src/sim/backend/server.js';

const {
  AGENT_TOKEN,
  BACKEND_LISTEN = '127.0.0.1:8080',
  BACKEND_TLS_CERT,
  BACKEND_TLS_KEY,
  BACKEND_CLIENT_CA,
  BACKEND_LATEST_VERSION,
} = process.env;

const bootstrapToken = AGENT_TOKEN || randomBytes(16).toString('hex');
const pem = async (file: string) => readFile(file, 'utf8');
const tls = BACKEND_TLS_CERT &&
  BACKEND_TLS_KEY && {
    cert: await pem(BACKEND_TLS_CERT),
    key: await pem(BACKEND_TLS_KEY),
    ...(BACKEND_CLIENT_CA && { ca: await pem(BACKEND_CLIENT_CA) }),
  };

const { app } = createBackend({
  bootstrapToken,
  ...(BACKEND_LATEST_VERSION && { latestVersion: BACKEND_LATEST_VERSION }),
  ...(tls && { tls }),
});
const colon = BACKEND_LISTEN.lastIndexOf(':');
const host = BACKEND_LISTEN.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
const url = await app.listen({ host, port: Number(BACKEND_LISTEN.slice(colon + 1)) });
console.log(`Sample backend on ${url}`);
if (!AGENT_TOKEN) console.log(`AGENT_TOKEN was not set; this run takes AGENT_TOKEN=${bootstrapToken}`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close());
