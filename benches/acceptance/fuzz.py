#!/usr/bin/env python3
"""Has schemathesis make up requests to the GraphQL endpoint and, where there is one, to the REST façade.

No answer may be a fault of the server (5xx, INTERNAL_SERVER_ERROR), say anything of its insides, or be an error without a
code; nothing may be logged as an error; and the server must still stop in order. What was found is printed with a curl
command that repeats it. Needs schemathesis (tests/clients/requirements.txt) beside the Python that runs this.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import harness

TAXONOMY = {"name": "fuzz", "data_points": [
    {"name": "invoice.number", "type": "code", "labels": ["Invoice number"], "required": True}]}
# Where each is described, and what is asked of its answers. To schemathesis every error of GraphQL is a fault, so that only our
# own checks serve there. What a new job needs to be, and what a cursor is, no description of REST can say, so that a request
# which it allows may be refused; and a job that exists is refused with 404 where a team that it is shared with does not.
INTERFACES = {
    "GraphQL": ["/graphql", "--checks", "no_fault,nothing_internal"],
    "REST": ["/v1.1/openapi.json", "--checks", "all", "--exclude-checks",
             "positive_data_acceptance,ensure_resource_availability"],
}
HOOKS = pathlib.Path(__file__).with_name("fuzz_hooks.py")


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--seconds", type=int, default=1800, help="for each of the two interfaces (default: half an hour)")
    parser.add_argument("--interface", choices=INTERFACES, help="only this one")
    parser.add_argument("--faults-only", action="store_true",
                        help="of REST too ask only what is asked of GraphQL: no fault, nothing of the server's insides")
    parser.add_argument("--seed", type=int, help="makes up the same requests again")
    options = harness.parse(parser)
    command = shutil.which("st", path=os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]))
    if not command:
        parser.error("there is no program st; install schemathesis")
    verdicts = harness.Verdicts(options.database)
    with harness.Server(options) as server:
        server.start()
        # Some are deleted at every turn, so a longer run needs more.
        count = max(10, options.seconds // 2)
        ids, uri = things(server.client, count)
        known = {"FUZZ_IDS": " ".join(ids), "FUZZ_NAMES": TAXONOMY["name"], "FUZZ_URI": uri}
        for name, (path, *checks) in INTERFACES.items():
            if options.interface not in (None, name) or server.client.request("GET", path)[0] == 404:
                continue
            if options.faults_only:
                checks = INTERFACES["GraphQL"][1:]
            arguments = ["run", f"http://{server.client.address}{path}", *checks]
            found = fuzz([command, *arguments], server, known, options)
            verdicts.add(found == 0, f"schemathesis finds nothing: {name}, {options.seconds} s", f"exit code {found}")
        verdicts.add(not server.problems_logged(), "nothing is logged as an error", f"{len(server.problems_logged())} lines")
        code, took = server.stop()
        verdicts.add(code == 0, "the server stops in order afterwards", f"exit code {code} after {took:.1f} s")
    verdicts.finish()


def things(client, count):
    """What is there, so that what is made up also reaches it: IDs, among them those of so many jobs, half of which wait for a
    person; and the contentsUri of a document."""
    client.put_taxonomy(TAXONOMY)
    document = client.upload(b"Invoice number: HL-2025-0418\n", "invoice.txt", "text/plain")
    jobs = [create_job(client, document, threshold=number % 2) for number in range(count)]
    reviews = until_opened(client, jobs[1::2])
    query = """mutation { createTeam(input: {name: "fuzz"}) { team { id members { id } } } }"""
    team = client.graphql(query)["createTeam"]["team"]
    ids = [document["id"], *jobs, *reviews, team["id"], team["members"][0]["id"], harness.EXTRACTION]
    return ids, document["contentsUri"]


def create_job(client, document, threshold):
    query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id } } }"
    metadata = {"mapping": {"taxonomy": TAXONOMY["name"], "high_confidence_threshold": threshold},
                "zoning": {"high_confidence_threshold": 0}}
    given = {"type": harness.EXTRACTION, "input": {"documentId": document["id"]}, "metadata": metadata}
    return client.graphql(query, input=given)["createJob"]["job"]["id"]


def until_opened(client, jobs):
    """IDs of the reviews of these jobs, once all are open."""
    query = "query($id: ID!) { job(id: $id) { status review { id } } }"
    found = []
    for job_id in jobs:
        while not (job := client.graphql(query, id=job_id)["job"])["review"]:
            if job["status"] in harness.FINAL:
                raise RuntimeError(f"job {job_id} is {job['status']} and was not reviewed")
            time.sleep(0.1)
        found.append(job["review"]["id"])
    return found


def fuzz(command, server, known, options):
    """Exit code of schemathesis: 0 where it finds nothing."""
    command += ["--header", f"Authorization: Bearer {server.key}", "--max-time", str(options.seconds), "--mode", "all",
                "--continue-on-failure", "--request-timeout", "60", "--suppress-health-check", "all", "--warnings", "off",
                "--no-color"]
    if options.seed is not None:
        command += ["--seed", str(options.seed)]
    environment = {**os.environ, **known, "SCHEMATHESIS_HOOKS": HOOKS.stem, "PYTHONPATH": str(HOOKS.parent)}
    # Schemathesis keeps what it has found in the folder that it runs in.
    return subprocess.run(command, env=environment, cwd=server.home, check=False).returncode


if __name__ == "__main__":
    main()
