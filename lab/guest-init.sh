#!/bin/sh
# The first process of a lab guest. It loads the drivers, mounts its disk, answers the power button and the guest agent, and then
# writes and pings a little so that the counters of its disk and its network card move.
# Kernel words it knows: lab.ip=ADDRESS lab.peer=ADDRESS lab.acpi=0 (ignores the power button) lab.agent=0 (runs no guest agent).
export PATH=/bin:/sbin
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /var/run /var/log /data
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
echo 'guest: kernel up'

word() { sed -n "s/.*\\b$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline; }

pass=0
while [ "$pass" -lt 8 ]; do
  left=0
  for module in /modules/*.ko; do
    [ -e "$module" ] || continue
    if insmod "$module" 2>/dev/null; then rm "$module"; else left=1; fi
  done
  [ "$left" = 0 ] && break
  pass=$((pass + 1))
done

hostname "$(word lab.name)"
ip link set lo up
ip link set eth0 up
address=$(word lab.ip)
[ -n "$address" ] && ip addr add "$address/24" dev eth0

mount -t ext4 /dev/vda /data 2>/dev/null

if [ "$(word lab.acpi)" != 0 ]; then
  mkdir -p /etc/acpi/PWRF
  printf '#!/bin/sh\nexec /sbin/shutdown -h\n' > /etc/acpi/PWRF/00000080
  chmod 755 /etc/acpi/PWRF/00000080
  acpid -c /etc/acpi -l /dev/null
fi
if [ "$(word lab.agent)" != 0 ]; then
  port=
  for name in /sys/class/virtio-ports/*/name; do
    [ "$(cat "$name" 2>/dev/null)" = org.qemu.guest_agent.0 ] && port=/dev/$(basename "$(dirname "$name")")
  done
  [ -n "$port" ] && qemu-ga --daemonize --method=virtio-serial --path="$port" --statedir=/run --pidfile=/run/qemu-ga.pid
fi
echo 'guest: ready'

peer=$(word lab.peer)
while :; do
  if dd if=/dev/urandom of=/data/noise bs=4k count=16 conv=fsync 2>/dev/null; then
    dd if=/dev/vda of=/dev/null bs=4k count=16 iflag=direct 2>/dev/null
  fi
  [ -b /dev/vdb ] && dd if=/dev/vdb of=/dev/null bs=4k count=16 iflag=direct 2>/dev/null
  [ -n "$peer" ] && ping -c 1 -W 1 -s 200 "$peer" >/dev/null 2>&1
  sleep 2
done
