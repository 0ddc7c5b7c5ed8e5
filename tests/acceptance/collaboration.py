#!/usr/bin/env python3
"""Checks sharing, reviews, corrections and their visibility through the API.

An owner shares an invoice with a reviewer of all steps and with a team for one step. The history is read in five ways, one
of them with five connection resets. Further checks, each on its own job: 50 users claim one review concurrently; stale
decisions and invalid patches are refused and change nothing; a job is rejected, retried, sent back and rewound; 100
subscriptions end when their viewer loses access; four-eyes steps; TEST mode.
"""

import collections
import concurrent.futures
import contextlib
import json
import threading
import time
import traceback
import types
import urllib.parse
import uuid
import xml.etree.ElementTree

import harness
import sockets

TIMEOUT_SECONDS = 60
RESETS, EVENTS_PER_CONNECTION, PAGE = 5, 6, 7
CLAIMANTS = 50
SUBSCRIPTIONS, CONNECTIONS = 100, 5
MAX_DELAY_SECONDS = 1.0
CORRECTED = 'Corrected "by hand" & <checked> – 4711'

EVENT = "cursor sequence jobId kind at actor { id email } data"
REVIEW = """id step status reason comment draft claimedBy { id } claimExpiresAt decidedBy { id } decidedAt job { id }
    content { role version document { id sha256 contentsUri } } items { path label value confidence page box }"""
CONTENT = "role version current step uri document { id sha256 }"
JOB = f"""query($id: ID!) {{ job(id: $id) {{ id status failure {{ code message step }} currentStep {{ name status }}
    steps {{ name status }} outputContent {{ version }} review {{ {REVIEW} }} }} }}"""
JOB_EVENTS = f"subscription($id: ID!, $after: String) {{ jobEvents(jobId: $id, after: $after) {{ {EVENT} }} }}"
FEED = f"subscription($filter: JobFilter) {{ events(filter: $filter) {{ {EVENT} }} }}"
JOB_UPDATED = "subscription($id: ID!) { jobUpdated(id: $id) { id status metadata updatedAt } }"
JOBS_UPDATED = "subscription { jobsUpdated { id status metadata updatedAt } }"
REVIEWS_UPDATED = """subscription { reviewsUpdated {
    id step status job { id } claimedBy { id } decidedBy { id } } }"""


def main():
    parser = harness.arguments(__doc__, "folder of invoices")
    parser.add_argument("--invoice", help="name of the invoice (default: the first of the folder)")
    options = harness.parse(parser)
    cases = sorted(options.folder.glob(f"{options.invoice or '*'}.expected.json"))
    if not cases:
        print(f"skipped: there are no invoices in {options.folder}")
        return
    case = json.loads(cases[0].read_text())
    report = harness.Report(options.database)
    with harness.Server(options) as server, contextlib.ExitStack() as stack:
        server.start()
        fixtures = create_fixtures(server, options.folder, case)
        all_events = subscribe(stack, fixtures.ada, FEED)
        for part in (invoice_flow, concurrent_claims, stale_decisions, repeated_steps, loss_of_access, four_eyes, test_mode):
            print(f"{part.__name__.replace('_', ' ')}:", flush=True)
            began = time.monotonic()
            try:
                part(report, fixtures, server)
            except Exception as error:
                traceback.print_exc()
                report.add(False, f"{part.__name__.replace('_', ' ')} runs to its end", f"{type(error).__name__}: {error}")
            print(f"  {time.monotonic() - began:.1f} s", flush=True)
        with criterion(report, "every history has no gaps and equals the feed") as check:
            count = 0
            for job_id in fixtures.jobs:
                events = history(fixtures.ada, job_id, check, first=100)
                check.gapless(job_id, events)
                all_events.wait(lambda it: len(events_of_job(it, job_id)) >= len(events), TIMEOUT_SECONDS, f"the feed of {job_id}")
                check.same({"Job.events": events, "the feed": events_of_job(all_events, job_id)})
                count += len(events)
            check.figure(f"{len(fixtures.jobs)} jobs, {count} events")
        with criterion(report, "no errors in the log") as check:
            problems = server.logged_errors()
            check.that(not problems, "; ".join(problem[:200] for problem in problems[:3]))
            check.figure("no errors")
    report.finish()


# ---------------------------------------------------------------- checks


class Check:
    """Problems and figures of one acceptance criterion."""

    def __init__(self):
        self.problems, self.figures = [], []

    def that(self, condition, problem):
        if not condition:
            self.problems.append(problem)
        return condition

    def figure(self, text):
        self.figures.append(text)

    def refused(self, action, work, *codes):
        """Checks that the work is refused with one of the codes; returns the error."""
        try:
            work()
        except harness.ApiError as error:
            self.that(error.code in codes, f"{action}: {error.code} ({error.message}) instead of {' or '.join(codes)}")
            return error
        self.that(False, f"{action}: success instead of {' or '.join(codes)}")
        return None

    def gapless(self, name, events):
        found = [event["sequence"] for event in events]
        self.that(found and found == list(range(1, len(found) + 1)), f"{name}: sequences {found}")

    def same(self, histories):
        """Checks that histories read in several ways are equal."""
        (first, expected), *others = histories.items()
        for name, found in others:
            if found != expected:
                position = next((i for i, (a, b) in enumerate(zip(expected, found)) if a != b), min(len(expected), len(found)))
                a, b = (events[position] if position < len(events) else None for events in (expected, found))
                self.that(False, f"{name} has {len(found)} events, {first} {len(expected)}; the first difference is event {position + 1}: {b} instead of {a}")


@contextlib.contextmanager
def criterion(report, text, required=True):
    """Adds one criterion to the report. An exception in the body fails it and does not stop the script."""
    check = Check()
    try:
        yield check
    except Exception as error:
        if not isinstance(error, (harness.ApiError, TimeoutError, sockets.ProtocolError, sockets.ConnectionClosed)):
            traceback.print_exc()
        check.that(False, f"{type(error).__name__}: {error}")
    for problem in check.problems:
        print(f"  WRONG {text}: {problem}", flush=True)
    more = f" (and {len(check.problems) - 3} more)" if len(check.problems) > 3 else ""
    report.add(not check.problems, text, "; ".join(check.problems[:3]) + more or "; ".join(check.figures), required)


def poll_until(poll, condition, description, seconds=TIMEOUT_SECONDS):
    """Polls until the condition holds; returns the last result."""
    end = time.monotonic() + seconds
    while not condition(result := poll()):
        if time.monotonic() > end:
            raise TimeoutError(f"{description}: not within {seconds} s, but {result}")
        time.sleep(0.02)
    return result


# ---------------------------------------------------------------- users and their actions


