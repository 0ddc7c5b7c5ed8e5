"""Tests a client of the original REST API, which signs in with e-mail address and password, and polls."""

import base64
import http.client
import json
import os
import time
import unittest
import urllib.parse
import uuid
import xml.etree.ElementTree

URL = os.environ["DOCKET_URL"].rstrip("/")
PASSWORD = "correct horse battery"
INVOICE = b"Invoice number: HL-2025-0418\nInvoice date: 14 March 2025\nTotal due: 1,380.00\n"
DATA_POINTS = [
    {"name": "invoice.number", "type": "code", "required": True, "labels": ["Invoice number"]},
    {"name": "amount.gross", "type": "amount", "labels": ["Total due"]},
]
# The content type that a browser's fetch sends for a string.
TEXT_HEADERS = {"Content-Type": "text/plain;charset=UTF-8"}
FINAL = {"completed", "cancelled", "failed"}

TIMEOUT_SECONDS = 30
POLL_SECONDS = 0.2

# GraphQL operations, because the original API cannot do this.
SIGN_UP = "mutation ($input: SignUpInput!) { signUp(input: $input) { accessToken } }"
PUT_TAXONOMY = "mutation ($input: PutTaxonomyInput!) { putTaxonomy(input: $input) { taxonomy { name } } }"
CREATE_TEAM = "mutation ($input: CreateTeamInput!) { createTeam(input: $input) { team { id } } }"
ADD_MEMBER = "mutation ($input: TeamMemberInput!) { addTeamMember(input: $input) { team { id } } }"


class Response:
    """A response with its body."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Client:
    """Sends requests to one version of the API, with an API key after the login."""

    def __init__(self, version="v1.1"):
        self.base = f"{URL}/{version}"
        self.key = None
        self.me = None

    def send(self, method, path, body=None, headers=None):
        """Sends a request to a path of the API, or to a full URL from a response."""
        url = urllib.parse.urlsplit(path if "://" in path else self.base + path)
        connect = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = connect(url.netloc, timeout=TIMEOUT_SECONDS)
        headers = dict(headers or {})
        if self.key is not None:
            # Older clients send the key as user name and as password.
            credentials = base64.b64encode(f"{self.key}:{self.key}".encode()).decode()
            headers["Authorization"] = f"Basic {credentials}"
        try:
            connection.request(method, urllib.parse.urlunsplit(("", "", url.path, url.query, "")), body, headers)
            response = connection.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            connection.close()

    def login(self, email, password=PASSWORD, headers=None):
        credentials = {"authentication_method": "password", "username": email, "password": password}
        return self.send("POST", "/users/login", json.dumps(credentials), headers)


def run_graphql(query, graphql_input, token=None):
    """Runs a GraphQL operation; returns its data."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps({"query": query, "variables": {"input": graphql_input}})
    response = Client().send("POST", f"{URL}/graphql", body, headers).json()
    if response.get("errors"):
        raise AssertionError(response["errors"])
    return response["data"]


def sign_up(name):
    """Creates an account; returns its e-mail address and a token for GraphQL."""
    email = f"{name.lower()}-{uuid.uuid4()}@example.com"
    data = run_graphql(SIGN_UP, {"email": email, "name": name, "password": PASSWORD})
    return email, data["signUp"]["accessToken"]


def logged_in(email, version="v1.1"):
    """Logs in; returns the client."""
    client = Client(version)
    response = client.login(email)
    if response.status != 200:
        raise AssertionError(response.body)
    client.me = response.json()["response"]
    client.key = client.me["api_keys"]["live"]
    return client


class Case(unittest.TestCase):
    """Checks that hold for every response."""

    def check_response(self, response, status=200):
        """Checks status and envelope; returns the content of the envelope."""
        self.assertEqual(response.status, status, response.body)
        envelope = response.json()
        self.assertEqual(set(envelope), {"success", "status_code", "tracking", "response"})
        self.assertEqual((envelope["success"], envelope["status_code"]), (status < 400, status))
        self.assertEqual(envelope["tracking"], response.headers["X-Request-Id"])
        return envelope["response"]

    def call(self, client, method, path, value=None, status=200):
        """Sends JSON labeled as text, or no body; returns the content of the envelope."""
        if value is None:
            return self.check_response(client.send(method, path), status)
        return self.check_response(client.send(method, path, json.dumps(value), TEXT_HEADERS), status)

    def check_refused(self, status, code, client, method, path, value=None):
        """Checks that a request is refused; returns the error."""
        error = self.call(client, method, path, value, status)
        self.assertEqual(error["code"], code)
        self.assertTrue(error["message"])
        return error


