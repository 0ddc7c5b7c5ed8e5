#!/usr/bin/env python3
"""Kills the server with SIGKILL in the middle of 50 running jobs, starts it again, and looks at what came of them.

Half of the jobs do nothing (noop), half read real documents of the folders, drawn at random. Every createJob carries an
idempotency key; what a kill left without an answer is sent again after the start, as a careful client would. Each round
kills once or twice at random moments while jobs are running. Checked, per job, from outside:

- it ends as the same document's job did undisturbed, with the same bytes in every role;
- what was acknowledged before a kill is still the same job, and no second one was made;
- its event sequence is 1..n, its statuses and its steps' statuses follow each other legally, every content was added
  under the attempt of the step that made it, none twice;
- contents and history say the same; every content can be fetched and has the hash that it should.
"""

import collections
import concurrent.futures
import hashlib
import http.client
import json
import pathlib
import random
import re
import time

import harness

JOBS = 50
TAXONOMY = {"name": "kill9", "data_points": [{"name": "total", "type": "amount", "labels": ["Total", "Summe"]}]}
LEGAL = {
    "QUEUED": {"RUNNING", "CANCELLED"},
    "RUNNING": {"QUEUED", "BLOCKED", "COMPLETED", "FAILED", "CANCELLED"},
    "BLOCKED": {"QUEUED", "COMPLETED", "FAILED", "CANCELLED"},
}
LEGAL_STEP = {
    "PENDING": {"QUEUED", "BLOCKED"},
    "QUEUED": {"RUNNING", "CANCELLED"},
    "RUNNING": {"QUEUED", "BLOCKED", "COMPLETED", "FAILED", "CANCELLED"},
    "BLOCKED": {"COMPLETED", "FAILED", "CANCELLED"},
}
LOST = (OSError, http.client.HTTPException)


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("folders", nargs="+", type=pathlib.Path, help="folders of PDFs")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--concurrency", type=int, default=JOBS, help="steps at once (default 50, so that all jobs run)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = harness.parse(parser)
    verdicts = harness.Verdicts(options.database)
    files = sorted(path for folder in options.folders for path in folder.glob("*.pdf"))
    if not files:
        print(f"skipped: there are no PDFs in {', '.join(map(str, options.folders))}")
        return
    print(f"seed {options.seed}")
    chance = random.Random(options.seed)
    tally, wrong, longest = collections.Counter(), [], 0.0
    with harness.Server(options, DOCKET_ENGINE_CONCURRENCY=str(options.concurrency)) as server:
        server.start()
        calm = undisturbed(server.client, files)
        for number in range(1, options.rounds + 1):
            chosen = [chance.choice(files) for _ in range(JOBS // 2)]
            found, took = one_round(server, chosen, calm, number, chance, tally)
            wrong += found
            longest = max(longest, took)
        stray = strays(server)
        server.stop()
    for problem in wrong[:50]:
        print(f"WRONG {problem}")
    total = options.rounds * JOBS
    verdicts.add(tally["ended"] == total, f"kill -9: all {JOBS} jobs end", f"{tally['ended']} of {total} after {tally['kills']} kills "
                 f"in {options.rounds} rounds; at most {longest:.1f} s after the last start")
    verdicts.add(tally["running"], "the kills met running jobs", f"{tally['running']} running, {tally['queued']} queued, "
                 f"{tally['cut']} createJob without an answer; {tally['again']} steps had a second attempt, {tally['third']} a third")
    for kind, line in [("outcome", "every job ends as it does undisturbed"), ("doubled", "no output is doubled"),
                       ("sequence", "every event sequence is gapless"), ("illegal", "every status is legal"),
                       ("lost", "nothing acknowledged is lost"), ("content", "contents are whole and agree with the history"),
                       ("child", "no child outlives the server")]:
        count = sum(problem.startswith(kind) for problem in wrong)
        verdicts.add(not count, line, f"{count} violations")
    verdicts.add(not stray, "no bytes are left that no document names", f"{len(stray)} files, {sum(stray.values())} bytes", required=False)
    verdicts.finish()


def create(client, path, kind, key=None):
    document = client.uploaded[path]
    return client.create_job(document, kind, None if kind == "noop" else TAXONOMY["name"], key)


def undisturbed(client, files):
    """What each file's job comes to when nobody kills the server: status, failure code, and hash by role."""
    client.uploaded = {path: client.upload(path, path.name, "application/pdf") for path in files}
    client.put_taxonomy(TAXONOMY)
    ids = {path: create(client, path, harness.EXTRACTION) for path in files}
    client.wait(list(ids.values()), 300)
    return {path: outcome(client, job_id) for path, job_id in ids.items()}


def outcome(client, job_id):
    query = """query($id: ID!) { job(id: $id) { status failure { code } contents { role uri document { sha256 } } } }"""
    job = client.graphql(query, id=job_id)["job"]
    hashes = {content["role"]: content["document"]["sha256"] for content in job["contents"]}
    for content in job["contents"]:
        if content["role"] == "output":
            # The XML says whose it is and when it was written, which no two jobs share.
            text = re.sub(rb' (job|createdAt)="[^"]*"', b"", client.download(content["uri"]))
            hashes["output"] = hashlib.sha256(text).hexdigest()
    return job["status"], job["failure"] and job["failure"]["code"], hashes


def one_round(server, chosen, calm, number, chance, tally):
    """50 jobs and one or two kills; returns the problems and the seconds from the last start until all had ended."""
    specs = [(f"{number}-{i}", chosen[i // 2], "noop" if i % 2 else harness.EXTRACTION) for i in range(JOBS)]
    uploaded = server.client.uploaded
    acknowledged, problems, kills = {}, [], chance.choice([1, 1, 2])
    for _ in range(kills):
        problems += until_killed(server, specs, acknowledged, chance, tally)
        ready = server.start()
        server.client.uploaded = uploaded
    client, began = server.client, time.monotonic()
    ids = {key: create(client, path, kind, key) for key, path, kind in specs}
    problems += [f"lost: {key} was {acknowledged[key]}, is {ids[key]}" for key in acknowledged if ids[key] != acknowledged[key]]
    late = client.wait(list(ids.values()), 300)
    took = time.monotonic() - began
    problems += [f"hangs: {job_id} is {status}" for job_id, status in late.items()]
    for key, path, kind in specs:
        found = examine(client, ids[key], tally)
        was = ("COMPLETED", None, {}) if kind == "noop" else calm[path]
        status, code, hashes = outcome(client, ids[key])
        if kind == "noop":
            hashes.pop("input")
        if (status, code) != was[:2]:
            found.append(f"outcome: {status} {code} instead of {was[:2]}")
        elif hashes != was[2]:
            found.append(f"outcome: other bytes in {[r for r in was[2] | hashes if was[2].get(r) != hashes.get(r)]}")
        problems += [f"{problem} (round {number}, {kind} {path.name} {ids[key]})" for problem in found]
    count = client.graphql("{ jobs(first: 1) { totalCount } }")["jobs"]["totalCount"]
    if count != len(calm) + number * JOBS:
        problems.append(f"doubled: {count} jobs exist instead of {len(calm) + number * JOBS}")
    tally["ended"] += JOBS - len(late)
    print(f"round {number}: {kills} kill(s); ready after {ready:.2f} s, all ended {took:.1f} s after that; {len(problems)} problems", flush=True)
    return problems, took


def until_killed(server, specs, acknowledged, chance, tally):
    """Sends what is not acknowledged yet, and kills the server: a third of the times while jobs are still being made,
    else once a random share of them has ended.
    """
    client, target = server.client, chance.randrange(JOBS - 8)
    enough = chance.randrange(1, JOBS) if not acknowledged and chance.random() < 0.34 else None
    todo, cut = [spec for spec in specs if spec[0] not in acknowledged], 0
    with harness.Watch(server.pid) as watch, concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = {pool.submit(create, client, path, kind, key): key for key, path, kind in todo}
        began, statuses = time.monotonic(), collections.Counter()
        while time.monotonic() < began + 60:
            known = list(acknowledged.values()) + [f.result() for f in futures if f.done()]
            if enough and len(known) >= enough:
                break
            statuses = collections.Counter(client.statuses(known).values())
            ended = sum(statuses[status] for status in harness.FINAL)
            if ended >= target and statuses["RUNNING"] >= min(3, JOBS - ended):
                break
        # The look itself takes time; another moment makes the kill fall anywhere between two writes.
        time.sleep(0 if enough else chance.uniform(0, 0.02))
        watch.look()
        server.kill()
        killed = time.monotonic()
        for future, key in futures.items():
            try:
                acknowledged[key] = future.result()
            except LOST:
                cut += 1
    while watch.alive() and time.monotonic() < killed + 10:
        time.sleep(0.01)
    gone = time.monotonic() - killed
    tally.update(running=statuses["RUNNING"], queued=statuses["QUEUED"], cut=cut, kills=1)
    print(f"  killed after {killed - began:.2f} s at {dict(statuses)}, {cut} createJob without an answer, "
          f"{len(watch.children)} children seen, all gone after {gone:.2f} s")
    return [f"child: {identity} runs 10 s after the kill" for identity in watch.alive()]


def examine(client, job_id, tally):
    """What is wrong with a job that ended: lines that begin with the kind of problem."""
    query = """query($id: ID!) { job(id: $id) { status failure { code message } steps { name status attempt }
        outputContent { version } type { id }
        contents(superseded: true) { role version current step document { id sha256 size contentsUri } } } }"""
    job, events = client.graphql(query, id=job_id)["job"], client.events(job_id)
    problems = list(history(job, events))
    tally["again"] += sum(step["attempt"] > 1 for step in job["steps"])
    tally["third"] += sum(step["attempt"] > 2 for step in job["steps"])
    added = [(e["data"]["role"], e["data"]["version"], e["data"]["documentId"], e["data"]["sha256"])
             for e in events if e["kind"] == "CONTENT_ADDED"]
    there = [(c["role"], c["version"], c["document"]["id"], c["document"]["sha256"]) for c in job["contents"]]
    if sorted(added) != sorted(there):
        problems.append(f"content: history has {len(added)}, the job {len(there)}: {set(added) ^ set(there)}")
    roles = collections.Counter(c["role"] for c in job["contents"])
    problems += [f"doubled: {n} contents in role {role}" for role, n in roles.items() if n > 1]
    for content in job["contents"]:
        body = client.download(content["document"]["contentsUri"])
        if hashlib.sha256(body).hexdigest() != content["document"]["sha256"] or len(body) != content["document"]["size"]:
            problems.append(f"content: {content['role']} is not what its hash says")
    if job["type"]["id"] == harness.EXTRACTION and job["status"] == "COMPLETED" and not job["outputContent"]:
        problems.append("content: completed without output")
    return problems


def history(job, events):
    """Walks a history from its beginning."""
    if [e["sequence"] for e in events] != list(range(1, len(events) + 1)):
        yield f"sequence: {[e['sequence'] for e in events]}"
    if not events or events[0]["kind"] != "CREATED":
        yield "sequence: it does not begin with CREATED"
    status, steps, attempts = "QUEUED", collections.defaultdict(lambda: "PENDING"), collections.Counter()
    made, done = collections.Counter(), collections.Counter()
    for event in events:
        data, place = event["data"], f"at event {event['sequence']}"
        if event["kind"] == "STATUS_CHANGED":
            if data["from"] != status or data["to"] not in LEGAL.get(status, ()):
                yield f"illegal: {status}, then {data['from']} to {data['to']} {place}"
            status = data["to"]
        elif event["kind"] == "STEP_CHANGED":
            step, to = data["step"], data["to"]
            if data["from"] != steps[step] or to not in LEGAL_STEP.get(steps[step], ()):
                yield f"illegal: {step} {steps[step]}, then {data['from']} to {to} {place}"
            steps[step] = to
            if to == "RUNNING":
                attempts[step] += 1
                if data["attempt"] != attempts[step]:
                    yield f"illegal: {step} attempt {data['attempt']} instead of {attempts[step]} {place}"
            done[step] += to == "COMPLETED"
        elif event["kind"] == "CONTENT_ADDED" and data.get("step"):
            step = data["step"]
            if steps[step] != "RUNNING" and data["role"] != "input" and not data["role"].endswith("-taxonomy-json"):
                yield f"illegal: {data['role']} added while {step} was {steps[step]} {place}"
            made[step, attempts[step], data["role"]] += 1
    if status != job["status"]:
        yield f"illegal: history ends with {status}, the job is {job['status']}"
    for step in job["steps"]:
        if step["status"] != steps[step["name"]]:
            yield f"illegal: {step['name']} is {step['status']}, by its history {steps[step['name']]}"
    yield from (f"doubled: {role} by {step} attempt {attempt}, {n} times" for (step, attempt, role), n in made.items() if n > 1)
    yield from (f"doubled: {step} completed {n} times" for step, n in done.items() if n > 1)


def strays(server):
    """Files among the objects that are no document's bytes: their hash and size belong to nothing that the API shows."""
    client, known, after = server.client, set(), None
    while True:
        query = "query($after: String) { documents(first: 100, after: $after) { nodes { sha256 } pageInfo { hasNextPage endCursor } } }"
        page = client.graphql(query, after=after)["documents"]
        known |= {node["sha256"] for node in page["nodes"]}
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    expected, after = collections.Counter(), None
    while True:
        query = """query($after: String) { jobs(first: 20, after: $after) {
            nodes { contents(superseded: true) { document { id sha256 } } } pageInfo { hasNextPage endCursor } } }"""
        page = client.graphql(query, after=after)["jobs"]
        documents = {c["document"]["id"]: c["document"]["sha256"] for node in page["nodes"] for c in node["contents"]}
        expected.update(documents.values())
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    stray = {}
    for path in (server.data_dir / "objects").rglob("*"):
        if not path.is_file():
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest in known:
            continue
        expected[digest] -= 1
        if expected[digest] < 0:
            stray[str(path.relative_to(server.data_dir))] = path.stat().st_size
    for path, size in list(stray.items())[:10]:
        print(f"stray: {path} {json.dumps(size)} bytes")
    return stray


if __name__ == "__main__":
    main()