class User(harness.Client):
    """A client with its own account and API key, which it creates by commands."""

    def __init__(self, server, name, *flags):
        self.email = f"{name}@example.com"
        server.run("user", "add", "--email", self.email, "--name", name.title(), *flags)
        key = server.run("key", "create", "--email", self.email, "--name", "acceptance")
        super().__init__(server.client.address, key)
        self.id = self.graphql("{ viewer { id } }")["viewer"]["id"]

    def mutate(self, name, kind, fields, /, **values):
        """Runs a mutation with the argument `input`; returns its payload."""
        return self.graphql(f"mutation($input: {kind}!) {{ {name}(input: $input) {{ {fields} }} }}", input=values)[name]

    def job_details(self, job_id):
        return self.graphql(JOB, id=job_id)["job"]

    def contents(self, job_id, role=None, superseded=False):
        query = f"""query($id: ID!, $role: String, $superseded: Boolean) {{ job(id: $id) {{
            contents(role: $role, superseded: $superseded) {{ {CONTENT} }} }} }}"""
        return self.graphql(query, id=job_id, role=role, superseded=superseded)["job"]["contents"]

    def review(self, review_id):
        return self.graphql(f"query($id: ID!) {{ review(id: $id) {{ {REVIEW} }} }}", id=review_id)["review"]

    def review_queue(self):
        """Returns the IDs of the reviews that the user may decide."""
        ids, after = [], None
        while True:
            query = """query($after: String) { reviews(first: 50, after: $after) {
                nodes { id } totalCount pageInfo { hasNextPage endCursor } } }"""
            page = self.graphql(query, after=after)["reviews"]
            ids += [node["id"] for node in page["nodes"]]
            after = page["pageInfo"]["endCursor"]
            if not page["pageInfo"]["hasNextPage"]:
                return ids

    def claim(self, review_id):
        query = f"mutation($id: ID!) {{ claimReview(id: $id) {{ review {{ {REVIEW} }} }} }}"
        return self.graphql(query, id=review_id)["claimReview"]["review"]

    def save_draft(self, review_id, patch):
        return self.mutate("saveReviewDraft", "SaveReviewDraftInput", f"review {{ {REVIEW} }}", id=review_id, patch=patch)["review"]

    def decide(self, review, decision, **more):
        """Decides on the content in the review, unless the caller passes another hash."""
        if review["content"]:
            more.setdefault("contentSha256", review["content"]["document"]["sha256"])
        fields = f"review {{ {REVIEW} }}"
        return self.mutate("decideReview", "DecideReviewInput", fields, id=review["id"], decision=decision, **more)["review"]

    def approve(self, review, **more):
        self.claim(review["id"])
        return self.decide(review, "APPROVE", **more)

    def update(self, job_id, **metadata):
        return self.mutate("updateJob", "UpdateJobInput", "job { id metadata }", id=job_id, metadata=metadata)["job"]

    def share(self, job_id, collaborator, steps):
        fields = "job { collaboration { teams { team { id name } steps } users { user { id email } steps } } }"
        values = {"jobId": job_id, "collaborator": collaborator, "steps": steps}
        return self.mutate("addCollaborator", "AddCollaboratorInput", fields, **values)["job"]["collaboration"]

    def unshare(self, job_id, collaborator):
        fields = "job { collaboration { teams { team { id } } users { user { id } } } }"
        values = {"jobId": job_id, "collaborator": collaborator}
        return self.mutate("removeCollaborator", "RemoveCollaboratorInput", fields, **values)["job"]["collaboration"]

    def create_team(self, name, *members):
        team_id = self.mutate("createTeam", "CreateTeamInput", "team { id }", name=name)["team"]["id"]
        for member in members:
            self.mutate("addTeamMember", "TeamMemberInput", "team { id }", teamId=team_id, userEmail=member.email)
        return team_id

    def download_status(self, uri):
        """Returns the HTTP status of a download."""
        return self.request("GET", urllib.parse.urlsplit(uri).path)[0]


def create_fixtures(server, folder, case):
    """Creates the users, their team, the taxonomy and the invoice."""
    fixtures = types.SimpleNamespace(jobs=[])
    for name in ("ada", "bob", "carol", "dora", "eve"):
        setattr(fixtures, name, User(server, name))
    fixtures.root = User(server, "root", "--admin")
    fixtures.team = fixtures.dora.create_team("reviewers", fixtures.bob)
    fixtures.taxonomy = json.loads((folder / "taxonomies" / case["taxonomy"]).read_text())
    fixtures.ada.put_taxonomy(fixtures.taxonomy)
    fixtures.pdf, fixtures.invoice = (folder / case["document"]).read_bytes(), case["document"]
    fixtures.document = fixtures.ada.upload(fixtures.pdf, fixtures.invoice, "application/pdf")
    roles = fixtures.ada.graphql("query($id: ID!) { jobType(id: $id) { steps { name contentRoles } } }", id=harness.EXTRACTION)
    fixtures.roles = {step["name"]: step["contentRoles"] for step in roles["jobType"]["steps"]}
    return fixtures


def create(client, fixtures, zoning=0, mapping=1, collaboration=(), **metadata):
    """Creates a job on the invoice. By default it blocks at mapping."""
    document = fixtures.document if client is fixtures.ada else client.upload(fixtures.pdf, fixtures.invoice, "application/pdf")
    query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id } } }"
    values = {"type": harness.EXTRACTION, "input": {"documentId": document["id"]}, "collaboration": list(collaboration),
             "metadata": {"mapping.taxonomy": fixtures.taxonomy["name"], "mapping.high_confidence_threshold": mapping,
                          "zoning.high_confidence_threshold": zoning, **metadata}}
    job_id = client.graphql(query, input=values)["createJob"]["job"]["id"]
    if client is fixtures.ada:
        fixtures.jobs.append(job_id)
    return job_id


def user_share(user, *steps):
    return {"collaborator": {"userEmail": user.email}, "steps": steps or ["*"]}


def team_share(name, *steps):
    return {"collaborator": {"teamName": name}, "steps": steps or ["*"]}


def wait_until_blocked_or_final(client, job_id):
    """Waits until the job is BLOCKED or final; returns the job."""
    return poll_until(lambda: client.job_details(job_id), lambda job: job["status"] in harness.FINAL | {"BLOCKED"}, f"job {job_id} blocked or final")


def wait_for_review(client, job_id, step):
    """Waits until the job blocks at the step; returns the review."""
    job = wait_until_blocked_or_final(client, job_id)
    if job["status"] != "BLOCKED" or not job["review"] or job["review"]["step"] != step:
        raise sockets.ProtocolError(f"the job is {job['status']} {job['failure'] or ''} with the review {job['review']}, not blocked at {step}")
    return job["review"]


def wait_for_completion(client, job_id):
    job = wait_until_blocked_or_final(client, job_id)
    if job["status"] != "COMPLETED":
        raise sockets.ProtocolError(f"the job is {job['status']}, {job['failure'] or job['review']}, not COMPLETED")
    return job


def history(client, job_id, check, first=PAGE):
    """Reads Job.events in pages."""
    query = f"""query($id: ID!, $first: Int, $after: String) {{ job(id: $id) {{ events(first: $first, after: $after) {{
        edges {{ cursor node {{ {EVENT} }} }} pageInfo {{ hasNextPage endCursor }} }} }} }}"""
    events, after = [], None
    while True:
        page = client.graphql(query, id=job_id, first=first, after=after)["job"]["events"]
        edges, info = page["edges"], page["pageInfo"]
        events += [edge["node"] for edge in edges]
        wrong_cursors = [edge["cursor"] for edge in edges if edge["cursor"] != edge["node"]["cursor"]]
        check.that(not wrong_cursors and len(edges) <= first and (len(edges) == first or not info["hasNextPage"]),
                   f"a page of {len(edges)} events with {len(wrong_cursors)} cursors that differ from those of the events")
        if not edges or not info["hasNextPage"]:
            return events
        after = info["endCursor"]


def subscribe(stack, client, query, **variables):
    """Starts a subscription on its own connection."""
    connection = stack.enter_context(sockets.Connection(client.address, client.key))
    return connection.subscribe(query, **variables)


def events_of_job(subscription, job_id):
    """Returns the events of one job that a subscription has received."""
    return [event for event in subscription.data() if event["jobId"] == job_id]


def find(events, kind, **data):
    """Returns the events of a kind with these values in their data."""
    return [event for event in events
            if event["kind"] == kind and all(event["data"].get(name) == value for name, value in data.items())]


def snapshot(client, job_id, review_id):
    """Returns all state that a refused change could have changed."""
    check, job = Check(), client.job_details(job_id)
    return {"job": job, "review": client.review(review_id), "contents": client.contents(job_id, superseded=True),
            "events": history(client, job_id, check, first=100)}


def check_unchanged(check, action, before, after):
    for name in before:
        check.that(before[name] == after[name], f"{action}: {name} changed from {before[name]} to {after[name]}")


def data_points(client, review):
    return json.loads(client.download(review["content"]["document"]["contentsUri"]))["data_points"]


def correction(fixtures, points, value=CORRECTED):
    """Returns a patch that corrects one text value. Values of other types are normalized."""
    texts = {point["name"] for point in fixtures.taxonomy["data_points"] if point["type"] in ("string", "code")}
    index = next(i for i, point in enumerate(points) if point["value"] is not None and point["name"] in texts)
    path = f"/data_points/{index}"
    return [{"op": "test", "path": f"{path}/value", "value": points[index]["value"]},
            {"op": "replace", "path": f"{path}/value", "value": value},
            {"op": "add", "path": f"{path}/normalized", "value": value}]


