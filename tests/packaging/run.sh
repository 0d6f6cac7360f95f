#!/usr/bin/env bash
# Builds the packages and looks into them as a system administrator and a distribution would; the deb is installed and run under a real
# systemd by tests/system. Needs root and Debian's apt. Last line: "N passed, N failed".
#
#   tests/packaging/run.sh [--keep DIR]     leaves the packages there
set -uo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C.UTF-8 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_CLI_UI_LANGUAGE=en NO_COLOR=1 DEBIAN_FRONTEND=noninteractive
keep=''
[[ ${1:-} == --keep ]] && keep=$(realpath -m "$2")
work=$(mktemp -d)
trap 'umount "$work/machine/proc" 2>/dev/null; rm -rf "$work"' EXIT
passed=0 failed=0

# check SENTENCE COMMAND...: what the command prints is shown when it fails.
check() {
    local name=$1 start=$SECONDS
    shift
    if "$@" >"$work/log" 2>&1 </dev/null; then
        passed=$((passed + 1))
        echo "ok     $name ($((SECONDS - start)) s)"
    else
        failed=$((failed + 1))
        echo "FAILED $name ($((SECONDS - start)) s)"
        tail -n 40 "$work/log"
        return 1
    fi
}

tools() {
    local missing=() pair
    for pair in gcc:gcc dpkg-deb:dpkg lintian:lintian rpmbuild:rpm rpmlint:rpmlint xz:xz-utils groff:groff man:man-db zsh:zsh fish:fish; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    [[ -x /bin/busybox ]] || missing+=(busybox-static)
    ((${#missing[@]} == 0)) || { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; }
}

# Other circumstances, same sources: the packages must not tell.
build() { packaging/build.sh deb rpm tar x64 --fast --output "$work/a" && { [[ ! $keep ]] || { mkdir -p "$keep" && cp "$work"/a/* "$keep/"; }; }; }
build_again() {
    mkdir -p "$work/elsewhere" && umask 077
    TMPDIR=$work/elsewhere TZ=Asia/Tokyo LC_ALL=C LANG=C packaging/build.sh deb rpm tar x64 --fast --output "$work/b"
}
same_bytes() {
    local file
    for file in "$work"/a/*; do
        cmp "$file" "$work/b/${file##*/}" || return 1
    done
}

deb_tree() { dpkg-deb -x "$work"/a/*.deb "$work/deb"; }
# The control file and the scripts, on the package alone.
conffile_is_declared() { [[ $(dpkg-deb --info "$work"/a/*.deb conffiles) == /etc/mfrelay/mfrelay.toml ]]; }
scripts_parse() {
    local script
    for script in postinst prerm postrm; do
        dpkg-deb --info "$work"/a/*.deb $script | tee "$work/$script" | sh -n && ! grep @ "$work/$script" || return 1
    done
}
scripts_name_units() {
    local unit script
    for unit in mfrelay.target mf-smtp-server.service mf-smtp-client.service; do
        for script in postinst prerm postrm; do
            [[ $unit == *.target && $script != postinst ]] || grep -q "$unit" "$work/$script" || { echo "$script: no $unit" && return 1; }
        done
    done
    rpm -qp --scripts "$work"/a/*.rpm | grep 'systemctl --no-reload preset .*mfrelay.target'
}
does_not_claim_to_be_an_mta() { ! dpkg-deb --field "$work"/a/*.deb Provides Conflicts Replaces | grep . && [[ ! -e $work/deb/usr/sbin/sendmail ]]; }
config_is_the_sample() { cmp packaging/mfrelay.toml "$work/deb/etc/mfrelay/mfrelay.toml"; }
no_debris() { ! find "$work/deb" "$work/tar" -name '*.pdb' -o -name '*.xml' -o -path '*/lib/mfrelay/*/*' | grep .; }
every_unit_is_there() {
    local unit script
    for unit in systemd/*.*; do
        cmp "$unit" "$work/deb/usr/lib/systemd/system/${unit##*/}" || return 1
    done
}
all_that_is_referenced() { dotnet run tests/packaging/closure.cs -- "$work/deb/usr/lib/mfrelay" mfrelay; }
# What the packages say of the C library they need is what the programs need: the newest version of its that they name.
c_library_is_named() {
    local newest wanted
    wanted=$(dpkg-deb --field "$work"/a/*.deb Depends | sed -nE 's/.*libc6 \(>= ([0-9.]+)\).*/\1/p')
    newest=$(objdump -T "$work"/deb/usr/lib/mfrelay/{mf*[a-z],*.so} 2>/dev/null | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
    echo "$newest, libc6 $wanted" && [[ $newest == "GLIBC_$wanted" ]] && rpm -qp --requires "$work"/a/*.rpm | grep -x "glibc >= $wanted"
}
lintian_errors() { lintian --allow-root --fail-on error "$work"/a/*.deb; }
rpmlint_errors() { rpmlint -r packaging/rpm/rpmlintrc "$work"/a/*.rpm; }

manual_is_clean() {
    local page output
    for page in packaging/man/*.[1-8]; do
        output=$(groff -man -ww -z -Tutf8 "$page" 2>&1) && [[ -z $output ]] || { echo "$page: $output" && return 1; }
        man -l --warnings=w "$page" | head -n 5 || return 1
    done
}

# With nothing of the machine but its C library: no dotnet, no environment.
tar_tree() { mkdir -p "$work/tar" && tar -C "$work/tar" --strip-components 1 -xf "$work"/a/*.tar.xz; }
tar_runs() { env -i HOME="$work" PATH=/usr/bin:/bin timeout 60 "$work/tar/usr/bin/mfrelay" demo --once --port 2598; }
daemons_run() {
    local name
    for name in mf-smtp-server mf-smtp-client; do
        [[ $(env -i "$work/tar/usr/sbin/$name" --version) == "$name "* ]] || return 1
    done
}

# What is in the package for monitoring. promtool out of Debian's package, without installing a Prometheus.
monitoring_is_good() {
    local doc=$work/deb/usr/share/doc/mfrelay promtool
    python3 -m json.tool "$doc/grafana-dashboard.json" >/dev/null || return 1
    promtool=$(command -v promtool) || {
        (cd "$work" && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb "$work/prometheus") || return 1
        promtool=$work/prometheus/usr/bin/promtool
    }
    "$promtool" check rules "$doc/prometheus-alerts.yml"
}

bash_completes() {
    PATH=$work/deb/usr/bin:$PATH bash -c '
        . "$0"
        COMP_LINE="mfrelay queue fl" COMP_POINT=16 COMP_WORDS=(mfrelay queue fl) COMP_CWORD=2
        _mfrelay mfrelay fl queue; echo "${COMPREPLY[*]}"; [[ ${COMPREPLY[*]} == flush ]]' "$work/deb/usr/share/bash-completion/completions/mfrelay"
}
zsh_completes() {
    PATH=$work/deb/usr/bin:$PATH zsh -fc '
        compadd() { shift; print -- ${(P)1} }
        words=(mfrelay queue flu) CURRENT=3 PREFIX=flu
        [[ $(source $1) == flush ]]' zsh "$work/deb/usr/share/zsh/vendor-completions/_mfrelay"
}
fish_completes() {
    [[ $(PATH=$work/deb/usr/bin:$PATH HOME=$work fish --no-config -c "source $work/deb/usr/share/fish/vendor_completions.d/mfrelay.fish; complete -C 'mfrelay queue flu'") == flush ]]
}

# A root with a shell, a C library and OpenSSL, and nothing else.
machine=$work/machine
make_machine() {
    local file
    mkdir -p "$machine"/{bin,proc,dev,tmp,etc} || return 1
    cp /bin/busybox "$machine/bin/" && "$machine/bin/busybox" --install -s "$machine/bin" || return 1
    ln -sf busybox "$machine/bin/sh"
    { ldd "$work"/deb/usr/lib/mfrelay/{mfrelay,*.so}; ldconfig -p | sed -nE 's|.*(/[^ ]*/lib(ssl\|crypto)\.so\.3)$|\1|p' | sort -u | xargs ldd; ldconfig -p; } \
        | grep -oE '/[^ ]*/(ld-linux[^ ]*|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|ssl|crypto|z|zstd)\.so\.[0-9]+)' | sort -u | while read -r file; do
            mkdir -p "$machine$(dirname "$file")" && cp -L "$file" "$machine$file"
        done
    mknod -m 666 "$machine/dev/null" c 1 3 && mknod -m 666 "$machine/dev/urandom" c 1 9 && mount -t proc proc "$machine/proc"
}
# The root has no rpm database of its own to know a C library by.
rpm_installs() { rpm --root "$machine" --initdb && rpm --root "$machine" -i --nodeps "$work"/a/*.rpm; }
rpm_verifies() { local output; output=$(rpm --root "$machine" -V --nodeps mfrelay) && [[ -z $output ]] || { echo "$output" && return 1; }; }
rpm_runs() {
    [[ $(env -i /usr/sbin/chroot "$machine" /usr/bin/mfrelay version) == "mfrelay "* ]] && chroot "$machine" /usr/bin/mfrelay config check &&
        chroot "$machine" /usr/sbin/mf-smtp-server --version && chroot "$machine" /usr/sbin/mf-smtp-client --version
}
rpm_sees_a_change() {
    local output
    echo >>"$machine/usr/lib/mfrelay/mfrelay.runtimeconfig.json"
    output=$(rpm --root "$machine" -V --nodeps mfrelay)
    echo "$output" && [[ $output == S.5*/mfrelay.runtimeconfig.json ]]
}
# A changed config and the queue are there from here on.
rpm_upgrades() {
    echo '# mine' >>"$machine/etc/mfrelay/mfrelay.toml"
    mkdir -p "$machine/var/lib/mfrelay/queue" && : >"$machine/var/lib/mfrelay/queue/mail" || return 1
    packaging/build.sh rpm x64 --fast --version 99.1 --programs "$work/deb/usr/lib/mfrelay" --output "$work/newer" || return 1
    rpm --root "$machine" -U --nodeps "$work"/newer/*.rpm || return 1
    [[ $(env -i /usr/sbin/chroot "$machine" /usr/bin/mfrelay version) == "mfrelay "* ]] || return 1
    [[ $(rpm --root "$machine" -q mfrelay) == mfrelay-99.1-1.x86_64 && -e $machine/var/lib/mfrelay/queue/mail ]] && grep -q '# mine' "$machine/etc/mfrelay/mfrelay.toml"
}
rpm_keeps_the_config() {
    rpm --root "$machine" -e mfrelay && grep -q '# mine' "$machine/etc/mfrelay/mfrelay.toml.rpmsave" && [[ -d $machine/var/lib/mfrelay/queue && ! -e $machine/usr/lib/mfrelay ]]
}

check 'the tools are here' tools
if check 'deb, rpm and tar are built' build; then
    check 'the deb can be unpacked' deb_tree
    check 'the tar can be unpacked' tar_tree
    check 'its config is a conffile' conffile_is_declared
    check 'its scripts are shell scripts, with nothing left to fill in' scripts_parse
    check 'they and those of the rpm name the units' scripts_name_units
    check 'it stands beside an MTA' does_not_claim_to_be_an_mta
    check 'its config is packaging/mfrelay.toml' config_is_the_sample
    check 'no symbols and documentation files are in it' no_debris
    check 'every unit is in it' every_unit_is_there
    check 'every assembly that is referenced is in it' all_that_is_referenced
    check 'the C library it asks for is the one it needs' c_library_is_named
    check 'lintian finds no error' lintian_errors
    check 'rpmlint finds no error' rpmlint_errors
    check 'groff and man have no warning' manual_is_clean
    check 'its alert rules and its dashboard can be read' monitoring_is_good
    check 'a message goes through what the tar has in it' tar_runs
    check 'both daemons of the tar start' daemons_run
    check 'bash completes' bash_completes
    check 'zsh completes' zsh_completes
    check 'fish completes' fish_completes
    if check 'a root for the rpm is made' make_machine && check 'the rpm is installed in it' rpm_installs; then
        check 'rpm -V finds all as it was packed' rpm_verifies
        check 'the command runs there' rpm_runs
        check 'rpm -V finds a changed file' rpm_sees_a_change
        check 'an upgrade keeps a changed config and the queue' rpm_upgrades
        check 'removing it keeps a changed config and the queue' rpm_keeps_the_config
    fi
    check 'built again, in other circumstances' build_again && check 'all three packages have the same bytes again' same_bytes
fi

echo "$passed passed, $failed failed"
((failed == 0))
