#!/usr/bin/env bash
# The package as an operator meets it: built, installed on a Debian whose PID 1 is a real systemd (box.sh), started, fed by foreign programs,
# reloaded, killed, hung, rebooted, upgraded, removed. One line for each assertion; the last line is "N passed, N failed".
#
#   tests/system/run.sh [--deb FILE|DIRECTORY]      with a package that is there already; builds one if there is none
#
# Needs root, and what box.sh and tests/foreign/install.sh fetch from Debian.
set -uo pipefail
package=
[[ ${1:-} == --deb ]] && package=$(find "$(realpath "$2")" -name 'mfrelay*.deb' 2>/dev/null | head -n 1)
cd "$(dirname "$0")"
export LC_ALL=C.UTF-8 SDB_NAME=mfrelay-$$ SDB_DIR=${TMPDIR:-/tmp}/mfrelay-box SDB_TTL=900
work=$(mktemp -d)
sinks=() passed=0 failed=0

# ---- the means ------------------------------------------------------------------------------------------------

box() { ./box.sh exec "$@" </dev/null; }
net() { ./box.sh net "$@" </dev/null; }

# ok NAME COMMAND...: an assertion; what a failed one printed is shown.
ok() {
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1; then
        passed=$((passed + 1))
        printf 'ok     %4d s  %s\n' $SECONDS "$name"
    else
        failed=$((failed + 1))
        printf 'FAILED %4d s  %s\n' $SECONDS "$name"
        sed 's/^/         | /' "$work/said" | tail -n 30
    fi
}

not() { ! "$@"; }

# within SECONDS COMMAND...: until it succeeds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

finish() {
    for sink in "${sinks[@]}"; do kill "$sink" 2>/dev/null; done
    ./box.sh down
    rm -rf "$work"
}

give_up() {
    echo "FAILED $1"
    echo "$passed passed, $((failed + 1)) failed"
    exit 1
}

sink() { # NAME PORT [OPTIONS]: a foreign mail server; its messages are in $work/NAME
    mkdir -p "$work/$1"
    ./box.sh net /usr/bin/python3 -B "$PWD/sink.py" "$2" "$work/$1" "${@:3}" </dev/null 2>>"$work/sinks.log" &
    sinks+=($!)
    within 10 net bash -c "exec 3<>/dev/tcp/127.0.0.1/$2" 2>/dev/null
}

end_sinks() {
    for sink in "${sinks[@]}"; do
        kill "$sink" 2>/dev/null
        wait "$sink" 2>/dev/null
    done
    sinks=()
}

# send TOKEN RECIPIENT: one message by swaks; what it said is in $work/swaks, the queue id on standard output.
send() {
    net swaks --server 127.0.0.1 --port 25 --timeout 20 --ehlo sender.test --from sender@example.org --to "$2" --body "$1" >"$work/swaks" 2>&1 || { cat "$work/swaks" >&2 && return 1; }
    sed -nE 's/.*queued as ([^ ]+).*/\1/p' "$work/swaks"
}

sent() { send "$@" >/dev/null; }
refused() { ! send "$2" "$3" >/dev/null 2>&1 && { grep -q "^<\*\* $1" "$work/swaks" || { cat "$work/swaks" && return 1; }; }; } # CODE TOKEN RECIPIENT
copies() { grep -rlF -- "$2" "$work/$1" 2>/dev/null | wc -l; }       # SINK TOKEN: how often it arrived
once() { (($(copies "$1" "$2") == 1)); }
arrives() { within 20 once "$@"; }

journal() { box journalctl -q -o cat --no-pager "$@"; }
logged() { [[ $(journal "$@" | tee /dev/stderr) ]]; }
logs() { within 15 logged "$@"; }
is() { [[ $(box systemctl show -P "$2" "$1") == "$3" ]]; }     # UNIT PROPERTY VALUE
says() { box systemctl show -P StatusText "$1" | tee /dev/stderr | grep -qE -- "$2"; }
pid_of() { box systemctl show -P MainPID "$1"; }
active() { is "$1" ActiveState active && is "$1" SubState running; }
restarted() { active "$1" && [[ $(pid_of "$1") != "$2" ]]; }      # SERVICE OLD-PID
config() { cat >"$(./box.sh root)/etc/mfrelay/mfrelay.toml"; }
in_file() { grep -qE -- "$2" "$(./box.sh root)$1"; }

