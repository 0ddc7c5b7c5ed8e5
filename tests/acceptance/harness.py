"""Shared code of the acceptance tests: a Docket server, a client of its public API, and a process monitor.

Python 3.11, standard library only. On PostgreSQL, the program `psql` creates and drops the database.
"""

import argparse
import dataclasses
import datetime
import http.client
import json
import mimetypes
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
FINAL = {"COMPLETED", "FAILED", "CANCELLED"}
EXTRACTION = "data-point-extraction"
MIB = 1 << 20


# ---------------------------------------------------------------- command line and report


def arguments(doc, folder=None):
    """Returns a parser with the options common to all scripts."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if folder:
        parser.add_argument("folder", type=pathlib.Path, help=folder)
    parser.add_argument("--binary", type=pathlib.Path,
                        default=os.environ.get("DOCKET_BINARY", ROOT / "target/release/docket"),
                        help="the docket program [env: DOCKET_BINARY]")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--postgres-url",
                        default=os.environ.get("DOCKET_TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres"),
                        help="server on which a database may be created [env: DOCKET_TEST_POSTGRES_URL]")
    parser.add_argument("--keep", action="store_true", help="keep the data directory with the log, and print its path")
    return parser


def parse(parser):
    """Parses the command line. Exits with code 0 if a folder is missing, because the repository does not contain it."""
    options = parser.parse_args()
    for folder in getattr(options, "folders", [getattr(options, "folder", None)]):
        if folder is not None and not folder.is_dir():
            print(f"skipped: folder {folder} does not exist")
            sys.exit(0)
    options.binary = pathlib.Path(options.binary).resolve()
    if not options.binary.is_file():
        parser.error(f"program {options.binary} does not exist. Build it with `cargo build --release`, or pass --binary.")
    return options


class Report:
    """Collects results and prints them at the end: `PASS|FAIL|WARN <tab> criterion <tab> figure`.

    WARN marks a failed check that is not an acceptance criterion. It does not fail the run.
    """

    def __init__(self, database):
        self.database, self.lines = database, []

    def add(self, passed, criterion, figure, required=True):
        word = "PASS" if passed else "FAIL" if required else "WARN"
        self.lines.append((word, f"{criterion} [{self.database}]", str(figure)))

    def finish(self):
        print()
        for line in self.lines:
            print("\t".join(line))
        sys.exit(any(word == "FAIL" for word, _, _ in self.lines))


# ---------------------------------------------------------------- client


class ApiError(Exception):
    """The first error of a response: `code`, `message`, `problems` and `extensions`."""

    def __init__(self, errors, status=None):
        first = errors[0]
        extensions = first.get("extensions") or {}
        self.status, self.message = status, first.get("message", "")
        self.code, self.problems = extensions.get("code"), extensions.get("problems") or []
        self.extensions = extensions
        super().__init__(f"{status}: {self.code}: {self.message}")

    def description(self):
        return "; ".join(f"{p['path']} {p['code']}: {p['message']}" for p in self.problems) or self.message


class Client:
    """HTTP client of one account. Each thread has its own connection."""

    def __init__(self, address, key, timeout=120):
        self.address, self.key, self.timeout = address, key, timeout
        self.local = threading.local()

    def request(self, method, path, body=None, headers=None, reuse=True):
        """Sends a request; returns status, headers and the whole body. Raises connection errors."""
        headers = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        connection = getattr(self.local, "connection", None) if reuse else None
        connection = connection or http.client.HTTPConnection(self.address, timeout=self.timeout)
        self.local.connection = None
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            result = response.status, response.headers, response.read()
        except BaseException:
            connection.close()
            raise
        if reuse and not response.will_close:
            self.local.connection = connection
        else:
            connection.close()
        return result

    def graphql(self, query, **variables):
        """Returns the data of an operation; raises ApiError if the response has errors."""
        body = json.dumps({"query": query, "variables": variables})
        headers = {"Content-Type": "application/json", "Accept": "application/graphql-response+json"}
        status, _, text = self.request("POST", "/graphql", body, headers)
        return response_data(status, text)

    def upload(self, content, name, media_type=None):
        """Uploads bytes or a file; returns the document."""
        if isinstance(content, pathlib.Path):
            content = content.read_bytes()
        headers = {"Content-Type": "application/octet-stream", "X-Name": "UTF-8''" + urllib.parse.quote(name)}
        if media_type:
            headers["X-Type"] = media_type
        status, _, text = self.request("POST", "/documents", content, headers)
        return response_data(status, text)

    def download(self, uri):
        """Returns the bytes at a contentsUri."""
        path = urllib.parse.urlsplit(uri).path
        status, _, body = self.request("GET", path)
        if status != 200:
            response_data(status, body)
        return body

    def put_taxonomy(self, definition, name=None):
        """Creates a taxonomy; returns its name."""
        query = "mutation($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name } } }"
        taxonomy_input = {"name": name or definition["name"], "definition": definition}
        return self.graphql(query, input=taxonomy_input)["putTaxonomy"]["taxonomy"]["name"]

    def create_job(self, document, job_type=EXTRACTION, taxonomy=None, key=None):
        """Creates a job that opens no review; returns its ID."""
        query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id } } }"
        job_input = {"type": job_type, "input": {"documentId": document["id"]}}
        if taxonomy:
            job_input["metadata"] = {"mapping.taxonomy": taxonomy, "mapping.high_confidence_threshold": 0,
                                 "zoning.high_confidence_threshold": 0}
        if key:
            job_input["idempotencyKey"] = key
        return self.graphql(query, input=job_input)["createJob"]["job"]["id"]

    def job(self, job_id):
        query = """query($id: ID!) { job(id: $id) {
            id status createdAt startedAt finishedAt failure { code message step } progress { current total fraction }
            steps { name status attempt startedAt finishedAt } } }"""
        return self.graphql(query, id=job_id)["job"]

    def statuses(self, ids):
        """Returns the status of each job; None for a job that does not exist."""
        found = {}
        for start in range(0, len(ids), 50):
            part = ids[start:start + 50]
            nodes = self.graphql("query($ids: [ID!]!) { nodes(ids: $ids) { ... on Job { id status } } }", ids=part)["nodes"]
            found.update((job_id, node and node["status"]) for job_id, node in zip(part, nodes))
        return found

    def wait(self, ids, seconds, poll=0.1):
        """Waits until all jobs are final; returns the status of each job that is not final in time."""
        end, open_ids = time.monotonic() + seconds, list(ids)
        while open_ids:
            statuses = self.statuses(open_ids)
            open_ids = [i for i in open_ids if statuses[i] not in FINAL]
            if time.monotonic() > end:
                return {i: statuses[i] for i in open_ids}
            if open_ids:
                time.sleep(poll)
        return {}

    def content(self, job_id, role):
        """Returns the bytes of the newest content of a role, or None."""
        query = "query($id: ID!, $role: String) { job(id: $id) { contents(role: $role) { uri } } }"
        contents = self.graphql(query, id=job_id, role=role)["job"]["contents"]
        return self.download(contents[0]["uri"]) if contents else None

    def events(self, job_id):
        """Returns all events of a job."""
        query = """query($id: ID!, $after: String) { job(id: $id) { events(first: 100, after: $after) {
            nodes { sequence kind at data } pageInfo { hasNextPage endCursor } } } }"""
        events, after = [], None
        while True:
            page = self.graphql(query, id=job_id, after=after)["job"]["events"]
            events += page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return events
            after = page["pageInfo"]["endCursor"]


def response_data(status, text):
    """Returns the data of a GraphQL or REST response; raises ApiError if it has errors."""
    try:
        response = json.loads(text)
    except ValueError:
        raise ApiError([{"message": f"not JSON: {text[:200]!r}"}], status) from None
    if response.get("errors"):
        raise ApiError(response["errors"], status)
    if status >= 400:
        raise ApiError([{"message": text[:200].decode(errors="replace")}], status)
    return response.get("data", response)


def media_type(path):
    """Guesses the MIME type from the file name only."""
    return {".epub": "application/epub+zip"}.get(path.suffix) or mimetypes.guess_type(path.name)[0]


def run_seconds(job):
    """Returns the seconds from the first claim of a job to its end by the server's clock; None if no worker claimed it."""
    return seconds_between(job["startedAt"], job["finishedAt"])


