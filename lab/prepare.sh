#!/bin/bash
# Gets a fresh Debian or Ubuntu machine ready for the demo or the tests: checks Node, installs the packages that are missing and the npm
# modules. It starts no service of what it installs, and installs nothing that is there already.
# usage: lab/prepare.sh demo|test [--dry-run]
# Without root or apt it says what is missing and goes on: then the lab is not possible here (lab/possible.ts), and what needs it is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
say() { echo "prepare: $*" >&2; }

set_of=${1:-}
dry=${2:-}
case "$set_of" in demo | test) ;; *) echo 'usage: lab/prepare.sh demo|test [--dry-run]' >&2; exit 2 ;; esac

node_wanted='20.19'
if ! command -v node > /dev/null; then
  say "Node is not installed; version $node_wanted or newer is needed (see https://nodejs.org/en/download)"
  exit 1
fi
node_version=$(node -p process.versions.node)
if ! printf '%s\n%s\n' "$node_wanted" "$node_version" | sort -V -C; then
  say "Node $node_version is too old; version $node_wanted or newer is needed (see https://nodejs.org/en/download)"
  exit 1
fi
if ! command -v npm > /dev/null; then
  say "npm is not installed; it comes with Node (Debian: the package npm)"
  exit 1
fi

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]; }

missing_packages() {
  local package
  for package in libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils \
    qemu-guest-agent openssh-server openssh-client openssh-sftp-server busybox-static dbus cpio kmod iproute2 iptables e2fsprogs \
    util-linux procps xz-utils zstd; do
    installed "$package" || echo "$package"
  done
  # releases differ in the package that has these
  if ! command -v virtlogd > /dev/null; then echo libvirt-daemon-log; fi
  if [ ! -x /usr/lib/polkit-1/polkitd ] && [ ! -x /usr/libexec/polkitd ]; then echo polkitd; fi
  if ! command -v redis-server > /dev/null && ! command -v valkey-server > /dev/null; then echo redis-server; fi
  if [ "$set_of" = test ]; then
    if ! command -v promtool > /dev/null; then echo prometheus; fi
    if ! command -v prometheus-node-exporter > /dev/null; then echo prometheus-node-exporter; fi
    for package in chromium fonts-dejavu-core; do installed "$package" || echo "$package"; done
  fi
}

policy=/usr/sbin/policy-rc.d
policy_made=
apt_log=
tidy() {
  if [ -n "$policy_made" ]; then rm -f "$policy"; fi
  if [ -n "$apt_log" ]; then rm -f "$apt_log"; fi
}
trap tidy EXIT

install_packages() {
  local known=() unknown=() package
  if [ -z "$(find /var/lib/apt/lists -maxdepth 1 \( -name '*_Packages' -o -name '*_Packages.*' \) -print -quit 2> /dev/null)" ]; then
    say 'apt-get update'
    apt-get -qq update
  fi
  for package in "$@"; do
    if apt-cache show "$package" > /dev/null 2>&1; then known+=("$package"); else unknown+=("$package"); fi
  done
  if [ ${#unknown[@]} -gt 0 ]; then say "apt knows no such packages here: ${unknown[*]}"; fi
  if [ ${#known[@]} -eq 0 ]; then return 0; fi
  say "installing with apt, which takes a minute or two: ${known[*]}"
  # asked by every package before it starts a service: 101 is "no"
  if [ ! -e "$policy" ]; then
    policy_made=1
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
  fi
  local apt=(apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${known[@]}")
  export DEBIAN_FRONTEND=noninteractive
  apt_log=$(mktemp)
  if ! "${apt[@]}" > "$apt_log" 2>&1; then
    say 'apt-get update, and once more'
    apt-get -qq update
    if ! "${apt[@]}" > "$apt_log" 2>&1; then
      tail -n 20 "$apt_log" >&2
      say 'apt could not install them; its last words stand above'
      exit 1
    fi
  fi
  if [ -d /run/systemd/system ]; then
    local unit
    for unit in "${known[@]}"; do
      case "$unit" in
        redis-server | prometheus | prometheus-node-exporter) systemctl -q disable "$unit" ;;
        openssh-server) systemctl -q disable ssh ;;
        libvirt-daemon-system) systemctl -q disable libvirtd libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirt-guests ;;
      esac 2> /dev/null || true
    done
  fi
}

mapfile -t missing < <(command -v dpkg-query > /dev/null && missing_packages)
skipped='the lab of real KVM hosts is not possible here: what needs it is skipped'
if ! command -v apt-get > /dev/null || ! command -v dpkg-query > /dev/null; then
  say "this is not Debian or Ubuntu: no packages are installed. If something is missing, $skipped"
elif [ ${#missing[@]} -eq 0 ]; then
  say 'all packages are there'
elif [ "$dry" = --dry-run ]; then
  say "would install: ${missing[*]}"
elif [ "$(id -u)" != 0 ]; then
  say "not root, so these packages are not installed: ${missing[*]}"
else
  install_packages "${missing[@]}"
fi
if [ "$(id -u)" != 0 ]; then say "not root: $skipped (try: sudo -E)"; fi

# The stamp holds the lock file that node_modules was made from.
stamp=node_modules/.made-from
lock=$(sha256sum package-lock.json | cut -d ' ' -f 1)
if [ "$(cat "$stamp" 2> /dev/null)" = "$lock" ] || [ node_modules/.package-lock.json -nt package-lock.json ]; then
  say 'node_modules is up to date'
elif [ "$dry" = --dry-run ]; then
  say 'would run npm ci'
else
  say 'npm ci'
  npm ci --no-audit --no-fund --loglevel=error >&2
  echo "$lock" > "$stamp"
fi