services=(mf-smtp-server mf-smtp-client)
units=(mf-smtp-server.service mf-smtp-client.service mf-smtp-server.socket mfrelay.target)

base_config() { # MORE-OF-THE-TOP
    cat <<TOML
host_name = "relay.example"
$1
[server]
allow = ["127.0.0.0/8"]
recheck_interval = "1s"
check_timeout = "2s"
[client]
retry = ["1s"]
recheck_interval = "1s"
[[mail_server]]
domain = "example.com"
host = "127.0.0.1"
port = 2526
[[mail_server]]
domain = "down.example"
host = "127.0.0.1"
port = 2599
[[mail_server]]
domain = "refusing.example"
host = "127.0.0.1"
port = 2527
TOML
}

# ---- what is asserted -------------------------------------------------------------------------------------------

installation() {
    ok 'the package installs' ./box.sh install "$package"
    ((failed == 0)) || give_up 'without a package there is nothing to see'
    ok 'its dependencies came without the network' not grep -q 'resolving dependencies' "$work/said"
    ok 'nothing is started before the config names a mail server' not active mf-smtp-server
    local unit
    for unit in "${units[@]}"; do
        ok "$unit is enabled" box systemctl is-enabled "$unit"
    done
    ok 'systemd-analyze verify has nothing to say' verified
    config < <(base_config '')
    ok 'mfrelay config check' box mfrelay config check
}

verified() { [[ ! $(box systemd-analyze verify --man=no "${units[@]/#//usr/lib/systemd/system/}" 2>&1 | tee /dev/stderr) ]]; }

start() {
    sink main 2526
    sink refusing 2527 --refuse
    ok 'systemctl start mfrelay.target' box systemctl start mfrelay.target
    local service
    for service in "${services[@]}"; do
        ok "$service is active" within 20 active "$service"
        ok "$service runs as an unprivileged user" runs_as_mfrelay "$service"
        ok "$service has no capability" has_no_capability "$service"
        ok "$service is exposed at most 1.2" exposed_little "$service"
    done
    ok 'the status line of mf-smtp-server' within 10 says mf-smtp-server '^listening on 0\.0\.0\.0:25, \[::\]:25; mail servers: 3 registered, 2 not reached'
    ok 'the status line of mf-smtp-client' within 10 says mf-smtp-client '^queue: [0-9]+ deliveries; check list: empty$'
    ok 'systemctl status shows it' logged_status
    ok 'port 25 is open for IPv4 and IPv6' listens
    ok 'the log has nothing grave in it' nothing_grave
}

runs_as_mfrelay() { [[ $(box stat -c %U "/proc/$(pid_of "$1")") == mfrelay ]]; }
has_no_capability() { [[ $(box grep -E '^Cap(Bnd|Eff|Amb):' "/proc/$(pid_of "$1")/status" | tee /dev/stderr | grep -c 0000000000000000) == 3 ]]; }
exposed_little() { box systemd-analyze security "$1" | tail -n 1 | tee /dev/stderr | awk '{ for (i = 1; i < NF; i++) if ($i == "level") exposure = $(i + 3) } END { exit !(exposure > 0 && exposure <= 1.2) }'; }
logged_status() { box systemctl status mf-smtp-server | grep -q 'Status: "listening on'; }
listens() { net python3 -c 'import smtplib; [smtplib.SMTP(host, 25, "sender.test", timeout=10).quit() for host in ("127.0.0.1", "::1")]'; }
nothing_grave() { not logged -p err -u mf-smtp-server -u mf-smtp-client; }

