#!/usr/bin/env bash
# Runs the commands of docs/rest.md as a reader would: its marked blocks, in order, in one shell at the root of the repository.
#
#   DOCKET_URL=… tests/clients/suites/rest_walk.sh PROGRAM
#
# Each block follows a line "<!-- walk -->". PROGRAM is what the commands call docket.
set -euo pipefail
: "${DOCKET_URL:?names the server; tests/clients/run starts one and sets it}"
program=$(realpath "${1:?names the program}")
cd "$(dirname "$0")/../../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ln -s "$program" "$folder/docket"

# A variable of this shell only: docket takes DOCKET_… of the environment for keys of its configuration.
printf 'DOCKET_URL=%q\n' "$DOCKET_URL" >"$folder/walk.sh"
unset DOCKET_URL
awk '
  /^<!-- walk -->$/ { marked = 1; next }
  marked && /^```sh$/ { inside = 1; blocks++ }
  /^```$/ { inside = 0 }
  inside && !/^```/ { print }
  { marked = 0 }
  END { exit blocks == 0 }
' docs/rest.md >>"$folder/walk.sh" || { echo "docs/rest.md has no marked block." >&2; exit 1; }
TMPDIR=$folder PATH=$folder:$PATH bash -euo pipefail "$folder/walk.sh"
