#!/bin/busybox sh
# The whole user space of a kernel test: `cargo xtask vm` puts this file, busybox, the modules, the test program and tools that we
# did not write into an initramfs.
# Its last words are "init: success" or "init: failure"; a guest that ends without them has failed.

# The tools come before busybox's programs of the same name.
export PATH=/tools/bin:/bin
# There is no udev here: dmsetup makes the nodes below /dev/mapper itself.
export DM_DISABLE_UDEV=1
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

# Controllers for the slices and units that the tests make.
echo "+cpu +memory +io +pids" > /sys/fs/cgroup/cgroup.subtree_control || echo "init: cannot switch on the cgroup controllers"

# The network: this machine, and beside it a namespace `peer` for what comes from outside.
# By path: this shell takes its own programs before those on the search path.
# configure NUMBER [NAMESPACE]
configure() {
    /tools/bin/ip ${2:+-netns "$2"} -batch - <<EOF || echo "init: cannot set up the network of ${2:-this machine}"
link set lo up
address add 10.99.0.$1/24 dev veth0
address add fd99::$1/64 dev veth0 nodad
link set veth0 up
EOF
}
/tools/bin/ip netns add peer
/tools/bin/ip link add veth0 type veth peer name veth0 netns peer
configure 1
configure 2 peer
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
