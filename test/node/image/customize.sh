#!/bin/sh
# Run by mmdebstrap in the finished root ($1): with the files beside this
# script it turns a Debian into a node that boots fast under emulation.
set -eu
root=$1
here=$(dirname "$0")

# A root without an identity would run the first-boot presets; each guest gets
# its own on the kernel command line.
echo 0123456789abcdef0123456789abcdef > "$root/etc/machine-id"
rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale"
mkdir -p "$root/opt/kube" "$root/opt/guest"
cp -a "$here/files/." "$root/"
chown -R 0:0 "$root/etc" "$root/usr/local"
chmod 0755 "$root/usr/local/sbin/guest-seed"

sd() { chroot "$root" systemctl "$@"; }
sd enable guest-seed.service guest-network.service guestd.service guest-images.service containerd.service kubelet.service kube-proxy.service
sd mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
	getty@.service serial-getty@.service systemd-pstore.service modprobe@drm.service modprobe@efi_pstore.service \
	modprobe@fuse.service modprobe@loop.service modprobe@dm_mod.service modprobe@configfs.service systemd-random-seed.service systemd-update-utmp.service
sd set-default multi-user.target

# An initrd with only what leads to the root disk: Debian's own runs udev
# twice, which costs five seconds under emulation.
release=$(basename "$root"/boot/vmlinuz-*) && release=${release#vmlinuz-}
initrd=$root/tmp/initrd
mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/root"
cp "$root/bin/busybox" "$initrd/bin/"
order=
for m in virtio_pci virtio_blk; do
	for ko in $(chroot "$root" /sbin/modprobe -S "$release" --show-depends --ignore-install "$m" | sed -n 's/^insmod //p'); do
		name=$(basename "$ko")
		[ ! -e "$initrd/$name" ] || continue
		cp "$root/$ko" "$initrd/"
		order="$order /$name"
	done
done
cat > "$initrd/init" <<INIT
#!/bin/busybox sh
b=/bin/busybox
\$b mount -t devtmpfs dev /dev
for m in $order; do \$b insmod \$m; done
i=0
until [ -b /dev/vda ] || [ \$i -gt 500 ]; do \$b usleep 20000; i=\$((i + 1)); done
\$b mount -t ext4 /dev/vda /root
\$b mount --move /dev /root/dev
exec \$b switch_root /root /lib/systemd/systemd
INIT
chmod 0755 "$initrd/init"
rm "$root"/boot/initrd.img-*
chroot "$root" sh -c 'cd /tmp/initrd && find . | cpio --quiet -o -H newc > /boot/initrd.img'
rm -r "$initrd"

# Nothing is newer than what was prepared: no hwdb, catalog or linker cache
# updates at boot.
touch "$root/etc/.updated" "$root/var/.updated"
