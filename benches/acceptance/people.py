#!/usr/bin/env python3
"""People at work on jobs: sharing, reviews, corrections, and what everybody sees of it, from outside.

An invoice of the folder goes from its owner to a reviewer of all steps and to a team that was let in to one step; the
history is read in every way that there is, one of them cut off five times. Then, each on a job of its own: 50 people claim
one review at once; decisions on what has changed and patches that do not apply are refused and change nothing; a job is
rejected, run again, sent back and rewound; 100 subscriptions end when their viewer loses access; four eyes; TEST mode.
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

WAIT = 60
CUTS, CUT_EVERY, PAGE = 5, 6, 7
RIVALS = 50
FOLLOWERS, SOCKETS = 100, 5
SECOND = 1.0
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
    verdicts = harness.Verdicts(options.database)
    with harness.Server(options) as server, contextlib.ExitStack() as stack:
        server.start()
        world = settle(server, options.folder, case)
        everything = follow(stack, world.ada, FEED)
        for part in (real_flow, rivals, stale_and_patches, there_and_back, loss_of_access, four_eyes, test_mode):
            print(f"{part.__name__.replace('_', ' ')}:", flush=True)
            began = time.monotonic()
            try:
                part(verdicts, world, server)
            except Exception as error:
                traceback.print_exc()
                verdicts.add(False, f"{part.__name__.replace('_', ' ')} goes to its end", f"{type(error).__name__}: {error}")
            print(f"  {time.monotonic() - began:.1f} s", flush=True)
        with line(verdicts, "every history is gapless, and in the feed the same") as check:
            count = 0
            for job_id in world.jobs:
                events = history(world.ada, job_id, check, first=100)
                check.gapless(job_id, events)
                everything.wait(lambda it: len(of_job(it, job_id)) >= len(events), WAIT, f"the feed of {job_id}")
                check.same({"Job.events": events, "the feed": of_job(everything, job_id)})
                count += len(events)
            check.figure(f"{len(world.jobs)} jobs, {count} events")
        with line(verdicts, "nothing in the log that somebody would be woken by") as check:
            problems = server.problems_logged()
            check.that(not problems, "; ".join(problem[:200] for problem in problems[:3]))
            check.figure("no errors")
    verdicts.finish()


# ---------------------------------------------------------------- checks


class Check:
    """What was wrong, and what was counted, on the way to one acceptance line."""

    def __init__(self):
        self.problems, self.figures = [], []

    def that(self, good, what):
        if not good:
            self.problems.append(what)
        return good

    def figure(self, text):
        self.figures.append(text)

    def refused(self, what, work, *codes):
        """The work must be refused with one of the codes; returns the error."""
        try:
            work()
        except harness.ApiError as error:
            self.that(error.code in codes, f"{what}: {error.code} ({error.message}) instead of {' or '.join(codes)}")
            return error
        self.that(False, f"{what}: done instead of {' or '.join(codes)}")
        return None

    def gapless(self, what, events):
        found = [event["sequence"] for event in events]
        self.that(found and found == list(range(1, len(found) + 1)), f"{what}: sequences {found}")

    def same(self, ways):
        """Histories that were read in several ways must be the same, event by event."""
        (first, wanted), *others = ways.items()
        for name, found in others:
            if found != wanted:
                place = next((i for i, (a, b) in enumerate(zip(wanted, found)) if a != b), min(len(wanted), len(found)))
                a, b = (events[place] if place < len(events) else None for events in (wanted, found))
                self.that(False, f"{name} has {len(found)} events, {first} {len(wanted)}; they differ from {place + 1} on: {b} is not {a}")


@contextlib.contextmanager
def line(verdicts, text, required=True):
    """One acceptance line; whatever goes wrong on the way makes it FAIL and does not keep others from their turn."""
    check = Check()
    try:
        yield check
    except Exception as error:
        if not isinstance(error, (harness.ApiError, TimeoutError, sockets.Broken, sockets.Closed)):
            traceback.print_exc()
        check.that(False, f"{type(error).__name__}: {error}")
    for problem in check.problems:
        print(f"  WRONG {text}: {problem}", flush=True)
    more = f" (and {len(check.problems) - 3} more)" if len(check.problems) > 3 else ""
    verdicts.add(not check.problems, text, "; ".join(check.problems[:3]) + more or "; ".join(check.figures), required)


def until(look, good, what, seconds=WAIT):
    """Looks again and again until it is good; returns what was seen."""
    end = time.monotonic() + seconds
    while not good(seen := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s, but {seen}")
        time.sleep(0.02)
    return seen


# ---------------------------------------------------------------- people and their work


class Person(harness.Client):
    """Somebody with an account and a key, made on the command line."""

    def __init__(self, server, name, *flags):
        self.email = f"{name}@example.com"
        server.run("user", "add", "--email", self.email, "--name", name.title(), *flags)
        key = server.run("key", "create", "--email", self.email, "--name", "acceptance")
        super().__init__(server.client.address, key)
        self.id = self.graphql("{ viewer { id } }")["viewer"]["id"]

    def mutate(self, name, kind, fields, /, **given):
        """A mutation with one argument `input`; returns its payload."""
        return self.graphql(f"mutation($input: {kind}!) {{ {name}(input: $input) {{ {fields} }} }}", input=given)[name]

    def look(self, job_id):
        return self.graphql(JOB, id=job_id)["job"]

    def contents(self, job_id, role=None, superseded=False):
        query = f"""query($id: ID!, $role: String, $superseded: Boolean) {{ job(id: $id) {{
            contents(role: $role, superseded: $superseded) {{ {CONTENT} }} }} }}"""
        return self.graphql(query, id=job_id, role=role, superseded=superseded)["job"]["contents"]

    def review(self, review_id):
        return self.graphql(f"query($id: ID!) {{ review(id: $id) {{ {REVIEW} }} }}", id=review_id)["review"]

    def queue(self):
        """IDs of the reviews that they may work on."""
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
        """Decides on what the review shows, unless another hash is given."""
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
        given = {"jobId": job_id, "collaborator": collaborator, "steps": steps}
        return self.mutate("addCollaborator", "AddCollaboratorInput", fields, **given)["job"]["collaboration"]

    def unshare(self, job_id, collaborator):
        fields = "job { collaboration { teams { team { id } } users { user { id } } } }"
        given = {"jobId": job_id, "collaborator": collaborator}
        return self.mutate("removeCollaborator", "RemoveCollaboratorInput", fields, **given)["job"]["collaboration"]

    def make_team(self, name, *members):
        team_id = self.mutate("createTeam", "CreateTeamInput", "team { id }", name=name)["team"]["id"]
        for member in members:
            self.mutate("addTeamMember", "TeamMemberInput", "team { id }", teamId=team_id, userEmail=member.email)
        return team_id

    def status_of(self, uri):
        """The HTTP status of a download."""
        return self.request("GET", urllib.parse.urlsplit(uri).path)[0]


def settle(server, folder, case):
    """The people, their team, the taxonomy and the invoice."""
    world = types.SimpleNamespace(jobs=[])
    for name in ("ada", "bob", "carol", "dora", "eve"):
        setattr(world, name, Person(server, name))
    world.root = Person(server, "root", "--admin")
    world.team = world.dora.make_team("reviewers", world.bob)
    world.taxonomy = json.loads((folder / "taxonomies" / case["taxonomy"]).read_text())
    world.ada.put_taxonomy(world.taxonomy)
    world.pdf, world.invoice = (folder / case["document"]).read_bytes(), case["document"]
    world.document = world.ada.upload(world.pdf, world.invoice, "application/pdf")
    roles = world.ada.graphql("query($id: ID!) { jobType(id: $id) { steps { name contentRoles } } }", id=harness.EXTRACTION)
    world.roles = {step["name"]: step["contentRoles"] for step in roles["jobType"]["steps"]}
    return world


def create(client, world, zoning=0, mapping=1, collaboration=(), **metadata):
    """A job on the invoice. Where nothing else is said it blocks at mapping."""
    document = world.document if client is world.ada else client.upload(world.pdf, world.invoice, "application/pdf")
    query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id } } }"
    given = {"type": harness.EXTRACTION, "input": {"documentId": document["id"]}, "collaboration": list(collaboration),
             "metadata": {"mapping.taxonomy": world.taxonomy["name"], "mapping.high_confidence_threshold": mapping,
                          "zoning.high_confidence_threshold": zoning, **metadata}}
    job_id = client.graphql(query, input=given)["createJob"]["job"]["id"]
    if client is world.ada:
        world.jobs.append(job_id)
    return job_id


def user(person, *steps):
    return {"collaborator": {"userEmail": person.email}, "steps": steps or ["*"]}


def team(name, *steps):
    return {"collaborator": {"teamName": name}, "steps": steps or ["*"]}


def stands(client, job_id):
    """The job once it waits for a person or has ended."""
    return until(lambda: client.look(job_id), lambda job: job["status"] in harness.FINAL | {"BLOCKED"}, f"the job {job_id} stands")


def blocked(client, job_id, step):
    """The review of a step at which the job must block next."""
    job = stands(client, job_id)
    if job["status"] != "BLOCKED" or not job["review"] or job["review"]["step"] != step:
        raise sockets.Broken(f"the job is {job['status']} {job['failure'] or ''} with the review {job['review']}, not blocked at {step}")
    return job["review"]


def completed(client, job_id):
    job = stands(client, job_id)
    if job["status"] != "COMPLETED":
        raise sockets.Broken(f"the job is {job['status']}, {job['failure'] or job['review']}, and not COMPLETED")
    return job


def history(client, job_id, check, first=PAGE):
    """Job.events by pages."""
    query = f"""query($id: ID!, $first: Int, $after: String) {{ job(id: $id) {{ events(first: $first, after: $after) {{
        edges {{ cursor node {{ {EVENT} }} }} pageInfo {{ hasNextPage endCursor }} }} }} }}"""
    events, after = [], None
    while True:
        page = client.graphql(query, id=job_id, first=first, after=after)["job"]["events"]
        edges, info = page["edges"], page["pageInfo"]
        events += [edge["node"] for edge in edges]
        odd = [edge["cursor"] for edge in edges if edge["cursor"] != edge["node"]["cursor"]]
        check.that(not odd and len(edges) <= first and (len(edges) == first or not info["hasNextPage"]),
                   f"a page of {len(edges)} events with {len(odd)} cursors that are not the events' own")
        if not edges or not info["hasNextPage"]:
            return events
        after = info["endCursor"]


def follow(stack, client, query, **variables):
    """A subscription on a socket of its own."""
    connection = stack.enter_context(sockets.Connection(client.address, client.key))
    return connection.subscribe(query, **variables)


def of_job(subscription, job_id):
    """The events of one job that a subscription has seen."""
    return [event for event in subscription.data() if event["jobId"] == job_id]


def find(events, kind, **data):
    """Events of a kind whose data has these values."""
    return [event for event in events
            if event["kind"] == kind and all(event["data"].get(name) == value for name, value in data.items())]


def snapshot(client, job_id, review_id):
    """Everything that a refused change could have changed."""
    check, job = Check(), client.look(job_id)
    return {"job": job, "review": client.review(review_id), "contents": client.contents(job_id, superseded=True),
            "events": history(client, job_id, check, first=100)}


def unchanged(check, what, before, after):
    for name in before:
        check.that(before[name] == after[name], f"{what}: {name} changed from {before[name]} to {after[name]}")


def mapping_of(client, review):
    return json.loads(client.download(review["content"]["document"]["contentsUri"]))["data_points"]


def correction(world, points, value=CORRECTED):
    """A patch that corrects one value; a text, since other kinds are normalized."""
    texts = {point["name"] for point in world.taxonomy["data_points"] if point["type"] in ("string", "code")}
    place = next(i for i, point in enumerate(points) if point["value"] is not None and point["name"] in texts)
    path = f"/data_points/{place}"
    return [{"op": "test", "path": f"{path}/value", "value": points[place]["value"]},
            {"op": "replace", "path": f"{path}/value", "value": value},
            {"op": "add", "path": f"{path}/normalized", "value": value}]


# ---------------------------------------------------------------- 1 and 9: an invoice goes from hand to hand


def thresholds(world):
    """The thresholds of zoning and mapping: 0.9 where the invoice blocks at it, else 1, which always blocks."""
    job_id, seen = create(world.ada, world, 0.9, 0.9), set()
    while (job := stands(world.ada, job_id))["status"] == "BLOCKED":
        seen.add(job["review"]["step"])
        world.ada.approve(job["review"])
    return [0.9 if step in seen else 1 for step in ("zoning", "mapping")]


def cut_off(client, job_id, seen, cuts):
    """Follows a job's history over connections that are cut off, coming back each time with the cursor of the last event
    that it took in; what had come behind that one is lost with the connection.
    """
    while True:
        connection = sockets.Connection(client.address, client.key)
        subscription = connection.subscribe(JOB_EVENTS, pieces=3, id=job_id, after=seen[-1]["cursor"] if seen else None)
        if len(cuts) == CUTS:
            end = subscription.until_end(2 * WAIT, "the end of the history")
            connection.close()
            seen += subscription.data()
            return end
        subscription.wait(lambda it: len(it.items) >= CUT_EVERY, 2 * WAIT, "events until the next cut")
        connection.cut()
        seen += subscription.data()[:CUT_EVERY]
        cuts.append(seen[-1]["sequence"])


class Pace:
    """What a follower of reviews was sent, and how long it took."""

    def __init__(self, updates):
        self.updates, self.took, self.problems = updates, [], []

    def after(self, review, status, person=None, work=lambda: None):
        """Does the work and waits until the review comes in that status; returns what the work gave."""
        began = time.monotonic()
        done = work()
        update = self.updates.until(lambda it: it["id"] == review["id"] and it["status"] == status, WAIT, f"{review['step']} {status}")
        self.took.append(time.monotonic() - began)
        by = update["decidedBy"] if status == "APPROVED" else update["claimedBy"]
        if by != (person and {"id": person.id}):
            self.problems.append(f"{review['step']} {status} by {by}")
        return done


def real_flow(verdicts, world, server):
    ada, bob, carol, eve = world.ada, world.bob, world.carol, world.eve
    zoning, mapping = thresholds(world)
    of_steps = ("CONTENT_ADDED", "REVIEW_OPENED", "REVIEW_CLAIMED", "REVIEW_DECIDED")
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(1) as pool:
        reviews = {person: follow(stack, person, REVIEWS_UPDATED) for person in (bob, carol, eve)}
        strangers, pace = follow(stack, eve, FEED), Pace(reviews[carol])
        tag = uuid.uuid4().hex
        job_id = create(ada, world, zoning, mapping, [user(carol)], tag=tag)
        feed, live = follow(stack, ada, FEED, filter={"metadata": {"tag": tag}}), follow(stack, ada, JOB_EVENTS, id=job_id)
        seen, cuts = [], []
        cutting = pool.submit(cut_off, carol, job_id, seen, cuts)
        ada.share(job_id, {"teamName": "reviewers"}, ["mapping"])
        bobs = follow(stack, bob, JOB_EVENTS, id=job_id), follow(stack, bob, FEED, filter={"metadata": {"tag": tag}})

        first = blocked(ada, job_id, "zoning")
        with line(verdicts, "blocked at zoning: the team of another step is kept out") as check:
            theirs = bob.look(job_id)
            check.that(theirs["status"] == "BLOCKED" and theirs["review"] is None, f"bob's job has the review {theirs['review']}")
            check.that(bob.review(first["id"]) is None, "bob sees the review of zoning")
            check.that(first["id"] not in bob.queue(), "the review of zoning is in bob's queue")
            check.that(first["id"] in carol.queue() and first["id"] in ada.queue(), "it is not in carol's and ada's queues")
            check.refused("bob claims at zoning", lambda: bob.claim(first["id"]), "NOT_FOUND")
            check.refused("bob decides at zoning", lambda: bob.decide(first, "APPROVE"), "NOT_FOUND")
            check.figure(f"threshold {zoning}: {first['reason']}")
        pace.after(first, "OPEN")
        pace.after(first, "CLAIMED", carol, lambda: carol.claim(first["id"]))
        pace.after(first, "APPROVED", carol, lambda: carol.decide(first, "APPROVE"))

        second = blocked(ada, job_id, "mapping")
        pace.after(second, "OPEN")
        with line(verdicts, "blocked at mapping: the team sees its step, and only that") as check:
            sees_his_step(check, world, job_id, second)
            check.figure(f"threshold {mapping}: {second['reason']}")
        with line(verdicts, "contents and reviews of other steps are withheld in events") as check:
            count = withheld(check, world, job_id, of_steps)
            check.figure(f"{count} events; the others are the same as for the owner")
        with line(verdicts, "step changes of other steps are withheld in events") as check:
            check.figure(f"{withheld(check, world, job_id, ('STEP_CHANGED',))} events")
        with line(verdicts, "for a stranger nothing exists") as check:
            nothing_exists(check, world, job_id, first, second, strangers, reviews[eve])
        with line(verdicts, "a collaborator does what the table says, and no more") as check:
            the_table(check, world, job_id)

        pace.after(second, "CLAIMED", bob, lambda: bob.claim(second["id"]))
        points = mapping_of(bob, second)
        patch = correction(world, points)
        with line(verdicts, "a draft is seen by others, the claim keeps them out") as check:
            a_draft(check, world, second, patch)
        decided = pace.after(second, "APPROVED", bob, lambda: bob.decide(second, "APPROVE", patch=patch))
        with line(verdicts, "the correction is the next version, and in the XML") as check:
            check.that(decided["status"] == "APPROVED" and decided["decidedBy"] == {"id": bob.id} and decided["decidedAt"],
                       f"the review is {decided['status']} by {decided['decidedBy']} at {decided['decidedAt']}")
            completed(ada, job_id)
            corrected(check, ada, job_id, points, patch)

        with line(verdicts, "reviewsUpdated: open, claimed, decided, each within 1 s") as check:
            check.that(not pace.problems, "; ".join(pace.problems))
            check.that(max(pace.took) < SECOND, f"{max(pace.took):.2f} s until one came")
            reviews[bob].until(lambda it: it["id"] == second["id"] and it["status"] == "APPROVED", WAIT, "bob's APPROVED")
            others = [it for it in reviews[bob].data() if it["step"] != "mapping" or it["job"]["id"] != job_id]
            check.that(not others, f"bob was sent {others}")
            statuses = collections.Counter(update["status"] for update in reviews[carol].data())
            check.figure(f"{dict(statuses)}, the slowest after {max(pace.took):.3f} s")
        with line(verdicts, f"one history by five ways, {CUTS} cuts, pages of {PAGE}") as check:
            events = history(ada, job_id, check)
            end = cutting.result(2 * WAIT)
            check.that(end.kind == "complete" and len(cuts) == CUTS, f"after {len(cuts)} cuts jobEvents ended: {end}")
            end = live.until_end(WAIT, "the end of jobEvents")
            check.that(end.kind == "complete", f"jobEvents ended: {end}")
            late = follow(stack, ada, JOB_EVENTS, id=job_id)
            end = late.until_end(WAIT, "the end of jobEvents of a job that has ended")
            check.that(end.kind == "complete", f"jobEvents from the start ended: {end}")
            feed.wait(lambda it: len(it.items) >= len(events), WAIT, "the feed")
            check.gapless("Job.events", events)
            check.same({"Job.events": events, "jobEvents": live.data(), "jobEvents afterwards": late.data(),
                        "jobEvents with cuts": seen, "events(filter)": feed.data()})
            check.figure(f"{len(events)} events, cut off behind {cuts}")
        with line(verdicts, "the team's view is the same by three ways") as check:
            events = history(bob, job_id, check)
            bobs[0].until_end(WAIT, "the end of bob's jobEvents")
            bobs[1].wait(lambda it: len(it.items) >= len(events), WAIT, "bob's feed")
            check.gapless("bob's events", events)
            check.same({"Job.events": events, "jobEvents": bobs[0].data(), "events(filter)": bobs[1].data()})
            count = withheld(check, world, job_id, of_steps)
            output, = ada.contents(job_id, "output")
            check.that(bob.contents(job_id, "output") == [] and bob.look(job_id)["outputContent"] is None, "bob sees the output")
            check.that(bob.status_of(output["uri"]) == 404, "bob can download the output")
            check.figure(f"{len(events)} events, {count} of them withheld")
        with line(verdicts, "the decision's event: receipt, patch, actor") as check:
            events = history(ada, job_id, check)
            found, = find(events, "REVIEW_DECIDED", step="mapping")
            data, actor = found["data"], found["actor"]
            check.that(data.get("contentSha256") == second["content"]["document"]["sha256"], f"contentSha256 {data.get('contentSha256')}")
            check.that(data.get("patch") == patch, f"patch {data.get('patch')}")
            check.that(actor == {"id": bob.id, "email": bob.email}, f"actor {actor}")
            check.that(find(history(bob, job_id, check), "REVIEW_DECIDED", step="mapping") == [found], "bob sees another")
            receipt, = find(events, "REVIEW_DECIDED", step="zoning")
            check.that(receipt["data"].get("contentSha256") == first["content"]["document"]["sha256"]
                       and receipt["actor"]["id"] == carol.id, f"at zoning {receipt}")
            check.figure(f"by {actor['email']} on {data['contentSha256'][:12]}…, {len(patch)} operations")


def a_draft(check, world, review, patch):
    bob, carol = world.bob, world.carol
    saved = bob.save_draft(review["id"], patch)
    check.that(saved["draft"] == patch, f"the draft is {saved['draft']}")
    check.that(harness.moment(saved["claimExpiresAt"]) > time.time(), f"the claim ended at {saved['claimExpiresAt']}")
    theirs = carol.review(review["id"])
    check.that(theirs["draft"] == patch and theirs["claimedBy"] == {"id": bob.id}, f"carol sees {theirs['draft']} by {theirs['claimedBy']}")
    error = check.refused("carol claims too", lambda: carol.claim(review["id"]), "CONFLICT")
    check.that(error and claimant(error) == bob.id, f"claimedBy is {error and error.extensions.get('claimedBy')}")
    check.refused("carol decides", lambda: carol.decide(review, "APPROVE"), "CONFLICT")
    check.refused("carol overwrites the draft", lambda: carol.save_draft(review["id"], []), "CONFLICT")
    check.that(carol.review(review["id"])["draft"] == patch, "the draft changed")
    check.figure(f"{len(patch)} operations")


def corrected(check, client, job_id, points, patch):
    """The patch made one more version with one value changed, and the output holds it."""
    versions = client.contents(job_id, "mapping-json", superseded=True)
    check.that([(content["version"], content["current"]) for content in versions] == [(2, True), (1, False)], f"versions {versions}")
    now = json.loads(client.download(versions[0]["uri"]))["data_points"]
    changed = [i for i, (a, b) in enumerate(zip(points, now)) if a != b]
    check.that(len(now) == len(points) and [f"/data_points/{i}/value" for i in changed] == [patch[0]["path"]]
               and now[changed[0]]["value"] == CORRECTED, f"of {len(points)} values those at {changed} changed")
    root = xml.etree.ElementTree.fromstring(client.content(job_id, "output"))
    texts = [element.text for element in root.iter()] + [text for element in root.iter() for text in element.attrib.values()]
    was = patch[0]["value"]
    check.that(CORRECTED in texts, "the XML does not hold the corrected value")
    check.that(was not in texts or sum(point["value"] == was for point in points) > 1, "the XML still holds the value as it was")
    check.figure(f"{was!r} -> {CORRECTED!r}, well-formed")


def sees_his_step(check, world, job_id, review):
    ada, bob = world.ada, world.bob
    query = """query($id: ID!) { job(id: $id) { metadata steps { name } owner { id } permissions
        inputContent { uri document { sha256 } } } }"""
    job = bob.graphql(query, id=job_id)["job"]
    check.that(job["owner"] == {"id": ada.id} and len(job["steps"]) == 4 and job["metadata"]["mapping"], f"bob's job is {job}")
    check.that(bob.download(job["inputContent"]["uri"]) == world.pdf, "the input that bob gets is another")
    allowed = {"input", *world.roles["mapping"]}
    for superseded in (False, True):
        roles = {content["role"] for content in bob.contents(job_id, superseded=superseded)}
        check.that(roles == allowed, f"bob sees {sorted(roles)} instead of {sorted(allowed)}")
        for role in ("zoning-json", "zoning-pagesmeta-json", "text-json"):
            check.that(bob.contents(job_id, role, superseded) == [], f"bob sees {role}")
    for content in ada.contents(job_id):
        document = bob.graphql("query($id: ID!) { document(id: $id) { id } node(id: $id) { id } }", id=content["document"]["id"])
        status, seen = bob.status_of(content["uri"]), content["role"] in allowed
        check.that(status == (200 if seen else 404), f"bob's download of {content['role']} is {status}")
        check.that(all(bool(found) == seen for found in document.values()), f"{content['role']} as a document: {document}")
        if not seen:
            given = {"type": "noop", "input": {"documentId": content["document"]["id"]}}
            query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id } } }"
            check.refused(f"bob makes a job of {content['role']}", lambda: bob.graphql(query, input=given), "NOT_FOUND", "BAD_USER_INPUT")
    own = bob.look(job_id)["review"]
    check.that(own and own["id"] == review["id"] and own["content"]["document"]["sha256"] == review["content"]["document"]["sha256"],
               f"bob's review is {own}")
    check.that(own and own["items"] == review["items"] and own["items"], "the items are others, or none")
    check.that(review["id"] in bob.queue(), "the review is not in bob's queue")
    check.that(review["id"] not in world.eve.queue(), "the review is in eve's queue")


def withheld(check, world, job_id, kinds):
    """Of other steps' events of these kinds bob gets no data; what belongs to no step, or to his, he gets as the owner does.
    Returns how many were withheld.
    """
    full, theirs = history(world.ada, job_id, check), history(world.bob, job_id, check)
    check.that([event["sequence"] for event in full] == [event["sequence"] for event in theirs], "other sequences")
    allowed, count = {"input", *world.roles["mapping"]}, 0
    of_step = ("CONTENT_ADDED", "STEP_CHANGED", "REVIEW_OPENED", "REVIEW_CLAIMED", "REVIEW_RELEASED", "REVIEW_DECIDED")
    for whole, part in zip(full, theirs):
        data = whole["data"]
        mine = data["role"] in allowed if whole["kind"] == "CONTENT_ADDED" else data.get("step") == "mapping"
        if mine or whole["kind"] not in of_step:
            check.that(whole == part, f"event {whole['sequence']} is {part} instead of {whole}")
        elif whole["kind"] in kinds:
            count += 1
            shown = sorted(name for name in data if name != "step" and data[name] is not None and part["data"].get(name) == data[name])
            check.that(not shown, f"event {whole['sequence']}, {whole['kind']} of {data.get('step')}, shows {', '.join(shown)}")
    check.that(count, f"there is no event of {', '.join(kinds)}")
    return count


def nothing_exists(check, world, job_id, first, second, feed, reviews):
    ada, eve = world.ada, world.eve
    for review in (first, second):
        check.that(eve.review(review["id"]) is None, f"eve sees the review of {review['step']}")
        check.refused("claimReview", lambda: eve.claim(review["id"]), "NOT_FOUND")
        check.refused("saveReviewDraft", lambda: eve.save_draft(review["id"], []), "NOT_FOUND")
        check.refused("decideReview", lambda: eve.decide(review, "APPROVE"), "NOT_FOUND")
        release = "mutation($id: ID!) { releaseReview(id: $id) { review { id } } }"
        check.refused("releaseReview", lambda: eve.graphql(release, id=review["id"]), "NOT_FOUND")
    for name in (job_id, first["id"], second["id"]):
        check.that(eve.graphql("query($id: ID!) { node(id: $id) { id } }", id=name)["node"] is None, f"eve sees the node {name}")
    check.that(eve.look(job_id) is None, "eve sees the job")
    check.that(eve.graphql("{ jobs { totalCount } }")["jobs"]["totalCount"] == 0, "eve lists jobs")
    contents = ada.contents(job_id)
    for content in contents:
        found = eve.graphql("query($id: ID!) { document(id: $id) { id } }", id=content["document"]["id"])["document"]
        check.that(found is None, f"eve sees the document of {content['role']}")
        check.that(eve.status_of(content["uri"]) == 404, f"eve can download {content['role']}")
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
            end = connection.subscribe(query, id=job_id).until_end(WAIT, "eve's subscription")
            code = end.errors and (end.errors[0].get("extensions") or {}).get("code")
            check.that(end.kind == "error" and code == "NOT_FOUND", f"{query.split('{')[1].strip()}: {end}")
    # Her own job comes after all this: once its events are there, those of others would have been.
    own = create(eve, world)
    review = blocked(eve, own, "mapping")
    check.that(eve.queue() == [review["id"]], f"eve's queue is {eve.queue()}")
    feed.until(lambda event: event["kind"] == "REVIEW_OPENED", WAIT, "eve's own review in her feed")
    reviews.until(lambda update: update["id"] == review["id"], WAIT, "eve's own review")
    foreign = [event for event in feed.data() if event["jobId"] != own]
    foreign += [update for update in reviews.data() if update["job"]["id"] != own]
    check.that(not foreign, f"eve was sent {foreign[:1]}")
    check.figure(f"{len(contents)} contents, 11 mutations, 4 subscriptions")


def the_table(check, world, job_id):
    """Section 4: what collaborators may not do; that they may do the rest is what the other lines are about."""
    bob, carol = world.bob, world.carol
    cancel = "mutation($id: ID!) { cancelJob(id: $id) { job { id } } }"
    retry = "mutation($id: ID!) { retryJob(id: $id) { job { id } } }"
    delete = "mutation($id: ID!) { deleteJob(id: $id) { deletedId } }"
    for person in (bob, carol):
        check.refused("share", lambda: person.share(job_id, {"userEmail": world.dora.email}, ["*"]), "FORBIDDEN")
        check.refused("unshare", lambda: person.unshare(job_id, {"teamName": "reviewers"}), "FORBIDDEN")
        check.refused("delete", lambda: person.graphql(delete, id=job_id), "FORBIDDEN")
    check.refused("bob's update", lambda: bob.update(job_id, x=1), "FORBIDDEN")
    check.refused("bob's cancelling", lambda: bob.graphql(cancel, id=job_id), "FORBIDDEN")
    check.refused("bob's retry", lambda: bob.graphql(retry, id=job_id), "FORBIDDEN")
    check.refused("bob's rewinding", lambda: rewind(bob, job_id, "mapping"), "FORBIDDEN")
    check.that(carol.update(job_id, note="by carol")["metadata"]["note"] == "by carol", "carol's update is not in the metadata")
    dora, nobody = {"userEmail": world.dora.email}, {"teamName": "nobody"}
    check.refused("a step that is none", lambda: world.ada.share(job_id, dora, ["mapping", "baking"]), "BAD_USER_INPUT")
    check.refused("a team that is none", lambda: world.ada.share(job_id, nobody, ["*"]), "NOT_FOUND")
    shared = world.ada.share(job_id, {"teamName": "reviewers"}, ["mapping"])
    check.that([(row["team"]["name"], row["steps"]) for row in shared["teams"]] == [("reviewers", ["mapping"])]
               and [(row["user"]["email"], row["steps"]) for row in shared["users"]] == [(carol.email, ["*"])], f"collaboration {shared}")
    permissions = {name: set(person.graphql("query($id: ID!) { job(id: $id) { permissions } }", id=job_id)["job"]["permissions"])
                   for name, person in (("ada", world.ada), ("bob", bob), ("carol", carol))}
    wanted = {"ada": {"VIEW", "EDIT", "WORK", "SHARE", "CANCEL", "DELETE"}, "bob": {"VIEW", "WORK"}, "carol": {"VIEW", "EDIT", "WORK", "CANCEL"}}
    check.that(permissions == wanted, f"permissions {permissions}")
    check.figure("12 refusals")


def rewind(client, job_id, step, **more):
    return client.mutate("rewindJob", "RewindJobInput", "job { id status outputContent { version } }", id=job_id, toStep=step, **more)["job"]


def claimant(error):
    """The ID of whoever has claimed a review, in the refusal."""
    by = error.extensions.get("claimedBy")
    return by.get("id") if isinstance(by, dict) else by


# ---------------------------------------------------------------- 2: many want one


def rivals(verdicts, world, server):
    with line(verdicts, f"{RIVALS} claim one review at once: one wins") as check:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            people = list(pool.map(lambda number: Person(server, f"rival{number}"), range(RIVALS)))
        people[0].make_team("rivals", *people[1:])
        job_id = create(world.ada, world, collaboration=[team("rivals", "mapping")])
        review = blocked(world.ada, job_id, "mapping")
        together = threading.Barrier(RIVALS)

        def claim(person):
            person.graphql("{ viewer { id } }")
            together.wait(WAIT)
            try:
                return person.claim(review["id"])
            except harness.ApiError as error:
                return error

        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(RIVALS) as pool:
            answers = list(pool.map(claim, people))
        took = time.monotonic() - began
        winners = [person for person, answer in zip(people, answers) if isinstance(answer, dict)]
        codes = collections.Counter(answer.code for answer in answers if isinstance(answer, harness.ApiError))
        check.that(len(winners) == 1, f"{len(winners)} won")
        check.that(codes == {"CONFLICT": RIVALS - 1}, f"the others got {dict(codes)}")
        if winners:
            named = collections.Counter(claimant(answer) for answer in answers if isinstance(answer, harness.ApiError))
            check.that(named == {winners[0].id: RIVALS - 1}, f"claimedBy names {dict(named)}, the winner is {winners[0].id}")
            now = world.ada.review(review["id"])
            check.that(now["status"] == "CLAIMED" and now["claimedBy"] == {"id": winners[0].id}, f"it is {now['status']} by {now['claimedBy']}")
            claims = find(history(world.ada, job_id, check), "REVIEW_CLAIMED")
            check.that([event["actor"]["id"] for event in claims] == [winners[0].id], f"the history has {claims}")
            winners[0].decide(review, "APPROVE")
            completed(world.ada, job_id)
        check.figure(f"1 won, {codes['CONFLICT']} CONFLICT that name the winner, in {took:.2f} s")


# ---------------------------------------------------------------- 3 and 4: what is refused changes nothing


def stale_and_patches(verdicts, world, server):
    ada = world.ada
    job_id = create(ada, world)
    review = blocked(ada, job_id, "mapping")
    ada.claim(review["id"])
    ada.save_draft(review["id"], [])
    points = mapping_of(ada, review)
    with line(verdicts, "a decision on another hash: CONFLICT, nothing changes") as check:
        before = snapshot(ada, job_id, review["id"])
        others = ["0" * 64, world.document["sha256"]]
        for sha in others:
            for decision, more in (("APPROVE", {"patch": correction(world, points)}), ("REJECT", {"comment": "no"}),
                                   ("SEND_BACK", {"toStep": "zoning"})):
                what = f"{decision} on {sha[:8]}…"
                check.refused(what, lambda: ada.decide(review, decision, contentSha256=sha, **more), "CONFLICT")
                unchanged(check, what, before, snapshot(ada, job_id, review["id"]))
        check.refused("no hash", lambda: ada.decide(review, "APPROVE", contentSha256=None), "BAD_USER_INPUT")
        unchanged(check, "no hash", before, snapshot(ada, job_id, review["id"]))
        check.figure(f"{3 * len(others)} refused; {len(before['events'])} events, {len(before['contents'])} contents as before")
    with line(verdicts, "a patch that does not apply: /patch/i, nothing changes") as check:
        before = snapshot(ada, job_id, review["id"])
        good, replace, _ = correction(world, points)
        place = good["path"].rpartition("/")[0]
        cases = [("a test that fails", [good, {**good, "value": "something else"}, replace], 1),
                 ("a path that is not there", [good, {"op": "replace", "path": "/data_points/99999/value", "value": "x"}], 1),
                 ("a removal of what is not there", [{"op": "remove", "path": "/nowhere"}, good], 0),
                 ("a value of another type", [good, replace, {"op": "replace", "path": f"{place}/confidence", "value": "very"}], 2),
                 ("a value out of its range", [{"op": "replace", "path": f"{place}/confidence", "value": 7}], 0),
                 ("something required removed", [good, {"op": "remove", "path": f"{place}/name"}], 1),
                 ("everything removed", [good, {"op": "remove", "path": "/data_points"}], 1),
                 ("an operation that is none", [good, {"op": "improve", "path": good["path"]}], 1)]
        for what, patch, place in cases:
            error = check.refused(what, lambda: ada.decide(review, "APPROVE", patch=patch), "BAD_USER_INPUT")
            paths = [problem["path"] for problem in error.problems] if error else []
            check.that(any(path == f"/patch/{place}" or path.startswith(f"/patch/{place}/") for path in paths),
                       f"{what}: problems at {paths}, not at /patch/{place}")
            unchanged(check, what, before, snapshot(ada, job_id, review["id"]))
        ada.decide(review, "APPROVE", patch=[good, replace])
        completed(ada, job_id)
        check.figure(f"{len(cases)} patches refused, then one applied")


# ---------------------------------------------------------------- 5: rejected, run again, sent back, rewound


def there_and_back(verdicts, world, server):
    ada, bob, carol = world.ada, world.bob, world.carol
    job_id = create(ada, world, 1, 1, [user(carol), team("reviewers", "mapping")])
    carol.approve(blocked(carol, job_id, "zoning"))
    with line(verdicts, "REJECT fails the job with the comment; retryJob opens it") as check, contextlib.ExitStack() as stack:
        live = follow(stack, bob, JOB_EVENTS, id=job_id)
        rejected = blocked(bob, job_id, "mapping")
        bob.claim(rejected["id"])
        comment = "This is no invoice; ask the sender."
        decided = bob.decide(rejected, "REJECT", comment=comment)
        check.that((decided["status"], decided["comment"]) == ("REJECTED", comment), f"the review is {decided['status']}: {decided['comment']}")
        job = stands(ada, job_id)
        failure = job["failure"] or {}
        check.that(job["status"] == "FAILED" and comment in failure.get("message", "") and failure.get("step") == "mapping",
                   f"the job is {job['status']}: {job['failure']}")
        end = live.until_end(WAIT, "the end of jobEvents")
        check.that(end.kind == "complete" and live.data()[-1]["data"].get("to") == "FAILED", f"jobEvents ended: {end}")
        found = find(history(ada, job_id, check), "REVIEW_DECIDED", decision="REJECTED")
        said = [(event["data"].get("comment"), event["actor"]["id"]) for event in found]
        check.that(said == [(comment, bob.id)], f"the history has {found}")
        check.that(rejected["id"] not in bob.queue(), "the review is still in the queue")
        retry = "mutation($id: ID!) { retryJob(id: $id) { job { status failure { code } } } }"
        check.refused("bob runs it again", lambda: bob.graphql(retry, id=job_id), "FORBIDDEN")
        job = ada.graphql(retry, id=job_id)["retryJob"]["job"]
        check.that(job["status"] not in harness.FINAL and job["failure"] is None, f"after retryJob it is {job}")
        again = blocked(ada, job_id, "mapping")
        check.that(again["id"] != rejected["id"] and again["status"] == "OPEN", f"the review is {again['id']} {again['status']}")
        events = history(ada, job_id, check)
        check.that(len(find(events, "RETRIED")) == 1, "the history does not have RETRIED once")
        check.gapless("the history", events)
        check.figure(f"{failure.get('code')}; a new review")

    with line(verdicts, "SEND_BACK: comment on the step, what was made superseded") as check:
        review = blocked(ada, job_id, "mapping")
        before = {content["role"]: content for content in ada.contents(job_id)}
        bob.claim(review["id"])
        check.refused("back to itself", lambda: bob.decide(review, "SEND_BACK", toStep="mapping", comment="x"), "BAD_USER_INPUT")
        check.refused("ahead", lambda: bob.decide(review, "SEND_BACK", toStep="output", comment="x"), "BAD_USER_INPUT")
        check.refused("nowhere", lambda: bob.decide(review, "SEND_BACK", toStep="baking", comment="x"), "BAD_USER_INPUT")
        comment = "The table on page 1 is two tables."
        decided = bob.decide(review, "SEND_BACK", toStep="zoning", comment=comment)
        check.that((decided["status"], decided["comment"]) == ("SENT_BACK", comment), f"the review is {decided['status']}: {decided['comment']}")
        check.that(ada.contents(job_id, "mapping-json") == [], "mapping-json still counts")
        blocked(ada, job_id, "zoning")
        steps = ada.graphql("query($id: ID!) { job(id: $id) { steps { name status comment } } }", id=job_id)["job"]["steps"]
        steps = {step["name"]: step for step in steps}
        check.that(steps["zoning"]["comment"] == comment, f"the step shows {steps['zoning']['comment']!r}")
        check.that(steps["zoning"]["status"] == "BLOCKED" and steps["mapping"]["status"] == "PENDING", f"steps {steps}")
        events = history(ada, job_id, check)
        decisions = find(events, "REVIEW_DECIDED", decision="SENT_BACK", comment=comment, toStep="zoning")
        check.that(len(decisions) == 1 and decisions[0]["actor"]["id"] == bob.id, f"REVIEW_DECIDED: {decisions}")
        check.that(find(events, "STEP_CHANGED", step="zoning", comment=comment), "no STEP_CHANGED of zoning has the comment")
        check.gapless("the history", events)
        now, all_of_them = ada.contents(job_id), ada.contents(job_id, superseded=True)
        for role in ("zoning-json", "zoning-pagesmeta-json", "mapping-json"):
            old = before[role]["document"]["id"]
            check.that(old not in [content["document"]["id"] for content in now], f"{role} of before still counts")
            kept = [content["current"] for content in all_of_them if content["document"]["id"] == old]
            check.that(kept == [False], f"{role} of before is lost")
        for role in ("input", "text-json", "mapping-taxonomy-json"):
            check.that(before[role] in now, f"{role} of before does not count any more")
        check.that(ada.contents(job_id, "mapping-json") == [], "mapping-json counts before mapping ran again")
        check.figure(f"{len(all_of_them) - len(now)} of {len(all_of_them)} contents superseded")

    with line(verdicts, "rewindJob of a COMPLETED job: output superseded, then new") as check:
        carol.approve(blocked(carol, job_id, "zoning"))
        review = blocked(bob, job_id, "mapping")
        bob.approve(review, patch=correction(world, mapping_of(bob, review)))
        completed(ada, job_id)
        corrected, = ada.contents(job_id, "mapping-json")
        first, = ada.contents(job_id, "output")
        check.refused("bob rewinds", lambda: rewind(bob, job_id, "mapping"), "FORBIDDEN")
        check.refused("to a step that is none", lambda: rewind(ada, job_id, "baking"), "BAD_USER_INPUT")
        check.that(completed(ada, job_id)["outputContent"] == {"version": 1}, "the output is not version 1")
        job = rewind(ada, job_id, "mapping", reason="The taxonomy was wrong.")
        check.that(job["status"] not in harness.FINAL and job["outputContent"] is None, f"after rewindJob it is {job}")
        check.that(ada.contents(job_id, "output") == [], "the output still counts")
        outputs = ada.contents(job_id, "output", superseded=True)
        check.that(outputs == [{**first, "current": False}], f"the output is {outputs}")
        review = blocked(bob, job_id, "mapping")
        zones = ada.contents(job_id, "zoning-json")
        check.that(len(zones) == 1 and zones[0]["current"], f"zoning-json is {zones}")
        found = find(history(ada, job_id, check), "REWOUND")
        check.that(len(found) == 1 and found[0]["data"].get("reason") == "The taxonomy was wrong." and found[0]["actor"]["id"] == ada.id,
                   f"REWOUND: {found}")
        bob.claim(review["id"])
        before = snapshot(ada, job_id, review["id"])
        stale = corrected["document"]["sha256"]
        check.that(stale != review["content"]["document"]["sha256"], "the content is the corrected one")
        check.refused("a decision on the superseded version", lambda: bob.decide(review, "APPROVE", contentSha256=stale), "CONFLICT")
        unchanged(check, "a decision on the superseded version", before, snapshot(ada, job_id, review["id"]))
        bob.decide(review, "APPROVE")
        job = completed(ada, job_id)
        outputs = ada.contents(job_id, "output", superseded=True)
        check.that([(content["version"], content["current"]) for content in outputs] == [(2, True), (1, False)], f"outputs {outputs}")
        check.that(job["outputContent"] == {"version": 2}, f"outputContent {job['outputContent']}")
        texts = ["".join(xml.etree.ElementTree.fromstring(ada.download(content["uri"])).itertext()) for content in outputs]
        check.that([CORRECTED in text for text in texts] == [False, True], "the correction is not in the first output only")
        events = history(ada, job_id, check)
        check.gapless("the history", events)
        check.figure(f"version 2 of the output; {len(events)} events in all")


# ---------------------------------------------------------------- 6: access ends, and everything with it


def loss_of_access(verdicts, world, server):
    ada, dora = world.ada, world.dora
    job_id = create(ada, world)
    blocked(ada, job_id, "mapping")
    member = {"teamId": world.team, "userEmail": world.bob.email}

    def of_the_team(mutation):
        return lambda: dora.mutate(mutation, "TeamMemberInput", "team { id }", **member)

    out, back = lambda: ada.unshare(job_id, {"teamName": "reviewers"}), lambda: ada.share(job_id, {"teamName": "reviewers"}, ["mapping"])
    back()
    for name, out, back in (("removeCollaborator", out, back),
                            ("removeTeamMember", of_the_team("removeTeamMember"), of_the_team("addTeamMember"))):
        for amid in ("", ", amid changes"):
            text = f"{name}{amid}: {FOLLOWERS} get FORBIDDEN in 1 s"
            with line(verdicts, text) as check, contextlib.ExitStack() as stack, Changes(ada, job_id) as changes:
                lose_access(check, stack, world, job_id, out, changes if amid else None)
            back()


class Changes:
    """Changes a job's metadata again and again, in a thread of its own, once it is told to."""

    def __init__(self, client, job_id):
        self.client, self.job_id, self.count, self.error = client, job_id, 0, None
        self.changed, self.ended = threading.Condition(), threading.Event()
        self.thread = threading.Thread(target=self.change, daemon=True)

    def change(self):
        while not self.ended.is_set() and not self.error:
            try:
                self.client.update(self.job_id, change=uuid.uuid4().hex)
            except Exception as error:
                self.error = error
            with self.changed:
                self.count += 1
                self.changed.notify_all()

    def more(self, number):
        """Waits for some more."""
        with self.changed:
            wanted = self.count + number
            if not self.changed.wait_for(lambda: self.count >= wanted or self.error, WAIT) or self.error:
                raise TimeoutError(f"the job did not change {number} times more: {self.error}")

    def start(self):
        self.thread.start()

    def stop(self):
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join(WAIT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def lose_access(check, stack, world, job_id, remove, changes):
    """Bob follows a job in every way and loses access; nothing that happens from then on may come to him."""
    ada, bob = world.ada, world.bob
    before = history(ada, job_id, check, first=100)
    updates, reviews, feed = (follow(stack, bob, query) for query in (JOBS_UPDATED, REVIEWS_UPDATED, FEED))
    beacon(bob, updates, feed)
    feed.wait(lambda it: len(of_job(it, job_id)) == len(before), WAIT, "bob's feed")
    connections = [stack.enter_context(sockets.Connection(bob.address, bob.key)) for _ in range(SOCKETS)]
    followers = [connections[i // 2 % SOCKETS].subscribe(JOB_EVENTS if i % 2 else JOB_UPDATED, id=job_id) for i in range(FOLLOWERS)]
    for i, follower in enumerate(followers):
        follower.wait(lambda it: len(it.items) >= (len(before) if i % 2 else 1), WAIT, f"subscription {i + 1}")
    if changes:
        changes.start()
        followers[-1].wait(lambda it: len(it.items) > len(before) + 5, WAIT, "some changes")
    began = time.monotonic()
    remove()
    answered = time.monotonic() - began
    # What has happened by now may have been on its way to him; not so the removal itself, where it is an event.
    events = history(ada, job_id, check, first=100)
    removals = find(events[len(before):], "COLLABORATION_CHANGED")
    last = removals[0]["sequence"] - 1 if removals else events[-1]["sequence"]
    known = json.dumps([event["data"] for event in events])
    check.that(bob.look(job_id) is None, "bob still sees the job")
    for i, follower in enumerate(followers):
        follower.until_end(10, f"the end of subscription {i + 1}")
    if changes:
        changes.more(5)
        changes.stop()
    mark = ada.update(job_id, change=uuid.uuid4().hex)["metadata"]["change"]
    review = ada.claim(ada.look(job_id)["review"]["id"])
    ada.graphql("mutation($id: ID!) { releaseReview(id: $id) { review { id } } }", id=review["id"])
    own = blocked(bob, create(bob, world), "mapping")
    reviews.until(lambda update: update["id"] == own["id"], WAIT, "one's own review")
    # Twice, since what changes at once may come in any order: the second is made when the first has come.
    for _ in range(2):
        beacon(bob, updates, feed)
    for connection in connections:
        connection.ping()
    codes = collections.Counter((it.end.kind, it.end.errors and (it.end.errors[0].get("extensions") or {}).get("code")) for it in followers)
    check.that(codes == {("error", "FORBIDDEN"): FOLLOWERS}, f"they ended with {dict(codes)}")
    slowest = max(follower.end.at for follower in followers) - began
    check.that(slowest < answered + SECOND, f"the last ended after {slowest:.3f} s, the answer came after {answered:.3f} s")
    stray = sum(len(connection.stray) for connection in connections)
    check.that(not stray, f"{stray} messages came after the end of their subscription")
    sequences = [event["sequence"] for it in [*followers[1::2], feed] for event in of_job(it, job_id)]
    check.that(max(sequences) <= last, f"bob was sent {sum(n > last for n in sequences)} events after {last}, up to {max(sequences)}")
    states = [job["metadata"].get("change") for it in [*followers[::2], updates] for job in it.data() if job["id"] == job_id]
    late = [state for state in states if state and state not in known]
    check.that(not late and mark not in states, f"bob was sent {len(late)} states of the job after the removal")
    if not changes:
        more = sum(len(follower.items) - (len(before) if i % 2 else 1) for i, follower in enumerate(followers))
        check.that(not more and job_id not in [job["id"] for job in updates.data()], f"bob was sent {more} items though nothing had changed")
    check.that(review["id"] not in [update["id"] for update in reviews.data()], "bob was sent the review after the removal")
    for it in (updates, reviews, feed):
        check.that(not it.end and not it.errors(), f"what goes on ended: {it.end}, {it.errors()}")
    happened = history(ada, job_id, check, first=100)[-1]["sequence"] - last
    check.figure(f"the last after {slowest:.3f} s, the answer after {answered:.3f} s; of {happened} events from then on bob got none")


def beacon(client, updates, feed):
    """A new job of one's own, seen by both subscriptions: what came before it in the feed has come."""
    document = client.upload(b"x", "x.txt", "text/plain")
    job_id = client.create_job(document, "noop")
    feed.until(lambda event: event["jobId"] == job_id, WAIT, "one's own job in the feed")
    updates.until(lambda job: job["id"] == job_id, WAIT, "one's own job in jobsUpdated")


# ---------------------------------------------------------------- 7: four eyes


def four_eyes(verdicts, world, server):
    ada, carol, root = world.ada, world.carol, world.root
    step = {"name": "writing", "title": "Writing", "kind": "MANUAL", "contentRoles": ["letter", "output"], "fourEyes": True}
    given = {"id": "letter", "name": "Letter", "description": "Somebody else answers.", "accepts": ["application/pdf"], "steps": [step]}
    fields = "jobType { id version steps { name kind fourEyes contentRoles } }"
    with line(verdicts, "four eyes: the owner may not, admin or not; another does") as check:
        check.refused("ada registers a type", lambda: ada.mutate("registerJobType", "RegisterJobTypeInput", fields, **given), "FORBIDDEN")
        made = root.mutate("registerJobType", "RegisterJobTypeInput", fields, **given)["jobType"]
        wanted = [{"name": "writing", "kind": "MANUAL", "fourEyes": True, "contentRoles": ["letter", "output"]}]
        check.that(made["steps"] == wanted, f"the type is {made}")
        query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id } } }"
        for owner in (root, ada):
            document = owner.upload(world.pdf, world.invoice, "application/pdf")
            given = {"type": "letter", "input": {"documentId": document["id"]}, "collaboration": [user(carol, "writing")]}
            job_id = owner.graphql(query, input=given)["createJob"]["job"]["id"]
            review = blocked(carol, job_id, "writing")
            check.that(review["content"] is None, f"there is a content: {review['content']}")
            who = owner.email
            check.refused(f"{who} claims", lambda: owner.claim(review["id"]), "FORBIDDEN")
            check.refused(f"{who} decides", lambda: owner.decide(review, "APPROVE"), "FORBIDDEN", "CONFLICT")
            check.that(review["id"] not in owner.queue(), f"it is in the queue of {who}")
            check.that(review["id"] in carol.queue(), "it is not in carol's queue")
            carol.claim(review["id"])
            check.refused(f"{who} decides what carol has claimed", lambda: owner.decide(review, "APPROVE"), "FORBIDDEN", "CONFLICT")
            text = f"Dear {who}".encode()
            letter, output = (carol.upload(text, name, "text/plain") for name in ("letter.txt", "output.txt"))
            source = {"documentId": letter["id"]}
            contents = [{"role": "letter", "source": source}, {"role": "output", "source": {"uri": output["contentsUri"]}}]
            wrong = [{"role": "song", "source": source}]
            check.refused("a role that is none", lambda: carol.decide(review, "APPROVE", contents=wrong), "BAD_USER_INPUT")
            carol.decide(review, "APPROVE", contents=contents)
            job = completed(owner, job_id)
            check.that(job["outputContent"] == {"version": 1}, f"outputContent {job['outputContent']}")
            check.that(owner.content(job_id, "letter") == text, "the letter is another")
            added = find(history(owner, job_id, check), "CONTENT_ADDED", role="letter")
            check.that(len(added) == 1 and added[0]["actor"]["id"] == carol.id, f"CONTENT_ADDED: {added}")
            delete = "mutation($id: ID!) { deleteDocument(id: $id) { deletedId } }"
            check.refused("carol deletes the letter", lambda: carol.graphql(delete, id=letter["id"]), "CONFLICT")
        world.jobs.append(job_id)
        check.figure("2 owners refused, one of them an admin; 2 jobs completed by a collaborator")


