"""An invoice goes in, a person corrects what the machine was unsure of, XML comes out.

DOCKET_URL names the server (default http://127.0.0.1:8080), DOCKET_TOKEN an API key; without one an account is made.
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

# What to look for.
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
    # Without the second header the server takes no files: it shows that no web site made a browser send them.
    http = AIOHTTPTransport(f"{URL}/graphql", headers={**headers, "GraphQL-Require-Preflight": "1"})
    # README.md explains why the example names the protocol.
    socket = AIOHTTPWebsocketsTransport(f"{URL.replace('http', 'ws', 1)}/graphql/ws", init_payload=headers,
                                        subprotocols=[AIOHTTPWebsocketsTransport.GRAPHQLWS_SUBPROTOCOL])
    async with Client(transport=http) as api, Client(transport=socket) as live:
        job_id = await submit(api)
        async for result in live.subscribe(given(WATCH, id=job_id)):
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
        return (await api.execute(given(SIGN_UP, input=account)))["signUp"]["accessToken"]


async def submit(api):
    """The ID of a new job for the invoice."""
    name = f"invoices-{time.time_ns()}"
    await api.execute(given(PUT_TAXONOMY, input={"name": name, "definition": DEFINITION}))
    file = FileVar(io.BytesIO(INVOICE), filename="invoice.html", content_type="text/html")
    document = (await api.execute(given(UPLOAD, file=file), upload_files=True))["uploadDocument"]["document"]
    print(f"uploaded {document['name']}, {document['size']} bytes")
    # A threshold of 1 has a person look at every value, one of 0 asks nobody.
    mapping = {"taxonomy": name, "high_confidence_threshold": 1}
    job = {
        "type": "data-point-extraction",
        "input": {"documentId": document["id"]},
        "metadata": {"mapping": mapping, "zoning": {"high_confidence_threshold": 0}},
    }
    return (await api.execute(given(CREATE_JOB, input=job)))["createJob"]["job"]["id"]


async def decide(api, review):
    """Takes the review, corrects one value, and approves what is then right."""
    print(f"a person is needed: {review['reason']}")
    for item in review["items"]:
        print(f"  {item['label']}: {item['value']!r}, {item['confidence']:.0%} sure")
    await api.execute(given(CLAIM, id=review["id"]))
    number = next(item for item in review["items"] if item["label"] == "invoice.number")
    decision = {
        "id": review["id"],
        "decision": "APPROVE",
        # What was seen: had anybody changed it since, the decision would be refused.
        "contentSha256": review["content"]["document"]["sha256"],
        "patch": [{"op": "replace", "path": f"{number['path']}/value", "value": "LQ-2041/A"}],
        "comment": "The number as on the original.",
    }
    await api.execute(given(DECIDE, input=decision))


def given(request, **variables):
    """An operation with its variables."""
    request.variable_values = variables
    return request


if __name__ == "__main__":
    asyncio.run(main())
