// Certificates for tests, good and bad, made with openssl in a folder that is the test's.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** Paths and PEM. */
export type Pair = { certFile: string; keyFile: string; cert: string; key: string };

export class TestCa implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'outrigger-ca-'));
  readonly file = join(this.folder, 'ca.pem');
  #count = 0;

  constructor() {
    this.#openssl(
      'req',
      '-x509',
      ...newKey,
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-subj',
      '/CN=Test CA',
      '-days',
      '3',
    );
  }

  get pem(): string {
    return readFileSync(this.file, 'utf8');
  }

  /** `altName`: `IP:127.0.0.1`, `DNS:elsewhere.example.net`. Negative days: expired. */
  issue({ altName = 'IP:127.0.0.1', days = 2, subject = '/CN=test' } = {}): Pair {
    const name = `pair${++this.#count}`;
    writeFileSync(join(this.folder, `${name}.ext`), `subjectAltName=${altName}\n`);
    this.#openssl('req', ...newKey, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject);
    const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', String(days)];
    this.#openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...signed,
      '-extfile',
      `${name}.ext`,
      '-out',
      `${name}.pem`,
    );
    return this.#pair(name);
  }

  selfSigned(altName = 'IP:127.0.0.1'): Pair {
    const name = `self${++this.#count}`;
    const files = ['-keyout', `${name}.key`, '-out', `${name}.pem`];
    this.#openssl(
      'req',
      '-x509',
      ...newKey,
      ...files,
      '-subj',
      '/CN=self',
      '-days',
      '2',
      '-addext',
      `subjectAltName=${altName}`,
    );
    return this.#pair(name);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #pair(name: string): Pair {
    const [certFile, keyFile] = [join(this.folder, `${name}.pem`), join(this.folder, `${name}.key`)];
    return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.folder, stdio: 'pipe' });
  }
}