# ---------------------------------------------------------------- 1 and 9: an invoice with two reviews


def thresholds(fixtures):
    """Returns the thresholds of zoning and mapping: 0.9 if the invoice blocks with it, else 1, which always blocks."""
    job_id, seen = create(fixtures.ada, fixtures, 0.9, 0.9), set()
    while (job := wait_until_blocked_or_final(fixtures.ada, job_id))["status"] == "BLOCKED":
        seen.add(job["review"]["step"])
        fixtures.ada.approve(job["review"])
    return [0.9 if step in seen else 1 for step in ("zoning", "mapping")]


def follow_with_resets(client, job_id, seen, resets):
    """Follows the history of a job over connections that are reset.

    Each connection continues after the last event kept from the previous one. Later events of a connection are dropped.
    """
    while True:
        connection = sockets.Connection(client.address, client.key)
        subscription = connection.subscribe(JOB_EVENTS, pieces=3, id=job_id, after=seen[-1]["cursor"] if seen else None)
        if len(resets) == RESETS:
            end = subscription.wait_for_end(2 * TIMEOUT_SECONDS, "the end of the history")
            connection.close()
            seen += subscription.data()
            return end
        subscription.wait(lambda it: len(it.items) >= EVENTS_PER_CONNECTION, 2 * TIMEOUT_SECONDS, "events before the next reset")
        connection.reset()
        seen += subscription.data()[:EVENTS_PER_CONNECTION]
        resets.append(seen[-1]["sequence"])


class ReviewUpdates:
    """Measures the delay of the updates of a reviewsUpdated subscription."""

    def __init__(self, updates):
        self.updates, self.delays, self.problems = updates, [], []

    def after(self, review, status, user=None, work=lambda: None):
        """Does the work and waits for the update with that status; returns the result of the work."""
        began = time.monotonic()
        result = work()
        update = self.updates.wait_for(lambda it: it["id"] == review["id"] and it["status"] == status, TIMEOUT_SECONDS, f"{review['step']} {status}")
        self.delays.append(time.monotonic() - began)
        by = update["decidedBy"] if status == "APPROVED" else update["claimedBy"]
        if by != (user and {"id": user.id}):
            self.problems.append(f"{review['step']} {status} by {by}")
        return result


def invoice_flow(report, fixtures, server):
    ada, bob, carol, eve = fixtures.ada, fixtures.bob, fixtures.carol, fixtures.eve
    zoning, mapping = thresholds(fixtures)
    step_kinds = ("CONTENT_ADDED", "REVIEW_OPENED", "REVIEW_CLAIMED", "REVIEW_DECIDED")
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(1) as pool:
        reviews = {user: subscribe(stack, user, REVIEWS_UPDATED) for user in (bob, carol, eve)}
        stranger_feed, review_updates = subscribe(stack, eve, FEED), ReviewUpdates(reviews[carol])
        tag = uuid.uuid4().hex
        job_id = create(ada, fixtures, zoning, mapping, [user_share(carol)], tag=tag)
        feed, live = subscribe(stack, ada, FEED, filter={"metadata": {"tag": tag}}), subscribe(stack, ada, JOB_EVENTS, id=job_id)
        seen, resets = [], []
        resetting = pool.submit(follow_with_resets, carol, job_id, seen, resets)
        ada.share(job_id, {"teamName": "reviewers"}, ["mapping"])
        bob_history = subscribe(stack, bob, JOB_EVENTS, id=job_id), subscribe(stack, bob, FEED, filter={"metadata": {"tag": tag}})

        first = wait_for_review(ada, job_id, "zoning")
        with criterion(report, "blocked at zoning: the team of another step has no access") as check:
            bob_job = bob.job_details(job_id)
            check.that(bob_job["status"] == "BLOCKED" and bob_job["review"] is None, f"bob's job has the review {bob_job['review']}")
            check.that(bob.review(first["id"]) is None, "bob sees the review of zoning")
            check.that(first["id"] not in bob.review_queue(), "the review of zoning is in bob's queue")
            check.that(first["id"] in carol.review_queue() and first["id"] in ada.review_queue(), "the review is missing from the queue of carol or ada")
            check.refused("bob claims at zoning", lambda: bob.claim(first["id"]), "NOT_FOUND")
            check.refused("bob decides at zoning", lambda: bob.decide(first, "APPROVE"), "NOT_FOUND")
            check.figure(f"threshold {zoning}: {first['reason']}")
        review_updates.after(first, "OPEN")
        review_updates.after(first, "CLAIMED", carol, lambda: carol.claim(first["id"]))
        review_updates.after(first, "APPROVED", carol, lambda: carol.decide(first, "APPROVE"))

        second = wait_for_review(ada, job_id, "mapping")
        review_updates.after(second, "OPEN")
        with criterion(report, "blocked at mapping: the team sees only its step") as check:
            check_team_view(check, fixtures, job_id, second)
            check.figure(f"threshold {mapping}: {second['reason']}")
        with criterion(report, "contents and reviews of other steps are withheld in events") as check:
            count = check_withheld(check, fixtures, job_id, step_kinds)
            check.figure(f"{count} events withheld; the other events equal those of the owner")
        with criterion(report, "step changes of other steps are withheld in events") as check:
            check.figure(f"{check_withheld(check, fixtures, job_id, ('STEP_CHANGED',))} events")
        with criterion(report, "a user without access sees nothing") as check:
            check_no_access(check, fixtures, job_id, first, second, stranger_feed, reviews[eve])
        with criterion(report, "collaborators have exactly their permissions") as check:
            check_permissions(check, fixtures, job_id)

        review_updates.after(second, "CLAIMED", bob, lambda: bob.claim(second["id"]))
        points = data_points(bob, second)
        patch = correction(fixtures, points)
        with criterion(report, "others see the draft, but cannot change a claimed review") as check:
            check_draft(check, fixtures, second, patch)
        decided = review_updates.after(second, "APPROVED", bob, lambda: bob.decide(second, "APPROVE", patch=patch))
        with criterion(report, "the correction is the next version and is in the XML") as check:
            check.that(decided["status"] == "APPROVED" and decided["decidedBy"] == {"id": bob.id} and decided["decidedAt"],
                       f"the review is {decided['status']} by {decided['decidedBy']} at {decided['decidedAt']}")
            wait_for_completion(ada, job_id)
            check_correction(check, ada, job_id, points, patch)

        with criterion(report, "reviewsUpdated: open, claimed, decided, each within 1 s") as check:
            check.that(not review_updates.problems, "; ".join(review_updates.problems))
            check.that(max(review_updates.delays) < MAX_DELAY_SECONDS, f"{max(review_updates.delays):.2f} s until an update arrived")
            reviews[bob].wait_for(lambda it: it["id"] == second["id"] and it["status"] == "APPROVED", TIMEOUT_SECONDS, "bob's APPROVED")
            others = [it for it in reviews[bob].data() if it["step"] != "mapping" or it["job"]["id"] != job_id]
            check.that(not others, f"bob received {others}")
            statuses = collections.Counter(update["status"] for update in reviews[carol].data())
            check.figure(f"{dict(statuses)}, the slowest after {max(review_updates.delays):.3f} s")
        with criterion(report, f"the history is equal in five ways, {RESETS} resets, pages of {PAGE}") as check:
            events = history(ada, job_id, check)
            end = resetting.result(2 * TIMEOUT_SECONDS)
            check.that(end.kind == "complete" and len(resets) == RESETS, f"after {len(resets)} resets jobEvents ended: {end}")
            end = live.wait_for_end(TIMEOUT_SECONDS, "the end of jobEvents")
            check.that(end.kind == "complete", f"jobEvents ended: {end}")
            late = subscribe(stack, ada, JOB_EVENTS, id=job_id)
            end = late.wait_for_end(TIMEOUT_SECONDS, "the end of jobEvents of an ended job")
            check.that(end.kind == "complete", f"jobEvents from the start ended: {end}")
            feed.wait(lambda it: len(it.items) >= len(events), TIMEOUT_SECONDS, "the feed")
            check.gapless("Job.events", events)
            check.same({"Job.events": events, "jobEvents": live.data(), "jobEvents afterwards": late.data(),
                        "jobEvents with resets": seen, "events(filter)": feed.data()})
            check.figure(f"{len(events)} events, reset after {resets}")
        with criterion(report, "the history of the team is equal in three ways") as check:
            events = history(bob, job_id, check)
            bob_history[0].wait_for_end(TIMEOUT_SECONDS, "the end of bob's jobEvents")
            bob_history[1].wait(lambda it: len(it.items) >= len(events), TIMEOUT_SECONDS, "bob's feed")
            check.gapless("bob's events", events)
            check.same({"Job.events": events, "jobEvents": bob_history[0].data(), "events(filter)": bob_history[1].data()})
            count = check_withheld(check, fixtures, job_id, step_kinds)
            output, = ada.contents(job_id, "output")
            check.that(bob.contents(job_id, "output") == [] and bob.job_details(job_id)["outputContent"] is None, "bob sees the output")
            check.that(bob.download_status(output["uri"]) == 404, "bob can download the output")
            check.figure(f"{len(events)} events, {count} of them withheld")
        with criterion(report, "the event of the decision has receipt, patch and actor") as check:
            events = history(ada, job_id, check)
            found, = find(events, "REVIEW_DECIDED", step="mapping")
            data, actor = found["data"], found["actor"]
            check.that(data.get("contentSha256") == second["content"]["document"]["sha256"], f"contentSha256 {data.get('contentSha256')}")
            check.that(data.get("patch") == patch, f"patch {data.get('patch')}")
            check.that(actor == {"id": bob.id, "email": bob.email}, f"actor {actor}")
            check.that(find(history(bob, job_id, check), "REVIEW_DECIDED", step="mapping") == [found], "bob sees a different event")
            receipt, = find(events, "REVIEW_DECIDED", step="zoning")
            check.that(receipt["data"].get("contentSha256") == first["content"]["document"]["sha256"]
                       and receipt["actor"]["id"] == carol.id, f"at zoning {receipt}")
            check.figure(f"by {actor['email']} on {data['contentSha256'][:12]}…, {len(patch)} operations")


