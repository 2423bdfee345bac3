// Replies of an SFTP server, as a client reads them.
import { SftpReplies, type SftpReply } from '../../../src/ssh/sftp-wire.js';

export function dataReply(id: number, text: string): SftpReply {
  return textReply(103, id, text);
}

export function handleReply(id: number, handle: string): SftpReply {
  return textReply(102, id, handle);
}

function textReply(type: number, id: number, text: string): SftpReply {
  const bytes = Buffer.alloc(13 + text.length);
  bytes.writeUInt32BE(9 + text.length, 0);
  bytes.writeUInt8(type, 4);
  bytes.writeUInt32BE(id, 5);
  bytes.writeUInt32BE(text.length, 9);
  bytes.write(text, 13, 'latin1');
  return only(bytes);
}

export function endReply(id: number): SftpReply {
  return only(Buffer.from(['00000009', '65', id.toString(16).padStart(8, '0'), '00000001'].join(''), 'hex'));
}

function only(bytes: Buffer): SftpReply {
  const [reply] = [...new SftpReplies().push(bytes)];
  if (!reply) throw new Error('no reply');
  return reply;
}
