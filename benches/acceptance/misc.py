#!/usr/bin/env python3
"""Runs a folder of varied documents through the API and scores their text against that of `pdftotext -layout`.

For each NAME.pdf with a NAME.pdftotext.txt: the F1 of the overlap of their tokens, taken as multisets. A job that fails
with NO_TEXT counts as no text; no text where none is expected is 1. Files without a reference need only end. A reference
without any text may be pdftotext's own lack, so the mean is given with and without those.
"""

import collections
import json

import harness

TAXONOMY = {"name": "misc", "data_points": [{"name": "title", "type": "string", "labels": ["Title"]}]}


def main():
    options = harness.parse(harness.arguments(__doc__, "folder of documents"))
    verdicts = harness.Verdicts(options.database)
    files = sorted(p for p in options.folder.iterdir() if p.suffix in (".pdf", ".epub"))
    every, with_text = [], []
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
            took = f"{harness.seconds(job) or 0:6.2f} s"
            reference = path.with_suffix(".pdftotext.txt")
            if not reference.exists():
                print(f"   -   {took}  {path.name}: {len(text.split())} tokens, no reference; {outcome}")
                continue
            expected = reference.read_text()
            score = 0.0 if failure and failure["code"] != "NO_TEXT" else f1(text.split(), expected.split())
            every.append(score)
            if expected.strip():
                with_text.append(score)
            print(f"{score:.4f} {took}  {path.name}: {len(text.split())} tokens for {len(expected.split())}; {outcome}")
    means = [sum(scores) / max(len(scores), 1) for scores in (every, with_text)]
    verdicts.add(not late, "every job of misc ends", f"{len(ids) - len(late)} of {len(ids)}")
    verdicts.add(means[0] >= 0.95, "mean token F1 >= 0.95, all", f"{means[0]:.4f} ({len(every)} files)")
    verdicts.add(means[1] >= 0.95, "mean token F1 >= 0.95, where pdftotext finds text",
                 f"{means[1]:.4f} ({len(with_text)} files)")
    verdicts.finish()


def f1(ours, theirs):
    """Of two empty texts it is 1."""
    if not ours and not theirs:
        return 1.0
    common = sum((collections.Counter(ours) & collections.Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


if __name__ == "__main__":
    main()