class Login(Case):
    @classmethod
    def setUpClass(cls):
        cls.email, _ = sign_up("Ada")

    def check_login(self, headers):
        me = self.check_response(Client().login(self.email, headers=headers))
        self.assertEqual(set(me), {"id", "email", "name", "api_keys"})
        self.assertEqual((me["email"], me["name"]), (self.email, "Ada"))
        self.assertEqual(set(me["api_keys"]), {"live", "test"})
        self.assertTrue(me["api_keys"]["live"].startswith("user-live-"))
        self.assertTrue(me["api_keys"]["test"].startswith("user-test-"))

    def test_login_labeled_as_text(self):
        self.check_login({"Content-Type": "text/plain"})

    def test_login_without_content_type(self):
        self.check_login({})

    def test_login_labeled_as_a_form(self):
        self.check_login({"Content-Type": "application/x-www-form-urlencoded"})

    def check_no_password_dialog(self, response):
        """Checks that there is no Basic challenge, for which a browser would open its own dialog."""
        error = self.check_response(response, 401)
        self.assertEqual(error["code"], "UNAUTHENTICATED")
        for challenge in response.headers.get_all("WWW-Authenticate", []):
            self.assertNotIn("basic", challenge.lower())

    def test_wrong_password_is_refused_without_a_basic_challenge(self):
        self.check_no_password_dialog(Client().login(self.email, "wrong horse battery"))

    def test_unknown_email_is_refused_like_a_wrong_password(self):
        self.check_no_password_dialog(Client().login(f"{uuid.uuid4()}@example.com"))

    def test_request_without_a_key_is_refused(self):
        self.check_no_password_dialog(Client().send("GET", "/users/me"))

    def test_wrong_key_is_refused(self):
        client = Client()
        client.key = "user-live-0123456789"
        self.check_no_password_dialog(client.send("GET", "/users/me"))

    def test_each_key_is_accepted_as_user_name_and_password(self):
        client = logged_in(self.email)
        for key in client.me["api_keys"].values():
            client.key = key
            found = self.call(client, "GET", "/users/me")
            self.assertEqual((found["id"], found["email"], found["name"]), (client.me["id"], self.email, "Ada"))

    def test_keys_of_an_earlier_login_keep_working(self):
        first = logged_in(self.email)
        self.assertNotEqual(logged_in(self.email).key, first.key)
        self.call(first, "GET", "/users/me")


