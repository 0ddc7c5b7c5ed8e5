"""Submits an invoice, corrects a value in the review, and prints the XML.

DOCKET_URL is the server (default http://127.0.0.1:8080), DOCKET_TOKEN an API key. Without a token, the script creates an
account.
"""

import asyncio
import io
import os
import time

from gql import Client, FileVar, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport

URL = os.environ.get("DOCKET_URL", "http://127.0.0.1:8080")

INVOICE = b"""<!doctype html>
<title>Invoice</title>
<h1>Lantern &amp; Quill Ltd</h1>
<p>Invoice number: LQ-2041
<p>Invoice date: 3 February 2025
<p>Total due: 86.40
"""

# The data points to extract.
DEFINITION = {
    "data_points": [
        {"name": "invoice.number", "type": "code", "labels": ["Invoice number"], "required": True},
        {"name": "invoice.date", "type": "date", "labels": ["Invoice date"]},
        {"name": "amount.gross", "type": "amount", "labels": ["Total due"], "required": True},
    ]
}

SIGN_UP = gql("mutation ($input: SignUpInput!) { signUp(input: $input) { accessToken } }")
PUT_TAXONOMY = gql("mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name } } }")
UPLOAD = gql("mutation ($file: Upload!) { uploadDocument(file: $file) { document { id name size } } }")
CREATE_JOB = gql("mutation ($input: CreateJobInput!) { createJob(input: $input) { job { id } } }")
CLAIM = gql("mutation ($id: ID!) { claimReview(id: $id) { review { id } } }")
DECIDE = gql("mutation ($input: DecideReviewInput!) { decideReview(input: $input) { review { status } } }")
WATCH = gql("""
    subscription ($id: ID!) {
      jobUpdated(id: $id) {
        status
        progress { fraction }
        currentStep { name }
        failure { message }
        outputContent { document { signedContentsUri } }
        review { id status reason items { path label value confidence } content { document { sha256 } } }
      }
    }
""")


async def main():
    headers = {"Authorization": f"Bearer {os.environ.get('DOCKET_TOKEN') or await sign_up()}"}
    # The server accepts files only with the second header, which prevents cross-site requests from a browser.
    http = AIOHTTPTransport(f"{URL}/graphql", headers={**headers, "GraphQL-Require-Preflight": "1"})
    # README.md explains why the example names the protocol.
    socket = AIOHTTPWebsocketsTransport(f"{URL.replace('http', 'ws', 1)}/graphql/ws", init_payload=headers,
                                        subprotocols=[AIOHTTPWebsocketsTransport.GRAPHQLWS_SUBPROTOCOL])
    async with Client(transport=http) as api, Client(transport=socket) as live:
        job_id = await submit(api)
        async for result in live.subscribe(with_variables(WATCH, id=job_id)):
            job = result["jobUpdated"]
            print(f"{job['progress']['fraction']:4.0%} {job['status']} {(job['currentStep'] or {}).get('name', '')}")
            if job["review"] and job["review"]["status"] == "OPEN":
                await decide(api, job["review"])
            if job["failure"]:
                raise SystemExit(job["failure"]["message"])
            if job["outputContent"]:
                async with api.transport.session.get(job["outputContent"]["document"]["signedContentsUri"]) as response:
                    print(await response.text())


async def sign_up():
    async with Client(transport=AIOHTTPTransport(f"{URL}/graphql")) as api:
        account = {"email": f"ada-{time.time_ns()}@example.com", "name": "Ada", "password": "correct horse battery"}
        return (await api.execute(with_variables(SIGN_UP, input=account)))["signUp"]["accessToken"]


async def submit(api):
    """Creates a job for the invoice; returns its ID."""
    name = f"invoices-{time.time_ns()}"
    await api.execute(with_variables(PUT_TAXONOMY, input={"name": name, "definition": DEFINITION}))
    file = FileVar(io.BytesIO(INVOICE), filename="invoice.html", content_type="text/html")
    document = (await api.execute(with_variables(UPLOAD, file=file), upload_files=True))["uploadDocument"]["document"]
    print(f"uploaded {document['name']}, {document['size']} bytes")
    # A threshold of 1 opens a review of every value, a threshold of 0 opens none.
    mapping = {"taxonomy": name, "high_confidence_threshold": 1}
    job = {
        "type": "data-point-extraction",
        "input": {"documentId": document["id"]},
        "metadata": {"mapping": mapping, "zoning": {"high_confidence_threshold": 0}},
    }
    return (await api.execute(with_variables(CREATE_JOB, input=job)))["createJob"]["job"]["id"]


async def decide(api, review):
    """Claims the review, corrects one value, and approves the result."""
    print(f"review: {review['reason']}")
    for item in review["items"]:
        print(f"  {item['label']}: {item['value']!r}, {item['confidence']:.0%} sure")
    await api.execute(with_variables(CLAIM, id=review["id"]))
    number = next(item for item in review["items"] if item["label"] == "invoice.number")
    decision = {
        "id": review["id"],
        "decision": "APPROVE",
        # The hash of the reviewed content. The server refuses the decision if the content has changed.
        "contentSha256": review["content"]["document"]["sha256"],
        "patch": [{"op": "replace", "path": f"{number['path']}/value", "value": "LQ-2041/A"}],
        "comment": "The number as printed on the original.",
    }
    await api.execute(with_variables(DECIDE, input=decision))


def with_variables(request, **variables):
    """Sets the variables of an operation; returns the operation."""
    request.variable_values = variables
    return request


if __name__ == "__main__":
    asyncio.run(main())
