#!/usr/bin/env python3
"""Runs jobs on a folder of varied documents and scores the extracted text against `pdftotext -layout`.

The score of NAME.pdf is the F1 of its tokens and those of NAME.pdftotext.txt, as multisets. A job that fails with NO_TEXT
counts as empty text; empty text with an empty reference scores 1. The job of a file without a reference only has to end.
pdftotext may miss text, so the mean is reported with and without empty references.
"""

import collections
import json

import harness

TAXONOMY = {"name": "misc", "data_points": [{"name": "title", "type": "string", "labels": ["Title"]}]}


def main():
    options = harness.parse(harness.arguments(__doc__, "folder of documents"))
    report = harness.Report(options.database)
    files = sorted(p for p in options.folder.iterdir() if p.suffix in (".pdf", ".epub"))
    scores, with_text = [], []
    with harness.Server(options) as server:
        server.start()
        client = server.client
        taxonomy = client.put_taxonomy(TAXONOMY)
        ids = [client.create_job(client.upload(p, p.name, harness.media_type(p)), taxonomy=taxonomy) for p in files]
        late = client.wait(ids, 600)
        for path, job_id in zip(files, ids):
            job = client.job(job_id)
            failure = job["failure"]
            outcome = job["status"] if not failure else f"{failure['code']}: {failure['message']}"
            content = client.content(job_id, "text-json")
            text = "\n".join(page["text"] for page in json.loads(content)["pages"]) if content else ""
            took = f"{harness.run_seconds(job) or 0:6.2f} s"
            reference = path.with_suffix(".pdftotext.txt")
            if not reference.exists():
                print(f"   -   {took}  {path.name}: {len(text.split())} tokens, no reference; {outcome}")
                continue
            expected = reference.read_text()
            score = 0.0 if failure and failure["code"] != "NO_TEXT" else f1(text.split(), expected.split())
            scores.append(score)
            if expected.strip():
                with_text.append(score)
            print(f"{score:.4f} {took}  {path.name}: {len(text.split())} tokens for {len(expected.split())}; {outcome}")
    means = [sum(part) / max(len(part), 1) for part in (scores, with_text)]
    report.add(not late, "every job of misc ends", f"{len(ids) - len(late)} of {len(ids)}")
    report.add(means[0] >= 0.95, "mean token F1 >= 0.95, all", f"{means[0]:.4f} ({len(scores)} files)")
    report.add(means[1] >= 0.95, "mean token F1 >= 0.95, where pdftotext finds text",
                 f"{means[1]:.4f} ({len(with_text)} files)")
    report.finish()


def f1(actual, expected):
    """Returns the F1 of two token lists; 1 if both are empty."""
    if not actual and not expected:
        return 1.0
    common = sum((collections.Counter(actual) & collections.Counter(expected)).values())
    return 2 * common / (len(actual) + len(expected))


if __name__ == "__main__":
    main()
