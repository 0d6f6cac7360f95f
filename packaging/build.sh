#!/usr/bin/env bash
# Makes packages of mfrelay, self-contained: the daemons as machine code, the command with the .NET runtime. Same sources, same bytes.
#
#   packaging/build.sh [deb] [rpm] [tar] [x64|arm64] [--output DIR] [--version VERSION] [--programs DIR] [--fast]
#
# Without words: a deb for this machine, in packaging/out. --programs takes them as they were built (usr/lib/mfrelay of a package) instead of
# the minutes that compiling takes: for other formats and other scripts. --fast compresses little: for tests. Needs the .NET SDK, gcc or clang as the
# linker (for another architecture clang, lld and its C library, see below), and dpkg-deb or rpmbuild for what is asked for. Built from the
# files that git knows (as they are now), dated by the last commit; without git SOURCE_DATE_EPOCH must be set. MAINTAINER="Name <address>"
# goes into the packages.
set -euo pipefail
umask 022
export LC_ALL=C.UTF-8 TZ=UTC DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_CLI_UI_LANGUAGE=en MSBUILDDISABLENODEREUSE=1
tree=$(cd "$(dirname "$0")/.." && pwd)

die() {
    echo "build.sh: $*" >&2
    exit 1
}

formats=() arch='' output=$tree/packaging/out version='' programs='' level=6
while (($#)); do
    case $1 in
        deb | rpm | tar) formats+=("$1") ;;
        x64 | arm64) arch=$1 ;;
        --output) output=${2:?a directory} && shift ;;
        --version) version=${2:?a version} && shift ;;
        --programs) programs=$(realpath -e "${2:?a directory}") && shift ;;
        --fast) level=0 ;;
        -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0" && exit ;;
        *) die "unknown word: $1; --help lists them" ;;
    esac
    shift
done
((${#formats[@]})) || formats=(deb)
case ${arch:=$(uname -m)} in
    x86_64 | x64) arch=x64 deb_arch=amd64 rpm_arch=x86_64 cross=x86_64-linux-gnu ;;
    aarch64 | arm64) arch=arm64 deb_arch=arm64 rpm_arch=aarch64 cross=aarch64-linux-gnu ;;
    *) die "no packages for $arch" ;;
