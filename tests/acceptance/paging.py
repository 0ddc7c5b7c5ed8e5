#!/usr/bin/env python3
"""Lists 1,000 jobs forward and backward in pages of 7 while other jobs are created: no job may be missing or duplicated.

Lists by creation in both directions while the jobs run, and by change in both directions after they have ended.
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
    report = harness.Report(options.database)
    with harness.Server(options) as server:
        server.start()
        client = server.client
        document = client.upload(b"x", "x.txt", "text/plain")
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(lambda _: client.create_job(document, "noop"), range(options.jobs)))
        took = time.monotonic() - began
        print(f"{len(ids)} jobs created in {took:.1f} s ({len(ids) / took:.0f}/s)")
        check_lists(report, client, document, ids, "CREATED_AT")
        late = client.wait(list(ids), 600)
        print(f"all ended {time.monotonic() - began:.1f} s after the first was created; {len(late)} late")
        check_lists(report, client, document, ids, "UPDATED_AT")
    report.finish()


def check_lists(report, client, document, ids, field):
    for direction in ("DESC", "ASC"):
        for way, backward in (("forward", False), ("backward", True)):
            stop = threading.Event()
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                creator = pool.submit(create_until, client, document, stop)
                began = time.monotonic()
                nodes, anomalies = read_list(client, field, direction, backward)
                took = time.monotonic() - began
                stop.set()
                created = creator.result()
            key = "createdAt" if field == "CREATED_AT" else "updatedAt"
            # In an order by change, a job that changes during the reading moves and may appear again at its new position.
            positions = collections.Counter((node["id"], node[key]) for node in nodes)
            counts = {job_id for job_id, _ in positions}
            missing, duplicates = len(ids - counts), sum(n > 1 for n in positions.values())
            values = [harness.parse_timestamp(node[key]) for node in nodes if node["id"] in ids]
            ordered = values == sorted(values, reverse=direction == "DESC")
            report.add(not missing and not duplicates and ordered and not anomalies, f"{len(ids)} jobs by {field} {direction}, {way} by {PAGE}",
                         f"{missing} missing, {duplicates} duplicates, {'in order' if ordered else 'OUT OF ORDER'}{anomalies}; "
                         f"{len(counts)} listed in {took:.1f} s while {created} were created")


def create_until(client, document, stop):
    created = 0
    while not stop.is_set():
        client.create_job(document, "noop")
        created += 1
        stop.wait(0.01)
    return created


def read_list(client, field, direction, backward):
    """Returns all nodes in the order of the list, and the anomalies of the pages.

    The number of pages is limited, because a list that grows at its end may never end.
    """
    nodes, cursor, anomalies = [], None, ""
    for _ in range(20 * JOBS // PAGE):
        window = {"last": PAGE, "before": cursor} if backward else {"first": PAGE, "after": cursor}
        page = client.graphql(QUERY, field=field, direction=direction, **window)["jobs"]
        edges, info = page["edges"], page["pageInfo"]
        part = [edge["node"] for edge in edges]
        nodes = part + nodes if backward else nodes + part
        if edges and (info["startCursor"], info["endCursor"]) != (edges[0]["cursor"], edges[-1]["cursor"]):
            anomalies = ", the cursors of pageInfo are not those of the edges"
        more = info["hasPreviousPage" if backward else "hasNextPage"]
        if more and len(edges) != PAGE:
            anomalies = f", a page of {len(edges)} before the end"
        if not edges or not more:
            break
        cursor = info["startCursor" if backward else "endCursor"]
    else:
        anomalies = ", the list did not end"
    return nodes, anomalies


if __name__ == "__main__":
    main()