def check_draft(check, fixtures, review, patch):
    bob, carol = fixtures.bob, fixtures.carol
    saved = bob.save_draft(review["id"], patch)
    check.that(saved["draft"] == patch, f"the draft is {saved['draft']}")
    check.that(harness.parse_timestamp(saved["claimExpiresAt"]) > time.time(), f"the claim ended at {saved['claimExpiresAt']}")
    carol_review = carol.review(review["id"])
    check.that(carol_review["draft"] == patch and carol_review["claimedBy"] == {"id": bob.id},
               f"carol sees {carol_review['draft']} by {carol_review['claimedBy']}")
    error = check.refused("carol claims too", lambda: carol.claim(review["id"]), "CONFLICT")
    check.that(error and claimant_id(error) == bob.id, f"claimedBy is {error and error.extensions.get('claimedBy')}")
    check.refused("carol decides", lambda: carol.decide(review, "APPROVE"), "CONFLICT")
    check.refused("carol overwrites the draft", lambda: carol.save_draft(review["id"], []), "CONFLICT")
    check.that(carol.review(review["id"])["draft"] == patch, "the draft changed")
    check.figure(f"{len(patch)} operations")


def check_correction(check, client, job_id, points, patch):
    """Checks that the patch changed one value in a new version, and that the output contains it."""
    versions = client.contents(job_id, "mapping-json", superseded=True)
    check.that([(content["version"], content["current"]) for content in versions] == [(2, True), (1, False)], f"versions {versions}")
    now = json.loads(client.download(versions[0]["uri"]))["data_points"]
    changed = [i for i, (a, b) in enumerate(zip(points, now)) if a != b]
    check.that(len(now) == len(points) and [f"/data_points/{i}/value" for i in changed] == [patch[0]["path"]]
               and now[changed[0]]["value"] == CORRECTED, f"of {len(points)} values, those at {changed} changed")
    root = xml.etree.ElementTree.fromstring(client.content(job_id, "output"))
    texts = [element.text for element in root.iter()] + [text for element in root.iter() for text in element.attrib.values()]
    old_value = patch[0]["value"]
    check.that(CORRECTED in texts, "the XML does not contain the corrected value")
    check.that(old_value not in texts or sum(point["value"] == old_value for point in points) > 1, "the XML still contains the old value")
    check.figure(f"{old_value!r} -> {CORRECTED!r}, well-formed")


def check_team_view(check, fixtures, job_id, review):
    ada, bob = fixtures.ada, fixtures.bob
    query = """query($id: ID!) { job(id: $id) { metadata steps { name } owner { id } permissions
        inputContent { uri document { sha256 } } } }"""
    job = bob.graphql(query, id=job_id)["job"]
    check.that(job["owner"] == {"id": ada.id} and len(job["steps"]) == 4 and job["metadata"]["mapping"], f"bob's job is {job}")
    check.that(bob.download(job["inputContent"]["uri"]) == fixtures.pdf, "bob gets a different input")
    allowed = {"input", *fixtures.roles["mapping"]}
    for superseded in (False, True):
        roles = {content["role"] for content in bob.contents(job_id, superseded=superseded)}
        check.that(roles == allowed, f"bob sees {sorted(roles)} instead of {sorted(allowed)}")
        for role in ("zoning-json", "zoning-pagesmeta-json", "text-json"):
            check.that(bob.contents(job_id, role, superseded) == [], f"bob sees {role}")
    for content in ada.contents(job_id):
        document = bob.graphql("query($id: ID!) { document(id: $id) { id } node(id: $id) { id } }", id=content["document"]["id"])
        status, seen = bob.download_status(content["uri"]), content["role"] in allowed
        check.that(status == (200 if seen else 404), f"bob's download of {content['role']} is {status}")
        check.that(all(bool(found) == seen for found in document.values()), f"{content['role']} as a document: {document}")
        if not seen:
            values = {"type": "noop", "input": {"documentId": content["document"]["id"]}}
            query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id } } }"
            check.refused(f"bob creates a job from {content['role']}", lambda: bob.graphql(query, input=values), "NOT_FOUND", "BAD_USER_INPUT")
    own = bob.job_details(job_id)["review"]
    check.that(own and own["id"] == review["id"] and own["content"]["document"]["sha256"] == review["content"]["document"]["sha256"],
               f"bob's review is {own}")
    check.that(own and own["items"] == review["items"] and own["items"], "the items are missing or different")
    check.that(review["id"] in bob.review_queue(), "the review is not in bob's queue")
    check.that(review["id"] not in fixtures.eve.review_queue(), "the review is in eve's queue")


def check_withheld(check, fixtures, job_id, kinds):
    """Checks that bob gets no data of these event kinds of other steps, and equal events of his step and of no step.

    Returns the number of withheld events.
    """
    owner_events, bob_events = history(fixtures.ada, job_id, check), history(fixtures.bob, job_id, check)
    check.that([event["sequence"] for event in owner_events] == [event["sequence"] for event in bob_events], "the sequences differ")
    allowed, count = {"input", *fixtures.roles["mapping"]}, 0
    step_kinds = ("CONTENT_ADDED", "STEP_CHANGED", "REVIEW_OPENED", "REVIEW_CLAIMED", "REVIEW_RELEASED", "REVIEW_DECIDED")
    for full, partial in zip(owner_events, bob_events):
        data = full["data"]
        is_visible = data["role"] in allowed if full["kind"] == "CONTENT_ADDED" else data.get("step") == "mapping"
        if is_visible or full["kind"] not in step_kinds:
            check.that(full == partial, f"event {full['sequence']} is {partial} instead of {full}")
        elif full["kind"] in kinds:
            count += 1
            shown = sorted(name for name in data if name != "step" and data[name] is not None and partial["data"].get(name) == data[name])
            check.that(not shown, f"event {full['sequence']}, {full['kind']} of {data.get('step')}, shows {', '.join(shown)}")
    check.that(count, f"there is no event of {', '.join(kinds)}")
    return count


