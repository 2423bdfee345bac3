#!/bin/bash
# Builds what a lab guest boots from: a kernel (unpacked from the distribution's package, never installed), an initramfs and an empty
# disk with a file system. Prints the directory that holds vmlinuz, initrd, data.raw and data.qcow2. It is kept in the cache and built only once for
# each version of its parts.
# usage: image.sh CACHE_DIR
set -euo pipefail
shopt -s nullglob
here=$(cd "$(dirname "$0")" && pwd)
cache=$1
mkdir -p "$cache"

kernels=("$cache"/kernel-*/boot/vmlinuz-*)
if [ ${#kernels[@]} -eq 0 ]; then
  echo "downloading a kernel for the guests" >&2
  work=$(mktemp -d "$cache/.kernel.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  first_dependency() { apt-cache depends --no-recommends --no-suggests "$1" 2>/dev/null | sed -n 's/^ *|\?Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1; }
  package=$(first_dependency linux-image-cloud-amd64)
  [ -n "$package" ] || package=$(first_dependency linux-image-virtual)
  [ -n "$package" ] || { echo "apt knows neither linux-image-cloud-amd64 nor linux-image-virtual: run apt-get update first" >&2; exit 1; }
  packages=("$package")
  modules=${package/linux-image-/linux-modules-}
  if apt-cache show "$modules" >/dev/null 2>&1; then packages+=("$modules"); fi
  (cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "${packages[@]}" >&2)
  for archive in "$work"/*.deb; do dpkg-deb -x "$archive" "$work/root"; done
  mv -T "$work/root" "$cache/kernel-$package" 2>/dev/null || true
  rm -rf "$work"
  trap - EXIT
  kernels=("$cache"/kernel-*/boot/vmlinuz-*)
fi
kernel=${kernels[-1]}
release=${kernel##*/vmlinuz-}
root=${kernel%/boot/*}

version_of() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo none; }
recipe=$(cat "$here/image.sh" "$here/guest-init.sh" | sha256sum | cut -c1-8)
key="$release-busybox_$(version_of busybox-static)-agent_$(version_of qemu-guest-agent)-$recipe"
key=${key//[^A-Za-z0-9._+-]/_}
image="$cache/image-$key"
if [ -e "$image/initrd" ]; then echo "$image"; exit 0; fi

echo "building the guests' initramfs" >&2
work=$(mktemp -d "$cache/.image.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree="$work/tree"
mkdir -p "$tree"/{bin,sbin,etc,modules,lib64} "$work/out"

cp /bin/busybox "$tree/bin/busybox"
ln -s busybox "$tree/bin/sh"
cp "$here/guest-init.sh" "$tree/init"
chmod 755 "$tree/init"
cat > "$tree/sbin/shutdown" <<'END'
#!/bin/sh
# qemu-ga calls: shutdown -h|-r|-H -P +0
sync
umount /data 2>/dev/null
case "$1" in -r) exec reboot -f ;; *) exec poweroff -f ;; esac
END
chmod 755 "$tree/sbin/shutdown"
echo 'root:x:0:0:root:/:/bin/sh' > "$tree/etc/passwd"

agent=$(command -v qemu-ga)
cp "$agent" "$tree/bin/qemu-ga"
ldd "$agent" | grep -o '/[^ ]*' | while read -r library; do
  mkdir -p "$tree$(dirname "$library")"
  cp -L "$library" "$tree$library"
done

wanted='virtio virtio_ring virtio_pci virtio_pci_modern_dev virtio_pci_legacy_dev virtio_blk virtio_net virtio_balloon virtio_console
virtio_rng net_failover failover button evdev ext4 jbd2 mbcache crc16 crc32c_generic libcrc32c'
modules_dir="$root/lib/modules/$release"
[ -d "$modules_dir" ] || modules_dir="$root/usr/lib/modules/$release"
for name in $wanted; do
  found=$(find "$modules_dir" \( -name "$name.ko*" -o -name "${name//_/-}.ko*" \) -print -quit)
  case "$found" in
    *.ko) cp "$found" "$tree/modules/" ;;
    *.ko.xz) xz -dc "$found" > "$tree/modules/$name.ko" ;;
    *.ko.zst) zstd -qdc "$found" > "$tree/modules/$name.ko" ;;
    *.ko.gz) gzip -dc "$found" > "$tree/modules/$name.ko" ;;
  esac
done

(cd "$tree" && find . | cpio --quiet -o -H newc | gzip -6) > "$work/out/initrd"
cp "$kernel" "$work/out/vmlinuz"
truncate -s 32M "$work/out/data.raw"
mkfs.ext4 -q -F -L data -O ^metadata_csum,^has_journal "$work/out/data.raw"
qemu-img convert -f raw -O qcow2 "$work/out/data.raw" "$work/out/data.qcow2"
chmod -R a+rX "$work/out"
mv -T "$work/out" "$image" 2>/dev/null || [ -e "$image/initrd" ]
echo "$image"
