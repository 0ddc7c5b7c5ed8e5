//! The expected outcome of each operation for six users.
//!
//! They are the owner of a job, a collaborator with all steps, a collaborator with the step `mapping`, a stranger, an
//! admin, and an anonymous client.

use serde_json::{Value, json};

use super::fixture::{Fixture, OwnIds, unique_text};

/// The outcome of an operation for one user.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// A field that is not null.
    Data,
    /// No error, and a field that is null.
    Null,
    /// No error, and a response that contains the needle of the row.
    Shown,
    /// No error, and a response without the needle of the row.
    Hidden,
    /// An error with this code, and no change.
    Code(&'static str),
}

use Outcome::{Code, Data, Hidden, Null, Shown};

const FORBIDDEN: Outcome = Code("FORBIDDEN");
const NOT_FOUND: Outcome = Code("NOT_FOUND");
const CONFLICT: Outcome = Code("CONFLICT");
const UNAUTHENTICATED: Outcome = Code("UNAUTHENTICATED");

/// An operation and its expected outcomes.
pub(super) struct Row {
    /// The root field, such as `Query.job`.
    pub(super) field: &'static str,
    /// The case, if the field has several rows.
    pub(super) case: &'static str,
    pub(super) query: &'static str,
    /// Builds the variables from the fixture and the user's own IDs.
    pub(super) variables: fn(&Fixture, &OwnIds) -> Value,
    /// The arguments with IDs of objects that do not belong to the stranger.
    pub(super) foreign: &'static [&'static str],
    /// The text for which [`Shown`] and [`Hidden`] search.
    pub(super) needle: Option<fn(&Fixture) -> String>,
    pub(super) expected: [Outcome; 6],
}

/// The outcomes for: owner, all steps, one step, stranger, admin, anonymous.
type Expected = [Outcome; 6];

/// Objects that every user with access to the job can see.
const JOB_VIEWERS: Expected = [Data, Data, Data, Null, Data, UNAUTHENTICATED];
/// Objects that a collaborator with only the step `mapping` cannot see.
const ALL_STEPS_VIEWERS: Expected = [Data, Data, Null, Null, Data, UNAUTHENTICATED];
/// Changes that need access to all steps of the job.
const EDITORS: Expected = [Data, Data, FORBIDDEN, NOT_FOUND, Data, UNAUTHENTICATED];
/// Changes that only the owner and admins may make.
const OWNERS: Expected = [Data, FORBIDDEN, FORBIDDEN, NOT_FOUND, Data, UNAUTHENTICATED];
/// Objects that only the owner can see.
const ONLY_THE_OWNER: Expected = [Data, Null, Null, Null, Null, UNAUTHENTICATED];
/// Operations that every signed-in user may run.
const SIGNED_IN: Expected = [Data, Data, Data, Data, Data, UNAUTHENTICATED];
/// Objects that do not exist.
const MISSING: Expected = [NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, UNAUTHENTICATED];

const fn row(field: &'static str, query: &'static str, variables: fn(&Fixture, &OwnIds) -> Value) -> Row {
    Row { field, case: "", query, variables, foreign: &[], needle: None, expected: SIGNED_IN }
}

impl Row {
    const fn case(self, case: &'static str) -> Self {
        Self { case, ..self }
    }

    const fn foreign(self, foreign: &'static [&'static str]) -> Self {
        Self { foreign, ..self }
    }

    const fn needle(self, needle: fn(&Fixture) -> String) -> Self {
        Self { needle: Some(needle), ..self }
    }

    const fn expect(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }
}

const NODE: &str = "query($id: ID!) { node(id: $id) { id ... on Job { metadata } ... on Document { name } ... on Team { name } \
                    ... on ApiKey { name } ... on Webhook { description } ... on WebhookDelivery { webhook { description } } } }";
const DOCUMENT: &str = "query($id: ID!) { document(id: $id) { name signedContentsUri } }";
const VALIDATE: &str = "query($in: CreateJobInput!) { validateJob(input: $in) { path code } }";
const CREATE: &str = "mutation($in: CreateJobInput!) { createJob(input: $in) { job { id } } }";
const ADD_MEMBER: &str = "mutation($in: TeamMemberInput!) { addTeamMember(input: $in) { team { id } } }";
const REMOVE_MEMBER: &str =
    "mutation($in: TeamMemberInput!) { removeTeamMember(input: $in) { team { id } } }";