mail() {
    local id
    ok 'mail in from swaks' sent token-first to@example.com
    ok 'mail out to aiosmtpd' arrives main token-first
    id=$(sed -nE 's/.*queued as ([^ ]+).*/\1/p' "$work/swaks")
    ok 'journalctl MF_CODE=INFO_a101 with its queue id' logs MF_CODE=INFO_a101 "MF_QUEUE_ID=$id" MF_FROM=sender@example.org
    ok 'journalctl MF_CODE=INFO_b102 with its queue id' logs MF_CODE=INFO_b102 "MF_QUEUE_ID=$id" MF_HOST=127.0.0.1 MF_PORT=2526
    ok '421 for a mail server that is down (S7)' refused 421 token-no to@down.example
    ok 'journalctl MF_CODE=INFO_a202 (S3)' logs MF_CODE=INFO_a202 MF_HOST=127.0.0.1 MF_PORT=2526 MF_DOMAIN=example.com
    ok 'journalctl MF_CODE=INFO_a203 (S4)' logs MF_CODE=INFO_a203 MF_HOST=127.0.0.1 MF_PORT=2526 MF_DOMAIN=example.com
    ok 'journalctl MF_CODE=WARN_a301 (S5)' logs MF_CODE=WARN_a301 MF_HOST=127.0.0.1 MF_PORT=2599 MF_DOMAIN=down.example
    ok 'journalctl MF_CODE=WARN_a302 (S6)' logs MF_CODE=WARN_a302 MF_HOST=127.0.0.1 MF_PORT=2527 MF_DOMAIN=refusing.example
    ok 'the lines have their priority' logged -p warning MF_CODE=WARN_a301
    ok 'a line is the text that monitoring matches (B4)' seed_text
}

seed_text() { journal MF_CODE=WARN_a301 | head -n 1 | tee /dev/stderr | grep -qxF 'WARN_a301 サーバーへの接続に失敗しました。該当のサーバーを使用するメールの送信は行えません。 127.0.0.1:2599'; }

check_list() {
    end_sinks
    ok 'mail for a mail server that went away is accepted (C10)' sent token-listed to@example.com
    ok 'journalctl MF_CODE=INFO_b211 (C2)' logs MF_CODE=INFO_b211 MF_HOST=127.0.0.1 MF_PORT=2526 MF_DOMAIN=example.com
    ok 'journalctl MF_CODE=INFO_b303 (C3)' logs MF_CODE=INFO_b303 MF_HOST=127.0.0.1 MF_PORT=2526
    ok 'the status line names the check list' within 10 says mf-smtp-client 'queue: 1 deliveries; check list: 1 \(127\.0\.0\.1:2526\)'
    ok 'mfrelay queue shows it' queued 1
    sink main 2526
    ok 'journalctl MF_CODE=INFO_b212 (C6)' logs MF_CODE=INFO_b212 MF_HOST=127.0.0.1 MF_PORT=2526
    ok 'and the mail arrives' arrives main token-listed
}

no_rights() {
    local command
    for command in status reload version 'trace to@example.com'; do
        box runuser -u nobody -- env LANG=C.UTF-8 mfrelay $command
        [[ $? == 77 ]] || { echo "mfrelay $command: not 77" && return 1; }
    done
}

queued() { [[ $(box mfrelay queue list --json | tee /dev/stderr | grep -o '"id"' | wc -l) == "$1" ]]; }

reload() {
    local before
    before=$(pid_of mf-smtp-server)
    config < <(base_config '' | sed 's/down\.example/added.example/; s/2599/2526/')
    ok 'systemctl reload with a good config' box systemctl reload "${services[@]}"
    ok 'mail for the new domain is accepted' within 10 sent token-added to@added.example
    ok 'and delivered' arrives main token-added
    ok 'journalctl MF_CODE=INFO_c103 of both' logged_of_both MF_CODE=INFO_c103
    config < <(base_config '' | sed 's/^port = 2526/port = "many"/')
    ok 'systemctl reload with a bad config' box systemctl reload "${services[@]}"
    ok 'journalctl MF_CODE=WARN_c306 of both, with file and line' logged_of_both MF_CODE=WARN_c306
    ok 'file and line' file_and_line
    ok 'the old config stays in force' sent token-old to@added.example
    ok 'in the same process' [ "$before" = "$(pid_of mf-smtp-server)" ]
    config < <(base_config '')
    ok 'and a good one is taken again' box systemctl reload "${services[@]}"
    ok 'systemd sees the services running' within 10 active mf-smtp-server
}