class Jobs(Case):
    """Jobs of Olga. Rita and Sam are in the zoning team, Tom has access to another step, and Eve has no access."""

    @classmethod
    def setUpClass(cls):
        emails, tokens = {}, {}
        for name in ["Olga", "Rita", "Sam", "Tom", "Eve"]:
            emails[name], tokens[name] = sign_up(name)
        owner = tokens["Olga"]
        cls.taxonomy = f"invoices-{uuid.uuid4()}.json"
        run_graphql(PUT_TAXONOMY, {"name": cls.taxonomy, "definition": {"data_points": DATA_POINTS}}, owner)
        cls.team_name = f"zoning-{uuid.uuid4()}"
        cls.team = run_graphql(CREATE_TEAM, {"name": cls.team_name}, owner)["createTeam"]["team"]["id"]
        for name in ["Rita", "Sam"]:
            run_graphql(ADD_MEMBER, {"teamId": cls.team, "userEmail": emails[name]}, owner)
        cls.olga, cls.rita, cls.sam, cls.tom, cls.eve = map(logged_in, emails.values())

    def upload(self, client):
        """Uploads a document and returns it."""
        headers = {"Content-Type": "application/octet-stream", "X-Name": "invoice.txt", "X-Type": "text/plain"}
        return self.check_response(client.send("POST", "/documents", INVOICE, headers), 201)

    def job_body(self, client, zoning=1, mapping=1):
        """Returns the body for a new job. A threshold of 1 opens a review of the step, 0 opens none."""
        return {
            "type": "data-point-extraction",
            "contents": [{"role": "input", "uri": self.upload(client)["contents_uri"]}],
            "mapping": {"taxonomy": self.taxonomy, "high_confidence_threshold": mapping},
            "zoning": {"high_confidence_threshold": zoning},
            "collaboration": {
                "teams": [{"id": self.team, "steps": ["zoning"]}],
                "users": [{"email": self.tom.me["email"], "steps": ["text-extraction"]}],
            },
        }

    def create_job(self, client=None, **thresholds):
        """Creates a job and returns its path."""
        client = client or self.olga
        job = self.call(client, "POST", "/jobs", self.job_body(client, **thresholds), 201)
        return f"/jobs/{job['id']}"

    def wait_for_status(self, job, status, step=None, client=None):
        """Polls until the job has the status, and is blocked at the step if one is given."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            found = self.call(client or self.olga, "GET", job)
            if found["status"] == status and step in (None, found.get("blocking_step")):
                return found
            if found["status"] in FINAL:
                self.fail(f"{job} is {found['status']}, not {status}: {found['failure']}")
            time.sleep(POLL_SECONDS)
        self.fail(f"{job} is {found['status']} after {TIMEOUT_SECONDS} s, not {status}")

    def create_blocked_job(self, client=None):
        """Creates a job, waits until it is blocked at zoning, and returns its path."""
        job = self.create_job(client)
        self.wait_for_status(job, "blocked", "zoning", client)
        return job

    def list_jobs(self, client, query):
        """Returns the paths of the jobs on the first page of a list."""
        return [f"/jobs/{job['id']}" for job in self.call(client, "GET", f"/jobs?{query}")["jobs"]]

    def versions(self, job):
        """Returns the content version of each role in a job."""
        return {content["role"]: content["version"] for content in job["contents"]}

    def content(self, client, job, role):
        """Returns the bytes of the newest content of a role."""
        response = client.send("GET", f"{job}/contents/{role}/latest")
        self.assertEqual(response.status, 200, response.body)
        return response.body

    def put(self, client, job, role, content):
        headers = {"Content-Type": "application/octet-stream"}
        return client.send("PUT", f"{job}/contents/{role}", content, headers)

    def corrected_zones(self, job):
        """Returns the zones of a job with the first one as a heading, as bytes."""
        zones = json.loads(self.content(self.rita, job, "zoning-json"))
        zones["zones"][0]["kind"] = "heading"
        # The indentation is unusual, because the server must return the same bytes.
        return json.dumps(zones, indent=3).encode()

    def test_document_is_uploaded_described_and_downloaded(self):
        document = self.upload(self.olga)
        self.assertEqual((document["name"], document["type"], document["size"]), ("invoice.txt", "text/plain", len(INVOICE)))
        self.assertEqual(document["owner"]["email"], self.olga.me["email"])
        path = f"/documents/{document['id']}"
        self.assertEqual(self.call(self.olga, "GET", path)["sha256"], document["sha256"])
        for address in [f"{path}/contents", document["contents_uri"]]:
            self.assertEqual(self.olga.send("GET", address).body, INVOICE)
        self.check_refused(404, "NOT_FOUND", self.eve, "GET", path)

    def test_unknown_fields_of_a_new_job_become_metadata(self):
        body = {**self.job_body(self.olga), "customer": {"number": 7}, "zoning.note": "dotted"}
        job = self.call(self.olga, "POST", "/jobs", body, 201)
        metadata = job["metadata"]
        self.assertEqual(metadata["mapping"], {"taxonomy": self.taxonomy, "high_confidence_threshold": 1})
        self.assertEqual(metadata["zoning"]["high_confidence_threshold"], 1)
        self.assertEqual((metadata["customer"], metadata["zoning"]["note"]), ({"number": 7}, "dotted"))
        self.assertEqual(job["input_content"]["uri"], body["contents"][0]["uri"])
        teams, users = job["collaboration"]["teams"], job["collaboration"]["users"]
        self.assertEqual(teams, [{"id": self.team, "name": self.team_name, "steps": ["zoning"]}])
        tom = self.tom.me
        self.assertEqual(users, [{"id": tom["id"], "email": tom["email"], "steps": ["text-extraction"]}])

    def test_field_names_are_case_insensitive(self):
        body = self.job_body(self.olga)
        uri = body.pop("contents")[0]["uri"]
        renamed = {"Type": body.pop("type"), "InputContent": {"URI": uri}, "COLLABORATION": body.pop("collaboration")}
        job = self.call(self.olga, "POST", "/jobs", {**body, **renamed}, 201)
        self.assertEqual((job["type"], job["input_content"]["uri"]), ("data-point-extraction", uri))

    def test_body_that_is_not_json_is_refused(self):
        response = self.olga.send("POST", "/jobs", "type=noop", TEXT_HEADERS)
        self.assertIn(response.status, (400, 415), response.body)
        self.assertFalse(response.json()["success"])

    def test_blocked_job_contains_its_blocking_step(self):
        job = self.call(self.rita, "GET", self.create_blocked_job())
        self.assertEqual((job["status"], job["blocking_step"], job["blocking_task"]), ("blocked", "zoning", "zoning"))
        self.assertIn("claimed_by", job)
        self.assertIsNone(job["claimed_by"])
        self.assertEqual((job["progress"]["current"], job["progress"]["total"]), (1, 4))
        self.assertEqual(job["owner"]["email"], self.olga.me["email"])

    def test_claim_is_hidden_from_collaborators_of_other_steps(self):
        job = self.create_blocked_job()
        for _ in range(2):
            seen = self.call(self.tom, "GET", job)
            self.assertEqual(seen["status"], "blocked")
            self.assertNotIn("claimed_by", seen)
            self.call(self.rita, "POST", f"{job}/checkout")

    def test_blocked_jobs_are_listed_only_for_workers_of_the_step(self):
        job = self.create_blocked_job()
        for client, expected in [(self.olga, True), (self.rita, True), (self.sam, True), (self.tom, False), (self.eve, False)]:
            for query in ["blocking_task=zoning", "blocking_step=zoning"]:
                self.assertEqual(job in self.list_jobs(client, query), expected, f"{client.me['name']}: {query}")
        self.assertNotIn(job, self.list_jobs(self.olga, "blocking_task=mapping"))
        self.assertIn(job, self.list_jobs(self.tom, "status=blocked"), "Tom sees the job, but cannot work on the step")
        self.assertNotIn(job, self.list_jobs(self.eve, "status=blocked"))

    def test_parameters_and_enum_values_are_case_insensitive(self):
        job = self.create_blocked_job()
        for query in ["Status=Blocked", "STATUS=blocked", "status=BLOCKED", "Blocking_Task=zoning", "blockingTask=zoning",
                      "Blocking_Step=zoning&Status=Blocked&Owner=Me", f"Team_ID={self.team}", "OWNER=ME&Order_By=Created_At"]:
            self.assertIn(job, self.list_jobs(self.olga, query), query)
        self.assertNotIn(job, self.list_jobs(self.olga, "Status=Completed"))

    def test_job_has_one_reviewer_at_a_time(self):
        job = self.create_blocked_job()
        checked_out = self.call(self.rita, "POST", f"{job}/checkout")
        self.assertEqual(checked_out["claimed_by"], {name: self.rita.me[name] for name in ["id", "email", "name"]})
        self.assertEqual((checked_out["status"], checked_out["blocking_task"]), ("blocked", "zoning"))
        renewed = self.call(self.rita, "POST", f"{job}/checkout")
        self.assertGreaterEqual(renewed["claim_expires_at"], checked_out["claim_expires_at"])
        self.assertEqual(self.call(self.sam, "GET", job)["claimed_by"]["id"], self.rita.me["id"])
        for path in ["checkout", "unblock"]:
            error = self.check_refused(409, "CONFLICT", self.sam, "POST", f"{job}/{path}")
            self.assertEqual(error["claimed_by"]["email"], self.rita.me["email"])
        self.check_refused(403, "FORBIDDEN", self.tom, "POST", f"{job}/checkout")
        self.check_refused(404, "NOT_FOUND", self.eve, "POST", f"{job}/checkout")

    def test_released_job_can_be_checked_out_by_another_reviewer(self):
        job = self.create_blocked_job()
        self.call(self.rita, "POST", f"{job}/checkout")
        released = self.call(self.rita, "POST", f"{job}/release")
        self.assertEqual((released["status"], released["claimed_by"]), ("blocked", None))
        checked_out = self.call(self.sam, "POST", f"{job}/checkout")
        self.assertEqual(checked_out["claimed_by"]["id"], self.sam.me["id"])
        self.check_refused(409, "CONFLICT", self.rita, "POST", f"{job}/checkout")

    def test_content_is_replaced_only_under_a_claim(self):
        job = self.create_blocked_job()
        before, corrected = self.content(self.rita, job, "zoning-json"), self.corrected_zones(job)
        error = self.check_response(self.put(self.rita, job, "zoning-json", corrected), 409)
        self.assertEqual(error["code"], "CONFLICT")
        self.call(self.rita, "POST", f"{job}/checkout")
        self.check_response(self.put(self.sam, job, "zoning-json", corrected), 409)
        self.check_response(self.put(self.rita, job, "zoning-json", b"{"), 400)
        self.assertEqual(self.content(self.rita, job, "zoning-json"), before)
        content = self.check_response(self.put(self.rita, job, "zoning-json", corrected), 201)
        self.assertEqual((content["role"], content["version"]), ("zoning-json", 2))
        self.assertEqual(self.content(self.rita, job, "zoning-json"), corrected)
        self.assertEqual(self.rita.send("GET", content["uri"]).body, corrected)
        self.assertEqual(self.rita.send("GET", f"{job}/contents/zoning-json/1").body, before)

    def test_decision_on_an_older_version_is_refused(self):
        job = self.create_blocked_job()
        self.call(self.rita, "POST", f"{job}/checkout")
        contents = self.call(self.rita, "GET", job)["contents"]
        seen = next(content["sha256"] for content in contents if content["role"] == "zoning-json")
        self.check_response(self.put(self.rita, job, "zoning-json", self.corrected_zones(job)), 201)
        self.check_refused(409, "CONFLICT", self.rita, "POST", f"{job}/unblock", {"content_sha256": seen})
        self.call(self.rita, "POST", f"{job}/unblock")

    def test_job_goes_from_upload_to_xml_through_two_reviews(self):
        job = self.create_blocked_job()
        self.assertIn(job, self.list_jobs(self.rita, "blocking_task=zoning"))
        self.call(self.rita, "POST", f"{job}/checkout")
        corrected = self.corrected_zones(job)
        self.check_response(self.put(self.rita, job, "zoning-json", corrected), 201)
        self.call(self.rita, "POST", f"{job}/unblock")
        self.assertEqual(self.content(self.rita, job, "zoning-json"), corrected)

        # The mapping is not checked out, so unblock claims and decides the review at once.
        found = self.wait_for_status(job, "blocked", "mapping")
        self.assertEqual((found["blocking_task"], found["claimed_by"]), ("mapping", None))
        self.assertNotIn(job, self.list_jobs(self.rita, "blocking_task=mapping"))
        self.check_refused(403, "FORBIDDEN", self.rita, "POST", f"{job}/unblock")
        self.call(self.olga, "POST", f"{job}/unblock")

        done = self.wait_for_status(job, "completed")
        self.assertEqual((done["progress"]["current"], done["progress"]["total"]), (4, 4))
        for field in ["blocking_step", "blocking_task", "claimed_by"]:
            self.assertNotIn(field, done)
        response = self.olga.send("GET", done["output_content"]["uri"])
        self.assertEqual(response.status, 200)
        found = {point.get("name"): point.findtext("{*}value") for point in
                 xml.etree.ElementTree.fromstring(response.body).iter("{urn:docket:output:1}dataPoint")}
        self.assertEqual(found, {"invoice.number": "HL-2025-0418", "amount.gross": "1,380.00"})
        self.assertEqual(self.content(self.olga, job, "output"), response.body)

    def test_rejected_job_fails_with_the_comment(self):
        job = self.create_blocked_job()
        decision = {"decision": "reject", "comment": "This is no invoice."}
        rejected = self.call(self.rita, "POST", f"{job}/unblock", decision)
        self.assertEqual(rejected["status"], "failed")
        self.assertEqual(rejected["failure"]["message"], "This is no invoice.")
        self.check_refused(409, "CONFLICT", self.rita, "POST", f"{job}/unblock")

    def test_job_is_sent_back_to_an_earlier_step(self):
        job = self.create_blocked_job()
        decision = {"decision": "Send_Back", "to_step": "text-extraction", "comment": "Read it again."}
        self.call(self.rita, "POST", f"{job}/unblock", decision)
        versions = self.versions(self.wait_for_status(job, "blocked", "zoning"))
        self.assertEqual((versions["text-json"], versions["zoning-json"]), (2, 2), "both steps ran again")

    def test_job_that_is_not_blocked_can_be_neither_checked_out_nor_unblocked(self):
        job = self.create_job(zoning=0, mapping=0)
        self.wait_for_status(job, "completed")
        for path in ["checkout", "release", "unblock"]:
            self.check_refused(409, "CONFLICT", self.olga, "POST", f"{job}/{path}")
        self.check_response(self.put(self.olga, job, "zoning-json", b"{}"), 409)
        self.check_refused(409, "CONFLICT", self.olga, "POST", f"{job}/retry")

    def test_completed_job_is_rewound_to_its_last_step(self):
        job = self.create_job(zoning=0, mapping=0)
        before = self.wait_for_status(job, "completed")
        self.call(self.olga, "POST", f"{job}/rewind")
        after = self.wait_for_status(job, "completed")
        self.assertEqual(self.versions(after), {**self.versions(before), "output": 2}, "the last step ran again")

    def test_blocked_job_is_rewound_by_one_step(self):
        job = self.create_blocked_job()
        self.call(self.olga, "POST", f"{job}/rewind")
        versions = self.versions(self.wait_for_status(job, "blocked", "zoning"))
        self.assertEqual((versions["text-json"], versions["zoning-json"]), (2, 2), "both steps ran again")
        self.check_refused(403, "FORBIDDEN", self.rita, "POST", f"{job}/rewind")

    def test_cancelled_job_is_retried(self):
        job = self.create_blocked_job()
        self.check_refused(403, "FORBIDDEN", self.rita, "POST", f"{job}/cancel")
        cancelled = self.call(self.olga, "POST", f"{job}/cancel")
        self.assertEqual(cancelled["status"], "cancelled")
        self.assertNotIn("blocking_step", cancelled)
        self.check_refused(409, "CONFLICT", self.olga, "POST", f"{job}/cancel")
        self.assertNotIn(self.call(self.olga, "POST", f"{job}/retry")["status"], FINAL)
        self.wait_for_status(job, "blocked", "zoning")

    def test_job_is_changed_and_deleted(self):
        job = self.create_blocked_job()
        changed = self.call(self.olga, "PUT", job, {"metadata": {"customer": 8}, "collaboration": {"teams": []}})
        self.assertEqual((changed["metadata"]["customer"], changed["collaboration"]["teams"]), (8, []))
        self.check_refused(404, "NOT_FOUND", self.rita, "GET", job)
        self.call(self.olga, "DELETE", job)
        self.check_refused(404, "NOT_FOUND", self.olga, "GET", job)

    def test_reviews_of_a_test_job_approve_themselves(self):
        client = Client()
        client.key = self.olga.me["api_keys"]["test"]
        job = self.create_job(client)
        done = self.wait_for_status(job, "completed", client=client)
        self.assertEqual(done["mode"], "test")

    def test_older_api_version_returns_the_same_responses(self):
        older = logged_in(self.olga.me["email"], "v1")
        job = self.create_blocked_job(older)
        newer = self.call(self.olga, "GET", job)
        self.assertEqual(self.call(older, "GET", job), newer)
        self.assertEqual(self.list_jobs(older, "blocking_task=zoning"), self.list_jobs(self.olga, "blocking_task=zoning"))
        self.call(older, "POST", f"{job}/checkout")
        self.call(older, "POST", f"{job}/unblock")
        self.assertEqual(self.call(older, "GET", "/status")["status"], "ok")
        self.check_refused(404, "NOT_FOUND", older, "GET", f"/jobs/{uuid.uuid4()}")

    def test_job_pages_are_complete_and_in_order(self):
        client = logged_in(sign_up("Pia")[0])
        made = [self.create_job(client) for _ in range(3)]
        seen, after = [], ""
        while after is not None:
            page = self.call(client, "GET", "/jobs?limit=2&owner=me" + (after and f"&after={urllib.parse.quote(after)}"))
            seen += [f"/jobs/{job['id']}" for job in page["jobs"]]
            after = page["next"]
        self.assertEqual(seen, made[::-1])


if __name__ == "__main__":
    unittest.main()