esac
: "${version:=$(sed -nE 's|.*<Version>(.*)</Version>.*|\1|p' "$tree/Directory.Build.props")}"
: "${SOURCE_DATE_EPOCH:=$(git -C "$tree" log -1 --format=%ct 2>/dev/null)}"
[[ $SOURCE_DATE_EPOCH ]] || die 'not a git checkout: set SOURCE_DATE_EPOCH'
: "${MAINTAINER:=the mfrelay developers <mfrelay@example.org>}"
export SOURCE_DATE_EPOCH
mkdir -p "$output"
output=$(cd "$output" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
source=$work/source root=$work/root lib=$work/root/usr/lib/mfrelay

# The sources without lock files: those know no runtime identifier, and a restore for one would refuse them (NU1005). The versions are
# pinned all the same, those of indirect packages too, by Directory.Packages.props.
copy_sources() {
    mkdir "$source"
    if git -C "$tree" rev-parse --git-dir >/dev/null 2>&1; then
        git -C "$tree" ls-files -z -- src packaging systemd '*.props' '*.json' .editorconfig LICENSE README.md
    else
        (cd "$tree" && find src packaging systemd ./*.props ./*.json .editorconfig LICENSE README.md -type f \
            -not -path '*/bin/*' -not -path '*/obj/*' -not -path 'packaging/out/*' -print0)
    fi | tar -C "$tree" --exclude=packages.lock.json --null --files-from=- -c | tar -C "$source" -x
}

# The daemons as machine code: they run for months, and nothing has to be compiled while they do. The command brings the runtime.
publish() {
    local name pid pids=() failed=''
    for name in cli server client; do
        publish_one $name &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    [[ ! $failed ]] || die 'the programs could not be built'
    mkdir -p "$lib"
    cp "$work"/cli/* "$work/server/mf-smtp-server" "$work/client/mf-smtp-client" "$lib/"
}

# Each from sources of its own, so that they do not wait for each other.
publish_one() { # cli|server|client
    local from=$work/source-$1 linker=clang options=()
    cp -r "$source" "$from"
    command -v gcc >/dev/null && linker=gcc
    if [[ $1 == cli ]]; then
        options=(-p:PublishReadyToRun=true)
    elif [[ $(uname -m)/$arch == @(x86_64/x64|aarch64/arm64) ]]; then
        options=(-p:PublishAot=true -p:StripSymbols=true "-p:CppCompilerAndLinker=$linker")
    else # Debian: clang lld crossbuild-essential-arm64 (-amd64)
        options=(-p:PublishAot=true -p:StripSymbols=true -p:CppCompilerAndLinker=clang -p:LinkerFlavor=lld "-p:ObjCopyName=$cross-objcopy")
    fi
    (cd "$from" && dotnet publish "src/Mfrelay.${1^}" "${options[@]}" -r "linux-$arch" -c Release -v quiet -p:SelfContained=true -p:DebugType=none \
        -p:RestorePackagesWithLockFile=false -p:RunAnalyzers=false -p:EnforceCodeStyleInBuild=false -p:GenerateDocumentationFile=false \
        -p:ContinuousIntegrationBuild=true "-p:PathMap=$from=/src" "-p:Version=$version" -p:NuGetAudit=false \
        "-p:CustomAfterMicrosoftCommonTargets=$from/packaging/publish.targets" -o "$work/$1")
}

# Where NuGet has put the runtime that was published.
runtime_pack() {
    local name=microsoft.netcore.app.runtime.linux-$arch version packages
    packages=$(dotnet nuget locals global-packages --list | sed 's/^[^:]*: *//')
    version=$(sed -nE "s|.*\"runtimepack\.$name/([0-9.]+)\".*|\1|Ip" "$lib/mfrelay.deps.json" | head -n 1)
    echo "${packages%/}/$name/$version"
}

publish_checks() {
    local name
    for name in mfrelay mf-smtp-server mf-smtp-client; do
        [[ -x $lib/$name ]] || die "$name was not published"
    done
    # What is in the package is in its list of licences.
    sed -nE 's|^ *"([A-Za-z.]+)/[0-9.]+": \{$|\1|p' "$lib"/*.deps.json "$work"/source-*/src/*/bin/Release/net10.0/linux-*/mf-smtp-*.deps.json | sort -u | while read -r name; do
        case $name in Mfrelay.Core | mfrelay | mf-smtp-* | Microsoft.* | System.* | runtimepack.*) continue ;; esac
        grep -qw -- "$name" "$source/packaging/copyright" || die "packaging/copyright does not name $name"
    done
}

install_tree() {
    local unit page name
    mkdir -p "$root"/usr/{bin,sbin} "$root"/etc/mfrelay/conf.d "$root"/usr/lib/{systemd/system,sysusers.d,tmpfiles.d} \
        "$root"/usr/share/{doc/mfrelay,bash-completion/completions,zsh/site-functions,fish/vendor_completions.d}
    ln -s ../lib/mfrelay/mfrelay "$root/usr/bin/mfrelay"
    ln -s ../lib/mfrelay/mf-smtp-server "$root/usr/sbin/mf-smtp-server"
    ln -s ../lib/mfrelay/mf-smtp-client "$root/usr/sbin/mf-smtp-client"
    cp "$source/packaging/mfrelay.toml" "$root/etc/mfrelay/"
    for unit in "$source"/systemd/*.{service,socket,target,timer}; do
        [[ ! -e $unit ]] || cp "$unit" "$root/usr/lib/systemd/system/"
    done
    cp "$source/packaging/sysusers.conf" "$root/usr/lib/sysusers.d/mfrelay.conf"
    cp "$source/packaging/tmpfiles.conf" "$root/usr/lib/tmpfiles.d/mfrelay.conf"
    for page in "$source"/packaging/man/*.[1-8]; do
        mkdir -p "$root/usr/share/man/man${page##*.}"
        gzip -9nc "$page" >"$root/usr/share/man/man${page##*.}/${page##*/}.gz"
    done
    cp "$source/packaging/completions/mfrelay.bash" "$root/usr/share/bash-completion/completions/mfrelay"
    cp "$source/packaging/completions/mfrelay.zsh" "$root/usr/share/zsh/site-functions/_mfrelay"
    cp "$source/packaging/completions/mfrelay.fish" "$root/usr/share/fish/vendor_completions.d/mfrelay.fish"
    cp "$source/README.md" "$source"/packaging/{copyright,LICENSE.Apache-2.0,prometheus-alerts.yml,grafana-dashboard.json} "$root/usr/share/doc/mfrelay/"
    cp "$(runtime_pack)/THIRD-PARTY-NOTICES.TXT" "$root/usr/share/doc/mfrelay/THIRD-PARTY-NOTICES"
    find "$root" -type d -exec chmod 755 {} +
    find "$root" -type f -exec chmod 644 {} +
    chmod 755 "$lib"/{mfrelay,mf-smtp-server,mf-smtp-client}
    [[ ! -e $lib/createdump ]] || chmod 755 "$lib/createdump"
    find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

# Units of the tree with this suffix ("*" is every one); with a pattern: those that have it in them.
units() { (cd "$source/systemd" && grep -lE "${2:-^}" -- *.$1 2>/dev/null || true) | sort | tr '\n' ' '; }

# A file with its @WORDS@ filled in.
fill() {
    sed -e "s/@VERSION@/$version/g" -e "s/@ARCH@/$deb_arch/g" -e "s/@MAINTAINER@/$MAINTAINER/g" -e "s|@ROOT@|$root|g" \
        -e "s/@DATE@/$(date -u -d "@$SOURCE_DATE_EPOCH" "+${3:-%a, %d %b %Y %H:%M:%S +0000}")/g" -e "s/@SIZE@/$kilobytes/g" \
        -e "s/@ENABLED_UNITS@/$enabled_units/g" -e "s/@UNITS@/$all_units/g" -e "s/@SERVICES@/$services/g" "$1" >"$2"
}

build_deb() {
    local deb=$work/deb file=$output/mfrelay_${version}_$deb_arch.deb script
    cp -a "$root" "$deb"
    rm "$deb/usr/share/doc/mfrelay/LICENSE.Apache-2.0" # the system has it
    # Debian's zsh looks here for what packages bring, and for its own in site-functions.
    mv "$deb/usr/share/zsh/site-functions" "$deb/usr/share/zsh/vendor-completions"
    mkdir -p "$deb/DEBIAN" "$deb/usr/share/lintian/overrides"
    cp "$source/packaging/deb/lintian-overrides" "$deb/usr/share/lintian/overrides/mfrelay"
    fill "$source/packaging/deb/changelog.in" "$work/changelog"
    gzip -9nc "$work/changelog" >"$deb/usr/share/doc/mfrelay/changelog.gz"
    sed '/^#/d' "$source/packaging/deb/control.in" >"$work/control"
    fill "$work/control" "$deb/DEBIAN/control"
    echo /etc/mfrelay/mfrelay.toml >"$deb/DEBIAN/conffiles"
    for script in postinst prerm postrm; do
        fill "$source/packaging/deb/$script.in" "$deb/DEBIAN/$script"
        chmod 755 "$deb/DEBIAN/$script"
    done
    (cd "$deb" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) >"$deb/DEBIAN/md5sums"
    chmod 644 "$deb"/DEBIAN/{control,conffiles,md5sums} "$deb/usr/share/lintian/overrides/mfrelay" "$deb/usr/share/doc/mfrelay/changelog.gz"
    find "$deb" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    dpkg-deb --root-owner-group -Zxz "-z$level" --build "$deb" "$file" >/dev/null
    echo "$file"
}

build_rpm() {
    local top=$work/rpm
    mkdir -p "$top"
    fill "$source/packaging/rpm/mfrelay.spec.in" "$top/mfrelay.spec" '%a %b %d %Y'
    rpmbuild -bb --quiet --target "$rpm_arch-linux" --define "_topdir $top" --define "_binary_payload w$level.xzdio" --define "_rpmdir $output" --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
        "$top/mfrelay.spec" >"$top/log" 2>&1 || { cat "$top/log" >&2 && die 'rpmbuild failed'; }
    echo "$output/mfrelay-$version-1.$rpm_arch.rpm"
}

# For other systems: the same tree under one directory; "tar -C / --strip-components=1" installs it.
build_tar() {
    local name=mfrelay-$version-linux-$arch
    tar -C "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=gnu --transform="s|^\.|$name|RSh" -c . \
        | xz "-$level" -T 2 >"$output/$name.tar.xz"
    echo "$output/$name.tar.xz"
}

copy_sources
if [[ $programs ]]; then
    mkdir -p "$lib"
    cp "$programs"/* "$lib/"
else
    publish
    publish_checks
fi
install_tree
kilobytes=$(find "$root" -type f -printf '%s\n' | awk '{ sum += int(($1 + 1023) / 1024) } END { print sum }')
enabled_units=$(units '*' '^\[Install\]') all_units=$(units '*') services=$(units service)
for format in "${formats[@]}"; do
    "build_$format"
done
