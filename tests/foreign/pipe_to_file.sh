#!/bin/sh
# What the Postfix peer's pipe(8) runs: pipe_to_file.sh FOLDER SENDER RECIPIENT... < mail
# The envelope file appears, complete, after the mail data is complete.
set -eu
folder=$1; shift
data=$(mktemp "$folder/XXXXXXXXXX.data")
cat >"$data"
printf '%s\n' "$@" >"${data%.data}.new"
mv "${data%.data}.new" "${data%.data}.envelope"
