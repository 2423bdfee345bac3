// Holds answers against the OpenAPI document of the service that gave them, as a stranger's client would. It refuses to know our
// own schemas: the document is all it reads.

import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

export type Operation = {
  summary: string;
  tags: string[];
  parameters?: { name: string; in: string; required: boolean; schema: Record<string, unknown> }[];
  requestBody?: { content: Record<string, { schema: Record<string, unknown> }> };
  responses: Record<
    string,
    { description: string; content?: Record<string, { schema: Record<string, unknown> }> }
  >;
};
export type OpenApi = Record<string, unknown> & { paths: Record<string, Record<string, Operation>> };

export type GivenAnswer = {
  method: string;
  /** With or without a query. */
  url: string;
  status: number;
  /** As the header has it. */
  mediaType: string | null | undefined;
  body: string;
};

/** Of any route, or before one is found: docs/api.md tells of them. */
const general = new Set([405, 408, 413, 414, 415, 417, 431]);

/** What of the answer the document does not say; empty: nothing. */
export type Judge = (answer: GivenAnswer) => string[];

export function judgeOf(document: OpenApi): Judge {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addSchema(document, 'api');
  const compiled = new Map<string, ValidateFunction>();
  const schemaAt = (path: readonly string[]): ValidateFunction => {
    const pointer = path.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).join('/');
    const known = compiled.get(pointer) ?? ajv.compile({ $ref: `api#/${encodeURI(pointer)}` });
    compiled.set(pointer, known);
    return known;
  };
  const templates = Object.keys(document.paths).map((path) => ({
    path,
    form: new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`),
  }));
  return ({ method, url, status, mediaType, body }) => {
    // Like GET, without the body.
    if (method === 'HEAD') return [];
    const asked = url.split('?', 1)[0] ?? '';
    const { path } = templates.find(({ form }) => form.test(asked)) ?? {};
    const operation = path && document.paths[path]?.[method.toLowerCase()];
    if (!operation) return status < 400 ? [`${method} ${asked} is not in the document`] : [];
    const response = operation.responses[String(status)];
    if (!response) return general.has(status) ? [] : [`${method} ${path} does not tell of ${status}`];
    const [media = ''] = (mediaType ?? '').split(';');
    if (!response.content) return body === '' ? [] : [`${method} ${path} ${status} tells of no body`];
    if (!response.content[media]) return [`${method} ${path} ${status} does not tell of ${media}`];
    if (media === 'text/event-stream') return [];
    const fits = schemaAt([
      'paths',
      path,
      method.toLowerCase(),
      'responses',
      String(status),
      'content',
      media,
      'schema',
    ]);
    if (fits(JSON.parse(body))) return [];
    return (fits.errors ?? []).map(
      ({ instancePath, message }) => `${method} ${path} ${status}: ${instancePath} ${message}`,
    );
  };
}