def check_no_access(check, fixtures, job_id, first, second, feed, reviews):
    ada, eve = fixtures.ada, fixtures.eve
    for review in (first, second):
        check.that(eve.review(review["id"]) is None, f"eve sees the review of {review['step']}")
        check.refused("claimReview", lambda: eve.claim(review["id"]), "NOT_FOUND")
        check.refused("saveReviewDraft", lambda: eve.save_draft(review["id"], []), "NOT_FOUND")
        check.refused("decideReview", lambda: eve.decide(review, "APPROVE"), "NOT_FOUND")
        release = "mutation($id: ID!) { releaseReview(id: $id) { review { id } } }"
        check.refused("releaseReview", lambda: eve.graphql(release, id=review["id"]), "NOT_FOUND")
    for node_id in (job_id, first["id"], second["id"]):
        check.that(eve.graphql("query($id: ID!) { node(id: $id) { id } }", id=node_id)["node"] is None, f"eve sees the node {node_id}")
    check.that(eve.job_details(job_id) is None, "eve sees the job")
    check.that(eve.graphql("{ jobs { totalCount } }")["jobs"]["totalCount"] == 0, "eve lists jobs")
    contents = ada.contents(job_id)
    for content in contents:
        found = eve.graphql("query($id: ID!) { document(id: $id) { id } }", id=content["document"]["id"])["document"]
        check.that(found is None, f"eve sees the document of {content['role']}")
        check.that(eve.download_status(content["uri"]) == 404, f"eve can download {content['role']}")
    for name in ("cancelJob", "retryJob"):
        mutation = f"mutation($id: ID!) {{ {name}(id: $id) {{ job {{ id }} }} }}"
        check.refused(name, lambda: eve.graphql(mutation, id=job_id), "NOT_FOUND")
    mutation = "mutation($id: ID!) { deleteJob(id: $id) { deletedId } }"
    check.refused("deleteJob", lambda: eve.graphql(mutation, id=job_id), "NOT_FOUND")
    check.refused("updateJob", lambda: eve.update(job_id, x=1), "NOT_FOUND")
    check.refused("rewindJob", lambda: rewind(eve, job_id, "zoning"), "NOT_FOUND")
    check.refused("addCollaborator", lambda: eve.share(job_id, {"userEmail": eve.email}, ["*"]), "NOT_FOUND")
    check.refused("removeCollaborator", lambda: eve.unshare(job_id, {"teamName": "reviewers"}), "NOT_FOUND")
    with sockets.Connection(eve.address, eve.key) as connection:
        for query in (JOB_UPDATED, JOB_EVENTS):
            end = connection.subscribe(query, id=job_id).wait_for_end(TIMEOUT_SECONDS, "eve's subscription")
            code = end.errors and (end.errors[0].get("extensions") or {}).get("code")
            check.that(end.kind == "error" and code == "NOT_FOUND", f"{query.split('{')[1].strip()}: {end}")
    # Eve's own job comes last. When its events arrive, all earlier events would have arrived too.
    own = create(eve, fixtures)
    review = wait_for_review(eve, own, "mapping")
    check.that(eve.review_queue() == [review["id"]], f"eve's queue is {eve.review_queue()}")
    feed.wait_for(lambda event: event["kind"] == "REVIEW_OPENED", TIMEOUT_SECONDS, "eve's own review in her feed")
    reviews.wait_for(lambda update: update["id"] == review["id"], TIMEOUT_SECONDS, "eve's own review")
    others = [event for event in feed.data() if event["jobId"] != own]
    others += [update for update in reviews.data() if update["job"]["id"] != own]
    check.that(not others, f"eve received {others[:1]}")
    check.figure(f"{len(contents)} contents, 11 mutations, 4 subscriptions")


def check_permissions(check, fixtures, job_id):
    """Checks the forbidden actions of collaborators. Other criteria cover the allowed actions."""
    bob, carol = fixtures.bob, fixtures.carol
    cancel = "mutation($id: ID!) { cancelJob(id: $id) { job { id } } }"
    retry = "mutation($id: ID!) { retryJob(id: $id) { job { id } } }"
    delete = "mutation($id: ID!) { deleteJob(id: $id) { deletedId } }"
    for user in (bob, carol):
        check.refused("share", lambda: user.share(job_id, {"userEmail": fixtures.dora.email}, ["*"]), "FORBIDDEN")
        check.refused("unshare", lambda: user.unshare(job_id, {"teamName": "reviewers"}), "FORBIDDEN")
        check.refused("delete", lambda: user.graphql(delete, id=job_id), "FORBIDDEN")
    check.refused("bob's update", lambda: bob.update(job_id, x=1), "FORBIDDEN")
    check.refused("bob's cancellation", lambda: bob.graphql(cancel, id=job_id), "FORBIDDEN")
    check.refused("bob's retry", lambda: bob.graphql(retry, id=job_id), "FORBIDDEN")
    check.refused("bob's rewind", lambda: rewind(bob, job_id, "mapping"), "FORBIDDEN")
    check.that(carol.update(job_id, note="by carol")["metadata"]["note"] == "by carol", "carol's update is not in the metadata")
    dora, unknown_team = {"userEmail": fixtures.dora.email}, {"teamName": "unknown"}
    check.refused("an unknown step", lambda: fixtures.ada.share(job_id, dora, ["mapping", "baking"]), "BAD_USER_INPUT")
    check.refused("an unknown team", lambda: fixtures.ada.share(job_id, unknown_team, ["*"]), "NOT_FOUND")
    shared = fixtures.ada.share(job_id, {"teamName": "reviewers"}, ["mapping"])
    check.that([(row["team"]["name"], row["steps"]) for row in shared["teams"]] == [("reviewers", ["mapping"])]
               and [(row["user"]["email"], row["steps"]) for row in shared["users"]] == [(carol.email, ["*"])], f"collaboration {shared}")
    permissions = {name: set(user.graphql("query($id: ID!) { job(id: $id) { permissions } }", id=job_id)["job"]["permissions"])
                   for name, user in (("ada", fixtures.ada), ("bob", bob), ("carol", carol))}
    expected = {"ada": {"VIEW", "EDIT", "WORK", "SHARE", "CANCEL", "DELETE"}, "bob": {"VIEW", "WORK"}, "carol": {"VIEW", "EDIT", "WORK", "CANCEL"}}
    check.that(permissions == expected, f"permissions {permissions}")
    check.figure("12 refusals")


def rewind(client, job_id, step, **more):
    return client.mutate("rewindJob", "RewindJobInput", "job { id status outputContent { version } }", id=job_id, toStep=step, **more)["job"]


def claimant_id(error):
    """Returns the ID of the claimant from a CONFLICT error."""
    by = error.extensions.get("claimedBy")
    return by.get("id") if isinstance(by, dict) else by


# ---------------------------------------------------------------- 2: concurrent claims


def concurrent_claims(report, fixtures, server):
    with criterion(report, f"{CLAIMANTS} concurrent claims of one review: one succeeds") as check:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            users = list(pool.map(lambda number: User(server, f"claimant{number}"), range(CLAIMANTS)))
        users[0].create_team("claimants", *users[1:])
        job_id = create(fixtures.ada, fixtures, collaboration=[team_share("claimants", "mapping")])
        review = wait_for_review(fixtures.ada, job_id, "mapping")
        barrier = threading.Barrier(CLAIMANTS)

        def claim(user):
            user.graphql("{ viewer { id } }")
            barrier.wait(TIMEOUT_SECONDS)
            try:
                return user.claim(review["id"])
            except harness.ApiError as error:
                return error

        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(CLAIMANTS) as pool:
            answers = list(pool.map(claim, users))
        took = time.monotonic() - began
        successful = [user for user, answer in zip(users, answers) if isinstance(answer, dict)]
        codes = collections.Counter(answer.code for answer in answers if isinstance(answer, harness.ApiError))
        check.that(len(successful) == 1, f"{len(successful)} succeeded")
        check.that(codes == {"CONFLICT": CLAIMANTS - 1}, f"the other errors are {dict(codes)}")
        if successful:
            named = collections.Counter(claimant_id(answer) for answer in answers if isinstance(answer, harness.ApiError))
            check.that(named == {successful[0].id: CLAIMANTS - 1}, f"claimedBy is {dict(named)}, the claimant is {successful[0].id}")
            now = fixtures.ada.review(review["id"])
            check.that(now["status"] == "CLAIMED" and now["claimedBy"] == {"id": successful[0].id}, f"the review is {now['status']} by {now['claimedBy']}")
            claims = find(history(fixtures.ada, job_id, check), "REVIEW_CLAIMED")
            check.that([event["actor"]["id"] for event in claims] == [successful[0].id], f"the history has {claims}")
            successful[0].decide(review, "APPROVE")
            wait_for_completion(fixtures.ada, job_id)
        check.figure(f"1 succeeded, {codes['CONFLICT']} CONFLICT with the claimant, in {took:.2f} s")


