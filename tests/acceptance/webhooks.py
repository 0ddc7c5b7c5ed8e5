#!/usr/bin/env python3
"""Checks webhooks of a running server: valid signatures, order, exactly one success per event, and refused targets.

Needs the package standardwebhooks (`pip install standardwebhooks`).
"""

import collections
import contextlib
import http.server
import json
import threading
import time

import harness

try:
    import standardwebhooks
except ImportError:
    standardwebhooks = None

TIMEOUT_SECONDS = 60
FAILURES = 10
CREATE = "mutation($input: CreateWebhookInput!) { createWebhook(input: $input) { secret webhook { id } } }"
LOG = """query($id: ID!) { webhook(id: $id) { deliveries(first: 100) { nodes {
    id jobId sequence status attempts lastStatusCode lastError } } } }"""
LOCAL = {
    "DOCKET_WEBHOOKS__ALLOW_HTTP": "on",
    "DOCKET_WEBHOOKS__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
    "DOCKET_WEBHOOKS__FIRST_RETRY_SECONDS": "1",
    "DOCKET_WEBHOOKS__LONGEST_RETRY_SECONDS": "1",
    "DOCKET_WEBHOOKS__ATTEMPT_SECONDS": "2",
}


class Receiver:
    """A server that records requests; `respond` returns status and headers for the data of a message."""

    def __init__(self, respond=lambda data: (204, {})):
        self.requests, self.changed = [], threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                data = json.loads(body)["data"]
                status, headers = respond(data)
                with receiver.changed:
                    receiver.requests.append((dict(self.headers.items()), body, data, status))
                    receiver.changed.notify_all()
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count, seconds=TIMEOUT_SECONDS):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.requests) >= count, seconds):
                raise TimeoutError(f"{len(self.requests)} of {count} requests arrived in {seconds} s")
            return list(self.requests)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def main():
    options = harness.parse(harness.arguments(__doc__))
    if standardwebhooks is None:
        print("skipped: package standardwebhooks is not installed")
        return
    report = harness.Report(options.database)
    with harness.Server(options) as server:
        server.start()
        check_refused_targets(report, server.client)
    with harness.Server(options, **LOCAL) as server:
        server.start()
        check_order(report, server.client)
        check_redirects(report, server.client)
        check_crash(report, server)
    report.finish()


@contextlib.contextmanager
def criterion(report, text):
    """Adds one criterion to the report, which fails if the body raises an exception."""
    figures = []
    try:
        yield figures
    except Exception as error:
        report.add(False, text, error)
    else:
        report.add(True, text, "; ".join(figures))


def create_webhook(client, receiver, **fields):
    made = client.graphql(CREATE, input={"url": receiver.url, **fields})["createWebhook"]
    return made["webhook"]["id"], made["secret"]


def create_job(client):
    return client.create_job(client.upload(b"x", "x.txt", "text/plain"), "noop")


def wait_for_deliveries(client, webhook):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        nodes = client.graphql(LOG, id=webhook)["webhook"]["deliveries"]["nodes"]
        if nodes and all(node["status"] != "PENDING" for node in nodes):
            return nodes
        time.sleep(0.1)
    raise TimeoutError(f"deliveries have not ended: {nodes}")


def check_refused_targets(report, client):
    targets = ["https://127.0.0.1/", "https://169.254.169.254/latest/meta-data/", "https://[::1]/", "https://[::ffff:127.0.0.1]/",
               "https://localhost/", "https://2130706433/", "https://0x7f.1/", "https://10.0.0.1/", "https://[64:ff9b::a9fe:a9fe]/"]
    with criterion(report, "targets without a public address are refused") as figures:
        for target in targets:
            try:
                client.graphql(CREATE, input={"url": target})
            except harness.ApiError as error:
                codes = [problem["code"] for problem in error.problems]
                assert (error.code, codes) == ("BAD_USER_INPUT", ["TARGET_NOT_ALLOWED"]), f"{target}: {error.code} {codes}"
            else:
                raise AssertionError(f"{target} is accepted")
        figures.append(f"{len(targets)} targets")