# ---------------------------------------------------------------- 8: TEST keys


def test_mode(verdicts, world, server):
    ada = world.ada
    with line(verdicts, "a TEST key's reviews approve themselves") as check:
        key = server.run("key", "create", "--email", ada.email, "--name", "test", "--mode", "test")
        tester = harness.Client(ada.address, key)
        query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id mode } } }"
        given = {"type": harness.EXTRACTION, "input": {"documentId": world.document["id"]},
                 "metadata": {"mapping.taxonomy": world.taxonomy["name"], "mapping.high_confidence_threshold": 1,
                              "zoning.high_confidence_threshold": 1}}
        job = tester.graphql(query, input=given)["createJob"]["job"]
        check.that(job["mode"] == "TEST", f"its mode is {job['mode']}")
        world.jobs.append(job["id"])
        late = tester.wait([job["id"]], WAIT)
        check.that(not late, f"it is {late}")
        completed(ada, job["id"])
        events = history(ada, job["id"], check)
        opened, decided = find(events, "REVIEW_OPENED"), find(events, "REVIEW_DECIDED")
        check.that([event["data"]["step"] for event in opened] == ["zoning", "mapping"], f"opened: {opened}")
        check.that([(event["data"]["step"], event["data"]["decision"], event["actor"]) for event in decided]
                   == [("zoning", "APPROVED", None), ("mapping", "APPROVED", None)], f"decided: {decided}")
        reviews = [ada.review(event["data"]["reviewId"]) for event in opened]
        check.that(all(review["status"] == "APPROVED" and not review["decidedBy"] for review in reviews), f"reviews: {reviews}")
        check.that(not find(events, "REVIEW_CLAIMED"), "somebody claimed")
        check.figure(f"{len(decided)} reviews, {harness.seconds(ada.job(job['id'])):.2f} s")


if __name__ == "__main__":
    main()
