#!/bin/sh
# Every foreign client x every foreign server x the corpus, through mf-smtp-server and mf-smtp-client as real
# processes on loopback; run.sh --help lists the options. Needs root (to install, and to start Postfix).
# CONFIG=Debug takes another build; MFRELAY_BIN=DIR takes the programs of a package.
set -eu
[ "$(id -u)" = 0 ] || { echo "run.sh: needs root" >&2; exit 2; }
cd "$(dirname "$0")"
./install.sh
exec /usr/bin/python3 -B run.py "$@"
