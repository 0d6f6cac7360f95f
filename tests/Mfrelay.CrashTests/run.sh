#!/bin/sh
# mfrelay-crash from its Release build, with the tools that it needs from Debian. Needs root: it mounts file systems, in a namespace of its own.
set -eu
cd "$(dirname "$0")"
export DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin"
missing=
command -v mkfs.xfs >/dev/null || missing="$missing xfsprogs"
command -v mkfs.ext4 >/dev/null || missing="$missing e2fsprogs"
command -v unshare >/dev/null || missing="$missing util-linux"
if [ -n "$missing" ]; then
    apt-get -qq install -y --no-install-recommends $missing >/dev/null 2>&1 ||
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends $missing; } >/dev/null
fi
exec bin/Release/net10.0/mfrelay-crash "$@"
