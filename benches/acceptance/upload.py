#!/usr/bin/env python3
"""Uploads 500 MB, watching the server's memory; then breaks uploads off half-way and looks for what they left.

Sent as POST /documents and as a GraphQL multipart upload; downloaded again and compared. Broken off by an orderly close,
by a reset, within a chunked body, and by kill -9 of the server.
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
GROWTH = 30 * 1_000_000


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--size", type=int, default=SIZE, help="bytes (default 500,000,000)")
    options = harness.parse(parser)
    verdicts = harness.Verdicts(options.database)
    with harness.Server(options) as server:
        server.start()
        client = server.client
        client.upload(b"warm", "warm.txt", "text/plain")
        hashed = hashlib.sha256()
        for block in blocks(options.size):
            hashed.update(block)

        for way, send in [("POST /documents", plain), ("GraphQL multipart", multipart)]:
            try:
                document, growth, took = measured(server, lambda: send(client, options.size))
            except harness.ApiError as error:
                verdicts.add(False, f"500 MB by {way}: memory grows < 30 MB", f"refused: {error}")
                continue
            right = document["sha256"] == hashed.hexdigest() and int(document["size"]) == options.size
            verdicts.add(growth < GROWTH and right, f"500 MB by {way}: memory grows < 30 MB",
                         f"{growth / 1e6:.1f} MB in {took:.1f} s, {'whole' if right else 'NOT WHOLE'}")

        same, growth, took = measured(server, lambda: download(client, document["contentsUri"]) == hashed.hexdigest())
        verdicts.add(same and growth < GROWTH, "500 MB downloaded: memory grows < 30 MB", f"{growth / 1e6:.1f} MB in {took:.1f} s")

        before, documents = server.bytes_kept(), count(client)
        for way in ("close", "reset", "chunked"):
            broken_off(client, options.size, way)
            settle(server, before)
            after = server.bytes_kept()
            good = after == before and count(client) == documents
            verdicts.add(good, f"broken off half-way by {way}: nothing left",
                         f"{count(client) - documents} documents, {after[0] - before[0]} files, {after[1] - before[1]} bytes")

        thread = threading.Thread(target=broken_off, args=(client, options.size, "hold"))
        thread.start()
        while server.bytes_kept()[1] < before[1] + options.size // 4:
            time.sleep(0.01)
        server.kill()
        thread.join()
        server.start()
        settle(server, before)
        after = server.bytes_kept()
        verdicts.add(after == before and count(server.client) == documents, "the server killed during an upload: nothing left",
                     f"{count(server.client) - documents} documents, {after[0] - before[0]} files, {after[1] - before[1]} bytes", required=False)
    verdicts.finish()


def blocks(size):
    while size > 0:
        yield BLOCK[:size]
        size -= len(BLOCK)


def measured(server, work):
    """What the work gave, by how much the server's memory grew over what it was, and the seconds."""
    before = harness.status(server.pid)["VmRSS"]
    with harness.Watch(server.pid, every=0.02) as watch:
        began = time.monotonic()
        result = work()
        took = time.monotonic() - began
        watch.look()
    return result, watch.peak - before, took


def plain(client, size):
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size), "X-Name": "large.bin"}
    status, _, body = client.request("POST", "/documents", blocks(size), headers)
    return harness.data(status, body)


def multipart(client, size):
    """As the GraphQL multipart request specification has it."""
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
    status, _, answer = client.request("POST", "/graphql", body(), headers)
    return harness.data(status, answer)["uploadDocument"]["document"]


def download(client, uri):
    """SHA-256 of what comes back, read bit by bit."""
    connection = http.client.HTTPConnection(client.address, timeout=120)
    connection.request("GET", "/" + uri.split("/", 3)[3], headers={"Authorization": f"Bearer {client.key}"})
    response, hashed = connection.getresponse(), hashlib.sha256()
    while block := response.read(harness.MIB):
        hashed.update(block)
    connection.close()
    return hashed.hexdigest()


def broken_off(client, size, way):
    """Sends half of a body and goes away."""
    host, port = client.address.split(":")
    length = "Transfer-Encoding: chunked" if way == "chunked" else f"Content-Length: {size}"
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        connection.sendall((f"POST /documents HTTP/1.1\r\nHost: {client.address}\r\nAuthorization: Bearer {client.key}\r\n"
                            f"Content-Type: application/octet-stream\r\nX-Name: broken.bin\r\n{length}\r\n\r\n").encode())
        try:
            for block in blocks(size // 2):
                connection.sendall(b"%x\r\n%b\r\n" % (len(block), block) if way == "chunked" else block)
            if way == "hold":
                connection.recv(1)
        except OSError:
            # The server went away first.
            return
        if way == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def settle(server, wanted, limit=10):
    """Gives the server some seconds to notice."""
    end = time.monotonic() + limit
    while server.bytes_kept() != wanted and time.monotonic() < end:
        time.sleep(0.05)


def count(client):
    """Documents that the account sees."""
    found, after = 0, None
    while True:
        query = "query($after: String) { documents(first: 100, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }"
        page = client.graphql(query, after=after)["documents"]
        found, after = found + len(page["nodes"]), page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return found


if __name__ == "__main__":
    main()
