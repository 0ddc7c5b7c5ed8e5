"""A Docket server of one's own, a client that knows only its public API, and eyes on its processes.

Python 3.11, standard library only. On PostgreSQL the program `psql` makes and drops the database.
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


# ---------------------------------------------------------------- command line and verdicts


def arguments(doc, folder=None):
    """The parser with the options that every script has."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if folder:
        parser.add_argument("folder", type=pathlib.Path, help=folder)
    parser.add_argument("--binary", type=pathlib.Path,
                        default=os.environ.get("DOCKET_BINARY", ROOT / "target/release/docket"),
                        help="the docket program [env: DOCKET_BINARY]")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--postgres-url",
                        default=os.environ.get("DOCKET_TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432/postgres"),
                        help="where a database may be made [env: DOCKET_TEST_POSTGRES_URL]")
    parser.add_argument("--keep", action="store_true", help="keep the data directory, with the server's log, and say where")
    return parser


def parse(parser):
    """Reads the command line; a folder that is absent is no failure, as the documents are not part of the repository."""
    options = parser.parse_args()
    for folder in getattr(options, "folders", [getattr(options, "folder", None)]):
        if folder is not None and not folder.is_dir():
            print(f"skipped: there is no folder {folder}")
            sys.exit(0)
    options.binary = pathlib.Path(options.binary).resolve()
    if not options.binary.is_file():
        parser.error(f"there is no program {options.binary}; build it with cargo build --release, or name it with --binary")
    return options


class Verdicts:
    """Collects acceptance lines and prints them at the end: `PASS|FAIL|WARN <tab> line <tab> figure`.

    WARN is for what goes beyond the acceptance lines; it fails no run.
    """

    def __init__(self, database):
        self.database, self.lines = database, []

    def add(self, good, line, figure, required=True):
        word = "PASS" if good else "FAIL" if required else "WARN"
        self.lines.append((word, f"{line} [{self.database}]", str(figure)))

    def finish(self):
        print()
        for line in self.lines:
            print("\t".join(line))
        sys.exit(any(word == "FAIL" for word, _, _ in self.lines))


# ---------------------------------------------------------------- client


class ApiError(Exception):
    """What the server said no with: `code`, `message`, `problems`, and the first error's `extensions`."""

    def __init__(self, errors, status=None):
        first = errors[0]
        extensions = first.get("extensions") or {}
        self.status, self.message = status, first.get("message", "")
        self.code, self.problems = extensions.get("code"), extensions.get("problems") or []
        self.extensions = extensions
        super().__init__(f"{status}: {self.code}: {self.message}")

    def sentence(self):
        return "; ".join(f"{p['path']} {p['code']}: {p['message']}" for p in self.problems) or self.message


class Client:
    """The API by HTTP, as one account. Each thread has a connection of its own."""

    def __init__(self, address, key, timeout=120):
        self.address, self.key, self.timeout = address, key, timeout
        self.local = threading.local()

    def request(self, method, path, body=None, headers=None, reuse=True):
        """One request; returns status, headers and the whole body. Connection errors are the caller's."""
        headers = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        connection = getattr(self.local, "connection", None) if reuse else None
        connection = connection or http.client.HTTPConnection(self.address, timeout=self.timeout)
        self.local.connection = None
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.status, response.headers, response.read()
        except BaseException:
            connection.close()
            raise
        if reuse and not response.will_close:
            self.local.connection = connection
        else:
            connection.close()
        return answer

    def graphql(self, query, **variables):
        """The data of an operation; ApiError where it has errors."""
        body = json.dumps({"query": query, "variables": variables})
        headers = {"Content-Type": "application/json", "Accept": "application/graphql-response+json"}
        status, _, text = self.request("POST", "/graphql", body, headers)
        return data(status, text)

    def upload(self, content, name, media_type=None):
        """Uploads bytes or a file; returns the document."""
        if isinstance(content, pathlib.Path):
            content = content.read_bytes()
        headers = {"Content-Type": "application/octet-stream", "X-Name": "UTF-8''" + urllib.parse.quote(name)}
        if media_type:
            headers["X-Type"] = media_type
        status, _, text = self.request("POST", "/documents", content, headers)
        return data(status, text)

    def download(self, uri):
        """The bytes behind a contentsUri."""
        path = urllib.parse.urlsplit(uri).path
        status, _, body = self.request("GET", path)
        if status != 200:
            data(status, body)
        return body

    def put_taxonomy(self, definition, name=None):
        """Makes a taxonomy; returns its name."""
        query = "mutation($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name } } }"
        given = {"name": name or definition["name"], "definition": definition}
        return self.graphql(query, input=given)["putTaxonomy"]["taxonomy"]["name"]

    def create_job(self, document, job_type=EXTRACTION, taxonomy=None, key=None):
        """Makes a job that asks no person; returns its ID."""
        query = "mutation($input: CreateJobInput!) { createJob(input: $input) { job { id } } }"
        given = {"type": job_type, "input": {"documentId": document["id"]}}
        if taxonomy:
            given["metadata"] = {"mapping.taxonomy": taxonomy, "mapping.high_confidence_threshold": 0,
                                 "zoning.high_confidence_threshold": 0}
        if key:
            given["idempotencyKey"] = key
        return self.graphql(query, input=given)["createJob"]["job"]["id"]

    def job(self, job_id):
        query = """query($id: ID!) { job(id: $id) {
            id status createdAt startedAt finishedAt failure { code message step } progress { current total fraction }
            steps { name status attempt startedAt finishedAt } } }"""
        return self.graphql(query, id=job_id)["job"]

    def statuses(self, ids):
        """Status of each job, None for one that does not exist."""
        found = {}
        for start in range(0, len(ids), 50):
            part = ids[start:start + 50]
            nodes = self.graphql("query($ids: [ID!]!) { nodes(ids: $ids) { ... on Job { id status } } }", ids=part)["nodes"]
            found.update((job_id, node and node["status"]) for job_id, node in zip(part, nodes))
        return found

    def wait(self, ids, seconds, poll=0.1):
        """Waits until all jobs are final; returns those that are not in time, with their status."""
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
        """The newest content of a role as bytes, or None."""
        query = "query($id: ID!, $role: String) { job(id: $id) { contents(role: $role) { uri } } }"
        contents = self.graphql(query, id=job_id, role=role)["job"]["contents"]
        return self.download(contents[0]["uri"]) if contents else None

    def events(self, job_id):
        """The whole history of a job."""
        query = """query($id: ID!, $after: String) { job(id: $id) { events(first: 100, after: $after) {
            nodes { sequence kind at data } pageInfo { hasNextPage endCursor } } } }"""
        events, after = [], None
        while True:
            page = self.graphql(query, id=job_id, after=after)["job"]["events"]
            events += page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return events
            after = page["pageInfo"]["endCursor"]