const DELETE_DOCUMENT: &str = "mutation($id: ID!) { deleteDocument(id: $id) { deletedId } }";
const PUT_TAXONOMY: &str = "mutation($in: PutTaxonomyInput!) { putTaxonomy(input: $in) { taxonomy { id } } }";

pub(super) fn rows() -> Vec<Row> {
    let tables = [
        accounts(),
        teams(),
        nodes(),
        documents(),
        taxonomies(),
        job_creation(),
        jobs(),
        collaborators(),
        reviews(),
        workers(),
        webhooks(),
        list_subscriptions(),
    ];
    tables.into_iter().flatten().collect()
}

fn accounts() -> Vec<Row> {
    vec![
        row("Query.viewer", "{ viewer { id } }", |_, _| json!({}))
            .expect([Data, Data, Data, Data, Data, Null]),
        row("Query.apiKeys", "{ apiKeys { id } }", |_, _| json!({})).needle(|f| f.key.clone()).expect([
            Shown,
            Hidden,
            Hidden,
            Hidden,
            Hidden,
            UNAUTHENTICATED,
        ]),
        row(
            "Mutation.signUp",
            "mutation($in: SignUpInput!) { signUp(input: $in) { user { id } } }",
            |_, _| {
                let email = format!("{}@example.com", unique_text());
                json!({"in": {"email": email, "name": "New", "password": "correct horse battery"}})
            },
        )
        .expect([Data; 6]),
        row(
            "Mutation.signIn",
            "mutation($in: SignInInput!) { signIn(input: $in) { user { id } } }",
            |_, _| json!({"in": {"email": "owner@example.com", "password": "not the password"}}),
        )
        .expect([UNAUTHENTICATED; 6]),
        row(
            "Mutation.createApiKey",
            "mutation { createApiKey(input: {name: \"x\"}) { apiKey { id } } }",
            |_, _| json!({}),
        ),
        row(
            "Mutation.revokeApiKey",
            "mutation($id: ID!) { revokeApiKey(id: $id) { apiKey { id } } }",
            |f, _| json!({"id": f.key}),
        )
        .foreign(&["id"])
        .expect([Data, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, UNAUTHENTICATED]),
    ]
}

fn teams() -> Vec<Row> {
    const MEMBERS: Expected = [Data, Data, NOT_FOUND, NOT_FOUND, Data, UNAUTHENTICATED];
    vec![
        row(
            "Query.team",
            "query($id: ID!) { team(id: $id) { name members { email } } }",
            |f, _| json!({"id": f.team}),
        )
        .foreign(&["id"])
        .expect([Data, Data, Null, Null, Data, UNAUTHENTICATED]),
        row("Query.teams", "{ teams { id name members { email } } }", |_, _| json!({}))
            .needle(|f| f.team.clone())
            .expect([Shown, Shown, Hidden, Hidden, Shown, UNAUTHENTICATED]),
        row(
            "Mutation.createTeam",
            "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }",
            |_, _| json!({"in": {"name": unique_text()}}),
        ),
        row(
            "Mutation.addTeamMember",
            ADD_MEMBER,
            |f, _| json!({"in": {"teamId": f.team, "userId": f.outsider}}),
        )
        .foreign(&["input.teamId"])
        .expect(MEMBERS),
        row(
            "Mutation.addTeamMember",
            ADD_MEMBER,
            |f, own| json!({"in": {"teamId": own.team, "userId": f.job}}),
        )
        .case("unknown user, own team")
        .foreign(&["input.userId"])
        .expect(MISSING),
        row(
            "Mutation.removeTeamMember",
            REMOVE_MEMBER,
            |f, _| json!({"in": {"teamId": f.team, "userId": f.member}}),
        )
        .foreign(&["input.teamId"])
        .expect(MEMBERS),
        row(
            "Mutation.removeTeamMember",
            REMOVE_MEMBER,
            |f, own| json!({"in": {"teamId": own.team, "userId": f.job}}),
        )
        .case("unknown user, own team")
        .foreign(&["input.userId"])
        .expect(MISSING),
    ]
}

