#!/usr/bin/env python3
"""Lists 1,000 jobs forwards and backwards by pages of 7 while others are created: none may be missing or come twice.

By creation in both directions while the jobs still run; by change in both directions after the 1,000 have ended.
"""

import collections
import concurrent.futures
import threading
import time

import harness

JOBS, PAGE = 1000, 7
QUERY = """query($first: Int, $after: String, $last: Int, $before: String, $field: JobOrderField!, $direction: OrderDirection!) {
    jobs(first: $first, after: $after, last: $last, before: $before, orderBy: {field: $field, direction: $direction}) {
        edges { cursor node { id createdAt updatedAt } }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    options = harness.parse(parser)
    verdicts = harness.Verdicts(options.database)
    with harness.Server(options) as server:
        server.start()
        client = server.client
        document = client.upload(b"x", "x.txt", "text/plain")
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(lambda _: client.create_job(document, "noop"), range(options.jobs)))
        took = time.monotonic() - began
        print(f"{len(ids)} jobs created in {took:.1f} s ({len(ids) / took:.0f}/s)")
        lists(verdicts, client, document, ids, "CREATED_AT")
        late = client.wait(list(ids), 600)
        print(f"all ended {time.monotonic() - began:.1f} s after the first was created; {len(late)} late")
        lists(verdicts, client, document, ids, "UPDATED_AT")
    verdicts.finish()


def lists(verdicts, client, document, ids, field):
    for direction in ("DESC", "ASC"):
        for way, backwards in (("forwards", False), ("backwards", True)):
            stop = threading.Event()
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                others = pool.submit(create_until, client, document, stop)
                began = time.monotonic()
                nodes, flags = walk(client, field, direction, backwards)
                took = time.monotonic() - began
                stop.set()
                created = others.result()
            key = "createdAt" if field == "CREATED_AT" else "updatedAt"
            # A job that changes while the list is read moves in an order by change, and is then met at its new place.
            places = collections.Counter((node["id"], node[key]) for node in nodes)
            counts = {job_id for job_id, _ in places}
            skipped, twice = len(ids - counts), sum(n > 1 for n in places.values())
            values = [harness.moment(node[key]) for node in nodes if node["id"] in ids]
            ordered = values == sorted(values, reverse=direction == "DESC")
            verdicts.add(not skipped and not twice and ordered and not flags, f"{len(ids)} jobs by {field} {direction}, {way} by {PAGE}",
                         f"{skipped} skipped, {twice} twice, {'in order' if ordered else 'OUT OF ORDER'}{flags}; "
                         f"{len(counts)} listed in {took:.1f} s while {created} were created")


def create_until(client, document, stop):
    created = 0
    while not stop.is_set():
        client.create_job(document, "noop")
        created += 1
        stop.wait(0.01)
    return created


def walk(client, field, direction, backwards):
    """All nodes in the list's own order, and what is odd about the pages. Ends a long while after what must be there,
    because a list that grows at its far end may never end."""
    nodes, cursor, odd = [], None, ""
    for _ in range(20 * JOBS // PAGE):
        window = {"last": PAGE, "before": cursor} if backwards else {"first": PAGE, "after": cursor}
        page = client.graphql(QUERY, field=field, direction=direction, **window)["jobs"]
        edges, info = page["edges"], page["pageInfo"]
        part = [edge["node"] for edge in edges]
        nodes = part + nodes if backwards else nodes + part
        if edges and (info["startCursor"], info["endCursor"]) != (edges[0]["cursor"], edges[-1]["cursor"]):
            odd = ", pageInfo's cursors are not those of the edges"
        more = info["hasPreviousPage" if backwards else "hasNextPage"]
        if more and len(edges) != PAGE:
            odd = f", a page of {len(edges)} before the end"
        if not edges or not more:
            break
        cursor = info["startCursor" if backwards else "endCursor"]
    else:
        odd = ", it did not end"
    return nodes, odd


if __name__ == "__main__":
    main()
