# Runs an engine's daemon where what it mounts and how it changes the network concerns nobody else.
#
#   unshare --mount --net sh isolate.sh DIRECTORY COMMAND...
#
# The cgroup libraries of some engines give up where a controller that /proc/PID/cgroup lists has no mount:
# what an earlier program has left unmounted is mounted below DIRECTORY, in this mount namespace only.
set -eu
directory=$1
shift
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$directory/run"
for kept in systemd dbus; do
    if [ -d "/run/$kept" ]; then
        mkdir "$directory/run/$kept"
        mount --rbind "/run/$kept" "$directory/run/$kept"
    fi
done
mount -n --move "$directory/run" /run
/bin/busybox ip link set lo up
for controllers in $(sed -n 's/^[1-9][0-9]*:\([a-z_,]*\):.*/\1/p' /proc/self/cgroup); do
    if ! grep -q " - cgroup .*[ ,]$controllers\(,\|\$\)" /proc/self/mountinfo; then
        mkdir -p "$directory/cgroup/$controllers"
        mount -t cgroup -o "$controllers" cgroup "$directory/cgroup/$controllers"
    fi
done
exec "$@"