fn nodes() -> Vec<Row> {
    const OWN: Expected = [Data, Null, Null, Null, Data, UNAUTHENTICATED];
    vec![
        row("Query.node", NODE, |f, _| json!({"id": f.job}))
            .case("a job")
            .foreign(&["id"])
            .expect(JOB_VIEWERS),
        row("Query.node", NODE, |f, _| json!({"id": f.text}))
            .case("content of another step")
            .expect(ALL_STEPS_VIEWERS),
        row("Query.node", NODE, |f, _| json!({"id": f.review})).case("a review").expect(JOB_VIEWERS),
        row("Query.node", NODE, |f, _| json!({"id": f.team})).case("a team").expect(ALL_STEPS_VIEWERS),
        row("Query.node", NODE, |f, _| json!({"id": f.owner})).case("a user").expect(OWN),
        row("Query.node", NODE, |f, _| json!({"id": f.taxonomy})).case("a taxonomy"),
        row("Query.node", NODE, |f, _| json!({"id": f.key})).case("an API key").expect(ONLY_THE_OWNER),
        row("Query.node", NODE, |f, _| json!({"id": f.webhook})).case("a webhook").expect(ONLY_THE_OWNER),
        row("Query.node", NODE, |f, _| json!({"id": f.delivery})).case("a delivery").expect(ONLY_THE_OWNER),
        row(
            "Query.nodes",
            "query($ids: [ID!]!) { nodes(ids: $ids) { id } }",
            |f, _| json!({"ids": [f.text, f.mapping]}),
        )
        .needle(|f| f.mapping.clone())
        .foreign(&["ids"])
        .expect([Shown, Shown, Shown, Hidden, Shown, UNAUTHENTICATED]),
        row(
            "Query.nodes",
            "query($ids: [ID!]!) { nodes(ids: $ids) { id } }",
            |f, _| json!({"ids": [f.text, f.mapping]}),
        )
        .case("content of another step")
        .needle(|f| f.text.clone())
        .expect([Shown, Shown, Hidden, Hidden, Shown, UNAUTHENTICATED]),
        row("Query.review", "query($id: ID!) { review(id: $id) { reason } }", |f, _| json!({"id": f.review}))
            .foreign(&["id"])
            .expect(JOB_VIEWERS),
    ]
}

fn documents() -> Vec<Row> {
    const UPLOADERS: Expected = [Data, Null, Null, Null, Data, UNAUTHENTICATED];
    vec![
        row("Query.document", DOCUMENT, |f, _| json!({"id": f.input})).case("an input").expect(JOB_VIEWERS),
        row("Query.document", DOCUMENT, |f, _| json!({"id": f.mapping}))
            .case("a content")
            .expect(JOB_VIEWERS),
        row("Query.document", DOCUMENT, |f, _| json!({"id": f.text}))
            .case("content of another step")
            .expect(ALL_STEPS_VIEWERS),
        row("Query.document", DOCUMENT, |f, _| json!({"id": f.unused}))
            .case("unused document")
            .foreign(&["id"])
            .expect(UPLOADERS),
        row("Query.documents", "{ documents(first: 100) { nodes { id name } } }", |_, _| json!({}))
            .needle(|f| f.unused.clone())
            .expect([Shown, Hidden, Hidden, Hidden, Hidden, UNAUTHENTICATED]),
        row(
            "Mutation.uploadDocument",
            "mutation($file: Upload!) { uploadDocument(file: $file) { document { id } } }",
            |_, _| json!({"file": null}),
        ),
        row("Mutation.deleteDocument", DELETE_DOCUMENT, |f, _| json!({"id": f.unused}))
            .foreign(&["id"])
            .expect([Data, NOT_FOUND, NOT_FOUND, NOT_FOUND, Data, UNAUTHENTICATED]),
        row("Mutation.deleteDocument", DELETE_DOCUMENT, |f, _| json!({"id": f.input}))
            .case("document in use")
            .expect([CONFLICT, NOT_FOUND, NOT_FOUND, NOT_FOUND, CONFLICT, UNAUTHENTICATED]),
        row("Mutation.deleteDocument", DELETE_DOCUMENT, |f, _| json!({"id": f.mapping}))
            .case("content of a step")
            .expect(MISSING),
    ]
}

