// What is wrong with a certificate, in words that say whose it is, what it says, and how to mend it.
import type { PeerCertificate } from 'node:tls';
import { BackendError, quoted } from './backend-error.js';

const dayMs = 86_400_000;

/** `code`: what OpenSSL or Node says of the backend's certificate. */
export function certificateError(
  code: string,
  cert: PeerCertificate,
  hostname: string,
  nowMs: number,
): BackendError {
  const { message, hint } = words(code, cert, hostname, nowMs);
  return new BackendError('BACKEND_TLS', {
    message: `the backend's certificate ${message}`,
    hint,
    outcome: 'not-sent',
    retrySoon: false,
  });
}

const caHint =
  'Give the CA that signed it in AGENT_SSL_CA_PATH, with the intermediate certificates if the backend does not send them.';

function words(
  code: string,
  cert: PeerCertificate,
  hostname: string,
  nowMs: number,
): { message: string; hint: string } {
  const issuer = quoted(nameOf(cert.issuer) ?? 'an unnamed issuer');
  switch (code) {
    case 'CERT_HAS_EXPIRED': {
      const days = Math.floor((nowMs - Date.parse(cert.valid_to)) / dayMs);
      return {
        message: `expired on ${dateOf(cert.valid_to)}${days > 0 ? `, ${days} days ago` : ''}`,
        hint: 'Renew it on the backend, or set the clock here right.',
      };
    }
    case 'CERT_NOT_YET_VALID':
      return {
        message: `is not valid before ${dateOf(cert.valid_from)}`,
        hint: 'Look at the clocks here and on the backend.',
      };
    case 'ERR_TLS_CERT_ALTNAME_INVALID': {
      const names = quoted(cert.subjectaltname ?? nameOf(cert.subject) ?? '') || 'no name at all';
      return {
        message: `is for another name than ${hostname}: it is for ${names}`,
        hint: 'Set AGENT_BACKEND_URL to a name that the certificate has, or have one issued for this name.',
      };
    }
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
      return {
        message: 'is self-signed, and not one that is trusted here',
        hint: 'If it is the right one, give it in AGENT_SSL_CA_PATH; never switch verification off for it.',
      };
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return { message: `was signed by a CA that is not trusted here: ${issuer}`, hint: caHint };
    case 'CERT_REVOKED':
      return { message: 'was revoked', hint: 'Have a new one issued for the backend.' };
    default:
      return { message: `is not good: ${quoted(code)} (issuer: ${issuer})`, hint: caHint };
  }
}

/** An alert or a failed handshake; undefined when the error is not about TLS. */
export function handshakeError(error: unknown, weHaveCertificate: boolean): BackendError | undefined {
  const { code = '', message = '' } = (error ?? {}) as NodeJS.ErrnoException;
  if (!/^(ERR_SSL_|ERR_TLS_|EPROTO)/.test(code) && !/SSL routines|ssl3_|tls_/i.test(message))
    return undefined;
  const said = `${code} ${message}`.toUpperCase().replaceAll(/[\s_]+/g, ' ');
  const refused = (text: string, hint: string) =>
    new BackendError('BACKEND_TLS', {
      message: text,
      hint,
      outcome: 'not-sent',
      retrySoon: false,
      cause: error,
    });
  const pairHint = 'Set AGENT_SSL_CERT_PATH and AGENT_SSL_KEY_PATH to a certificate that the backend takes.';
  if (
    /CERTIFICATE REQUIRED/.test(said) ||
    (!weHaveCertificate && /HANDSHAKE FAILURE|BAD CERTIFICATE/.test(said))
  ) {
    return refused('the backend wants a client certificate (mutual TLS), and none was given', pairHint);
  }
  if (/ALERT CERTIFICATE EXPIRED/.test(said)) {
    return refused(
      'the backend says that our certificate has expired',
      'Renew the file of AGENT_SSL_CERT_PATH.',
    );
  }
  if (
    /UNKNOWN CA|BAD CERTIFICATE|CERTIFICATE UNKNOWN|CERTIFICATE REVOKED|UNSUPPORTED CERTIFICATE/.test(said)
  ) {
    return refused('the backend does not take our certificate', pairHint);
  }
  if (/WRONG VERSION NUMBER|PACKET LENGTH TOO LONG|HTTP REQUEST/.test(said)) {
    return refused(
      'what answers at the backend’s address does not speak TLS',
      'Look at the port in AGENT_BACKEND_URL.',
    );
  }
  if (/PROTOCOL VERSION|UNSUPPORTED PROTOCOL|NO PROTOCOLS/.test(said)) {
    return refused('the backend offers no TLS version that is safe', 'Let the backend speak TLS 1.2 or 1.3.');
  }
  return refused('the TLS handshake with the backend failed', 'Look at the TLS settings of the backend.');
}

function nameOf(name: PeerCertificate['subject'] | undefined): string | undefined {
  const text = name?.CN ?? name?.O;
  return Array.isArray(text) ? text.join(', ') : text;
}

function dateOf(text: string): string {
  const ms = Date.parse(text);
  return Number.isNaN(ms)
    ? quoted(text)
    : new Date(ms).toISOString().slice(0, 16).replace('T', ' ').concat(' UTC');
}
