#!/usr/bin/env python3
"""Sends SIGKILL to the server while 50 jobs are running, restarts it, and checks the jobs.

Half of the jobs do nothing (noop); the others read random documents from the folders. Every createJob has an idempotency
key. After a restart, the script repeats the requests that got no response. Each round kills the server once or twice at
random times. The script checks every job through the API:

- The job ends like the job of the same document without a kill, with the same bytes in every role.
- A job acknowledged before a kill is still the same job, and there is no second one.
- The event sequence is 1..n, and the status changes of the job and its steps are legal. Each content was added once, during
  an attempt of its step.
- Contents and history agree. Every content can be downloaded and has the right hash.
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
LEGAL_JOB_CHANGES = {
    "QUEUED": {"RUNNING", "CANCELLED"},
    "RUNNING": {"QUEUED", "BLOCKED", "COMPLETED", "FAILED", "CANCELLED"},
    "BLOCKED": {"QUEUED", "COMPLETED", "FAILED", "CANCELLED"},
}
LEGAL_STEP_CHANGES = {
    "PENDING": {"QUEUED", "BLOCKED"},
    "QUEUED": {"RUNNING", "CANCELLED"},
    "RUNNING": {"QUEUED", "BLOCKED", "COMPLETED", "FAILED", "CANCELLED"},
    "BLOCKED": {"COMPLETED", "FAILED", "CANCELLED"},
}
CONNECTION_ERRORS = (OSError, http.client.HTTPException)


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("folders", nargs="+", type=pathlib.Path, help="folders of PDFs")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--concurrency", type=int, default=JOBS, help="concurrent steps (default 50, so that all jobs run)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = harness.parse(parser)
    report = harness.Report(options.database)
    files = sorted(path for folder in options.folders for path in folder.glob("*.pdf"))
    if not files:
        print(f"skipped: no PDFs in {', '.join(map(str, options.folders))}")
        return
    print(f"seed {options.seed}")
    rng = random.Random(options.seed)
    tally, problems, longest = collections.Counter(), [], 0.0
    with harness.Server(options, DOCKET_ENGINE_CONCURRENCY=str(options.concurrency)) as server:
        server.start()
        expected_outcomes = outcomes_without_kills(server.client, files)
        for number in range(1, options.rounds + 1):
            chosen = [rng.choice(files) for _ in range(JOBS // 2)]
            found, took = run_round(server, chosen, expected_outcomes, number, rng, tally)
            problems += found
            longest = max(longest, took)
        orphans = orphaned_objects(server)
        server.stop()
    for problem in problems[:50]:
        print(f"WRONG {problem}")
    total = options.rounds * JOBS
    report.add(tally["ended"] == total, f"kill -9: all {JOBS} jobs end", f"{tally['ended']} of {total} after {tally['kills']} kills "
                 f"in {options.rounds} rounds; at most {longest:.1f} s after the last start")
    report.add(tally["running"], "jobs were running at the kills", f"{tally['running']} running, {tally['queued']} queued, "
                 f"{tally['unanswered']} createJob without a response; {tally['again']} steps had a second attempt, {tally['third']} a third")
    for kind, line in [("outcome", "every job ends as it does without a kill"), ("duplicate", "no output is duplicated"),
                       ("sequence", "every event sequence is gapless"), ("illegal", "every status change is legal"),
                       ("lost", "no acknowledged job is lost"), ("content", "contents are complete and agree with the history"),
                       ("child", "no child process outlives the server")]:
        count = sum(problem.startswith(kind) for problem in problems)
        report.add(not count, line, f"{count} violations")
    report.add(not orphans, "no orphaned objects remain", f"{len(orphans)} files, {sum(orphans.values())} bytes", required=False)
    report.finish()


def create(client, path, kind, key=None):
    document = client.uploaded[path]
    return client.create_job(document, kind, None if kind == "noop" else TAXONOMY["name"], key)


def outcomes_without_kills(client, files):
    """Runs a job per file without a kill; returns status, failure code, and hash by role for each."""
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
            # The job ID and the creation time in the XML differ between jobs.
            text = re.sub(rb' (job|createdAt)="[^"]*"', b"", client.download(content["uri"]))
            hashes["output"] = hashlib.sha256(text).hexdigest()
    return job["status"], job["failure"] and job["failure"]["code"], hashes


def run_round(server, chosen, expected_outcomes, number, rng, tally):
    """Runs 50 jobs with one or two kills; returns the problems and the seconds from the last start to the end of all jobs."""
    specs = [(f"{number}-{i}", chosen[i // 2], "noop" if i % 2 else harness.EXTRACTION) for i in range(JOBS)]
    uploaded = server.client.uploaded
    acknowledged, problems, kills = {}, [], rng.choice([1, 1, 2])
    for _ in range(kills):
        problems += create_jobs_and_kill(server, specs, acknowledged, rng, tally)
        ready = server.start()
        server.client.uploaded = uploaded
    client, began = server.client, time.monotonic()
    ids = {key: create(client, path, kind, key) for key, path, kind in specs}
    problems += [f"lost: {key} was {acknowledged[key]}, is {ids[key]}" for key in acknowledged if ids[key] != acknowledged[key]]
    late = client.wait(list(ids.values()), 300)
    took = time.monotonic() - began
    problems += [f"hangs: {job_id} is {status}" for job_id, status in late.items()]
    for key, path, kind in specs:
        found = check_job(client, ids[key], tally)
        expected = ("COMPLETED", None, {}) if kind == "noop" else expected_outcomes[path]
        status, code, hashes = outcome(client, ids[key])
        if kind == "noop":
            hashes.pop("input")
        if (status, code) != expected[:2]:
            found.append(f"outcome: {status} {code} instead of {expected[:2]}")
        elif hashes != expected[2]:
            found.append(f"outcome: different bytes in {[r for r in expected[2] | hashes if expected[2].get(r) != hashes.get(r)]}")
        problems += [f"{problem} (round {number}, {kind} {path.name} {ids[key]})" for problem in found]
    count = client.graphql("{ jobs(first: 1) { totalCount } }")["jobs"]["totalCount"]
    if count != len(expected_outcomes) + number * JOBS:
        problems.append(f"duplicate: {count} jobs exist instead of {len(expected_outcomes) + number * JOBS}")
    tally["ended"] += JOBS - len(late)
    print(f"round {number}: {kills} kill(s); ready after {ready:.2f} s, all ended {took:.1f} s after that; {len(problems)} problems", flush=True)
    return problems, took


def create_jobs_and_kill(server, specs, acknowledged, rng, tally):
    """Creates the jobs that are not acknowledged yet, and kills the server. In a third of the first kills of a round this
    happens during creation, otherwise after a random number of jobs has ended.
    """
    client, target = server.client, rng.randrange(JOBS - 8)
    kill_after = rng.randrange(1, JOBS) if not acknowledged and rng.random() < 0.34 else None
    pending, unanswered = [spec for spec in specs if spec[0] not in acknowledged], 0
    with harness.ProcessMonitor(server.pid) as monitor, concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = {pool.submit(create, client, path, kind, key): key for key, path, kind in pending}
        began, statuses = time.monotonic(), collections.Counter()
        while time.monotonic() < began + 60:
            known = list(acknowledged.values()) + [f.result() for f in futures if f.done()]
            if kill_after and len(known) >= kill_after:
                break
            statuses = collections.Counter(client.statuses(known).values())
            ended = sum(statuses[status] for status in harness.FINAL)
            if ended >= target and statuses["RUNNING"] >= min(3, JOBS - ended):
                break
        # Polling takes time. A random delay makes the kill hit any point between two writes.
        time.sleep(0 if kill_after else rng.uniform(0, 0.02))
        monitor.sample()
        server.kill()
        killed = time.monotonic()
        for future, key in futures.items():
            try:
                acknowledged[key] = future.result()
            except CONNECTION_ERRORS:
                unanswered += 1
    while monitor.alive() and time.monotonic() < killed + 10:
        time.sleep(0.01)
    children_ended = time.monotonic() - killed
    tally.update(running=statuses["RUNNING"], queued=statuses["QUEUED"], unanswered=unanswered, kills=1)
    print(f"  killed after {killed - began:.2f} s at {dict(statuses)}, {unanswered} createJob without a response, "
          f"{len(monitor.children)} children observed, all ended after {children_ended:.2f} s")
    return [f"child: {identity} still runs 10 s after the kill" for identity in monitor.alive()]


def check_job(client, job_id, tally):
    """Returns the problems of an ended job, each prefixed with its kind."""
    query = """query($id: ID!) { job(id: $id) { status failure { code message } steps { name status attempt }
        outputContent { version } type { id }
        contents(superseded: true) { role version current step document { id sha256 size contentsUri } } } }"""
    job, events = client.graphql(query, id=job_id)["job"], client.events(job_id)
    problems = list(check_history(job, events))
    tally["again"] += sum(step["attempt"] > 1 for step in job["steps"])
    tally["third"] += sum(step["attempt"] > 2 for step in job["steps"])
    added = [(e["data"]["role"], e["data"]["version"], e["data"]["documentId"], e["data"]["sha256"])
             for e in events if e["kind"] == "CONTENT_ADDED"]
    actual = [(c["role"], c["version"], c["document"]["id"], c["document"]["sha256"]) for c in job["contents"]]
    if sorted(added) != sorted(actual):
        problems.append(f"content: history has {len(added)}, the job {len(actual)}: {set(added) ^ set(actual)}")
    roles = collections.Counter(c["role"] for c in job["contents"])
    problems += [f"duplicate: {n} contents in role {role}" for role, n in roles.items() if n > 1]
    for content in job["contents"]:
        body = client.download(content["document"]["contentsUri"])
        if hashlib.sha256(body).hexdigest() != content["document"]["sha256"] or len(body) != content["document"]["size"]:
            problems.append(f"content: {content['role']} does not match its hash or size")
    if job["type"]["id"] == harness.EXTRACTION and job["status"] == "COMPLETED" and not job["outputContent"]:
        problems.append("content: completed without output")
    return problems


def check_history(job, events):
    """Yields the problems in the history of a job."""
    if [e["sequence"] for e in events] != list(range(1, len(events) + 1)):
        yield f"sequence: {[e['sequence'] for e in events]}"
    if not events or events[0]["kind"] != "CREATED":
        yield "sequence: the first event is not CREATED"
    status, steps, attempts = "QUEUED", collections.defaultdict(lambda: "PENDING"), collections.Counter()
    added, completions = collections.Counter(), collections.Counter()
    for event in events:
        data, position = event["data"], f"at event {event['sequence']}"
        if event["kind"] == "STATUS_CHANGED":
            if data["from"] != status or data["to"] not in LEGAL_JOB_CHANGES.get(status, ()):
                yield f"illegal: {status}, then {data['from']} to {data['to']} {position}"
            status = data["to"]
        elif event["kind"] == "STEP_CHANGED":
            step, to = data["step"], data["to"]
            if data["from"] != steps[step] or to not in LEGAL_STEP_CHANGES.get(steps[step], ()):
                yield f"illegal: {step} {steps[step]}, then {data['from']} to {to} {position}"
            steps[step] = to
            if to == "RUNNING":
                attempts[step] += 1
                if data["attempt"] != attempts[step]:
                    yield f"illegal: {step} attempt {data['attempt']} instead of {attempts[step]} {position}"
            completions[step] += to == "COMPLETED"
        elif event["kind"] == "CONTENT_ADDED" and data.get("step"):
            step = data["step"]
            if steps[step] != "RUNNING" and data["role"] != "input" and not data["role"].endswith("-taxonomy-json"):
                yield f"illegal: {data['role']} added while {step} was {steps[step]} {position}"
            added[step, attempts[step], data["role"]] += 1
    if status != job["status"]:
        yield f"illegal: history ends with {status}, the job is {job['status']}"
    for step in job["steps"]:
        if step["status"] != steps[step["name"]]:
            yield f"illegal: {step['name']} is {step['status']}, by the history {steps[step['name']]}"
    yield from (f"duplicate: {role} by {step} attempt {attempt}, {n} times" for (step, attempt, role), n in added.items() if n > 1)
    yield from (f"duplicate: {step} completed {n} times" for step, n in completions.items() if n > 1)


def orphaned_objects(server):
    """Returns the files in the object store whose hash belongs to no document or content that the API shows."""
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
    orphans = {}
    for path in (server.data_dir / "objects").rglob("*"):
        if not path.is_file():
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest in known:
            continue
        expected[digest] -= 1
        if expected[digest] < 0:
            orphans[str(path.relative_to(server.data_dir))] = path.stat().st_size
    for path, size in list(orphans.items())[:10]:
        print(f"orphan: {path} {json.dumps(size)} bytes")
    return orphans


if __name__ == "__main__":
    main()
