#!/usr/bin/env python3
"""Runs jobs on a folder of hostile documents while ordinary jobs run in parallel.

The server must refuse each document with a clear problem, or end its job. The script prints the outcome and the duration
for each file, then the peak memory of the server, child processes that outlived their jobs, and the durations of the
ordinary jobs from createJob to their end.
"""

import concurrent.futures
import statistics
import threading
import time

import harness

TAXONOMY = {"name": "hostile", "data_points": [{"name": "title", "type": "string", "labels": ["Title"]}]}
ORDINARY_TEXT = "Invoice No: 4711\nTitle: an ordinary document\nTotal: 12.50 EUR\n"
MAX_MEMORY_BYTES = 300 * harness.MIB


def main():
    parser = harness.arguments(__doc__, "folder of hostile documents")
    parser.add_argument("--in-flight", type=int, default=4, help="concurrent hostile jobs (default 4)")
    parser.add_argument("--limit", type=float, default=300, help="time limit of each job in seconds (default 300)")
    options = harness.parse(parser)
    report = harness.Report(options.database)
    files = sorted(p for p in options.folder.iterdir() if p.is_file())
    with harness.Server(options) as server:
        server.start()
        taxonomy = server.client.put_taxonomy(TAXONOMY)
        ordinary, done = OrdinaryJobs(server.client, taxonomy), threading.Event()
        # The durations without hostile jobs, for comparison.
        before = [ordinary.run(kind) for kind in ("noop", "text") * 3]
        with harness.ProcessMonitor(server.pid) as monitor, concurrent.futures.ThreadPoolExecutor(options.in_flight + 1) as pool:
            future = pool.submit(ordinary.run_until, done)
            outcomes = list(pool.map(lambda path: run_hostile(server.client, path, taxonomy, options.limit), files))
            done.set()
            latencies = future.result()
            monitor.sample()
            alive = monitor.alive()
        high = harness.memory_status(server.pid).get("VmHWM", 0)
        ready = server.client.request("GET", "/readyz")[0]
        width = max(len(p.name) for p in files)
        for path, (ended, outcome, took) in zip(files, outcomes):
            print(f"{path.name:<{width}} {took or 0:6.2f} s  {'' if ended else 'DID NOT END '}{outcome}")
        code, stopped = server.stop()
        left = len(list((server.data_dir / "work").glob("*")))
        print(f"\n{len(monitor.children)} children, the largest {harness.format_mib(max((c.peak for c in monitor.children.values()), default=0))}")
        print(f"ordinary jobs: {len(latencies)} in parallel, {len(before)} before; SIGTERM: exit code {code} after {stopped:.1f} s; "
              f"{left} entries in the work folder")
    ended = sum(ended for ended, _, _ in outcomes)
    clear = sum(bool(outcome.strip()) for _, outcome, _ in outcomes)
    failed = [took for took in latencies if took is None]
    times = [took for took in latencies if took is not None]
    report.add(ended == len(files) == clear, "every hostile file is refused or ends, with code and message", f"{ended} of {len(files)}")
    report.add(ready == 200, "the server is ready afterwards", f"/readyz {ready}")
    report.add(high < MAX_MEMORY_BYTES, "server memory < 300 MB", f"{harness.format_mib(high)} peak")
    report.add(not alive, "no child process outlives its job", f"{len(alive)} left")
    report.add(times and not failed, "ordinary jobs complete",
                 f"{len(times)} of {len(latencies)} completed; median {statistics.median(times or [0]):.2f} s, "
                 f"longest {max(times, default=0):.2f} s; alone {statistics.median([t for t in before if t] or [0]):.2f} s")
    report.finish()


def run_hostile(client, path, taxonomy, limit):
    """Runs a job on a file; returns whether it ended, its outcome, and the seconds it ran."""
    try:
        document = client.upload(path, path.name, harness.media_type(path))
    except harness.ApiError as error:
        return True, f"upload refused {error.status} {error.code}: {error.description()}", None
    try:
        job_id = client.create_job(document, taxonomy=taxonomy)
    except harness.ApiError as error:
        clear = error.code == "BAD_USER_INPUT" and error.problems
        return bool(clear), f"createJob refused {error.code}: {error.description()}", None
    late = client.wait([job_id], limit)
    job = client.job(job_id)
    if late:
        return False, f"{job['status']}, steps {[(s['name'], s['status']) for s in job['steps']]}", None
    failure = job["failure"]
    if job["status"] == "FAILED":
        attempts = max(step["attempt"] for step in job["steps"])
        suffix = f" (attempts: {attempts})" if attempts > 1 else ""
        return bool(failure and failure["message"]), f"FAILED {failure['code']}: {failure['message']}{suffix}", harness.run_seconds(job)
    return True, job["status"], harness.run_seconds(job)


class OrdinaryJobs:
    """Runs ordinary jobs one after another."""

    def __init__(self, client, taxonomy):
        self.client, self.taxonomy = client, taxonomy
        self.document = client.upload(ORDINARY_TEXT.encode(), "ordinary.txt", "text/plain")

    def run(self, kind):
        """Runs a job; returns the seconds from createJob to COMPLETED, or None if it ends otherwise."""
        began = time.monotonic()
        if kind == "noop":
            job_id = self.client.create_job(self.document, "noop")
        else:
            job_id = self.client.create_job(self.document, taxonomy=self.taxonomy)
        late = self.client.wait([job_id], 300, poll=0.02)
        took = time.monotonic() - began
        return took if not late and self.client.job(job_id)["status"] == "COMPLETED" else None

    def run_until(self, done):
        latencies = []
        while not done.is_set():
            latencies.append(self.run("noop" if len(latencies) % 2 else "text"))
            done.wait(0.2)
        return latencies


if __name__ == "__main__":
    main()