fn taxonomies() -> Vec<Row> {
    vec![
        row("Query.taxonomy", "{ taxonomy(name: \"invoices\") { id } }", |_, _| json!({})),
        row("Query.taxonomies", "{ taxonomies { id } }", |_, _| json!({})),
        row(
            "Mutation.putTaxonomy",
            PUT_TAXONOMY,
            |_, _| json!({"in": {"name": unique_text(), "definition": {}}}),
        )
        .case("new taxonomy"),
        row(
            "Mutation.putTaxonomy",
            PUT_TAXONOMY,
            |_, _| json!({"in": {"name": "invoices", "definition": {"version": unique_text()}}}),
        )
        .case("taxonomy of the owner")
        .expect([Data, FORBIDDEN, FORBIDDEN, FORBIDDEN, Data, UNAUTHENTICATED]),
        // The IDs of job types are public; an unknown ID gives null.
        row("Query.jobType", "query($id: ID!) { jobType(id: $id) { id } }", |_, _| json!({"id": "indexing"})),
        row("Query.jobType", "query($id: ID!) { jobType(id: $id) { id } }", |f, _| json!({"id": f.job}))
            .case("unknown type")
            .foreign(&["id"])
            .expect([Null, Null, Null, Null, Null, UNAUTHENTICATED]),
        row("Query.jobTypes", "{ jobTypes { id } }", |_, _| json!({})),
    ]
}

/// Returns the rows of `createJob`, and of `validateJob`, which reports the same problems.
fn job_creation() -> Vec<Row> {
    type Variables = fn(&Fixture, &OwnIds) -> Value;
    const UPLOADERS: Expected = [Data, NOT_FOUND, NOT_FOUND, NOT_FOUND, Data, UNAUTHENTICATED];
    const READERS: Expected = [Data, Data, NOT_FOUND, NOT_FOUND, Data, UNAUTHENTICATED];
    let cases: [(&'static [&'static str], Variables, Expected); 6] = [
        (
            &["input.input.documentId"],
            |f, _| json!({"in": {"type": "noop", "input": {"documentId": f.unused}}}),
            UPLOADERS,
        ),
        (
            &["input.input.uri"],
            |f, _| json!({"in": {"type": "noop", "input": {"uri": f.text_uri()}}}),
            READERS,
        ),
        (
            &["input.contents.source.documentId"],
            |f, own| input_with_content(own, &json!({"documentId": f.unused})),
            UPLOADERS,
        ),
        (
            &["input.contents.source.uri"],
            |f, own| input_with_content(own, &json!({"uri": f.text_uri()})),
            READERS,
        ),
        (
            &["input.collaboration.collaborator.teamId"],
            |f, own| input_with_collaborator(own, &json!({"teamId": f.job})),
            MISSING,
        ),
        (
            &["input.collaboration.collaborator.userId"],
            |f, own| input_with_collaborator(own, &json!({"userId": f.job})),
            MISSING,
        ),
    ];
    let mut rows = Vec::new();
    for (foreign, variables, expected) in cases {
        rows.push(
            row("Mutation.createJob", CREATE, variables).case(foreign[0]).foreign(foreign).expect(expected),
        );
        let problems = expected.map(|outcome| match outcome {
            NOT_FOUND => Shown,
            Data => Hidden,
            other => other,
        });
        let validate = row("Query.validateJob", VALIDATE, variables).case(foreign[0]).foreign(foreign);
        rows.push(validate.needle(|_| "NOT_FOUND".into()).expect(problems));
    }
    rows
}

fn input_with_content(own: &OwnIds, source: &Value) -> Value {
    let contents = json!([{"role": "text-json", "source": source}]);
    let metadata = json!({"mapping.taxonomy": "invoices"});
    json!({"in": {
        "type": "data-point-extraction", "input": {"documentId": own.document}, "metadata": metadata, "contents": contents,
    }})
}

fn input_with_collaborator(own: &OwnIds, collaborator: &Value) -> Value {
    json!({"in": {"type": "noop", "input": {"documentId": own.document}, "collaboration": [{"collaborator": collaborator}]}})
}

