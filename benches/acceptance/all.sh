#!/bin/sh
# Runs every acceptance script against a release build and prints one table line per acceptance line.
#
#   all.sh FOLDER [DATABASE…]     FOLDER holds invoices/, misc/ and hostile/; DATABASE is sqlite or postgres (default: both)
#
# The program is target/release/docket, or the one that DOCKET_BINARY names. What the scripts print goes to standard
# error as they run; the table to standard output at the end. Exit code 1 where a line fails or a script breaks.
set -u
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: all.sh FOLDER [DATABASE...]}
shift
[ $# -gt 0 ] || set -- sqlite postgres
lines=$(mktemp)
output=$(mktemp)
trap 'rm -f "$lines" "$output"' EXIT

run() {
    printf '\n== %s\n' "$*" >&2
    script=$1
    shift
    python3 "$here/$script" "$@" >"$output" 2>&1
    code=$?
    cat "$output" >&2
    grep -E '^(PASS|FAIL|WARN)	|^skipped:' "$output" | sed "s/^skipped:/SKIP	$script	/" >>"$lines"
    if [ "$code" -gt 1 ] || { [ "$code" -eq 1 ] && ! grep -q '^FAIL	' "$output"; }; then
        printf 'FAIL\t%s broke\texit code %s\n' "$script" "$code" >>"$lines"
    fi
}

for database in "$@"; do
    run invoices.py "$folder/invoices" --database "$database"
    run misc.py "$folder/misc" --database "$database"
    run thousand_pages.py "$folder/hostile/thousand_pages.pdf" --database "$database"
    run hostile.py "$folder/hostile" --database "$database"
    run kill9.py "$folder/invoices" "$folder/misc" --database "$database"
    run upload.py --database "$database"
    run paging.py --database "$database"
    run people.py "$folder/invoices" --database "$database"
    run webhooks.py --database "$database"
done

printf '\n'
awk -F '\t' '{ printf "%-4s  %-66s  %s\n", $1, $2, $3 }' "$lines"
! grep -q '^FAIL' "$lines"
