#!/usr/bin/env python3
"""Measures the duration of a job on a large PDF, and the memory of its child processes."""

import json
import pathlib
import time

import harness

TAXONOMY = {"name": "pages", "data_points": [{"name": "title", "type": "string", "labels": ["Title"]}]}
MAX_SECONDS, MAX_MEMORY_BYTES = 10, 150 * 1_000_000


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("file", type=pathlib.Path, help="a PDF of about 1,000 pages")
    options = harness.parse(parser)
    if not options.file.is_file():
        print(f"skipped: file {options.file} does not exist")
        return
    report = harness.Report(options.database)
    with harness.Server(options) as server:
        server.start()
        client = server.client
        taxonomy = client.put_taxonomy(TAXONOMY)
        document = client.upload(options.file, options.file.name, "application/pdf")
        with harness.ProcessMonitor(server.pid, every=0.01) as monitor:
            began, fractions = time.monotonic(), []
            job_id = client.create_job(document, taxonomy=taxonomy)
            while (job := client.job(job_id))["status"] not in harness.FINAL and time.monotonic() < began + 300:
                fractions.append(job["progress"]["fraction"])
                time.sleep(0.05)
            took = time.monotonic() - began
        high = harness.memory_status(server.pid)["VmHWM"]
        pages = json.loads(client.content(job_id, "text-json") or '{"pages": []}')["pages"]
    steps = {step["name"]: harness.seconds_between(step["startedAt"], step["finishedAt"]) for step in job["steps"]}
    for name, duration in steps.items():
        print(f"{name:<16} {duration or 0:6.2f} s")
    for child in monitor.children.values():
        print(f"child for {child.last - child.first:5.2f} s, peak {harness.format_mib(child.peak)}")
    peak = max((child.peak for child in monitor.children.values()), default=0)
    text = steps["text-extraction"]
    print(f"{len(pages)} pages; {job['status']} {job['failure'] or ''} after {took:.2f} s; peak memory of the server {harness.format_mib(high)}; "
          f"{len(set(fractions))} different fractions observed")
    done = job["status"] == "COMPLETED"
    report.add(done and text and text < MAX_SECONDS, "1,000 pages: text in < 10 s", f"{text or 0:.2f} s ({len(pages)} pages)")
    report.add(done and took < MAX_SECONDS, "1,000 pages: the whole job in < 10 s", f"{took:.2f} s")
    report.add(done and 0 < peak < MAX_MEMORY_BYTES, "1,000 pages: child process < 150 MB", f"{peak / 1e6:.0f} MB")
    report.add(fractions == sorted(fractions), "progress never decreases", f"{len(fractions)} polls")
    report.finish()


if __name__ == "__main__":
    main()