def data(status, text):
    """The data of an answer of either kind of endpoint."""
    try:
        answer = json.loads(text)
    except ValueError:
        raise ApiError([{"message": f"not JSON: {text[:200]!r}"}], status) from None
    if answer.get("errors"):
        raise ApiError(answer["errors"], status)
    if status >= 400:
        raise ApiError([{"message": text[:200].decode(errors="replace")}], status)
    return answer.get("data", answer)


def media_type(path):
    """The MIME type that a file's name stands for, as a careless client sends it."""
    return {".epub": "application/epub+zip"}.get(path.suffix) or mimetypes.guess_type(path.name)[0]


def seconds(job):
    """From when a worker took a job until its end, by the server's clock; None where no worker did."""
    return between(job["startedAt"], job["finishedAt"])


def between(first, last):
    return (moment(last) - moment(first)) if first and last else None


def moment(text):
    """Seconds since 1970 of an RFC 3339 time, however many decimals it has."""
    whole, fraction = re.fullmatch(r"(.*?)(?:\.(\d+))?(?:Z|\+00:00)", text).groups()
    at = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return at.timestamp() + float(f"0.{fraction or 0}")


# ---------------------------------------------------------------- server


class Server:
    """A server on a free port with a data directory (and database) of its own, which go away with it."""

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
        """A command of the program against this server's data; returns what it printed."""
        done = subprocess.run([self.options.binary, *command], env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"docket {' '.join(command)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def start(self):
        """Starts it; returns the seconds until it said that it is ready."""
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
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self, limit=60):
        """SIGTERM; returns exit code and the seconds that it took. None where it had to be killed."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            return None, limit
        self.process.stdout.close()
        return code, time.monotonic() - began

    def bytes_kept(self):
        """Files and bytes of documents in the data directory."""
        files = [p for p in (self.data_dir / "objects").rglob("*") if p.is_file() and p.name != "docket-database-id"]
        return len(files), sum(p.stat().st_size for p in files)

    def problems_logged(self):
        """Lines of the log that an operator would be woken by."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text(errors="replace"))
        return [line for line in text.splitlines() if re.search(r"\bERROR\b|panicked", line)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.stop()
        for line in self.problems_logged()[:10]:
            print(f"log: {line[:300]}")
        if self.database:
            self.psql(f'DROP DATABASE IF EXISTS "{self.database}" WITH (FORCE)')
        if self.options.keep:
            print(f"kept: {self.home}")
        else:
            shutil.rmtree(self.home)


# ---------------------------------------------------------------- eyes


@dataclasses.dataclass
class Seen:
    """A child process that was seen."""

    first: float
    last: float
    peak: int = 0
    command: str = ""


class Watch:
    """Looks at a process and all its descendants again and again, in a thread of its own; sizes are bytes.

    A process is known by its ID and start time, because IDs are used again.
    """

    def __init__(self, pid, every=0.05):
        self.pid, self.every = pid, every
        self.peak, self.children = 0, {}
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look_until_end, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def look_until_end(self):
        while not self.ended.wait(self.every):
            self.look()

    def look(self):
        self.peak = max(self.peak, status(self.pid).get("VmRSS", 0))
        now = time.monotonic()
        for identity in descendants(self.pid):
            seen = self.children.setdefault(identity, Seen(now, now, command=command_line(identity[0])))
            seen.last = now
            seen.peak = max(seen.peak, status(identity[0]).get("VmHWM", 0))

    def alive(self):
        """Children that were seen and still run."""
        running = {(pid, start) for pid, _, start, state in processes() if state != "Z"}
        return [identity for identity in self.children if identity in running]


def status(pid):
    """Sizes of /proc/PID/status in bytes; empty for a process that is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(Vm\w+):\s+(\d+) kB", text, re.M)}


def processes():
    """ID, parent, start time and state of every process."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = pathlib.Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            fields = text.rpartition(")")[2].split()
            yield int(entry), int(fields[1]), int(fields[19]), fields[0]


def descendants(pid):
    """ID and start time of every process below one."""
    below, found, todo = {}, [], [pid]
    for child, parent, start, _ in processes():
        below.setdefault(parent, []).append((child, start))
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += [child for child, _ in children]
    return found


def command_line(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def mib(size):
    return f"{size / MIB:.0f} MiB"