# ---------------------------------------------------------------- 3 and 4: refused decisions change nothing


def stale_decisions(report, fixtures, server):
    ada = fixtures.ada
    job_id = create(ada, fixtures)
    review = wait_for_review(ada, job_id, "mapping")
    ada.claim(review["id"])
    ada.save_draft(review["id"], [])
    points = data_points(ada, review)
    with criterion(report, "a decision on another hash: CONFLICT, no change") as check:
        before = snapshot(ada, job_id, review["id"])
        others = ["0" * 64, fixtures.document["sha256"]]
        for sha in others:
            for decision, more in (("APPROVE", {"patch": correction(fixtures, points)}), ("REJECT", {"comment": "no"}),
                                   ("SEND_BACK", {"toStep": "zoning"})):
                action = f"{decision} on {sha[:8]}…"
                check.refused(action, lambda: ada.decide(review, decision, contentSha256=sha, **more), "CONFLICT")
                check_unchanged(check, action, before, snapshot(ada, job_id, review["id"]))
        check.refused("no hash", lambda: ada.decide(review, "APPROVE", contentSha256=None), "BAD_USER_INPUT")
        check_unchanged(check, "no hash", before, snapshot(ada, job_id, review["id"]))
        check.figure(f"{3 * len(others)} refused; {len(before['events'])} events, {len(before['contents'])} contents unchanged")
    with criterion(report, "an invalid patch: problem at /patch/i, no change") as check:
        before = snapshot(ada, job_id, review["id"])
        good, replace, _ = correction(fixtures, points)
        point = good["path"].rpartition("/")[0]
        cases = [("a test that fails", [good, {**good, "value": "something else"}, replace], 1),
                 ("an unknown path", [good, {"op": "replace", "path": "/data_points/99999/value", "value": "x"}], 1),
                 ("removal at an unknown path", [{"op": "remove", "path": "/nowhere"}, good], 0),
                 ("a value of another type", [good, replace, {"op": "replace", "path": f"{point}/confidence", "value": "very"}], 2),
                 ("a value out of range", [{"op": "replace", "path": f"{point}/confidence", "value": 7}], 0),
                 ("removal of a required field", [good, {"op": "remove", "path": f"{point}/name"}], 1),
                 ("removal of all data points", [good, {"op": "remove", "path": "/data_points"}], 1),
                 ("an unknown operation", [good, {"op": "improve", "path": good["path"]}], 1)]
        for case, patch, index in cases:
            error = check.refused(case, lambda: ada.decide(review, "APPROVE", patch=patch), "BAD_USER_INPUT")
            paths = [problem["path"] for problem in error.problems] if error else []
            check.that(any(path == f"/patch/{index}" or path.startswith(f"/patch/{index}/") for path in paths),
                       f"{case}: problems at {paths}, not at /patch/{index}")
            check_unchanged(check, case, before, snapshot(ada, job_id, review["id"]))
        ada.decide(review, "APPROVE", patch=[good, replace])
        wait_for_completion(ada, job_id)
        check.figure(f"{len(cases)} patches refused, then one applied")


# ---------------------------------------------------------------- 5: reject, retry, send back, rewind


def repeated_steps(report, fixtures, server):
    ada, bob, carol = fixtures.ada, fixtures.bob, fixtures.carol
    job_id = create(ada, fixtures, 1, 1, [user_share(carol), team_share("reviewers", "mapping")])
    carol.approve(wait_for_review(carol, job_id, "zoning"))
    with criterion(report, "REJECT fails the job with the comment; retryJob runs it again") as check, contextlib.ExitStack() as stack:
        live = subscribe(stack, bob, JOB_EVENTS, id=job_id)
        rejected = wait_for_review(bob, job_id, "mapping")
        bob.claim(rejected["id"])
        comment = "This is no invoice; ask the sender."
        decided = bob.decide(rejected, "REJECT", comment=comment)
        check.that((decided["status"], decided["comment"]) == ("REJECTED", comment), f"the review is {decided['status']}: {decided['comment']}")
        job = wait_until_blocked_or_final(ada, job_id)
        failure = job["failure"] or {}
        check.that(job["status"] == "FAILED" and comment in failure.get("message", "") and failure.get("step") == "mapping",
                   f"the job is {job['status']}: {job['failure']}")
        end = live.wait_for_end(TIMEOUT_SECONDS, "the end of jobEvents")
        check.that(end.kind == "complete" and live.data()[-1]["data"].get("to") == "FAILED", f"jobEvents ended: {end}")
        found = find(history(ada, job_id, check), "REVIEW_DECIDED", decision="REJECTED")
        decisions = [(event["data"].get("comment"), event["actor"]["id"]) for event in found]
        check.that(decisions == [(comment, bob.id)], f"the history has {found}")
        check.that(rejected["id"] not in bob.review_queue(), "the review is still in the queue")
        retry = "mutation($id: ID!) { retryJob(id: $id) { job { status failure { code } } } }"
        check.refused("bob retries the job", lambda: bob.graphql(retry, id=job_id), "FORBIDDEN")
        job = ada.graphql(retry, id=job_id)["retryJob"]["job"]
        check.that(job["status"] not in harness.FINAL and job["failure"] is None, f"after retryJob the job is {job}")
        again = wait_for_review(ada, job_id, "mapping")
        check.that(again["id"] != rejected["id"] and again["status"] == "OPEN", f"the review is {again['id']} {again['status']}")
        events = history(ada, job_id, check)
        check.that(len(find(events, "RETRIED")) == 1, "the history does not contain RETRIED once")
        check.gapless("the history", events)
        check.figure(f"{failure.get('code')}; a new review")

    with criterion(report, "SEND_BACK: comment on the step, later contents superseded") as check:
        review = wait_for_review(ada, job_id, "mapping")
        before = {content["role"]: content for content in ada.contents(job_id)}
        bob.claim(review["id"])
        check.refused("back to the same step", lambda: bob.decide(review, "SEND_BACK", toStep="mapping", comment="x"), "BAD_USER_INPUT")
        check.refused("to a later step", lambda: bob.decide(review, "SEND_BACK", toStep="output", comment="x"), "BAD_USER_INPUT")
        check.refused("to an unknown step", lambda: bob.decide(review, "SEND_BACK", toStep="baking", comment="x"), "BAD_USER_INPUT")
        comment = "The table on page 1 is two tables."
        decided = bob.decide(review, "SEND_BACK", toStep="zoning", comment=comment)
        check.that((decided["status"], decided["comment"]) == ("SENT_BACK", comment), f"the review is {decided['status']}: {decided['comment']}")
        check.that(ada.contents(job_id, "mapping-json") == [], "mapping-json is still current")
        wait_for_review(ada, job_id, "zoning")
        steps = ada.graphql("query($id: ID!) { job(id: $id) { steps { name status comment } } }", id=job_id)["job"]["steps"]
        steps = {step["name"]: step for step in steps}
        check.that(steps["zoning"]["comment"] == comment, f"the step shows {steps['zoning']['comment']!r}")
        check.that(steps["zoning"]["status"] == "BLOCKED" and steps["mapping"]["status"] == "PENDING", f"steps {steps}")
        events = history(ada, job_id, check)
        decisions = find(events, "REVIEW_DECIDED", decision="SENT_BACK", comment=comment, toStep="zoning")
        check.that(len(decisions) == 1 and decisions[0]["actor"]["id"] == bob.id, f"REVIEW_DECIDED: {decisions}")
        check.that(find(events, "STEP_CHANGED", step="zoning", comment=comment), "no STEP_CHANGED of zoning has the comment")
        check.gapless("the history", events)
        current, all_contents = ada.contents(job_id), ada.contents(job_id, superseded=True)
        for role in ("zoning-json", "zoning-pagesmeta-json", "mapping-json"):
            old = before[role]["document"]["id"]
            check.that(old not in [content["document"]["id"] for content in current], f"the old {role} is still current")
            kept = [content["current"] for content in all_contents if content["document"]["id"] == old]
            check.that(kept == [False], f"the old {role} is lost")
        for role in ("input", "text-json", "mapping-taxonomy-json"):
            check.that(before[role] in current, f"the old {role} is no longer current")
        check.that(ada.contents(job_id, "mapping-json") == [], "mapping-json is current before mapping ran again")
        check.figure(f"{len(all_contents) - len(current)} of {len(all_contents)} contents superseded")

    with criterion(report, "rewindJob of a COMPLETED job: output superseded, then replaced") as check:
        carol.approve(wait_for_review(carol, job_id, "zoning"))
        review = wait_for_review(bob, job_id, "mapping")
        bob.approve(review, patch=correction(fixtures, data_points(bob, review)))
        wait_for_completion(ada, job_id)
        corrected, = ada.contents(job_id, "mapping-json")
        first, = ada.contents(job_id, "output")
        check.refused("bob rewinds", lambda: rewind(bob, job_id, "mapping"), "FORBIDDEN")
        check.refused("to an unknown step", lambda: rewind(ada, job_id, "baking"), "BAD_USER_INPUT")
        check.that(wait_for_completion(ada, job_id)["outputContent"] == {"version": 1}, "the output is not version 1")
        job = rewind(ada, job_id, "mapping", reason="The taxonomy was wrong.")
        check.that(job["status"] not in harness.FINAL and job["outputContent"] is None, f"after rewindJob the job is {job}")
        check.that(ada.contents(job_id, "output") == [], "the output is still current")
        outputs = ada.contents(job_id, "output", superseded=True)
        check.that(outputs == [{**first, "current": False}], f"the output is {outputs}")
        review = wait_for_review(bob, job_id, "mapping")
        zones = ada.contents(job_id, "zoning-json")
        check.that(len(zones) == 1 and zones[0]["current"], f"zoning-json is {zones}")
        found = find(history(ada, job_id, check), "REWOUND")
        check.that(len(found) == 1 and found[0]["data"].get("reason") == "The taxonomy was wrong." and found[0]["actor"]["id"] == ada.id,
                   f"REWOUND: {found}")
        bob.claim(review["id"])
        before = snapshot(ada, job_id, review["id"])
        stale = corrected["document"]["sha256"]
        check.that(stale != review["content"]["document"]["sha256"], "the content is still the corrected version")
        check.refused("a decision on the superseded version", lambda: bob.decide(review, "APPROVE", contentSha256=stale), "CONFLICT")
        check_unchanged(check, "a decision on the superseded version", before, snapshot(ada, job_id, review["id"]))
        bob.decide(review, "APPROVE")
        job = wait_for_completion(ada, job_id)
        outputs = ada.contents(job_id, "output", superseded=True)
        check.that([(content["version"], content["current"]) for content in outputs] == [(2, True), (1, False)], f"outputs {outputs}")
        check.that(job["outputContent"] == {"version": 2}, f"outputContent {job['outputContent']}")
        texts = ["".join(xml.etree.ElementTree.fromstring(ada.download(content["uri"])).itertext()) for content in outputs]
        check.that([CORRECTED in text for text in texts] == [False, True], "the correction is not only in the first output")
        events = history(ada, job_id, check)
        check.gapless("the history", events)
        check.figure(f"version 2 of the output; {len(events)} events in total")


