"""Tests the Python client gql: requests over HTTP, subscriptions over WebSocket. It does not support persisted queries."""

import io
import json
import os
import unittest
import urllib.request
import uuid

from gql import Client, FileVar, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.exceptions import TransportConnectionFailed, TransportQueryError
from gql.transport.websockets import WebsocketsTransport

URL = os.environ["DOCKET_URL"].rstrip("/")
SOCKET = URL.replace("http", "ws", 1) + "/graphql/ws"
INVOICE = b"Invoice number: HL-2025-0418\nTotal due: 1,380.00\n"
DATA_POINTS = [{"name": "invoice.number", "type": "code", "labels": ["Invoice number"], "required": True}]

PUT = gql("mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name version } } }")
UPLOAD = gql("mutation ($file: Upload!) { uploadDocument(file: $file) { document { id name type size } } }")
CREATE = gql("mutation ($input: CreateJobInput!) { createJob(input: $input) { job { id } } }")
WATCH = gql("subscription ($id: ID!) { jobUpdated(id: $id) { status review { id content { document { sha256 } } } } }")
CLAIM = gql("mutation ($id: ID!) { claimReview(id: $id) { review { id } } }")
DECIDE = gql("mutation ($input: DecideReviewInput!) { decideReview(input: $input) { review { status } } }")
DOCUMENTS = gql("""query ($after: String) { documents(first: 2, after: $after) {
    nodes { name } pageInfo { hasNextPage endCursor } } }""")


def sign_up():
    """Creates a user; returns its request headers."""
    query = "mutation ($input: SignUpInput!) { signUp(input: $input) { accessToken } }"
    sign_up_input = {"email": f"{uuid.uuid4()}@example.com", "name": "Ada", "password": "correct horse battery"}
    body = json.dumps({"query": query, "variables": {"input": sign_up_input}}).encode()
    request = urllib.request.Request(f"{URL}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        token = json.load(response)["data"]["signUp"]["accessToken"]
    return {"Authorization": f"Bearer {token}"}


class Gql(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.headers = sign_up()
        transport = AIOHTTPTransport(f"{URL}/graphql", headers={**self.headers, "GraphQL-Require-Preflight": "1"})
        # gql fetches the schema and validates every document before it sends it.
        self.client = Client(transport=transport, fetch_schema_from_transport=True)
        self.session = await self.client.connect_async()

    async def asyncTearDown(self):
        await self.client.close_async()

    async def run_query(self, query, upload_files=False, **variables):
        query.variable_values = variables
        return await self.session.execute(query, upload_files=upload_files)

    async def upload(self, name):
        file = FileVar(io.BytesIO(INVOICE), filename=name, content_type="text/plain")
        return (await self.run_query(UPLOAD, upload_files=True, file=file))["uploadDocument"]["document"]

    async def put_taxonomy(self):
        name = f"clients-{uuid.uuid4()}"
        return (await self.run_query(PUT, input={"name": name, "definition": {"data_points": DATA_POINTS}}))["putTaxonomy"]["taxonomy"]

    async def test_query(self):
        found = await self.run_query(gql("{ viewer { name } }"))
        self.assertEqual(found["viewer"]["name"], "Ada")

    async def test_mutation(self):
        self.assertEqual((await self.put_taxonomy())["version"], 1)

    async def test_refused_mutation(self):
        with self.assertRaises(TransportQueryError) as refused:
            await self.run_query(CLAIM, id=str(uuid.uuid4()))
        self.assertEqual(refused.exception.errors[0]["extensions"]["code"], "NOT_FOUND")

    async def test_upload(self):
        document = await self.upload("python.txt")
        self.assertEqual((document["name"], document["type"], document["size"]), ("python.txt", "text/plain", len(INVOICE)))

    async def test_pagination(self):
        names = [f"{number}.txt" for number in range(5)]
        for name in names:
            await self.upload(name)
        seen, after, more = [], None, True
        while more:
            page = (await self.run_query(DOCUMENTS, after=after))["documents"]
            seen += [node["name"] for node in page["nodes"]]
            after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
        self.assertEqual(seen, names[::-1])

    async def test_subscription(self):
        document, taxonomy = await self.upload("invoice.txt"), await self.put_taxonomy()
        metadata = {"mapping.taxonomy": taxonomy["name"], "zoning.high_confidence_threshold": 0}
        job_input = {"type": "data-point-extraction", "input": {"documentId": document["id"]}, "metadata": metadata}
        job = (await self.run_query(CREATE, input=job_input))["createJob"]["job"]
        statuses = []
        WATCH.variable_values = {"id": job["id"]}
        transport = AIOHTTPWebsocketsTransport(SOCKET, init_payload=self.headers)
        async with Client(transport=transport) as socket:
            async for result in socket.subscribe(WATCH):
                update = result["jobUpdated"]
                if update["status"] == "BLOCKED" and "BLOCKED" not in statuses:
                    await self.approve(update["review"])
                statuses.append(update["status"])
        self.assertIn("BLOCKED", statuses)
        self.assertEqual(statuses[-1], "COMPLETED")

    async def test_websockets_transport_assumes_the_older_protocol(self):
        """A defect of gql. When this test fails, gql has fixed it: update examples/python/README.md."""
        transport = WebsocketsTransport(SOCKET, init_payload=self.headers)
        with self.assertRaises(TransportConnectionFailed):
            await self.subscribe_to_unknown_job(transport)
        self.assertEqual(transport.subprotocol, transport.APOLLO_SUBPROTOCOL)

    async def test_websockets_transport_works_with_a_named_protocol(self):
        protocols = [WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL]
        transport = WebsocketsTransport(SOCKET, init_payload=self.headers, subprotocols=protocols)
        with self.assertRaises(TransportQueryError) as refused:
            await self.subscribe_to_unknown_job(transport)
        self.assertEqual(refused.exception.errors[0]["extensions"]["code"], "NOT_FOUND")

    async def subscribe_to_unknown_job(self, transport):
        WATCH.variable_values = {"id": str(uuid.uuid4())}
        async with Client(transport=transport) as socket:
            async for result in socket.subscribe(WATCH):
                self.fail(f"The job does not exist, but the server sent {result}.")

    async def approve(self, review):
        await self.run_query(CLAIM, id=review["id"])
        await self.run_query(DECIDE, input={"id": review["id"], "decision": "APPROVE",
                                      "contentSha256": review["content"]["document"]["sha256"]})


if __name__ == "__main__":
    unittest.main()
