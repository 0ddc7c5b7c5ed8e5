#!/usr/bin/env python3
"""Times the job of one large PDF, by default of 1,000 pages, and watches the memory of the children that read it."""

import json
import pathlib
import time

import harness

TAXONOMY = {"name": "pages", "data_points": [{"name": "title", "type": "string", "labels": ["Title"]}]}
SECONDS, MEMORY = 10, 150 * 1_000_000


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("file", type=pathlib.Path, help="the PDF")
    options = harness.parse(parser)
    if not options.file.is_file():
        print(f"skipped: there is no file {options.file}")
        return
    verdicts = harness.Verdicts(options.database)
    with harness.Server(options) as server:
        server.start()
        client = server.client
        taxonomy = client.put_taxonomy(TAXONOMY)
        document = client.upload(options.file, options.file.name, "application/pdf")
        with harness.Watch(server.pid, every=0.01) as watch:
            began, fractions = time.monotonic(), []
            job_id = client.create_job(document, taxonomy=taxonomy)
            while (job := client.job(job_id))["status"] not in harness.FINAL and time.monotonic() < began + 300:
                fractions.append(job["progress"]["fraction"])
                time.sleep(0.05)
            took = time.monotonic() - began
        high = harness.status(server.pid)["VmHWM"]
        pages = json.loads(client.content(job_id, "text-json") or '{"pages": []}')["pages"]
    steps = {step["name"]: harness.between(step["startedAt"], step["finishedAt"]) for step in job["steps"]}
    for name, duration in steps.items():
        print(f"{name:<16} {duration or 0:6.2f} s")
    for seen in watch.children.values():
        print(f"child for {seen.last - seen.first:5.2f} s, peak {harness.mib(seen.peak)}")
    peak = max((seen.peak for seen in watch.children.values()), default=0)
    text = steps["text-extraction"]
    print(f"{len(pages)} pages; {job['status']} {job['failure'] or ''} after {took:.2f} s; server's peak {harness.mib(high)}; "
          f"{len(set(fractions))} different fractions seen")
    done = job["status"] == "COMPLETED"
    verdicts.add(done and text and text < SECONDS, "1,000 pages: text in < 10 s", f"{text or 0:.2f} s ({len(pages)} pages)")
    verdicts.add(done and took < SECONDS, "1,000 pages: the whole job in < 10 s", f"{took:.2f} s")
    verdicts.add(done and 0 < peak < MEMORY, "1,000 pages: child < 150 MB", f"{peak / 1e6:.0f} MB")
    verdicts.add(fractions == sorted(fractions), "progress never runs backwards", f"{len(fractions)} looks")
    verdicts.finish()


if __name__ == "__main__":
    main()