fn jobs() -> Vec<Row> {
    const LISTED: Expected = [Shown, Shown, Shown, Hidden, Shown, UNAUTHENTICATED];
    const SUBSCRIBERS: Expected = [Data, Data, Data, NOT_FOUND, Data, UNAUTHENTICATED];
    vec![
        row("Query.job", "query($id: ID!) { job(id: $id) { id metadata } }", |f, _| json!({"id": f.job}))
            .foreign(&["id"])
            .expect(JOB_VIEWERS),
        row("Query.jobs", "{ jobs(first: 100) { totalCount nodes { id metadata } } }", |_, _| json!({}))
            .needle(|f| f.job.clone())
            .expect(LISTED),
        row(
            "Query.jobs",
            "query($f: JobFilter) { jobs(filter: $f) { nodes { id metadata } } }",
            |f, _| json!({"f": {"teamId": f.team}}),
        )
        .case("filtered by team")
        .needle(|f| f.job.clone())
        .foreign(&["filter.teamId"])
        .expect(LISTED),
        row(
            "Mutation.updateJob",
            "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }",
            |f, _| json!({"in": {"id": f.job, "priority": 1, "metadata": {"seen": true}}}),
        )
        .foreign(&["input.id"])
        .expect(EDITORS),
        row(
            "Mutation.cancelJob",
            "mutation($id: ID!) { cancelJob(id: $id) { job { id } } }",
            |f, _| json!({"id": f.job}),
        )
        .foreign(&["id"])
        .expect(EDITORS),
        row(
            "Mutation.retryJob",
            "mutation($id: ID!) { retryJob(id: $id) { job { id } } }",
            |f, _| json!({"id": f.cancelled}),
        )
        .foreign(&["id"])
        .expect(EDITORS),
        row(
            "Mutation.deleteJob",
            "mutation($id: ID!) { deleteJob(id: $id) { deletedId } }",
            |f, _| json!({"id": f.job}),
        )
        .foreign(&["id"])
        .expect(OWNERS),
        row(
            "Subscription.jobUpdated",
            "subscription($id: ID!) { jobUpdated(id: $id) { metadata } }",
            |f, _| json!({"id": f.job}),
        )
        .foreign(&["id"])
        .expect(SUBSCRIBERS),
        row(
            "Subscription.jobEvents",
            "subscription($id: ID!) { jobEvents(jobId: $id) { data } }",
            |f, _| json!({"id": f.job}),
        )
        .foreign(&["jobId"])
        .expect(SUBSCRIBERS),
    ]
}

const ADD: &str = "mutation($in: AddCollaboratorInput!) { addCollaborator(input: $in) { job { id } } }";
const REMOVE: &str =
    "mutation($in: RemoveCollaboratorInput!) { removeCollaborator(input: $in) { job { id } } }";

fn collaborators() -> Vec<Row> {
    const UNKNOWN_PRINCIPAL: Expected =
        [NOT_FOUND, FORBIDDEN, FORBIDDEN, NOT_FOUND, NOT_FOUND, UNAUTHENTICATED];
    vec![
        row(
            "Mutation.addCollaborator",
            ADD,
            |f, _| json!({"in": {"jobId": f.job, "collaborator": {"userId": f.outsider}}}),
        )
        .foreign(&["input.jobId"])
        .expect(OWNERS),
        row(
            "Mutation.addCollaborator",
            ADD,
            |f, _| json!({"in": {"jobId": f.job, "collaborator": {"userId": f.job}}}),
        )
        .case("unknown user")
        .foreign(&["input.collaborator.userId"])
        .expect(UNKNOWN_PRINCIPAL),
        row(
            "Mutation.addCollaborator",
            ADD,
            |f, _| json!({"in": {"jobId": f.job, "collaborator": {"teamId": f.job}}}),
        )
        .case("unknown team")
        .foreign(&["input.collaborator.teamId"])
        .expect(UNKNOWN_PRINCIPAL),
        row(
            "Mutation.removeCollaborator",
            REMOVE,
            |f, _| json!({"in": {"jobId": f.job, "collaborator": {"teamId": f.team}}}),
        )
        .foreign(&["input.jobId"])
        .expect(OWNERS),
        row(
            "Mutation.removeCollaborator",
            REMOVE,
            |f, _| json!({"in": {"jobId": f.job, "collaborator": {"userId": f.outsider}}}),
        )
        .case("not a collaborator")
        .foreign(&["input.collaborator.userId", "input.collaborator.teamId"])
        .expect(UNKNOWN_PRINCIPAL),
        row(
            "Mutation.rewindJob",
            "mutation($in: RewindJobInput!) { rewindJob(input: $in) { job { id } } }",
            |f, _| json!({"in": {"id": f.job, "toStep": "zoning"}}),
        )
        .foreign(&["input.id"])
        .expect(EDITORS),
        row(
            "Mutation.registerJobType",
            "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id } } }",
            |f, _| json!({"in": {"id": f.job, "name": "x", "description": "x", "accepts": [], "steps": [{"name": "x"}]}}),
        )
        .foreign(&["input.id"])
        .expect([FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, Data, UNAUTHENTICATED]),
    ]
}

