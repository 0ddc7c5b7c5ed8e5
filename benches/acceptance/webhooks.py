#!/usr/bin/env python3
"""Webhooks of a running server: verified by the package standardwebhooks, in order, once, and never to where they may not go.

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

WAIT = 60
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
    """A server that remembers what comes in; `answer` makes a status and headers of the message's data."""

    def __init__(self, answer=lambda data: (204, {})):
        self.requests, self.changed = [], threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                data = json.loads(body)["data"]
                status, headers = answer(data)
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

    def wait(self, count, seconds=WAIT):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.requests) >= count, seconds):
                raise TimeoutError(f"{len(self.requests)} of {count} requests came in {seconds} s")
            return list(self.requests)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def main():
    options = harness.parse(harness.arguments(__doc__))
    if standardwebhooks is None:
        print("skipped: the package standardwebhooks is not installed")
        return
    verdicts = harness.Verdicts(options.database)
    with harness.Server(options) as server:
        server.start()
        refused(verdicts, server.client)
    with harness.Server(options, **LOCAL) as server:
        server.start()
        in_order(verdicts, server.client)
        redirects(verdicts, server.client)
        killed(verdicts, server)
    verdicts.finish()


@contextlib.contextmanager
def line(verdicts, text):
    """What goes wrong in here fails this line and no other."""
    figures = []
    try:
        yield figures
    except Exception as error:
        verdicts.add(False, text, error)
    else:
        verdicts.add(True, text, "; ".join(figures))


def hook(client, receiver, **further):
    made = client.graphql(CREATE, input={"url": receiver.url, **further})["createWebhook"]
    return made["webhook"]["id"], made["secret"]


def job(client):
    return client.create_job(client.upload(b"x", "x.txt", "text/plain"), "noop")


def until_ended(client, webhook):
    ended = time.monotonic() + WAIT
    while time.monotonic() < ended:
        nodes = client.graphql(LOG, id=webhook)["webhook"]["deliveries"]["nodes"]
        if nodes and all(node["status"] != "PENDING" for node in nodes):
            return nodes
        time.sleep(0.1)
    raise TimeoutError(f"deliveries have not ended: {nodes}")


def refused(verdicts, client):
    targets = ["https://127.0.0.1/", "https://169.254.169.254/latest/meta-data/", "https://[::1]/", "https://[::ffff:127.0.0.1]/",
               "https://localhost/", "https://2130706433/", "https://0x7f.1/", "https://10.0.0.1/", "https://[64:ff9b::a9fe:a9fe]/"]
    with line(verdicts, "targets that are not public are refused") as figures:
        for target in targets:
            try:
                client.graphql(CREATE, input={"url": target})
            except harness.ApiError as error:
                codes = [problem["code"] for problem in error.problems]
                assert (error.code, codes) == ("BAD_USER_INPUT", ["TARGET_NOT_ALLOWED"]), f"{target}: {error.code} {codes}"
            else:
                raise AssertionError(f"{target} is taken")
        figures.append(f"{len(targets)} targets")


def in_order(verdicts, client):
    failures = collections.Counter()

    def answer(data):
        # The first job is unlucky.
        failures.setdefault(data["jobId"], 0)
        if data["jobId"] == next(iter(failures)) and failures[data["jobId"]] < FAILURES:
            failures[data["jobId"]] += 1
            return 500, {}
        return 200, {}

    receiver = Receiver(answer)
    with line(verdicts, f"{FAILURES} failures: delivered once, in order per job, verified by standardwebhooks") as figures:
        webhook, secret = hook(client, receiver)
        began = time.monotonic()
        jobs = [job(client), job(client), job(client)]
        assert not client.wait(jobs, WAIT), "the jobs have not ended"
        receiver.wait(FAILURES)
        nodes = until_ended(client, webhook)
        requests = receiver.wait(len(nodes) + FAILURES)
        verify = standardwebhooks.Webhook(secret).verify
        for headers, body, _, _ in requests:
            verify(body, headers)
        for job_id in jobs:
            taken = [data["sequence"] for _, _, data, status in requests if data["jobId"] == job_id and status == 200]
            events = [event["sequence"] for event in client.events(job_id)]
            assert taken == events, f"{job_id}: {taken} of {events}"
        assert len(requests) == len(nodes) + FAILURES, f"{len(requests)} requests for {len(nodes)} deliveries"
        ids = {(data["jobId"], data["sequence"]): set() for _, _, data, _ in requests}
        for headers, _, data, _ in requests:
            ids[data["jobId"], data["sequence"]].add(headers["webhook-id"])
        assert all(len(different) == 1 for different in ids.values()), "an event came under several IDs"
        figures.append(f"{len(nodes)} events of 3 jobs in {len(requests)} requests, {time.monotonic() - began:.1f} s")
    receiver.close()


def redirects(verdicts, client):
    inner = Receiver()
    outer = Receiver(lambda data: (307, {"Location": inner.url}))
    with line(verdicts, "a redirect is not followed") as figures:
        webhook, _ = hook(client, outer, eventKinds=["CREATED"])
        job(client)
        outer.wait(2)
        node = client.graphql(LOG, id=webhook)["webhook"]["deliveries"]["nodes"][0]
        assert node["lastStatusCode"] == 307 and not inner.requests, f"{node}, {len(inner.requests)} requests"
        figures.append(node["lastError"])
        client.graphql("mutation($id: ID!) { deleteWebhook(id: $id) { deletedId } }", id=webhook)
    inner.close()
    outer.close()


def killed(verdicts, server):
    answered = threading.Event()
    first = threading.Event()

    def answer(data):
        if not first.is_set():
            first.set()
            answered.wait(WAIT)
        return 200, {}

    receiver = Receiver(answer)
    with line(verdicts, "kill -9 in the middle of a delivery: delivered again under its ID") as figures:
        webhook, secret = hook(server.client, receiver, eventKinds=["CREATED"])
        job(server.client)
        assert first.wait(WAIT), "nothing came"
        server.kill()
        began = time.monotonic()
        answered.set()
        server.start()
        requests = receiver.wait(2, 120)
        took = time.monotonic() - began
        assert until_ended(server.client, webhook)[0]["status"] == "DELIVERED"
        ids = {headers["webhook-id"] for headers, _, _, _ in requests}
        assert len(ids) == 1, f"IDs {ids}"
        standardwebhooks.Webhook(secret).verify(requests[-1][1], requests[-1][0])
        figures.append(f"{took:.1f} s after the kill")
    receiver.close()


if __name__ == "__main__":
    main()
