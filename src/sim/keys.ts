// Ed25519 keys in OpenSSH's formats, for a simulated fleet. (The generator of ssh2 1.17 now and then makes a key that ssh2 cannot
// read.) They guard nothing but simulations on loopback.
import { generateKeyPairSync, randomBytes } from 'node:crypto';

/** `private` as in a file of ssh-keygen's, `public` as in authorized_keys, `blob` as on the wire. */
export type SimKey = { private: string; public: string; blob: Buffer };

const type = 'ssh-ed25519';
const blockBytes = 8;
const lineChars = 70;

export function makeKey(): SimKey {
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const [secret, point] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')];
  const blob = Buffer.concat([field(type), field(point)]);
  const check = randomBytes(4);
  const secrets = Buffer.concat([
    check,
    check,
    field(type),
    field(point),
    field(Buffer.concat([secret, point])),
    field('simulated'),
  ]);
  const padding = Array.from({ length: -secrets.length & (blockBytes - 1) }, (_, index) => index + 1);
  const whole = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    field('none'),
    field('none'),
    field(''),
    Buffer.from([0, 0, 0, 1]),
    field(blob),
    field(Buffer.concat([secrets, Buffer.from(padding)])),
  ]);
  const lines = whole.toString('base64').match(new RegExp(`.{1,${lineChars}}`, 'g')) ?? [];
  const pem = `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`;
  return { private: pem, public: `${type} ${blob.toString('base64')}`, blob };
}

function field(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
