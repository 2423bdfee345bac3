// What the peers need on this machine: Debian's packages of Go, go-libvirt, x/crypto and python3-libvirt. As root it installs
// what is missing and says so; otherwise it says which peers are left out and why. It takes nothing from elsewhere.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const gopath = '/usr/share/gocode';
const python = '/usr/bin/python3';
const goPackages = [
  { name: 'golang-go', shows: '/usr/bin/go' },
  {
    name: 'golang-github-digitalocean-go-libvirt-dev',
    shows: `${gopath}/src/github.com/digitalocean/go-libvirt`,
  },
  { name: 'golang-golang-x-crypto-dev', shows: `${gopath}/src/golang.org/x/crypto/ssh` },
];
const pythonPackages = [{ name: 'python3-libvirt', shows: '/usr/lib/python3/dist-packages/libvirt.py' }];

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url));

export type Commands = { go?: string[]; c?: string[] };

/** The command lines of the peers that can run here; `dir`: where the Go one is built. */
export function peerCommands(dir: string, say: (line: string) => void): Commands {
  const commands: Commands = {};
  if (have('the Go peer', goPackages, say)) {
    const binary = join(dir, 'go-peer');
    execFileSync('/usr/bin/go', ['build', '-o', binary, here('go/main.go')], {
      env: { ...process.env, GO111MODULE: 'off', GOPATH: gopath, GOFLAGS: '' },
      stdio: 'inherit',
    });
    commands.go = [binary];
  }
  if (have("the C library's peer", pythonPackages, say)) commands.c = [python, here('python/client.py')];
  return commands;
}

function have(
  what: string,
  packages: readonly { name: string; shows: string }[],
  say: (line: string) => void,
) {
  const missing = packages.filter(({ shows }) => !existsSync(shows)).map(({ name }) => name);
  if (missing.length === 0) return true;
  if (process.getuid?.() !== 0) {
    say(`${what} is left out: ${missing.join(' ')} not installed, and only root may install`);
    return false;
  }
  say(`installing ${missing.join(' ')}`);
  try {
    execFileSync('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...missing], {
      stdio: 'ignore',
    });
    return true;
  } catch {
    say(`${what} is left out: apt-get could not install ${missing.join(' ')}`);
    return false;
  }
}

/** Versions as a person reads them; empty where there is none. */
export function versionOf(file: string, ...args: string[]): string {
  try {
    return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return '';
  }
}
