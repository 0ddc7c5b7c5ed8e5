#!/usr/bin/env python3
"""Runs schemathesis against the GraphQL endpoint and the REST facade.

No response may be a server error (5xx, INTERNAL_SERVER_ERROR), reveal internals, or contain an error without a code. The
server must log no error and must shut down in order. Each finding is printed with a curl command that repeats it. Needs
schemathesis (tests/clients/requirements.txt) in the environment of the Python that runs this.
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
# The schema and the checks of each interface. Schemathesis treats every GraphQL error as a failure, so GraphQL gets only our
# own checks. OpenAPI cannot express all rules for a job or a cursor, so the server may refuse a request that the description
# allows. It also responds 404 to an existing job if a team in the body does not exist.
INTERFACES = {
    "GraphQL": ["/graphql", "--checks", "no_fault,nothing_internal"],
    "REST": ["/v1.1/openapi.json", "--checks", "all", "--exclude-checks",
             "positive_data_acceptance,ensure_resource_availability"],
}
HOOKS = pathlib.Path(__file__).with_name("fuzz_hooks.py")


def main():
    parser = harness.arguments(__doc__)
    parser.add_argument("--seconds", type=int, default=1800, help="duration for each interface (default: 1800)")
    parser.add_argument("--interface", choices=INTERFACES, help="test only this interface")
    parser.add_argument("--faults-only", action="store_true",
                        help="use the checks of GraphQL for REST too: no server error, no internals")
    parser.add_argument("--seed", type=int, help="seed of the generated requests")
    options = harness.parse(parser)
    command = shutil.which("st", path=os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]))
    if not command:
        parser.error("program st not found; install schemathesis")
    report = harness.Report(options.database)
    with harness.Server(options) as server:
        server.start()
        # Requests delete jobs, so a longer run needs more of them.
        count = max(10, options.seconds // 2)
        ids, uri = create_objects(server.client, count)
        hook_environment = {"FUZZ_IDS": " ".join(ids), "FUZZ_NAMES": TAXONOMY["name"], "FUZZ_URI": uri}
        for name, (path, *checks) in INTERFACES.items():
            if options.interface not in (None, name) or server.client.request("GET", path)[0] == 404:
                continue
            if options.faults_only:
                checks = INTERFACES["GraphQL"][1:]
            arguments = ["run", f"http://{server.client.address}{path}", *checks]
            exit_code = run_schemathesis([command, *arguments], server, hook_environment, options)
            report.add(exit_code == 0, f"schemathesis finds no failure: {name}, {options.seconds} s", f"exit code {exit_code}")
        report.add(not server.logged_errors(), "no error is logged", f"{len(server.logged_errors())} lines")
        code, took = server.stop()
        report.add(code == 0, "the server shuts down in order afterwards", f"exit code {code} after {took:.1f} s")
    report.finish()


def create_objects(client, count):
    """Creates objects for the requests to reach: `count` jobs, half of them with an open review, a document and a team.

    Returns their IDs and the contentsUri of the document.
    """
    client.put_taxonomy(TAXONOMY)
    document = client.upload(b"Invoice number: HL-2025-0418\n", "invoice.txt", "text/plain")
    jobs = [create_job(client, document, threshold=number % 2) for number in range(count)]
    reviews = wait_for_reviews(client, jobs[1::2])
    query = """mutation { createTeam(input: {name: "fuzz"}) { team { id members { id } } } }"""
    team = client.graphql(query)["createTeam"]["team"]
    ids = [document["id"], *jobs, *reviews, team["id"], team["members"][0]["id"], harness.EXTRACTION]
    return ids, document["contentsUri"]


def create_job(client, document, threshold):
    query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id } } }"
    metadata = {"mapping": {"taxonomy": TAXONOMY["name"], "high_confidence_threshold": threshold},
                "zoning": {"high_confidence_threshold": 0}}
    job_input = {"type": harness.EXTRACTION, "input": {"documentId": document["id"]}, "metadata": metadata}
    return client.graphql(query, input=job_input)["createJob"]["job"]["id"]


def wait_for_reviews(client, jobs):
    """Waits until all jobs have an open review; returns the review IDs."""
    query = "query($id: ID!) { job(id: $id) { status review { id } } }"
    found = []
    for job_id in jobs:
        while not (job := client.graphql(query, id=job_id)["job"])["review"]:
            if job["status"] in harness.FINAL:
                raise RuntimeError(f"job {job_id} ended as {job['status']} without a review")
            time.sleep(0.1)
        found.append(job["review"]["id"])
    return found


def run_schemathesis(command, server, hook_environment, options):
    """Runs schemathesis; returns its exit code, 0 if it finds no failure."""
    command += ["--header", f"Authorization: Bearer {server.key}", "--max-time", str(options.seconds), "--mode", "all",
                "--continue-on-failure", "--request-timeout", "60", "--suppress-health-check", "all", "--warnings", "off",
                "--no-color"]
    if options.seed is not None:
        command += ["--seed", str(options.seed)]
    environment = {**os.environ, **hook_environment, "SCHEMATHESIS_HOOKS": HOOKS.stem, "PYTHONPATH": str(HOOKS.parent)}
    # Schemathesis stores its findings in the working directory.
    return subprocess.run(command, env=environment, cwd=server.home, check=False).returncode


if __name__ == "__main__":
    main()
