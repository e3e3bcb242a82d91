#!/bin/sh
# Runs a command in a network of its own with the bridge br0, and writes down every frame that passes
# there. To be run in new user, network and mount namespaces, as an ordinary user in them who has
# all capabilities; tcpdump would want to become another user than root:
#   unshare --user --map-user=1000 --map-group=1000 --keep-caps --net --mount \
#       sh on_a_bridge.sh DIRECTORY dhcp|no-dhcp COMMAND...
# The machines on the bridge have addresses from 192.0.2.10 to 192.0.2.19: their own with no-dhcp, or
# those that a server at 192.0.2.1 lends, whose leases are in DIRECTORY/leases.
# QEMU's bridge helper reads /etc/qemu/bridge.conf, so /etc is a copy with that file in it.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
dir=$1
kind=$2
shift 2
mkdir -p "$dir/etc"
cp -a /etc/. "$dir/etc/" 2>/dev/null || true
mkdir -p "$dir/etc/qemu"
echo 'allow br0' > "$dir/etc/qemu/bridge.conf"
mount --bind "$dir/etc" /etc
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
# Whole frames in hex, with their Ethernet headers, each written at once.
tcpdump -i br0 -s 0 -nn -xx -l > "$dir/frames" 2> "$dir/capture" &
capture=$!
until grep -sq '^listening' "$dir/capture"; do
    kill -0 "$capture" 2> /dev/null || { cat "$dir/capture" >&2; exit 1; }
    sleep 0.1
done
server=
if [ "$kind" = dhcp ]; then
    ip addr add 192.0.2.1/24 dev br0
    printf '%s\n' 'interface br0' 'start 192.0.2.10' 'end 192.0.2.19' "pidfile $dir/udhcpd.pid" \
        "lease_file $dir/leases" 'option subnet 255.255.255.0' 'option router 192.0.2.1' \
        'option lease 3600' > "$dir/udhcpd.conf"
    : > "$dir/leases"
    busybox udhcpd -f -a 100 "$dir/udhcpd.conf" > "$dir/udhcpd" 2>&1 &
    server=$!
fi
code=0
"$@" || code=$?
# What is still on its way: until every machine on the bridge has spoken, for a minute at most.
ports=$(ip -o link show master br0 | wc -l)
tries=60
while [ "$tries" -gt 0 ]; do
    spoke=$(grep -o '192\.0\.2\.1[0-9]' "$dir/frames" | sort -u | wc -l)
    [ "$spoke" -lt "$ports" ] || break
    tries=$((tries - 1))
    sleep 1
done
sleep 1
if [ -n "$server" ]; then
    # Writes the leases down and ends.
    kill "$server" || cat "$dir/udhcpd" >&2
    wait "$server" || true
fi
kill "$capture"
exit "$code"
