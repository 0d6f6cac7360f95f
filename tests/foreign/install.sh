#!/bin/sh
# Fetches the foreign peers from Debian: swaks, msmtp, python3-aiosmtpd, python3-flufl.bounce as packages, and Postfix, Exim and
# OpenSMTPD only unpacked into a cache folder, so that no mail service starts, port 25 stays free and no other MTA is replaced.
# Prints nothing when all is there. Safe to run again.
set -eu
cache=${MFRELAY_FOREIGN_CACHE:-/var/cache/mfrelay-foreign}
export DEBIAN_FRONTEND=noninteractive

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

apt() { apt-get -qq "$@" >"$cache/apt.log" 2>&1; }

# Package lists are only brought up to date when apt cannot do it with those it has.
apt_or_update() { apt "$@" || { apt update && apt "$@"; } || { cat "$cache/apt.log" >&2; exit 1; }; }

mkdir -p "$cache"
missing=
for package in swaks libnet-ssleay-perl msmtp openssl python3 python3-aiosmtpd python3-flufl.bounce; do
    installed "$package" || missing="$missing $package"
done
[ -z "$missing" ] || { echo "installing$missing"; apt_or_update install -y --no-install-recommends $missing; }

# unpack NAME PACKAGE PROGRAM: unless the program is there already.
unpack() {
    [ ! -x "$cache/$1/$3" ] || return 0
    echo "unpacking $2 into $cache/$1"
    rm -rf "$cache/$1" "$cache/$1.new" "$cache/deb" && mkdir "$cache/deb" && cd "$cache/deb"
    apt_or_update download "$2"
    dpkg -x "$2"_*.deb "$cache/$1.new"
    libraries=$(dpkg-deb -f "$2"_*.deb Depends | tr ',' '\n' | sed -n 's/^ *\(lib[^ ]*\).*/\1/p')
    for library in $libraries; do
        installed "$library" || { echo "installing $library"; apt_or_update install -y --no-install-recommends "$library"; }
    done
    mv "$cache/$1.new" "$cache/$1" && rm -rf "$cache/deb"
}

unpack postfix postfix usr/sbin/smtp-sink
unpack exim exim4-daemon-light usr/sbin/exim4
unpack opensmtpd opensmtpd usr/sbin/smtpd
