#!/bin/sh
# Makes the keys and ids that were sealed away from the template of this machine.
#
# Whatever exists already is kept, so that it can be run again at any time; it needs no network.
# What fails is tried again at the next boot: only a complete run writes the mark.
set -u
umask 077
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
DEBIAN_FRONTEND=noninteractive
# A name server that cannot be reached yet must not hold up the boot.
RES_OPTIONS='timeout:1 attempts:1'
export PATH LC_ALL DEBIAN_FRONTEND RES_OPTIONS
mark=/var/lib/stampo/firstboot.done
failed=''

run() {
    if ! "$1"; then
        echo "stampo: $1 failed" >&2
        failed="$failed $1"
    fi
}

# A file that an interrupted run left empty counts as missing.
present() {
    [ -s "$1" ] && return 0
    rm -f "$1"
    return 1
}
