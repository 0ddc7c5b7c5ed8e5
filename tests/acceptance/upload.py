#!/usr/bin/env python3
"""Uploads 500 MB while monitoring the server's memory, then interrupts uploads and checks that nothing remains.

Uploads by POST /documents and by a GraphQL multipart request, downloads the document and compares it. Interrupts uploads
by an orderly close, by a reset, within a chunked body, and by SIGKILL to the server.
"""

import hashlib
import http.client
import json
import os
import socket
import struct
import threading
import time

import harness

SIZE = 500_000_000
BLOCK = os.urandom(harness.MIB)
MAX_GROWTH_BYTES = 30 * 1_000_000


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--size", type=int, default=SIZE, help="bytes (default 500,000,000)")
    options = harness.parse(parser)
    report = harness.Report(options.database)
    with harness.Server(options) as server:
        server.start()
        client = server.client
        client.upload(b"warm", "warm.txt", "text/plain")
        expected = hashlib.sha256()
        for block in blocks(options.size):
            expected.update(block)

        for method, send in [("POST /documents", upload_plain), ("GraphQL multipart", upload_multipart)]:
            try:
                document, growth, took = measure_growth(server, lambda: send(client, options.size))
            except harness.ApiError as error:
                report.add(False, f"500 MB by {method}: memory grows < 30 MB", f"refused: {error}")
                continue
            is_complete = document["sha256"] == expected.hexdigest() and int(document["size"]) == options.size
            report.add(growth < MAX_GROWTH_BYTES and is_complete, f"500 MB by {method}: memory grows < 30 MB",
                         f"{growth / 1e6:.1f} MB in {took:.1f} s, {'complete' if is_complete else 'INCOMPLETE'}")

        same, growth, took = measure_growth(server, lambda: download(client, document["contentsUri"]) == expected.hexdigest())
        report.add(same and growth < MAX_GROWTH_BYTES, "500 MB downloaded: memory grows < 30 MB", f"{growth / 1e6:.1f} MB in {took:.1f} s")

        before, documents = server.stored_files(), count_documents(client)
        for method in ("close", "reset", "chunked"):
            interrupt_upload(client, options.size, method)
            wait_for_cleanup(server, before)
            after = server.stored_files()
            is_clean = after == before and count_documents(client) == documents
            report.add(is_clean, f"upload interrupted by {method}: nothing remains",
                         f"{count_documents(client) - documents} documents, {after[0] - before[0]} files, {after[1] - before[1]} bytes")

        thread = threading.Thread(target=interrupt_upload, args=(client, options.size, "hold"))
        thread.start()
        while server.stored_files()[1] < before[1] + options.size // 4:
            time.sleep(0.01)
        server.kill()
        thread.join()
        server.start()
        wait_for_cleanup(server, before)
        after = server.stored_files()
        report.add(after == before and count_documents(server.client) == documents, "server killed during an upload: nothing remains",
                     f"{count_documents(server.client) - documents} documents, {after[0] - before[0]} files, {after[1] - before[1]} bytes", required=False)
    report.finish()


def blocks(size):
    while size > 0:
        yield BLOCK[:size]
        size -= len(BLOCK)


def measure_growth(server, work):
    """Returns the result of the work, the growth of the server's memory in bytes, and the seconds it took."""
    before = harness.memory_status(server.pid)["VmRSS"]
    with harness.ProcessMonitor(server.pid, every=0.02) as monitor:
        began = time.monotonic()
        result = work()
        took = time.monotonic() - began
        monitor.sample()
    return result, monitor.peak - before, took


def upload_plain(client, size):
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size), "X-Name": "large.bin"}
    status, _, body = client.request("POST", "/documents", blocks(size), headers)
    return harness.response_data(status, body)


def upload_multipart(client, size):
    """Uploads as the GraphQL multipart request specification describes."""
    query = "mutation($file: Upload!) { uploadDocument(file: $file) { document { id sha256 size contentsUri } } }"
    fields = [("operations", json.dumps({"query": query, "variables": {"file": None}})), ("map", '{"0": ["variables.file"]}')]
    head = "".join(f'--frontier\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields)
    head += '--frontier\r\nContent-Disposition: form-data; name="0"; filename="large.bin"\r\nContent-Type: application/octet-stream\r\n\r\n'
    tail = b"\r\n--frontier--\r\n"

    def body():
        yield head.encode()
        yield from blocks(size)
        yield tail

    headers = {"Content-Type": "multipart/form-data; boundary=frontier", "GraphQL-Require-Preflight": "1",
               "Content-Length": str(len(head.encode()) + size + len(tail))}
    status, _, text = client.request("POST", "/graphql", body(), headers)
    return harness.response_data(status, text)["uploadDocument"]["document"]


def download(client, uri):
    """Returns the SHA-256 of a download, which is read in blocks."""
    connection = http.client.HTTPConnection(client.address, timeout=120)
    connection.request("GET", "/" + uri.split("/", 3)[3], headers={"Authorization": f"Bearer {client.key}"})
    response, hashed = connection.getresponse(), hashlib.sha256()
    while block := response.read(harness.MIB):
        hashed.update(block)
    connection.close()
    return hashed.hexdigest()


def interrupt_upload(client, size, method):
    """Sends half of a body and disconnects."""
    host, port = client.address.split(":")
    length = "Transfer-Encoding: chunked" if method == "chunked" else f"Content-Length: {size}"
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        connection.sendall((f"POST /documents HTTP/1.1\r\nHost: {client.address}\r\nAuthorization: Bearer {client.key}\r\n"
                            f"Content-Type: application/octet-stream\r\nX-Name: broken.bin\r\n{length}\r\n\r\n").encode())
        try:
            for block in blocks(size // 2):
                connection.sendall(b"%x\r\n%b\r\n" % (len(block), block) if method == "chunked" else block)
            if method == "hold":
                connection.recv(1)
        except OSError:
            # The server has already closed the connection.
            return
        if method == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def wait_for_cleanup(server, expected, limit=10):
    """Waits until the stored files are as expected, at most `limit` seconds."""
    end = time.monotonic() + limit
    while server.stored_files() != expected and time.monotonic() < end:
        time.sleep(0.05)


def count_documents(client):
    """Returns the number of documents of the account."""
    found, after = 0, None
    while True:
        query = "query($after: String) { documents(first: 100, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }"
        page = client.graphql(query, after=after)["documents"]
        found, after = found + len(page["nodes"]), page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found


if __name__ == "__main__":
    main()
