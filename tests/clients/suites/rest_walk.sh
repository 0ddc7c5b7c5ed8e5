#!/usr/bin/env bash
# Runs the marked blocks of docs/rest.md in order, in one shell at the root of the repository.
#
#   DOCKET_URL=… tests/clients/suites/rest_walk.sh PROGRAM
#
# A line "<!-- walk -->" marks the block that follows it. PROGRAM becomes `docket` in the PATH of the commands.
set -euo pipefail
: "${DOCKET_URL:?is not set. tests/clients/run starts a server and sets it}"
program=$(realpath "${1:?pass the path of the program}")
cd "$(dirname "$0")/../../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ln -s "$program" "$folder/docket"

# Not exported, because docket reads DOCKET_… environment variables as configuration keys.
printf 'DOCKET_URL=%q\n' "$DOCKET_URL" >"$folder/walk.sh"
unset DOCKET_URL
awk '
  /^<!-- walk -->$/ { marked = 1; next }
  marked && /^```sh$/ { inside = 1; blocks++ }
  /^```$/ { inside = 0 }
  inside && !/^```/ { print }
  { marked = 0 }
  END { exit blocks == 0 }
' docs/rest.md >>"$folder/walk.sh" || { echo "docs/rest.md contains no marked block." >&2; exit 1; }
TMPDIR=$folder PATH=$folder:$PATH bash -euo pipefail "$folder/walk.sh"
