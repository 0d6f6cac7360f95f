#!/usr/bin/env bash
# The arm64 package on a machine of another architecture: both daemons and the command run by qemu's user mode with an arm64 C library from
# Debian, and a message goes through. Takes some minutes, so it is not part of .ci/run. Needs root, Debian's apt and port 2525 and 2526 of
# 127.0.0.77. Last line: "N passed, N failed".
set -uo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
work=$(mktemp -d) passed=0 failed=0 pids=()
root=$work/root
finish() {
    ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null
    wait
    umount "$root/proc" 2>/dev/null
    rm -rf "$work"
}
trap finish EXIT

# check SENTENCE COMMAND...: what the command prints is shown when it fails.
check() {
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1 </dev/null; then
        passed=$((passed + 1)) && echo "ok     $name"
    else
        failed=$((failed + 1)) && echo "FAILED $name" && tail -n 40 "$work/log" && return 1
    fi
}

within() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do ((SECONDS < end)) && sleep 1 || return 1; done
}

tools() {
    local missing=() pair
    for pair in clang:clang ld.lld:lld aarch64-linux-gnu-objcopy:binutils-aarch64-linux-gnu aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [[ -e /usr/aarch64-linux-gnu/include/stdio.h ]] || missing+=(libc6-dev-arm64-cross)
    ((${#missing[@]} == 0)) || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; }
}
make_root() {
    command -v mmdebstrap >/dev/null || apt-get install -y -qq --no-install-recommends mmdebstrap || return 1
    mmdebstrap --architectures=arm64 --variant=extract --include=libc6,libgcc-s1,libstdc++6,libssl3,zlib1g bookworm "$root" || return 1
    (cd "$work" && apt-get download -qq qemu-user-static && dpkg-deb --fsys-tarfile qemu-user-static_*.deb | tar -C "$root" -x ./usr/bin/qemu-aarch64-static) || return 1
    mkdir -p "$root/proc" && mount -t proc proc "$root/proc"
}
unpack() { packaging/build.sh deb arm64 --fast --output "$work/out" && dpkg-deb -x "$work"/out/*_arm64.deb "$root" && configure; }
configure() {
    cat >"$root/etc/mfrelay/mfrelay.toml" <<TOML
host_name = "relay.example"
[server]
listen = ["127.0.0.77:2525"]
recheck_interval = "1s"
[[mail_server]]
domain = "example.com"
host = "127.0.0.77"
port = 2526
when_down = "queue"
TOML
}
arm() { exec chroot "$root" /usr/bin/qemu-aarch64-static "/usr/lib/mfrelay/$1" "${@:2}"; } # always in a subshell
mfrelay() { (arm mfrelay "$@"); }
start() { # NAME
    arm "$1" >"$work/$1.log" 2>&1 &
    pids+=($!)
    within 120 grep -q INFO_c101 "$work/$1.log" || { cat "$work/$1.log" && return 1; }
}
sink() {
    mkdir "$work/mail"
    sed 's/"127\.0\.0\.1"/"127.0.0.77"/' tests/system/sink.py >"$work/sink.py"
    /usr/bin/python3 -B "$work/sink.py" 2526 "$work/mail" &
    pids+=($!)
    within 10 bash -c 'exec 3<>/dev/tcp/127.0.0.77/2526'
}
arrived() { grep -rq '^Subject: from arm64' "$work/mail"; }
stops() {
    kill -TERM "${pids[@]}"
    within 60 grep -q INFO_c102 "$work/mf-smtp-server.log" && within 60 grep -q INFO_c102 "$work/mf-smtp-client.log"
}

tests/foreign/install.sh
if check 'the tools are here' tools && check 'a root with an arm64 C library' make_root && check 'the arm64 package is built' unpack; then
    check 'the command runs' mfrelay config check
    check 'a mail server' sink
    check 'mf-smtp-server starts' start mf-smtp-server
    check 'mf-smtp-client starts' start mf-smtp-client
    check 'mail is accepted: it is on the disk' mfrelay send to@example.com --subject 'from arm64'
    check 'it arrives' within 60 arrived
    check 'the trace has it' mfrelay trace to@example.com
    check 'both end' stops
fi
echo "$passed passed, $failed failed"
((failed == 0))