logged_of_both() { logs -u mf-smtp-server "$@" && logs -u mf-smtp-client "$@"; }
file_and_line() { journal MF_CODE=WARN_c306 | grep -qE '/etc/mfrelay/mfrelay\.toml[:(, ].*[0-9]+.*mail_server\.port'; }

crash() {
    local service before
    for service in "${services[@]}"; do
        before=$(pid_of "$service")
        box kill -9 "$before"
        ok "$service is restarted after kill -9" within 20 restarted "$service" "$before"
    done
    ok 'mail after that' sent token-killed to@example.com
    ok 'arrives' arrives main token-killed
}

watchdog() {
    local service before root
    root=$(./box.sh root)
    for service in "${services[@]}"; do
        mkdir -p "$root/run/systemd/system/$service.service.d"
        printf '[Service]\nWatchdogSec=3s\n' >"$root/run/systemd/system/$service.service.d/test.conf"
    done
    box systemctl daemon-reload
    ok 'a watchdog of 3 s' box systemctl restart "${services[@]}"
    for service in "${services[@]}"; do before+=" $(pid_of "$service")"; done
    sleep 7
    ok 'lets live what makes progress' [ "$before" = " $(pid_of mf-smtp-server) $(pid_of mf-smtp-client)" ]
    for service in $before; do box kill -STOP "$service"; done
    ok 'mf-smtp-server is restarted when it hangs' within 20 restarted mf-smtp-server "$(cut -d ' ' -f 2 <<<"$before")"
    ok 'mf-smtp-client is restarted when it hangs' within 20 restarted mf-smtp-client "$(cut -d ' ' -f 3 <<<"$before")"
    ok 'by the watchdog' logged -b --grep 'Watchdog timeout'
    rm -r "$root"/run/systemd/system/mf-smtp-*.service.d
    box systemctl daemon-reload
    ok 'back to the watchdog of the unit' box systemctl restart "${services[@]}"
}

# load COMMAND...: mail without a pause while it runs; sets tried, not_connected, acknowledged.
load() {
    local sender
    touch "$work/running"
    ./box.sh net /usr/bin/python3 -B "$PWD/sender.py" to@example.com "$work/running" </dev/null >"$work/load" &
    sender=$!
    sleep 1
    "$@"
    sleep 1
    rm "$work/running"
    wait $sender
    read -r tried not_connected acknowledged <"$work/load"
    echo "         $tried connections, $not_connected refused, $acknowledged messages acknowledged"
}

all_arrived() { within 20 all_here "$1"; }
all_here() { (($(grep -rhoE 'load-[0-9]+-[0-9]+' "$work/main" | sort -u | wc -l) - $1 >= acknowledged)); }
distinct() { grep -rhoE 'load-[0-9]+-[0-9]+' "$work/main" | sort -u | wc -l; }

restart_under_load() {
    local before
    before=$(distinct)
    load box systemctl restart mf-smtp-server mf-smtp-client
    ok 'a restart refuses no connection' [ "$not_connected" = 0 ]
    ok 'and takes mail meanwhile' [ "$acknowledged" -gt 10 ]
    ok 'no acknowledged message is lost' all_arrived "$before"
}

stop_in_time() {
    # A session that is idle must not hold up the end.
    ./box.sh net bash -c 'exec 3<>/dev/tcp/127.0.0.1/25; timeout 30 cat <&3' </dev/null >"$work/idle" &
    local idle=$! begin
    within 10 grep -q '^220' "$work/idle"
    begin=$SECONDS
    ok 'systemctl stop mfrelay.target' box systemctl stop mfrelay.target
    ok 'mf-smtp-server ends' within 30 is mf-smtp-server ActiveState inactive
    ok 'mf-smtp-client ends' within 30 is mf-smtp-client ActiveState inactive
    ok 'in 10 s' [ $((SECONDS - begin)) -le 10 ]
    wait $idle
    ok 'the idle session hears 421' grep -q '^421' "$work/idle"
    ok 'both ended well' ended_well
    ok 'port 25 is closed' not net bash -c 'exec 3<>/dev/tcp/127.0.0.1/25'
}