fn reviews() -> Vec<Row> {
    const WORKERS: Expected = [Data, Data, Data, NOT_FOUND, Data, UNAUTHENTICATED];
    // The review is unclaimed, so that users who can see it get CONFLICT instead of NOT_FOUND.
    const UNCLAIMED: Expected = [CONFLICT, CONFLICT, CONFLICT, NOT_FOUND, CONFLICT, UNAUTHENTICATED];
    let by_id =
        |field, query| row(field, query, |f, _| json!({"id": f.review})).foreign(&["id"]).expect(WORKERS);
    vec![
        row("Query.reviews", "{ reviews(first: 100) { totalCount nodes { id reason job { metadata } } } }", |_, _| json!({}))
            .needle(|f| f.review.clone())
            .expect([Shown, Shown, Shown, Hidden, Shown, UNAUTHENTICATED]),
        row(
            "Query.simulateReviewThreshold",
            "query($type: ID!) { simulateReviewThreshold(type: $type, step: \"mapping\", threshold: 0.5) { items } }",
            |_, _| json!({"type": "data-point-extraction"}),
        )
        .foreign(&["type"]),
        by_id("Mutation.claimReview", "mutation($id: ID!) { claimReview(id: $id) { review { id } } }"),
        by_id("Mutation.releaseReview", "mutation($id: ID!) { releaseReview(id: $id) { review { id } } }"),
        row(
            "Mutation.saveReviewDraft",
            "mutation($in: SaveReviewDraftInput!) { saveReviewDraft(input: $in) { review { id } } }",
            |f, _| json!({"in": {"id": f.review, "patch": []}}),
        )
        .foreign(&["input.id"])
        .expect(UNCLAIMED),
        row(
            "Mutation.decideReview",
            "mutation($in: DecideReviewInput!) { decideReview(input: $in) { review { id } } }",
            |f, _| json!({"in": {"id": f.review, "decision": "REJECT", "contentSha256": f.mapping_sha256}}),
        )
        .foreign(&["input.id"])
        .expect(UNCLAIMED),
        row(
            "Mutation.decideReview",
            "mutation($in: DecideReviewInput!) { decideReview(input: $in) { review { id } } }",
            |f, _| {
                let by_uri = json!({"role": "mapping-json", "source": {"uri": f.text_uri()}});
                let by_id = json!({"role": "mapping-json", "source": {"documentId": f.unused}});
                json!({"in": {"id": f.review, "decision": "APPROVE", "contents": [by_uri, by_id]}})
            },
        )
        .case("foreign contents, for a step that accepts none")
        .foreign(&["input.contents.source.uri", "input.contents.source.documentId"])
        .expect([Code("BAD_USER_INPUT"), Code("BAD_USER_INPUT"), Code("BAD_USER_INPUT"), NOT_FOUND, Code("BAD_USER_INPUT"), UNAUTHENTICATED]),
    ]
}

fn workers() -> Vec<Row> {
    // The IDs of job types are public, so that an unknown ID is reported as a problem.
    const UNKNOWN_TYPE: Expected = [
        Code("BAD_USER_INPUT"),
        Code("BAD_USER_INPUT"),
        Code("BAD_USER_INPUT"),
        Code("BAD_USER_INPUT"),
        Code("BAD_USER_INPUT"),
        UNAUTHENTICATED,
    ];
    const CLAIM: &str = "mutation($types: [ID!]!) { claimSteps(input: {workerId: \"w\", types: $types, limit: 100}) { claims { job { metadata } } } }";
    let by_token = |field, query| row(field, query, |_, _| json!({})).expect(MISSING);
    vec![
        row("Mutation.claimSteps", CLAIM, |_, _| json!({"types": ["by-hand"]})),
        row("Mutation.claimSteps", CLAIM, |f, _| json!({"types": [f.job]}))
            .case("unknown type")
            .foreign(&["input.types", "input.workerId"])
            .expect(UNKNOWN_TYPE),
        by_token("Mutation.reportStep", "mutation { reportStep(input: {leaseToken: \"x\"}) { cancelled } }"),
        by_token(
            "Mutation.completeStep",
            "mutation { completeStep(input: {leaseToken: \"x\"}) { job { id } } }",
        ),
        row(
            "Mutation.completeStep",
            "mutation($in: CompleteStepInput!) { completeStep(input: $in) { job { id } } }",
            |f, _| {
                let by_uri = json!({"role": "mapping-json", "source": {"uri": f.text_uri()}});
                let by_id = json!({"role": "mapping-json", "source": {"documentId": f.unused}});
                json!({"in": {"leaseToken": "x", "contents": [by_uri, by_id]}})
            },
        )
        .case("foreign contents")
        .foreign(&["input.contents.source.uri", "input.contents.source.documentId"])
        .expect(MISSING),
        by_token(
            "Mutation.failStep",
            "mutation { failStep(input: {leaseToken: \"x\", code: \"X\", message: \"x\"}) { job { id } } }",
        ),
        row(
            "Subscription.stepsQueued",
            "subscription($types: [ID!]!) { stepsQueued(types: $types) { count } }",
            |f, _| json!({"types": [f.job]}),
        )
        .foreign(&["types"])
        .expect(UNKNOWN_TYPE),
    ]
}

