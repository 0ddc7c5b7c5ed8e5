#!/usr/bin/env bash
# The whole life of a job with curl and jq. DOCKET_URL names the server (default http://127.0.0.1:8080).
set -euo pipefail
url=${DOCKET_URL:-http://127.0.0.1:8080}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

say() { printf '\n== %s\n' "$*"; }

# gql OPERATION [VARIABLES]: sends it, prints the data, and stops at an error.
token=
gql() {
  jq -n --arg query "$1" --argjson variables "${2:-null}" '{$query, $variables}' |
    curl -sS "$url/graphql" -H "Content-Type: application/json" ${token:+-H "Authorization: Bearer $token"} --data @- |
    jq -e 'if .errors then error(.errors[0] | "\(.extensions.code): \(.message)") else .data end'
}

# until_status JOB STATUS: asks once a second, as curl speaks no WebSocket.
until_status() {
  local status
  while true; do
    status=$(gql 'query ($id: ID!) { job(id: $id) { status } }' "{\"id\": \"$1\"}" | jq -r .job.status)
    case $status in
      "$2") echo "$1 is $status"; return ;;
      COMPLETED | FAILED | CANCELLED) echo "$1 is $status, not $2" >&2; return 1 ;;
    esac
    sleep 1
  done
}

say "Sign up, then sign in: a token for twelve hours"
email=ada-$(date +%s%N)@example.com
password='correct horse battery'
gql 'mutation ($input: SignUpInput!) { signUp(input: $input) { user { id email } } }' \
  "$(jq -n --arg email "$email" --arg password "$password" '{input: {$email, name: "Ada", $password}}')"
token=$(gql 'mutation ($input: SignInInput!) { signIn(input: $input) { accessToken } }' \
  "$(jq -n --arg email "$email" --arg password "$password" '{input: {$email, $password}}')" | jq -r .signIn.accessToken)

say "Say what to look for"
taxonomy=invoices-$(date +%s%N)
gql 'mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name version } } }' \
  "$(jq -n --arg name "$taxonomy" '{input: {$name, definition: {data_points: [
      {name: "invoice.number", type: "code", labels: ["Invoice number"], required: true},
      {name: "invoice.date", type: "date", labels: ["Invoice date"]},
      {name: "amount.gross", type: "amount", labels: ["Total due"]}]}}}')"

say "Upload a document: the bytes are the body"
cat >"$folder/invoice.txt" <<'TEXT'
Lantern & Quill Ltd
Invoice number: LQ-2041
Invoice date: 3 February 2025
Total due: 86.40
TEXT
document=$(curl -sS --fail-with-body "$url/documents" -H "Authorization: Bearer $token" -H "Content-Type: application/octet-stream" \
  -H "X-Name: invoice.txt" -H "X-Type: text/plain" --data-binary "@$folder/invoice.txt" | jq -r .id)
echo "$document"

# new_job THRESHOLD: with 1 a person looks at every value, with 0 nobody is asked.
new_job() {
  gql 'mutation ($input: CreateJobInput!) { createJob(input: $input) { job { id } } }' \
    "$(jq -n --arg document "$document" --arg taxonomy "$taxonomy" --argjson threshold "$1" '{input: {
        type: "data-point-extraction", input: {documentId: $document}, metadata: {
          "mapping.taxonomy": $taxonomy, "mapping.high_confidence_threshold": $threshold, "zoning.high_confidence_threshold": 0}}}')" |
    jq -r .createJob.job.id
}

say "Create a job that asks a person, and wait until it does"
job=$(new_job 1)
until_status "$job" BLOCKED

say "See the review: what was found, and how sure the machine is"
review=$(gql 'query ($id: ID!) { job(id: $id) { review { id reason items { path label value confidence }
  content { uri document { sha256 } } } } }' "{\"id\": \"$job\"}" | jq .job.review)
jq '{reason, items: [.items[] | "\(.label) = \(.value), \(.confidence)"]}' <<<"$review"

say "Claim it, correct the invoice number, approve"
gql 'mutation ($id: ID!) { claimReview(id: $id) { review { status claimExpiresAt } } }' "$(jq '{id}' <<<"$review")"
gql 'mutation ($input: DecideReviewInput!) { decideReview(input: $input) { review { status comment } } }' \
  "$(jq '{input: {id, decision: "APPROVE", contentSha256: .content.document.sha256, comment: "The number as on the original.",
      patch: [{op: "replace", path: "\(.items[] | select(.label == "invoice.number").path)/value", value: "LQ-2041/A"}]}}' <<<"$review")"
until_status "$job" COMPLETED

say "What the job holds, each in its newest version, and the XML that came out"
contents=$(gql 'query ($id: ID!) { job(id: $id) { contents { role version uri } } }' "{\"id\": \"$job\"}" | jq .job.contents)
jq -r '.[] | "\(.role) \(.version)"' <<<"$contents"
curl -sS --fail-with-body -H "Authorization: Bearer $token" "$(jq -r '.[] | select(.role == "output").uri' <<<"$contents")"

say "Its history, without a gap"
gql 'query ($id: ID!) { job(id: $id) { events(first: 100) { nodes { sequence kind actor { name } } } } }' "{\"id\": \"$job\"}" |
  jq -r '.job.events.nodes[] | "\(.sequence) \(.kind) \(.actor.name // "")"'

say "Another job: cancel it while it waits for a person, and run it again from where it stopped"
other=$(new_job 1)
until_status "$other" BLOCKED
gql 'mutation ($id: ID!) { cancelJob(id: $id, reason: "Sent twice.") { job { status } } }' "{\"id\": \"$other\"}"
gql 'mutation ($id: ID!) { retryJob(id: $id) { job { status currentStep { name } } } }' "{\"id\": \"$other\"}"
until_status "$other" BLOCKED

say "Delete both, with everything that their steps made; then the document is free to go"
for id in "$job" "$other"; do
  gql 'mutation ($id: ID!) { deleteJob(id: $id) { deletedId } }' "{\"id\": \"$id\"}"
done
gql 'mutation ($id: ID!) { deleteDocument(id: $id) { deletedId } }' "{\"id\": \"$document\"}"
