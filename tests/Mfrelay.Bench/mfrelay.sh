# mfrelay: both daemons in their default, durable settings. An adaptor of the relay benchmark (its bench.sh tells what the functions are for).
# MFRELAY_TREE names the source tree, with a Release build in it: bench.sh copies this file away from there. See README.md.
PORT=2541
DESC="mfrelay, default settings; when_down = queue and on_recovery = release, which w5 and w6 are about"
: "${MFRELAY_TREE:?set it to the source tree (dotnet build -c Release)}"
MF_NAMES=(mf-smtp-server mf-smtp-client)
# MFRELAY_BIN names a directory with the programs as they are packaged (compiled ahead); without it, those of the Release build.
mf_bin() { if [ -n "${MFRELAY_BIN:-}" ]; then echo "$MFRELAY_BIN/$2"; else echo "$MFRELAY_TREE/src/Mfrelay.$1/bin/Release/net10.0/$2"; fi; }
r_config() {
    cat > "$RUN/mfrelay.toml" <<TOML
host_name = "relay.bench.test"
state_directory = "$RUN/state"
run_directory = "$RUN/run"
[server]
listen = ["127.0.0.1:$PORT"]
[client]
recheck_interval = "1s"
on_recovery = "release"
[[mail_server]]
domain = "dead.bench.test"
host = "127.0.0.2"
port = $DEAD_PORT
when_down = "queue"
[[mail_server]]
domain = "*"
host = "127.0.0.1"
port = $SINK_PORT
when_down = "queue"
TOML
}
r_start() { r_config; mf_go Server mf-smtp-server; mf_go Client mf-smtp-client; }
mf_go()   { "$(mf_bin "$1" "$2")" --config "$RUN/mfrelay.toml" > "$RUN/$2.log" 2>&1 & echo $! > "$RUN/$2.pid"; }
r_stop()  { for d in "${MF_NAMES[@]}"; do kill "$(cat "$RUN/$d.pid")"; done; }
# Recipients that were acknowledged (INFO_a101, nrcpt=) and not yet delivered (INFO_b102), from the two logs.
r_queue() {
    awk '/ INFO_a101 / { n = $0; sub(/.* nrcpt=/, "", n); q += n + 0 } / INFO_b102 / { q-- } END { print q + 0 }' "$RUN"/mf-smtp-{server,client}.log
}
# The client checks the listed sink every second (recheck_interval above) and then releases all of its mail: nothing to do.
r_flush() { :; }
