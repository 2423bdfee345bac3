#!/bin/bash
# Takes a lab down, also one whose raiser has crashed: its processes, taps, bridge, packet filter rules, control groups and files.
# Running it twice is harmless. It touches only what carries that lab's mark.
# usage: sweep.sh ROOT NAME [ID]     with an ID: only if the lab of that name is still that one
#        sweep.sh --keep ROOT NAME ID   waits until standard input ends (its raiser is gone or is done), then does that;
#                                a line "release" ends it without
set -uo pipefail

# All in a function, so that a keeper that waits for days has read the whole script and not what it is by then.
main() {
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
if [ "$1" = --keep ]; then
  shift
  trap '' INT HUP TERM
  while read -r word; do
    if [ "$word" = release ]; then exit 0; fi
  done
fi
root=$1 name=$2 id=${3:-}
link="$root/$name"
[ -n "$name" ] && [ -d "$root" ] || exit 0
case "$name" in *[!a-z0-9-]*) echo "not a lab's name: $name" >&2; exit 2 ;; esac

# The lock file goes away with the lab, so whoever waited for it may hold a file that is gone: then ask again.
while :; do
  exec 9> "$root/.lock-$name" || exit 0
  flock 9
  if [ "$(stat -c %i "$root/.lock-$name" 2>/dev/null)" = "$(stat -L -c %i /proc/self/fd/9)" ]; then break; fi
done
if [ ! -d "$link" ]; then rm -f "$root/.lock-$name"; exit 0; fi
if [ -n "$id" ] && [ "$(cat "$link/id" 2>/dev/null)" != "$id" ]; then exit 0; fi
dir=$(readlink -f "$link")
subnet=$(cat "$link/subnet" 2>/dev/null)
# Its mark on what it made: another registry of labs on this machine (a chroot) may use the same names and subnets.
tag=$(cat "$link/tag" 2>/dev/null || echo none)
mark="outrigger-lab:$tag"
bridge="orl$subnet"

cgroups() { awk -v g="outrigger-lab.$tag" '$3 == "cgroup" || $3 == "cgroup2" { print $2 "/" g }' /proc/self/mounts; }
processes() {
  local pid ticks file fields
  for file in "$dir"/hosts/*/init.pid; do
    [ -e "$file" ] || continue
    read -r pid ticks < "$file"
    read -r -a fields < "/proc/$pid/stat" || continue
    if [ "${fields[21]}" = "$ticks" ]; then echo "$pid"; fi
  done 2>/dev/null
  cgroups | while read -r top; do
    [ -d "$top" ] && find "$top" -name cgroup.procs -exec cat {} + 2>/dev/null
  done
}

for _ in $(seq 200); do
  pids=$(processes | sort -un | grep -vx 0)
  [ -n "$pids" ] || break
  # shellcheck disable=SC2086
  kill -KILL $pids 2>/dev/null
  sleep 0.05
done

if command -v iptables > /dev/null; then
  iptables -w 5 -S 2>/dev/null | grep -E -- "--comment \"?${mark//./\\.}\"?( |$)" | sed 's/^-A/-D/; s/"//g' | while read -r rule; do
    # shellcheck disable=SC2086
    iptables -w 5 $rule
  done
fi
if [ -n "$subnet" ] && [ -e "/sys/class/net/$bridge" ]; then
  if [ "$(cat "/sys/class/net/$bridge/ifalias" 2>/dev/null)" = "$mark" ]; then
    for device in /sys/class/net/"$bridge"h*; do
      if [ -e "$device" ]; then ip link del "${device##*/}" 2>/dev/null; fi
    done
    ip link del "$bridge"
  fi
fi
for _ in $(seq 100); do
  left=0
  for top in $(cgroups); do
    [ -d "$top" ] || continue
    find "$top" -depth -type d -exec rmdir {} + 2>/dev/null
    if [ -d "$top" ]; then left=1; fi
  done
  [ "$left" = 0 ] && break
  sleep 0.05
done
rm -rf --one-file-system "$dir"
rm -f "$link" "$root/.lock-$name"
if [ -n "$subnet" ] && [ "$(cat "$root/.subnet-$subnet" 2>/dev/null)" = "$name" ]; then rm -f "$root/.subnet-$subnet"; fi
rmdir "$root" 2>/dev/null
exit 0
}
main "$@"
