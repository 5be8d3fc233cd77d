#!/bin/bash
# The first process of a node's boot, in mount, pid, uts and network namespaces of its own: makes
# the machine's view of the file system, says so, and collects the orphans. Its death ends
# everything on the node.
#   init.sh NODE DIRECTORY TANDEM
set -eu
node=$1 dir=$2 tandem=$3
read -r pid _ </proc/self/stat # as the lab sees it: /proc is still the lab's

# Copies of other nodes' namespaces must not outlive those nodes here.
mount --make-rprivate /
umount -l /run/netns

# A fresh /run: what is in it is lost with the power. The lab's own things move into it, because
# they may lie in a directory that is covered below.
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir -p /mnt/lab/dir /mnt/lab/etc /mnt/lab/proc /mnt/tandem
mount --bind "$dir" /mnt/lab/dir
touch /mnt/lab/tandem
mount --bind "$tandem" /mnt/lab/tandem
mount --bind /proc /mnt/lab/proc
mount --rbind /etc /mnt/lab/etc
mount -n --move /mnt /run

# /etc and /var/lib as on the lab's machine, but for tandem's own directories.
mount -t tmpfs -o mode=755 tmpfs /etc
ln -s /run/lab/etc/* /etc/
rm -f /etc/tandem
mkdir /etc/tandem
mount --bind /run/lab/dir/etc /etc/tandem
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir /var/lib/tandem
mount --bind /run/lab/dir/state /var/lib/tandem

mount -t proc proc /proc
mount --bind /run/lab/dir/boot_id /proc/sys/kernel/random/boot_id
echo "$node" >/proc/sys/kernel/hostname

# The SMBIOS UUID, if the machine shall have one.
if [[ -e /run/lab/dir/product_uuid ]]; then
  mount -t tmpfs -o mode=755 tmpfs /sys/class
  mkdir -p /sys/class/dmi/id
  cp /run/lab/dir/product_uuid /sys/class/dmi/id/product_uuid
fi

echo "$pid" >/run/lab/dir/init.pid.new
mv /run/lab/dir/init.pid.new /run/lab/dir/init.pid
while :; do
  sleep 1000 &
  wait $!
done
