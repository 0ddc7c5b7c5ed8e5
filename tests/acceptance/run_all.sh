#!/bin/sh
# Runs all acceptance tests against a release build and prints a table with one line per criterion.
#
#   run_all.sh FOLDER [DATABASE…]     FOLDER contains invoices/, misc/ and hostile/
#                                     DATABASE is sqlite or postgres (default: both)
#
# The program is target/release/docket, or the value of DOCKET_BINARY. The output of the scripts goes to standard error,
# the table to standard output. The exit code is 1 if a criterion or a script fails.
set -u
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: run_all.sh FOLDER [DATABASE...]}
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
        printf 'FAIL\t%s failed to run\texit code %s\n' "$script" "$code" >>"$lines"
    fi
}

for database in "$@"; do
    run invoices.py "$folder/invoices" --database "$database"
    run misc.py "$folder/misc" --database "$database"
    run thousand_pages.py "$folder/hostile/thousand_pages.pdf" --database "$database"
    run hostile.py "$folder/hostile" --database "$database"
    run crash_recovery.py "$folder/invoices" "$folder/misc" --database "$database"
    run upload.py --database "$database"
    run paging.py --database "$database"
    run collaboration.py "$folder/invoices" --database "$database"
    run webhooks.py --database "$database"
done

printf '\n'
awk -F '\t' '{ printf "%-4s  %-66s  %s\n", $1, $2, $3 }' "$lines"
! grep -q '^FAIL' "$lines"