# ---------------------------------------------------------------- 6: loss of access


def loss_of_access(report, fixtures, server):
    ada, dora = fixtures.ada, fixtures.dora
    job_id = create(ada, fixtures)
    wait_for_review(ada, job_id, "mapping")
    member = {"teamId": fixtures.team, "userEmail": fixtures.bob.email}

    def team_mutation(mutation):
        return lambda: dora.mutate(mutation, "TeamMemberInput", "team { id }", **member)

    unshare, share = lambda: ada.unshare(job_id, {"teamName": "reviewers"}), lambda: ada.share(job_id, {"teamName": "reviewers"}, ["mapping"])
    share()
    for name, remove, restore in (("removeCollaborator", unshare, share),
                            ("removeTeamMember", team_mutation("removeTeamMember"), team_mutation("addTeamMember"))):
        for condition in ("", ", during changes"):
            text = f"{name}{condition}: {SUBSCRIPTIONS} subscriptions get FORBIDDEN in 1 s"
            with criterion(report, text) as check, contextlib.ExitStack() as stack, UpdateLoop(ada, job_id) as updates:
                check_loss_of_access(check, stack, fixtures, job_id, remove, updates if condition else None)
            restore()


class UpdateLoop:
    """Updates the metadata of a job repeatedly in a thread, after `start`."""

    def __init__(self, client, job_id):
        self.client, self.job_id, self.count, self.error = client, job_id, 0, None
        self.changed, self.ended = threading.Condition(), threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.ended.is_set() and not self.error:
            try:
                self.client.update(self.job_id, change=uuid.uuid4().hex)
            except Exception as error:
                self.error = error
            with self.changed:
                self.count += 1
                self.changed.notify_all()

    def wait_for_more(self, number):
        """Waits for `number` further updates."""
        with self.changed:
            target = self.count + number
            if not self.changed.wait_for(lambda: self.count >= target or self.error, TIMEOUT_SECONDS) or self.error:
                raise TimeoutError(f"the job did not get {number} further updates: {self.error}")

    def start(self):
        self.thread.start()

    def stop(self):
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join(TIMEOUT_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def check_loss_of_access(check, stack, fixtures, job_id, remove, update_loop):
    """Bob subscribes to a job in every way and loses access. He must not receive any later change."""
    ada, bob = fixtures.ada, fixtures.bob
    before = history(ada, job_id, check, first=100)
    updates, reviews, feed = (subscribe(stack, bob, query) for query in (JOBS_UPDATED, REVIEWS_UPDATED, FEED))
    wait_until_delivered(bob, updates, feed)
    feed.wait(lambda it: len(events_of_job(it, job_id)) == len(before), TIMEOUT_SECONDS, "bob's feed")
    connections = [stack.enter_context(sockets.Connection(bob.address, bob.key)) for _ in range(CONNECTIONS)]
    subscriptions = [connections[i // 2 % CONNECTIONS].subscribe(JOB_EVENTS if i % 2 else JOB_UPDATED, id=job_id) for i in range(SUBSCRIPTIONS)]
    for i, subscription in enumerate(subscriptions):
        subscription.wait(lambda it: len(it.items) >= (len(before) if i % 2 else 1), TIMEOUT_SECONDS, f"subscription {i + 1}")
    if update_loop:
        update_loop.start()
        subscriptions[-1].wait(lambda it: len(it.items) > len(before) + 5, TIMEOUT_SECONDS, "some changes")
    began = time.monotonic()
    remove()
    answered = time.monotonic() - began
    # Earlier events may still be on their way to bob. The event of the removal itself must not arrive.
    events = history(ada, job_id, check, first=100)
    removals = find(events[len(before):], "COLLABORATION_CHANGED")
    last = removals[0]["sequence"] - 1 if removals else events[-1]["sequence"]
    known = json.dumps([event["data"] for event in events])
    check.that(bob.job_details(job_id) is None, "bob still sees the job")
    for i, subscription in enumerate(subscriptions):
        subscription.wait_for_end(10, f"the end of subscription {i + 1}")
    if update_loop:
        update_loop.wait_for_more(5)
        update_loop.stop()
    mark = ada.update(job_id, change=uuid.uuid4().hex)["metadata"]["change"]
    review = ada.claim(ada.job_details(job_id)["review"]["id"])
    ada.graphql("mutation($id: ID!) { releaseReview(id: $id) { review { id } } }", id=review["id"])
    own = wait_for_review(bob, create(bob, fixtures), "mapping")
    reviews.wait_for(lambda update: update["id"] == own["id"], TIMEOUT_SECONDS, "the own review")
    # Concurrent changes may arrive in any order, so the second job is created after the first has arrived.
    for _ in range(2):
        wait_until_delivered(bob, updates, feed)
    for connection in connections:
        connection.ping()
    codes = collections.Counter((it.end.kind, it.end.errors and (it.end.errors[0].get("extensions") or {}).get("code")) for it in subscriptions)
    check.that(codes == {("error", "FORBIDDEN"): SUBSCRIPTIONS}, f"the subscriptions ended with {dict(codes)}")
    slowest = max(subscription.end.at for subscription in subscriptions) - began
    check.that(slowest < answered + MAX_DELAY_SECONDS, f"the last subscription ended after {slowest:.3f} s, the response arrived after {answered:.3f} s")
    late_messages = sum(len(connection.late_messages) for connection in connections)
    check.that(not late_messages, f"{late_messages} messages arrived after the end of their subscription")
    sequences = [event["sequence"] for it in [*subscriptions[1::2], feed] for event in events_of_job(it, job_id)]
    check.that(max(sequences) <= last, f"bob received {sum(n > last for n in sequences)} events after {last}, up to {max(sequences)}")
    states = [job["metadata"].get("change") for it in [*subscriptions[::2], updates] for job in it.data() if job["id"] == job_id]
    late = [state for state in states if state and state not in known]
    check.that(not late and mark not in states, f"bob received {len(late)} states of the job after the removal")
    if not update_loop:
        extra = sum(len(subscription.items) - (len(before) if i % 2 else 1) for i, subscription in enumerate(subscriptions))
        check.that(not extra and job_id not in [job["id"] for job in updates.data()], f"bob received {extra} items without a change")
    check.that(review["id"] not in [update["id"] for update in reviews.data()], "bob received the review after the removal")
    for it in (updates, reviews, feed):
        check.that(not it.end and not it.errors(), f"an unrelated subscription ended: {it.end}, {it.errors()}")
    later_events = history(ada, job_id, check, first=100)[-1]["sequence"] - last
    check.figure(f"the last ended after {slowest:.3f} s, the response after {answered:.3f} s; bob received none of {later_events} later events")


def wait_until_delivered(client, updates, feed):
    """Creates a job and waits until both subscriptions receive it, so all earlier feed events have arrived."""
    document = client.upload(b"x", "x.txt", "text/plain")
    job_id = client.create_job(document, "noop")
    feed.wait_for(lambda event: event["jobId"] == job_id, TIMEOUT_SECONDS, "the own job in the feed")
    updates.wait_for(lambda job: job["id"] == job_id, TIMEOUT_SECONDS, "the own job in jobsUpdated")


# ---------------------------------------------------------------- 7: four-eyes steps


def four_eyes(report, fixtures, server):
    ada, carol, root = fixtures.ada, fixtures.carol, fixtures.root
    step = {"name": "writing", "title": "Writing", "kind": "MANUAL", "contentRoles": ["letter", "output"], "fourEyes": True}
    values = {"id": "letter", "name": "Letter", "description": "Another user answers.", "accepts": ["application/pdf"], "steps": [step]}
    fields = "jobType { id version steps { name kind fourEyes contentRoles } }"
    with criterion(report, "four eyes: the owner is refused, even as admin; a collaborator decides") as check:
        check.refused("ada registers a job type", lambda: ada.mutate("registerJobType", "RegisterJobTypeInput", fields, **values), "FORBIDDEN")
        made = root.mutate("registerJobType", "RegisterJobTypeInput", fields, **values)["jobType"]
        expected = [{"name": "writing", "kind": "MANUAL", "fourEyes": True, "contentRoles": ["letter", "output"]}]
        check.that(made["steps"] == expected, f"the job type is {made}")
        query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id } } }"
        for owner in (root, ada):
            document = owner.upload(fixtures.pdf, fixtures.invoice, "application/pdf")
            values = {"type": "letter", "input": {"documentId": document["id"]}, "collaboration": [user_share(carol, "writing")]}
            job_id = owner.graphql(query, input=values)["createJob"]["job"]["id"]
            review = wait_for_review(carol, job_id, "writing")
            check.that(review["content"] is None, f"there is a content: {review['content']}")
            email = owner.email
            check.refused(f"{email} claims", lambda: owner.claim(review["id"]), "FORBIDDEN")
            check.refused(f"{email} decides", lambda: owner.decide(review, "APPROVE"), "FORBIDDEN", "CONFLICT")
            check.that(review["id"] not in owner.review_queue(), f"the review is in the queue of {email}")
            check.that(review["id"] in carol.review_queue(), "the review is not in carol's queue")
            carol.claim(review["id"])
            check.refused(f"{email} decides the review claimed by carol", lambda: owner.decide(review, "APPROVE"), "FORBIDDEN", "CONFLICT")
            text = f"Dear {email}".encode()
            letter, output = (carol.upload(text, name, "text/plain") for name in ("letter.txt", "output.txt"))
            source = {"documentId": letter["id"]}
            contents = [{"role": "letter", "source": source}, {"role": "output", "source": {"uri": output["contentsUri"]}}]
            wrong = [{"role": "song", "source": source}]
            check.refused("an unknown role", lambda: carol.decide(review, "APPROVE", contents=wrong), "BAD_USER_INPUT")
            carol.decide(review, "APPROVE", contents=contents)
            job = wait_for_completion(owner, job_id)
            check.that(job["outputContent"] == {"version": 1}, f"outputContent {job['outputContent']}")
            check.that(owner.content(job_id, "letter") == text, "the letter is different")
            added = find(history(owner, job_id, check), "CONTENT_ADDED", role="letter")
            check.that(len(added) == 1 and added[0]["actor"]["id"] == carol.id, f"CONTENT_ADDED: {added}")
            delete = "mutation($id: ID!) { deleteDocument(id: $id) { deletedId } }"
            check.refused("carol deletes the letter", lambda: carol.graphql(delete, id=letter["id"]), "CONFLICT")
        fixtures.jobs.append(job_id)
        check.figure("2 owners refused, one of them an admin; 2 jobs completed by a collaborator")