ended_well() { is mf-smtp-server Result success && is mf-smtp-client Result success && is mf-smtp-server ExecMainStatus 0 && is mf-smtp-client ExecMainStatus 0; }

bad_config() {
    config < <(base_config '' | sed 's/^host_name/hostname/')
    ok 'a bad config does not start' not box systemctl start mf-smtp-server
    ok 'with exit code 78' is mf-smtp-server ExecMainStatus 78
    ok 'it is not tried again' is mf-smtp-server NRestarts 0
    ok 'journalctl -p err has file, line and key' bad_config_told
    config < <(base_config 'log_limit = 5')
    box systemctl reset-failed
    ok 'a good one does' box systemctl start mfrelay.target
}

bad_config_told() { journal -p err -u mf-smtp-server | tee /dev/stderr | grep -qE '/etc/mfrelay/mfrelay\.toml.*1.*hostname'; }

volume() {
    local i
    for i in 1 2 3 4 5 6; do sent "token-volume-$i" to@example.com; done
    ok 'lines beyond log_limit are left out and counted' within 10 says mf-smtp-server 'log lines lost: [1-9]'
    config < <(base_config '')
    box systemctl restart "${services[@]}"
    ok 'journalctl MF_CODE=WARN_c391 says how many' logged -u mf-smtp-server MF_CODE=WARN_c391
    ok 'the mail arrived all the same' arrives main token-volume-6
}

credentials() {
    local root
    root=$(./box.sh root)
    mkdir -p "$root/etc/credstore"
    echo 'correct horse' >"$root/etc/credstore/mfrelay.auth"
    chmod 600 "$root/etc/credstore/mfrelay.auth"
    sink auth 2528 --user relay --secret-file "$root/etc/credstore/mfrelay.auth"
    config < <(base_config '' && printf '[[mail_server]]\ndomain = "auth.example"\nhost = "127.0.0.1"\nport = 2528\nauth = "plain"\nauth_user = "relay"\nauth_credential = "mfrelay.auth"\n')
    ok 'mfrelay config check, with a credential' box mfrelay config check
    ok 'a restart with a credential' box systemctl restart "${services[@]}"
    ok 'mail for a mail server that wants a login' sent token-auth to@auth.example
    ok 'the secret came by LoadCredential' arrives auth token-auth
}

# What the sandbox leaves of the machine must do for names as well.
mx() {
    ./box.sh net /usr/bin/python3 -B "$PWD/dns.py" </dev/null 2>>"$work/sinks.log" &
    sinks+=($!)
    echo 'nameserver 127.0.0.1' >"$(./box.sh root)/etc/resolv.conf"
    config < <(base_config '' && printf '[[mail_server]]\ndomain = "mx.example"\nhost = "mx"\nport = 2526\n')
    ok 'systemctl reload with host = "mx"' box systemctl reload "${services[@]}"
    ok 'mail for it is accepted' within 10 sent token-mx to@mx.example
    ok 'MX records are asked for at the server of resolv.conf' arrives main token-mx
}

reboot() {
    end_sinks
    local i before
    for i in 1 2 3; do ok "mail $i waits in the queue" sent "token-reboot-$i" to@example.com; done
    ok 'mfrelay queue shows three' within 10 queued 3
    ok 'root exports them to where only root may write' box sh -c 'cd && mfrelay queue export mail && [ $(ls mail/*.eml | wc -l) = 3 ] && rm -r mail'
    ok 'and leaves the queue its owner' not box sh -c 'find /var/lib/mfrelay /run/mfrelay -not -user mfrelay -mindepth 1 | grep .'
    ok 'another user hears whose rights it takes' no_rights
    before=$(box cat /proc/sys/kernel/random/boot_id)
    ok 'the machine reboots' ./box.sh reboot
    ok 'and comes up with both services' within 60 both_active
    ok 'port 25 answers' within 20 net bash -c 'exec 3<>/dev/tcp/127.0.0.1/25'
    ok 'mfrelay queue still shows three' queued 3
    sink main 2526
    for i in 1 2 3; do ok "mail $i arrives once" arrives main "token-reboot-$i"; done
    ok 'journalctl -b -1 has the last boot' logged -b -1 -u mf-smtp-server MF_CODE=INFO_c102
    ok 'the journal of this boot' logs -b -u mf-smtp-server MF_CODE=INFO_c101
    ok 'mf-smtp-server reaches the mail server again' within 20 sent token-rebooted to@example.com
}

