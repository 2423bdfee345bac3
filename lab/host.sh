#!/bin/bash
# The inside of a lab host: a set of namespaces with its own processes, mounts, accounts, control groups and daemons, so that sshd, libvirtd
# and QEMU are the real ones and share nothing with the machine but the kernel and the network. It refuses to touch any mount of the machine.
# usage: host.sh enter HOST_DIR NAME CGROUP IMAGE_DIR   on the machine: joins the control group, makes the namespaces, becomes the host
#        host.sh start libvirtd|sshd          inside the host
set -euo pipefail
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# without the table of mounts in /run/mount, which belongs to the machine
mount() { command mount -n "$@"; }

# "mountpoint type controllers" of every cgroup hierarchy
cgroup_mounts() {
  local target type options option controllers
  while read -r _ target type options _; do
    case "$type" in cgroup | cgroup2) ;; *) continue ;; esac
    controllers=
    for option in ${options//,/ }; do
      case "$option" in
        rw | ro | nosuid | nodev | noexec | relatime | noatime | xattr | clone_children | nsdelegate | memory_* | release_agent=*) ;;
        *) controllers+="${controllers:+,}$option" ;;
      esac
    done
    echo "$target $type ${controllers:--}"
  done < /proc/self/mounts
}

# makes the group, with the cpus of its parent where that must be said (cgroup v1)
cgroup_make() {
  mkdir -p "$1"
  local file
  for file in cpuset.cpus cpuset.mems; do
    if [ -e "$1/cgroup.clone_children" ] && [ -e "$1/$file" ] && [ -z "$(cat "$1/$file")" ]; then cat "$1/../$file" > "$1/$file"; fi
  done
}

cgroup_join() {
  local target
  while read -r target _; do
    [ -d "$target/$1" ] || continue
    echo $$ > "$target/$1/cgroup.procs" || true
  done < <(cgroup_mounts)
}

start_daemon() {
  case "$1" in
    dbus) dbus-daemon --system --fork --nopidfile --nosyslog ;;
    polkit)
      local polkitd=/usr/lib/polkit-1/polkitd
      [ -x "$polkitd" ] || polkitd=/usr/libexec/polkitd
      setsid "$polkitd" --no-debug < /dev/null > /var/log/polkitd.log 2>&1 &
      ;;
    virtlogd) virtlogd -d ;;
    libvirtd)
      rm -f /run/libvirtd.pid
      libvirtd -d
      ;;
    sshd) /usr/sbin/sshd -f /run/lab/ssh/sshd_config -E /run/lab/log/sshd.log ;;
    *) echo "no such daemon: $1" >&2; exit 2 ;;
  esac
}

enter() {
  local dir=$1 name=$2 group=$3 image=$4 target
  while read -r target _; do
    if [ "$(stat -f -c %T "$target")" = cgroup2fs ] && [ -s "$target/cgroup.controllers" ]; then
      local controller
      for controller in $(cat "$target/cgroup.controllers"); do
        echo "+$controller" > "$target/cgroup.subtree_control" 2>/dev/null || true
        mkdir -p "$target/$group"
        echo "+$controller" > "$target/$group/cgroup.subtree_control" 2>/dev/null || true
      done
    fi
    cgroup_make "$target/$group" && cgroup_make "$target/$group/$name" && echo $$ > "$target/$group/$name/cgroup.procs"
  done < <(cgroup_mounts)
  exec unshare --mount --uts --pid --cgroup --fork --kill-child --propagation private /bin/bash "$0" init "$dir" "$name" "$image"
}

init() {
  local dir=$1 name=$2 image=$3 fields
  # The old /proc still shows this process by its number on the machine.
  read -r -a fields < /proc/self/stat
  echo "${fields[0]} ${fields[21]}" > "$dir/init.pid"
  local groups
  groups=$(cgroup_mounts)

  hostname "$name"
  mkdir -p "$dir/stage"
  mount -t tmpfs -o mode=755,size=64m tmpfs "$dir/stage"
  mkdir -p "$dir/stage"/{lab,sshd,dbus,libvirt,lock,image}
  mount --bind "$dir" "$dir/stage/lab"
  mount --bind "$image" "$dir/stage/image"
  mount --move "$dir/stage" /run
  cd /run/lab
  mount -t proc proc /proc

  mkdir -p /run/dev
  mount -t tmpfs -o mode=755,size=16m tmpfs /run/dev
  local node
  for node in 'null 1 3' 'zero 1 5' 'full 1 7' 'random 1 8' 'urandom 1 9' 'tty 5 0'; do
    # shellcheck disable=SC2086
    mknod -m 666 /run/dev/${node%% *} c ${node#* }
  done
  mkdir -p /run/dev/{pts,shm,net}
  mknod -m 600 /run/dev/net/tun c 10 200
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts /run/dev/pts
  mount -t tmpfs -o mode=1777 tmpfs /run/dev/shm
  ln -s pts/ptmx /run/dev/ptmx
  ln -s /proc/self/fd /run/dev/fd
  ln -s fd/0 /run/dev/stdin
  ln -s fd/1 /run/dev/stdout
  ln -s fd/2 /run/dev/stderr
  mount --move /run/dev /dev

  local target type controllers
  if ! grep -q '^/sys/fs/cgroup ' <<< "$groups"; then mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup; fi
  while read -r target type controllers; do
    [ -n "$target" ] || continue
    mkdir -p "$target"
    if [ "$type" = cgroup2 ]; then mount -t cgroup2 cgroup2 "$target"; else mount -t cgroup -o "$controllers" cgroup "$target"; fi
    # cgroup v2 lends controllers only to the children of a group that holds no process itself
    cgroup_make "$target/init.scope" && echo 1 > "$target/init.scope/cgroup.procs"
  done <<< "$groups"

  local pair
  for pair in etc/libvirt:/etc/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log home:/home \
    etc/passwd:/etc/passwd etc/group:/etc/group etc/shadow:/etc/shadow etc/hostname:/etc/hostname etc/machine-id:/etc/machine-id; do
    if [ -e "${pair#*:}" ]; then mount --bind "/run/lab/${pair%%:*}" "${pair#*:}"; fi
  done
  mount -t tmpfs -o mode=1777,size=64m tmpfs /tmp

  busybox syslogd -n -S -l 8 -O /run/lab/log/syslog < /dev/null > /dev/null 2>&1 &
  start_daemon dbus
  start_daemon polkit
  start_daemon sshd
  start_daemon virtlogd
  start_daemon libvirtd
  echo ready > /run/lab/ready
  # bash, as the first process, reaps whatever ends here
  while :; do sleep 86400 < /dev/null & wait $! || true; done
}

case "${1:-}" in
  enter) shift; enter "$@" ;;
  init) shift; init "$@" ;;
  start) cgroup_join init.scope; start_daemon "$2" ;;
  *) echo 'usage: host.sh enter DIR NAME CGROUP IMAGE | start libvirtd|sshd' >&2; exit 2 ;;
esac