/// Returns the rows of webhooks, which only their creators can see, because URLs may contain secrets.
fn webhooks() -> Vec<Row> {
    const CREATOR_ONLY: Expected = [Data, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, UNAUTHENTICATED];
    const VIEWERS: Expected = [Data, Data, Data, NOT_FOUND, Data, UNAUTHENTICATED];
    let by_id = |field, query| {
        row(field, query, |f, _| json!({"id": f.webhook})).foreign(&["id"]).expect(CREATOR_ONLY)
    };
    vec![
        row("Query.webhook", "query($id: ID!) { webhook(id: $id) { url description deliveries(first: 1) { nodes { id } } } }", |f, _| {
            json!({"id": f.webhook})
        })
        .foreign(&["id"])
        .expect(ONLY_THE_OWNER),
        row("Query.webhooks", "{ webhooks(first: 100) { nodes { id description job { metadata } } } }", |_, _| json!({}))
            .needle(|f| f.webhook.clone())
            .expect([Shown, Hidden, Hidden, Hidden, Hidden, UNAUTHENTICATED]),
        row(
            "Mutation.createWebhook",
            "mutation($in: CreateWebhookInput!) { createWebhook(input: $in) { webhook { id job { metadata } } } }",
            |f, _| json!({"in": {"url": "https://192.0.1.1/", "jobId": f.job}}),
        )
        .foreign(&["input.jobId"])
        .expect(VIEWERS),
        row(
            "Mutation.updateWebhook",
            "mutation($in: UpdateWebhookInput!) { updateWebhook(input: $in) { webhook { id } } }",
            |f, _| json!({"in": {"id": f.webhook, "description": "other"}}),
        )
        .foreign(&["input.id"])
        .expect(CREATOR_ONLY),
        by_id(
            "Mutation.rotateWebhookSecret",
            "mutation($id: ID!) { rotateWebhookSecret(id: $id) { webhook { id } } }",
        ),
        by_id("Mutation.deleteWebhook", "mutation($id: ID!) { deleteWebhook(id: $id) { deletedId } }"),
        row(
            "Mutation.redeliverWebhook",
            "mutation($id: ID!) { redeliverWebhook(deliveryId: $id) { delivery { id } } }",
            |f, _| json!({"id": f.delivery}),
        )
        .foreign(&["deliveryId"])
        .expect(CREATOR_ONLY),
    ]
}

/// Returns the rows of list subscriptions, which every user may start, for visible objects only.
fn list_subscriptions() -> Vec<Row> {
    const SUBSCRIBERS: Expected = [Shown, Shown, Shown, Hidden, Shown, UNAUTHENTICATED];
    let list =
        |field, query| row(field, query, |_, _| json!({})).needle(|f| f.job.clone()).expect(SUBSCRIBERS);
    vec![
        list("Subscription.jobsUpdated", "subscription { jobsUpdated { id metadata } }"),
        row(
            "Subscription.jobsUpdated",
            "subscription($f: JobFilter) { jobsUpdated(filter: $f) { id metadata } }",
            |f, _| json!({"f": {"type": [f.job, "by-hand"], "owner": "ANY"}}),
        )
        .case("unknown type")
        .needle(|f| f.job.clone())
        .foreign(&["filter.teamId", "filter.type"])
        .expect([Hidden, Hidden, Hidden, Hidden, Hidden, UNAUTHENTICATED]),
        list("Subscription.reviewsUpdated", "subscription { reviewsUpdated { reason job { id metadata } } }")
            .foreign(&["filter.type"]),
        list("Subscription.events", "subscription { events { jobId data job { metadata } } }")
            .foreign(&["filter.teamId", "filter.type"]),
    ]
}