# ---------------------------------------------------------------- 8: TEST keys


def test_mode(report, fixtures, server):
    ada = fixtures.ada
    with criterion(report, "reviews of TEST jobs approve themselves") as check:
        key = server.run("key", "create", "--email", ada.email, "--name", "test", "--mode", "test")
        tester = harness.Client(ada.address, key)
        query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id mode } } }"
        values = {"type": harness.EXTRACTION, "input": {"documentId": fixtures.document["id"]},
                 "metadata": {"mapping.taxonomy": fixtures.taxonomy["name"], "mapping.high_confidence_threshold": 1,
                              "zoning.high_confidence_threshold": 1}}
        job = tester.graphql(query, input=values)["createJob"]["job"]
        check.that(job["mode"] == "TEST", f"the mode is {job['mode']}")
        fixtures.jobs.append(job["id"])
        late = tester.wait([job["id"]], TIMEOUT_SECONDS)
        check.that(not late, f"the job is {late}")
        wait_for_completion(ada, job["id"])
        events = history(ada, job["id"], check)
        opened, decided = find(events, "REVIEW_OPENED"), find(events, "REVIEW_DECIDED")
        check.that([event["data"]["step"] for event in opened] == ["zoning", "mapping"], f"opened: {opened}")
        check.that([(event["data"]["step"], event["data"]["decision"], event["actor"]) for event in decided]
                   == [("zoning", "APPROVED", None), ("mapping", "APPROVED", None)], f"decided: {decided}")
        reviews = [ada.review(event["data"]["reviewId"]) for event in opened]
        check.that(all(review["status"] == "APPROVED" and not review["decidedBy"] for review in reviews), f"reviews: {reviews}")
        check.that(not find(events, "REVIEW_CLAIMED"), "the history contains REVIEW_CLAIMED")
        check.figure(f"{len(decided)} reviews, {harness.seconds(ada.job(job['id'])):.2f} s")


if __name__ == "__main__":
    main()