both_active() { active mf-smtp-server && active mf-smtp-client; }

upgrade() {
    local before server client
    ok 'a message on hold' held_one
    server=$(pid_of mf-smtp-server) client=$(pid_of mf-smtp-client) before=$(distinct)
    cp "$(./box.sh root)/etc/mfrelay/mfrelay.toml" "$work/before.toml"
    load ok 'the upgrade installs under load' ./box.sh install "$newer"
    ok 'the new version is there' [ "$(box dpkg-query -W -f '${Version}' mfrelay)" = "$(dpkg-deb -f "$newer" Version)" ]
    ok 'mf-smtp-server was restarted' within 20 restarted mf-smtp-server "$server"
    ok 'mf-smtp-client was restarted' within 20 restarted mf-smtp-client "$client"
    ok 'no connection was refused' [ "$not_connected" = 0 ]
    ok 'no acknowledged message is lost' all_arrived "$before"
    ok 'the config is kept' cmp "$work/before.toml" "$(./box.sh root)/etc/mfrelay/mfrelay.toml"
    ok 'the queue is kept' queued 1
}

held_one() {
    box mfrelay drain 127.0.0.1:2526 --for 1h --reason test && sent token-held to@example.com && within 10 queued 1 \
        && box mfrelay queue hold --recipient to@example.com && box mfrelay resume 127.0.0.1:2526
}

removal() {
    ok 'apt remove' box apt-get remove -y -q mfrelay
    ok 'nothing runs any more' not box pgrep -u mfrelay
    ok 'port 25 is closed' not net bash -c 'exec 3<>/dev/tcp/127.0.0.1/25'
    ok 'queue and config are kept' kept
    ok 'apt purge' box apt-get purge -y -q mfrelay
    ok 'nothing is left' nothing_left
    ok 'systemd is content' [ "$(box systemctl is-system-running)" = running ]
}

kept() { box sh -c 'test -s /etc/mfrelay/mfrelay.toml && ls /var/lib/mfrelay/queue/smtp/*.seg'; }
nothing_left() { not box sh -c 'ls -d /etc/mfrelay /var/lib/mfrelay /var/log/mfrelay /run/mfrelay /usr/lib/mfrelay /usr/lib/systemd/system/mf* /etc/systemd/system/*.wants/mf* /etc/systemd/system/mfrelay* 2>/dev/null | grep .'; }

# ---- the course of it ---------------------------------------------------------------------------------------------

[[ $(id -u) == 0 ]] || give_up 'needs root: it boots a container with a systemd of its own'
trap finish EXIT
../foreign/install.sh || give_up 'the foreign mail programs cannot be installed'
if [[ ! $package ]]; then
    package=$(../../packaging/build.sh deb --fast --output "$work" 2>"$work/build.log" | tail -n 1) || { cat "$work/build.log"; give_up 'packaging/build.sh deb failed'; }
fi
dpkg-deb --info "$package" >"$work/said" 2>&1 || { cat "$work/said"; give_up "no package: $package"; }

# The next version: the same files under a higher number.
dpkg-deb -R "$package" "$work/newer" && sed -i -E 's/^(Version: .*)/\1+next/' "$work/newer/DEBIAN/control"
newer=$work/mfrelay-next.deb
dpkg-deb --root-owner-group -Zgzip -z1 -b "$work/newer" "$newer" >/dev/null && rm -r "$work/newer"

./box.sh up || give_up 'the box does not boot: it needs root, namespaces, cgroups and systemd-nspawn, and once a Debian mirror'
for part in installation start mail check_list reload crash watchdog restart_under_load stop_in_time bad_config volume credentials mx reboot upgrade removal; do
    echo "--- $part"
    $part
done
echo "$passed passed, $failed failed"
((failed == 0))
