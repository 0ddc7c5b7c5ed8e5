#!/usr/bin/env python3
"""Sends every file of a folder of hostile documents through the API, while ordinary jobs go on beside.

Each must be refused with a clear problem, or be a job that ends. Printed are, per file, what came of it and the seconds
that its job took; then the server's peak memory, children that outlived their jobs, and how long the ordinary jobs took
from createJob to their end.
"""

import concurrent.futures
import statistics
import threading
import time

import harness

TAXONOMY = {"name": "hostile", "data_points": [{"name": "title", "type": "string", "labels": ["Title"]}]}
CALM = "Invoice No: 4711\nTitle: an ordinary document\nTotal: 12.50 EUR\n"
MEMORY = 300 * harness.MIB


def main():
    parser = harness.arguments(__doc__, "folder of hostile documents")
    parser.add_argument("--in-flight", type=int, default=4, help="hostile jobs at once (default 4)")
    parser.add_argument("--limit", type=float, default=300, help="seconds in which each must end (default 300)")
    options = harness.parse(parser)
    verdicts = harness.Verdicts(options.database)
    files = sorted(p for p in options.folder.iterdir() if p.is_file())
    with harness.Server(options) as server:
        server.start()
        taxonomy = server.client.put_taxonomy(TAXONOMY)
        calm, done = Calm(server.client, taxonomy), threading.Event()
        # What ordinary work takes when nothing else goes on, to compare with.
        before = [calm.once(kind) for kind in ("noop", "text") * 3]
        with harness.Watch(server.pid) as watch, concurrent.futures.ThreadPoolExecutor(options.in_flight + 1) as pool:
            beside = pool.submit(calm.until, done)
            outcomes = list(pool.map(lambda path: hostile(server.client, path, taxonomy, options.limit), files))
            done.set()
            latencies = beside.result()
            watch.look()
            alive = watch.alive()
        high = harness.status(server.pid).get("VmHWM", 0)
        ready = server.client.request("GET", "/readyz")[0]
        width = max(len(p.name) for p in files)
        for path, (ended, what, took) in zip(files, outcomes):
            print(f"{path.name:<{width}} {took or 0:6.2f} s  {'' if ended else 'DID NOT END '}{what}")
        code, stopped = server.stop()
        left = len(list((server.data_dir / "work").glob("*")))
        print(f"\n{len(watch.children)} children, the largest {harness.mib(max((c.peak for c in watch.children.values()), default=0))}")
        print(f"ordinary jobs: {len(latencies)} beside, {len(before)} before; SIGTERM: exit code {code} after {stopped:.1f} s; "
              f"{left} entries in the work folder")
    ended = sum(ended for ended, _, _ in outcomes)
    clear = sum(bool(what.strip()) for _, what, _ in outcomes)
    failed = [took for took in latencies if took is None]
    times = [took for took in latencies if took is not None]
    verdicts.add(ended == len(files) == clear, "every hostile file ends, with a code and a sentence", f"{ended} of {len(files)}")
    verdicts.add(ready == 200, "the server is ready afterwards", f"/readyz {ready}")
    verdicts.add(high < MEMORY, "server memory < 300 MB", f"{harness.mib(high)} peak")
    verdicts.add(not alive, "no child outlives its job", f"{len(alive)} left")
    verdicts.add(times and not failed, "other jobs go on",
                 f"{len(times)} of {len(latencies)} completed; median {statistics.median(times or [0]):.2f} s, "
                 f"longest {max(times, default=0):.2f} s; alone {statistics.median([t for t in before if t] or [0]):.2f} s")
    verdicts.finish()


def hostile(client, path, taxonomy, limit):
    """Whether it ended, what was said, and the seconds of its job."""
    try:
        document = client.upload(path, path.name, harness.media_type(path))
    except harness.ApiError as error:
        return True, f"upload refused {error.status} {error.code}: {error.sentence()}", None
    try:
        job_id = client.create_job(document, taxonomy=taxonomy)
    except harness.ApiError as error:
        clear = error.code == "BAD_USER_INPUT" and error.problems
        return bool(clear), f"createJob refused {error.code}: {error.sentence()}", None
    late = client.wait([job_id], limit)
    job = client.job(job_id)
    if late:
        return False, f"{job['status']}, steps {[(s['name'], s['status']) for s in job['steps']]}", None
    failure = job["failure"]
    if job["status"] == "FAILED":
        tries = max(step["attempt"] for step in job["steps"])
        tried = f" (attempts: {tries})" if tries > 1 else ""
        return bool(failure and failure["message"]), f"FAILED {failure['code']}: {failure['message']}{tried}", harness.seconds(job)
    return True, job["status"], harness.seconds(job)


class Calm:
    """Ordinary work, one job after another."""

    def __init__(self, client, taxonomy):
        self.client, self.taxonomy = client, taxonomy
        self.document = client.upload(CALM.encode(), "calm.txt", "text/plain")

    def once(self, kind):
        """Seconds from createJob to COMPLETED; None where it ends otherwise."""
        began = time.monotonic()
        if kind == "noop":
            job_id = self.client.create_job(self.document, "noop")
        else:
            job_id = self.client.create_job(self.document, taxonomy=self.taxonomy)
        late = self.client.wait([job_id], 300, poll=0.02)
        took = time.monotonic() - began
        return took if not late and self.client.job(job_id)["status"] == "COMPLETED" else None

    def until(self, done):
        latencies = []
        while not done.is_set():
            latencies.append(self.once("noop" if len(latencies) % 2 else "text"))
            done.wait(0.2)
        return latencies


if __name__ == "__main__":
    main()