def check_order(report, client):
    failures = collections.Counter()

    def respond(data):
        # Deliveries of the first job fail.
        failures.setdefault(data["jobId"], 0)
        if data["jobId"] == next(iter(failures)) and failures[data["jobId"]] < FAILURES:
            failures[data["jobId"]] += 1
            return 500, {}
        return 200, {}

    receiver = Receiver(respond)
    with criterion(report, f"{FAILURES} failures: delivered once, in order per job, verified by standardwebhooks") as figures:
        webhook, secret = create_webhook(client, receiver)
        began = time.monotonic()
        jobs = [create_job(client), create_job(client), create_job(client)]
        assert not client.wait(jobs, TIMEOUT_SECONDS), "the jobs have not ended"
        receiver.wait(FAILURES)
        nodes = wait_for_deliveries(client, webhook)
        requests = receiver.wait(len(nodes) + FAILURES)
        verify = standardwebhooks.Webhook(secret).verify
        for headers, body, _, _ in requests:
            verify(body, headers)
        for job_id in jobs:
            accepted = [data["sequence"] for _, _, data, status in requests if data["jobId"] == job_id and status == 200]
            events = [event["sequence"] for event in client.events(job_id)]
            assert accepted == events, f"{job_id}: {accepted} of {events}"
        assert len(requests) == len(nodes) + FAILURES, f"{len(requests)} requests for {len(nodes)} deliveries"
        ids = {(data["jobId"], data["sequence"]): set() for _, _, data, _ in requests}
        for headers, _, data, _ in requests:
            ids[data["jobId"], data["sequence"]].add(headers["webhook-id"])
        assert all(len(different) == 1 for different in ids.values()), "an event arrived under several IDs"
        figures.append(f"{len(nodes)} events of 3 jobs in {len(requests)} requests, {time.monotonic() - began:.1f} s")
    receiver.close()


def check_redirects(report, client):
    inner = Receiver()
    outer = Receiver(lambda data: (307, {"Location": inner.url}))
    with criterion(report, "a redirect is not followed") as figures:
        webhook, _ = create_webhook(client, outer, eventKinds=["CREATED"])
        create_job(client)
        outer.wait(2)
        node = client.graphql(LOG, id=webhook)["webhook"]["deliveries"]["nodes"][0]
        assert node["lastStatusCode"] == 307 and not inner.requests, f"{node}, {len(inner.requests)} requests"
        figures.append(node["lastError"])
        client.graphql("mutation($id: ID!) { deleteWebhook(id: $id) { deletedId } }", id=webhook)
    inner.close()
    outer.close()


def check_crash(report, server):
    may_respond = threading.Event()
    first = threading.Event()

    def respond(data):
        if not first.is_set():
            first.set()
            may_respond.wait(TIMEOUT_SECONDS)
        return 200, {}

    receiver = Receiver(respond)
    with criterion(report, "kill -9 during a delivery: delivered again under the same ID") as figures:
        webhook, secret = create_webhook(server.client, receiver, eventKinds=["CREATED"])
        create_job(server.client)
        assert first.wait(TIMEOUT_SECONDS), "no request arrived"
        server.kill()
        began = time.monotonic()
        may_respond.set()
        server.start()
        requests = receiver.wait(2, 120)
        took = time.monotonic() - began
        assert wait_for_deliveries(server.client, webhook)[0]["status"] == "DELIVERED"
        ids = {headers["webhook-id"] for headers, _, _, _ in requests}
        assert len(ids) == 1, f"IDs {ids}"
        standardwebhooks.Webhook(secret).verify(requests[-1][1], requests[-1][0])
        figures.append(f"{took:.1f} s after the kill")
    receiver.close()


if __name__ == "__main__":
    main()
