#!/bin/sh
# Becomes process 1 of a container engine's machine: a Debian of its own with mounts and processes of its own, in the
# network of whoever starts it. Everything in it ends with this process. Run by tests/compose/machine.py, as
#   unshare --mount --pid --fork --kill-child sh enter.sh ROOT SHARED COMMAND...
# ROOT is the Debian, SHARED a directory that is under /lab inside.
set -eu
root=$1
shared=$2
shift 2
mount --make-rprivate /
# A mount point of its own, or the engine could not remount what it takes for its root.
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/run/lock" "$root/lab"
mount --bind "$shared" "$root/lab"
# Not chroot: who joins the mounts of a process, as `exec` in a container does, would come out above it.
cd "$root"
mkdir -p .outside
pivot_root . .outside
umount -l /.outside
exec tini -g -- "$@"
