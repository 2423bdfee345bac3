// The pages' own files: read once, named by the hash of what they hold, so that a browser may keep them for good. It refuses to
// serve anything but these three: no path of a request ever reaches the disk.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';

const files = {
  style: ['style.css', 'text/css; charset=utf-8'],
  script: ['page.js', 'text/javascript; charset=utf-8'],
  icon: ['icon.svg', 'image/svg+xml'],
} as const;
type AssetName = keyof typeof files;
type Asset = { url: string; type: string; content: Buffer };

const hashChars = 16;
const assets = Object.fromEntries(
  Object.entries(files).map(([name, [file, type]]) => {
    const content = readFileSync(new URL(`assets/${file}`, import.meta.url));
    const hash = createHash('sha256').update(content).digest('hex').slice(0, hashChars);
    return [name, { url: `/assets/${hash}-${file}`, type, content }];
  }),
) as Record<AssetName, Asset>;

export function assetUrl(name: AssetName): string {
  return assets[name].url;
}

export function addAssets(app: FastifyInstance): void {
  for (const { url, type, content } of Object.values(assets)) {
    app.get(url, { config: { need: 'none' } }, async (_request, reply) =>
      reply.type(type).header('cache-control', 'public, max-age=31536000, immutable').send(content),
    );
  }
}
