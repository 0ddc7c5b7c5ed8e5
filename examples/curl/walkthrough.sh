#!/usr/bin/env bash
# Shows the whole lifecycle of a job with curl and jq. DOCKET_URL is the server (default http://127.0.0.1:8080).
set -euo pipefail
url=${DOCKET_URL:-http://127.0.0.1:8080}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

heading() { printf '\n== %s\n' "$*"; }

# gql OPERATION [VARIABLES]: sends the operation, prints the data, and stops at an error.
token=
gql() {
  jq -n --arg query "$1" --argjson variables "${2:-null}" '{$query, $variables}' |
    curl -sS "$url/graphql" -H "Content-Type: application/json" ${token:+-H "Authorization: Bearer $token"} --data @- |
    jq -e 'if .errors then error(.errors[0] | "\(.extensions.code): \(.message)") else .data end'
}

# wait_for_status JOB STATUS: polls once a second, because curl does not support GraphQL over WebSocket.
wait_for_status() {
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

heading "Sign up, then sign in for a token that is valid for twelve hours"
email=ada-$(date +%s%N)@example.com
password='correct horse battery'
gql 'mutation ($input: SignUpInput!) { signUp(input: $input) { user { id email } } }' \
  "$(jq -n --arg email "$email" --arg password "$password" '{input: {$email, name: "Ada", $password}}')"
token=$(gql 'mutation ($input: SignInInput!) { signIn(input: $input) { accessToken } }' \
  "$(jq -n --arg email "$email" --arg password "$password" '{input: {$email, $password}}')" | jq -r .signIn.accessToken)

heading "Define the data points in a taxonomy"
taxonomy=invoices-$(date +%s%N)
gql 'mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name version } } }' \
  "$(jq -n --arg name "$taxonomy" '{input: {$name, definition: {data_points: [
      {name: "invoice.number", type: "code", labels: ["Invoice number"], required: true},
      {name: "invoice.date", type: "date", labels: ["Invoice date"]},
      {name: "amount.gross", type: "amount", labels: ["Total due"]}]}}}')"

heading "Upload a document as the request body"
cat >"$folder/invoice.txt" <<'TEXT'
Lantern & Quill Ltd
Invoice number: LQ-2041
Invoice date: 3 February 2025
Total due: 86.40
TEXT
document=$(curl -sS --fail-with-body "$url/documents" -H "Authorization: Bearer $token" -H "Content-Type: application/octet-stream" \
  -H "X-Name: invoice.txt" -H "X-Type: text/plain" --data-binary "@$folder/invoice.txt" | jq -r .id)
echo "$document"

# create_job THRESHOLD: 1 opens a review of every value, 0 opens none.
create_job() {
  gql 'mutation ($input: CreateJobInput!) { createJob(input: $input) { job { id } } }' \
    "$(jq -n --arg document "$document" --arg taxonomy "$taxonomy" --argjson threshold "$1" '{input: {
        type: "data-point-extraction", input: {documentId: $document}, metadata: {
          "mapping.taxonomy": $taxonomy, "mapping.high_confidence_threshold": $threshold, "zoning.high_confidence_threshold": 0}}}')" |
    jq -r .createJob.job.id
}

heading "Create a job with a review, and wait until it is BLOCKED"
job=$(create_job 1)
wait_for_status "$job" BLOCKED

heading "Read the review: values and their confidence"
review=$(gql 'query ($id: ID!) { job(id: $id) { review { id reason items { path label value confidence }
  content { uri document { sha256 } } } } }' "{\"id\": \"$job\"}" | jq .job.review)
jq '{reason, items: [.items[] | "\(.label) = \(.value), \(.confidence)"]}' <<<"$review"

heading "Claim the review, correct the invoice number, and approve"
gql 'mutation ($id: ID!) { claimReview(id: $id) { review { status claimExpiresAt } } }' "$(jq '{id}' <<<"$review")"
gql 'mutation ($input: DecideReviewInput!) { decideReview(input: $input) { review { status comment } } }' \
  "$(jq '{input: {id, decision: "APPROVE", contentSha256: .content.document.sha256, comment: "The number as printed on the original.",
      patch: [{op: "replace", path: "\(.items[] | select(.label == "invoice.number").path)/value", value: "LQ-2041/A"}]}}' <<<"$review")"
wait_for_status "$job" COMPLETED

heading "List the contents in their newest versions, and download the XML"
contents=$(gql 'query ($id: ID!) { job(id: $id) { contents { role version uri } } }' "{\"id\": \"$job\"}" | jq .job.contents)
jq -r '.[] | "\(.role) \(.version)"' <<<"$contents"
curl -sS --fail-with-body -H "Authorization: Bearer $token" "$(jq -r '.[] | select(.role == "output").uri' <<<"$contents")"

heading "Read the history"
gql 'query ($id: ID!) { job(id: $id) { events(first: 100) { nodes { sequence kind actor { name } } } } }' "{\"id\": \"$job\"}" |
  jq -r '.job.events.nodes[] | "\(.sequence) \(.kind) \(.actor.name // "")"'

heading "Create another job, cancel it while it is BLOCKED, and retry it"
other=$(create_job 1)
wait_for_status "$other" BLOCKED
gql 'mutation ($id: ID!) { cancelJob(id: $id, reason: "Sent twice.") { job { status } } }' "{\"id\": \"$other\"}"
gql 'mutation ($id: ID!) { retryJob(id: $id) { job { status currentStep { name } } } }' "{\"id\": \"$other\"}"
wait_for_status "$other" BLOCKED

heading "Delete both jobs with their contents, then the document"
for id in "$job" "$other"; do
  gql 'mutation ($id: ID!) { deleteJob(id: $id) { deletedId } }' "{\"id\": \"$id\"}"
done
gql 'mutation ($id: ID!) { deleteDocument(id: $id) { deletedId } }' "{\"id\": \"$document\"}"