def seconds_between(first, last):
    return (parse_timestamp(last) - parse_timestamp(first)) if first and last else None


def parse_timestamp(text):
    """Returns the Unix time in seconds of an RFC 3339 timestamp with any number of decimals."""
    whole, fraction = re.fullmatch(r"(.*?)(?:\.(\d+))?(?:Z|\+00:00)", text).groups()
    at = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return at.timestamp() + float(f"0.{fraction or 0}")


# ---------------------------------------------------------------- server


class Server:
    """A server on a free port with its own data directory and database, which are deleted at the end."""

    def __init__(self, options, **environment):
        self.options = options
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="docket-acceptance-"))
        self.data_dir, self.log = self.home / "data", self.home / "log"
        self.process = self.client = None
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("DOCKET_")}
        self.environment = {**inherited, "DOCKET_DATA_DIR": str(self.data_dir), "DOCKET_LISTEN": "127.0.0.1:0",
                            "DOCKET_NOOP_TYPE": "on", "DOCKET_RATE_LIMITS": "off", **environment}
        self.database = None
        if options.database == "postgres":
            self.database = f"docket_acceptance_{uuid.uuid4().hex[:12]}"
            self.psql(f'CREATE DATABASE "{self.database}"')
            parts = urllib.parse.urlsplit(options.postgres_url)
            self.environment["DOCKET_DATABASE_URL"] = parts._replace(path=f"/{self.database}").geturl()
        self.run("user", "add", "--email", "outsider@example.com", "--name", "Outsider")
        self.key = self.run("key", "create", "--email", "outsider@example.com", "--name", "acceptance")

    def psql(self, statement):
        command = ["psql", self.options.postgres_url, "-qAtc", statement]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def run(self, *command):
        """Runs a command of the program on the data directory of the server; returns its output."""
        done = subprocess.run([self.options.binary, *command], env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"docket {' '.join(command)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def start(self):
        """Starts the server; returns the seconds until it is ready."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([self.options.binary, "serve"], env=self.environment,
                                            stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"http://(\S+)", line)
        if not found:
            raise RuntimeError(f"the server did not start: {line!r}\n{self.log.read_text()[-2000:]}")
        self.client = Client(found[1], self.key)
        return time.monotonic() - began

    @property
    def pid(self):
        return self.process.pid

    def kill(self):
        """Sends SIGKILL to the server and waits for its end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self, limit=60):
        """Sends SIGTERM; returns the exit code and the seconds it took. The code is None if SIGKILL was necessary."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            return None, limit
        self.process.stdout.close()
        return code, time.monotonic() - began

    def stored_files(self):
        """Returns the number of document files in the data directory, and their bytes."""
        files = [p for p in (self.data_dir / "objects").rglob("*") if p.is_file() and p.name != "docket-database-id"]
        return len(files), sum(p.stat().st_size for p in files)

    def logged_errors(self):
        """Returns the log lines with errors and panics."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))
        return [line for line in text.splitlines() if re.search(r"\bERROR\b|panicked", line)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.stop()
        for line in self.logged_errors()[:10]:
            print(f"log: {line[:300]}")
        if self.database:
            self.psql(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
        if self.options.keep:
            print(f"kept: {self.home}")
        else:
            shutil.rmtree(self.home)


# ---------------------------------------------------------------- processes


@dataclasses.dataclass
class ChildProcess:
    """First and last observation of a child process, and its peak memory in bytes."""

    first: float
    last: float
    peak: int = 0
    command: str = ""


class ProcessMonitor:
    """Samples the memory of a process and its descendants in a thread, in bytes.

    ID and start time identify a process, because IDs are reused.
    """

    def __init__(self, pid, every=0.05):
        self.pid, self.every = pid, every
        self.peak, self.children = 0, {}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.sample_until_end, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def sample_until_end(self):
        while not self.ended.wait(self.every):
            self.sample()

    def sample(self):
        self.peak = max(self.peak, memory_status(self.pid).get("VmRSS", 0))
        now = time.monotonic()
        for identity in descendants(self.pid):
            child = self.children.setdefault(identity, ChildProcess(now, now, command=command_line(identity[0])))
            child.last = now
            child.peak = max(child.peak, memory_status(identity[0]).get("VmHWM", 0))

    def alive(self):
        """Returns the observed children that are still running."""
        running = {(pid, start) for pid, _, start, state in processes() if state != "Z"}
        return [identity for identity in self.children if identity in running]


def memory_status(pid):
    """Returns the sizes in /proc/PID/status in bytes; an empty dict if the process has ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(Vm\w+):\s+(\d+) kB", text, re.M)}


def processes():
    """Yields ID, parent, start time and state of every process."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = pathlib.Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            fields = text.rpartition(")")[2].split()
            yield int(entry), int(fields[1]), int(fields[19]), fields[0]


def descendants(pid):
    """Returns ID and start time of all descendants of a process."""
    children_of, found, pending = {}, [], [pid]
    for child, parent, start, _ in processes():
        children_of.setdefault(parent, []).append((child, start))
    while pending:
        children = children_of.get(pending.pop(), [])
        found += children
        pending += [child for child, _ in children]
    return found


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def format_mib(size):
    return f"{size / MIB:.0f} MiB"
