// The headers that tell a browser what it must not do with our answers, in one place, and how often one caller may ask. Pages may
// load our own files only: no inline script, no inline style, nothing from elsewhere, no frame around them. It refuses to send
// Strict-Transport-Security: that is for the proxy that has the certificate to say.
import helmet from '@fastify/helmet';
import type { FastifyContextConfig, FastifyInstance } from 'fastify';

const strict = {
  'default-src': "'none'",
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self' data:",
  'connect-src': "'self'",
  'form-action': "'self'",
  'base-uri': "'none'",
  'frame-ancestors': "'none'",
};

type Policy = NonNullable<FastifyContextConfig['csp']>;

/** The two pages that are not ours set styles from their scripts, and bull-board names its base address. */
export const policies: Readonly<Record<Policy, string>> = {
  strict: written(strict),
  queues: written({ ...strict, 'style-src': "'self' 'unsafe-inline'", 'base-uri': "'self'" }),
  docs: written({ ...strict, 'style-src': "'self' 'unsafe-inline'" }),
};

/** For answers that are made before any hook runs. */
export const bareHeaders = {
  'content-security-policy': policies.strict,
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

export async function addSecurityHeaders(app: FastifyInstance): Promise<void> {
  await app.register(helmet, {
    contentSecurityPolicy: false,
    strictTransportSecurity: false,
    xFrameOptions: { action: 'deny' },
    // Not no-referrer: with that, browsers say `Origin: null` of our own forms. To other sites both tell nothing.
    referrerPolicy: { policy: 'same-origin' },
  });
  app.addHook('onRequest', async (request, reply) => {
    reply.header('content-security-policy', policies[request.routeOptions.config?.csp ?? 'strict']);
  });
  app.addHook('onSend', async (_request, reply) => {
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store');
  });
}

function written(policy: Readonly<Record<string, string>>): string {
  return Object.entries(policy)
    .map(([directive, value]) => `${directive} ${value}`)
    .join('; ');
}
