#!/bin/sh
# Boots systemd as process 1 of a machine of its own, in the network of whoever starts it. Run by tests/compose/booted.py:
#   sh boot.sh CGROUP ROOT SHARED STATE
# CGROUP is an empty directory in the cgroup2 hierarchy, ROOT a Debian with systemd, which stays as it is, SHARED a
# directory that is under /lab inside, STATE an empty one for what is mounted here.
set -eu
if [ "${1#/}" != "$1" ]; then
    echo $$ >"$1/cgroup.procs"
    shift
    exec unshare --mount --pid --cgroup --fork --kill-child sh "$0" inside "$@"
fi
root=$2
shared=$3
state=$4
mount --make-rprivate /
# What is installed here is gone with it.
mount -t tmpfs -o mode=755 tmpfs "$state"
mkdir "$state/upper" "$state/work" "$state/root"
mount -t overlay -o "lowerdir=$root,upperdir=$state/upper,workdir=$state/work" overlay "$state/root"
cd "$state/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
# One hierarchy, whatever the host has; its root is CGROUP.
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir -p lab .outside
mount --bind "$shared" lab
pivot_root . .outside
umount -l /.outside
exec env -i container=hegemon-lab PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no \
    </dev/null >/lab/systemd.log 2>&1
