#!/bin/busybox sh
# The whole user space of a kernel test: `cargo xtask vm` puts this file, busybox, the modules and the test program into an initramfs.
# Its last words are "init: success" or "init: failure"; a guest that ends without them has failed.

export PATH=/bin
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs trace /sys/kernel/tracing
mount -t securityfs security /sys/kernel/security

exec < /dev/console > /dev/console 2>&1

for module in /modules/*.ko; do
    insmod "$module" || echo "init: cannot load $module"
done
ip link set lo up
# Aya charges maps to this limit on kernels that still count that way.
ulimit -l unlimited

echo "init: kernel $(uname -r), security modules $(cat /sys/kernel/security/lsm)"
if sh /run-tests; then
    verdict=success
else
    verdict=failure
    echo "init: the kernel's log"
    dmesg | tail -n 100
fi
# The verdict has a line of its own, whatever was printed last.
echo
echo "init: $verdict"
poweroff -f
