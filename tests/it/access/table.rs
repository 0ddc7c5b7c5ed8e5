//! What comes of each operation, by who asks: the owner of a job, somebody who was let in to all of its steps, somebody
//! who was let in to `mapping` alone, a stranger, an admin, and somebody without credentials.

use serde_json::{Value, json};

use super::world::{Own, World, unique};

/// What somebody gets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// The field.
    Data,
    /// No error, and null.
    Null,
    /// No error, and what the row is about is in the answer.
    With,
    /// No error, and it is not.
    Without,
    /// An error of this code, and nothing has changed.
    Code(&'static str),
}

use Outcome::{Code, Data, Null, With, Without};

const FORBIDDEN: Outcome = Code("FORBIDDEN");
const NOT_FOUND: Outcome = Code("NOT_FOUND");
const CONFLICT: Outcome = Code("CONFLICT");
const UNAUTHENTICATED: Outcome = Code("UNAUTHENTICATED");

/// An operation and what everybody gets from it.
pub(super) struct Row {
    /// The root field.
    pub(super) field: &'static str,
    /// What it is asked about, where that matters.
    pub(super) what: &'static str,
    pub(super) query: &'static str,
    /// Of the world, and of what the person who asks has for themselves.
    pub(super) variables: fn(&World, &Own) -> Value,
    /// Arguments that name what is not the stranger's.
    pub(super) foreign: &'static [&'static str],
    /// What [`With`] and [`Without`] look for.
    pub(super) about: Option<fn(&World) -> String>,
    pub(super) expected: [Outcome; 6],
}

/// Owner, all steps, one step, stranger, admin, nobody.
type Expected = [Outcome; 6];

/// What belongs to a job: seen by those who see the job.
const OF_THE_JOB: Expected = [Data, Data, Data, Null, Data, UNAUTHENTICATED];
/// What another step than `mapping` made.
const OF_ANOTHER_STEP: Expected = [Data, Data, Null, Null, Data, UNAUTHENTICATED];
/// What changes a job.
const EDITORS: Expected = [Data, Data, FORBIDDEN, NOT_FOUND, Data, UNAUTHENTICATED];
/// What only the owner's side may do.
const OWNERS: Expected = [Data, FORBIDDEN, FORBIDDEN, NOT_FOUND, Data, UNAUTHENTICATED];
/// What nobody else sees, whoever they are.
const OWNERS_ALONE: Expected = [Data, Null, Null, Null, Null, UNAUTHENTICATED];
/// What is everybody's who has signed in.
const SIGNED_IN: Expected = [Data, Data, Data, Data, Data, UNAUTHENTICATED];
/// What is there for nobody.
const MISSING: Expected = [NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, UNAUTHENTICATED];

const fn row(field: &'static str, query: &'static str, variables: fn(&World, &Own) -> Value) -> Row {
    Row { field, what: "", query, variables, foreign: &[], about: None, expected: SIGNED_IN }
}

impl Row {
    const fn what(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    const fn foreign(self, foreign: &'static [&'static str]) -> Self {
        Self { foreign, ..self }
    }

    const fn about(self, about: fn(&World) -> String) -> Self {
        Self { about: Some(about), ..self }
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
        making_jobs(),
        jobs(),
        sharing(),
        reviews(),
        workers(),
        webhooks(),
        lists(),
    ];
    tables.into_iter().flatten().collect()
}

fn accounts() -> Vec<Row> {
    vec![
        row("Query.viewer", "{ viewer { id } }", |_, _| json!({}))
            .expect([Data, Data, Data, Data, Data, Null]),
        row("Query.apiKeys", "{ apiKeys { id } }", |_, _| json!({})).about(|w| w.key.clone()).expect([
            With,
            Without,
            Without,
            Without,
            Without,
            UNAUTHENTICATED,
        ]),
        row(
            "Mutation.signUp",
            "mutation($in: SignUpInput!) { signUp(input: $in) { user { id } } }",
            |_, _| {
                let email = format!("{}@example.com", unique());
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
            |w, _| json!({"id": w.key}),
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
            |w, _| json!({"id": w.team}),
        )
        .foreign(&["id"])
        .expect([Data, Data, Null, Null, Data, UNAUTHENTICATED]),
        row("Query.teams", "{ teams { id name members { email } } }", |_, _| json!({}))
            .about(|w| w.team.clone())
            .expect([With, With, Without, Without, With, UNAUTHENTICATED]),
        row(
            "Mutation.createTeam",
            "mutation($in: CreateTeamInput!) { createTeam(input: $in) { team { id } } }",
            |_, _| json!({"in": {"name": unique()}}),
        ),
        row(
            "Mutation.addTeamMember",
            ADD_MEMBER,
            |w, _| json!({"in": {"teamId": w.team, "userId": w.outsider}}),
        )
        .foreign(&["input.teamId"])
        .expect(MEMBERS),
        row(
            "Mutation.addTeamMember",
            ADD_MEMBER,
            |w, own| json!({"in": {"teamId": own.team, "userId": w.job}}),
        )
        .what("nobody, to a team of one's own")
        .foreign(&["input.userId"])
        .expect(MISSING),
        row(
            "Mutation.removeTeamMember",
            REMOVE_MEMBER,
            |w, _| json!({"in": {"teamId": w.team, "userId": w.member}}),
        )
        .foreign(&["input.teamId"])
        .expect(MEMBERS),
        row(
            "Mutation.removeTeamMember",
            REMOVE_MEMBER,
            |w, own| json!({"in": {"teamId": own.team, "userId": w.job}}),
        )
        .what("nobody, from a team of one's own")
        .foreign(&["input.userId"])
        .expect(MISSING),
    ]
}

fn nodes() -> Vec<Row> {
    const OWN: Expected = [Data, Null, Null, Null, Data, UNAUTHENTICATED];
    vec![
        row("Query.node", NODE, |w, _| json!({"id": w.job}))
            .what("a job")
            .foreign(&["id"])
            .expect(OF_THE_JOB),
        row("Query.node", NODE, |w, _| json!({"id": w.text})).what("another step's").expect(OF_ANOTHER_STEP),
        row("Query.node", NODE, |w, _| json!({"id": w.review})).what("a review").expect(OF_THE_JOB),
        row("Query.node", NODE, |w, _| json!({"id": w.team})).what("a team").expect(OF_ANOTHER_STEP),
        row("Query.node", NODE, |w, _| json!({"id": w.owner})).what("a person").expect(OWN),
        row("Query.node", NODE, |w, _| json!({"id": w.taxonomy})).what("a taxonomy"),
        row("Query.node", NODE, |w, _| json!({"id": w.key})).what("an API key").expect(OWNERS_ALONE),
        row("Query.node", NODE, |w, _| json!({"id": w.webhook})).what("a webhook").expect(OWNERS_ALONE),
        row("Query.node", NODE, |w, _| json!({"id": w.delivery})).what("a delivery").expect(OWNERS_ALONE),
        row(
            "Query.nodes",
            "query($ids: [ID!]!) { nodes(ids: $ids) { id } }",
            |w, _| json!({"ids": [w.text, w.mapping]}),
        )
        .about(|w| w.mapping.clone())
        .foreign(&["ids"])
        .expect([With, With, With, Without, With, UNAUTHENTICATED]),
        row(
            "Query.nodes",
            "query($ids: [ID!]!) { nodes(ids: $ids) { id } }",
            |w, _| json!({"ids": [w.text, w.mapping]}),
        )
        .what("another step's")
        .about(|w| w.text.clone())
        .expect([With, With, Without, Without, With, UNAUTHENTICATED]),
        row("Query.review", "query($id: ID!) { review(id: $id) { reason } }", |w, _| json!({"id": w.review}))
            .foreign(&["id"])
            .expect(OF_THE_JOB),
    ]
}

fn documents() -> Vec<Row> {
    const UPLOADERS: Expected = [Data, Null, Null, Null, Data, UNAUTHENTICATED];
    vec![
        row("Query.document", DOCUMENT, |w, _| json!({"id": w.input})).what("an input").expect(OF_THE_JOB),
        row("Query.document", DOCUMENT, |w, _| json!({"id": w.mapping})).what("a content").expect(OF_THE_JOB),
        row("Query.document", DOCUMENT, |w, _| json!({"id": w.text}))
            .what("another step's")
            .expect(OF_ANOTHER_STEP),
        row("Query.document", DOCUMENT, |w, _| json!({"id": w.loose}))
            .what("of no job")
            .foreign(&["id"])
            .expect(UPLOADERS),
        row("Query.documents", "{ documents(first: 100) { nodes { id name } } }", |_, _| json!({}))
            .about(|w| w.loose.clone())
            .expect([With, Without, Without, Without, Without, UNAUTHENTICATED]),
        row(
            "Mutation.uploadDocument",
            "mutation($file: Upload!) { uploadDocument(file: $file) { document { id } } }",
            |_, _| json!({"file": null}),
        ),
        row("Mutation.deleteDocument", DELETE_DOCUMENT, |w, _| json!({"id": w.loose}))
            .foreign(&["id"])
            .expect([Data, NOT_FOUND, NOT_FOUND, NOT_FOUND, Data, UNAUTHENTICATED]),
        row("Mutation.deleteDocument", DELETE_DOCUMENT, |w, _| json!({"id": w.input}))
            .what("in use")
            .expect([CONFLICT, NOT_FOUND, NOT_FOUND, NOT_FOUND, CONFLICT, UNAUTHENTICATED]),
        row("Mutation.deleteDocument", DELETE_DOCUMENT, |w, _| json!({"id": w.mapping}))
            .what("made by a step")
            .expect(MISSING),
    ]
}

fn taxonomies() -> Vec<Row> {
    vec![
        row("Query.taxonomy", "{ taxonomy(name: \"invoices\") { id } }", |_, _| json!({})),
        row("Query.taxonomies", "{ taxonomies { id } }", |_, _| json!({})),
        row("Mutation.putTaxonomy", PUT_TAXONOMY, |_, _| json!({"in": {"name": unique(), "definition": {}}}))
            .what("a new one"),
        row(
            "Mutation.putTaxonomy",
            PUT_TAXONOMY,
            |_, _| json!({"in": {"name": "invoices", "definition": {"version": unique()}}}),
        )
        .what("the owner's")
        .expect([Data, FORBIDDEN, FORBIDDEN, FORBIDDEN, Data, UNAUTHENTICATED]),
        // The slug of a type is nobody's secret; what is not one is not there.
        row("Query.jobType", "query($id: ID!) { jobType(id: $id) { id } }", |_, _| json!({"id": "indexing"})),
        row("Query.jobType", "query($id: ID!) { jobType(id: $id) { id } }", |w, _| json!({"id": w.job}))
            .what("not a slug")
            .foreign(&["id"])
            .expect([Null, Null, Null, Null, Null, UNAUTHENTICATED]),
        row("Query.jobTypes", "{ jobTypes { id } }", |_, _| json!({})),
    ]
}

/// `createJob`, and `validateJob`, which objects to the same.
fn making_jobs() -> Vec<Row> {
    type Variables = fn(&World, &Own) -> Value;
    const UPLOADERS: Expected = [Data, NOT_FOUND, NOT_FOUND, NOT_FOUND, Data, UNAUTHENTICATED];
    const READERS: Expected = [Data, Data, NOT_FOUND, NOT_FOUND, Data, UNAUTHENTICATED];
    let tries: [(&'static [&'static str], Variables, Expected); 6] = [
        (
            &["input.input.documentId"],
            |w, _| json!({"in": {"type": "noop", "input": {"documentId": w.loose}}}),
            UPLOADERS,
        ),
        (
            &["input.input.uri"],
            |w, _| json!({"in": {"type": "noop", "input": {"uri": w.text_uri()}}}),
            READERS,
        ),
        (
            &["input.contents.source.documentId"],
            |w, own| further(own, &json!({"documentId": w.loose})),
            UPLOADERS,
        ),
        (&["input.contents.source.uri"], |w, own| further(own, &json!({"uri": w.text_uri()})), READERS),
        (
            &["input.collaboration.collaborator.teamId"],
            |w, own| shared(own, &json!({"teamId": w.job})),
            MISSING,
        ),
        (
            &["input.collaboration.collaborator.userId"],
            |w, own| shared(own, &json!({"userId": w.job})),
            MISSING,
        ),
    ];
    let mut rows = Vec::new();
    for (foreign, variables, expected) in tries {
        rows.push(
            row("Mutation.createJob", CREATE, variables).what(foreign[0]).foreign(foreign).expect(expected),
        );
        let told = expected.map(|outcome| match outcome {
            NOT_FOUND => With,
            Data => Without,
            other => other,
        });
        let validate = row("Query.validateJob", VALIDATE, variables).what(foreign[0]).foreign(foreign);
        rows.push(validate.about(|_| "NOT_FOUND".into()).expect(told));
    }
    rows
}

fn further(own: &Own, source: &Value) -> Value {
    let contents = json!([{"role": "text-json", "source": source}]);
    let metadata = json!({"mapping.taxonomy": "invoices"});
    json!({"in": {
        "type": "data-point-extraction", "input": {"documentId": own.document}, "metadata": metadata, "contents": contents,
    }})
}

fn shared(own: &Own, collaborator: &Value) -> Value {
    json!({"in": {"type": "noop", "input": {"documentId": own.document}, "collaboration": [{"collaborator": collaborator}]}})
}

fn jobs() -> Vec<Row> {
    const LISTED: Expected = [With, With, With, Without, With, UNAUTHENTICATED];
    const WATCHERS: Expected = [Data, Data, Data, NOT_FOUND, Data, UNAUTHENTICATED];
    vec![
        row("Query.job", "query($id: ID!) { job(id: $id) { id metadata } }", |w, _| json!({"id": w.job}))
            .foreign(&["id"])
            .expect(OF_THE_JOB),
        row("Query.jobs", "{ jobs(first: 100) { totalCount nodes { id metadata } } }", |_, _| json!({}))
            .about(|w| w.job.clone())
            .expect(LISTED),
        row(
            "Query.jobs",
            "query($f: JobFilter) { jobs(filter: $f) { nodes { id metadata } } }",
            |w, _| json!({"f": {"teamId": w.team}}),
        )
        .what("of a team")
        .about(|w| w.job.clone())
        .foreign(&["filter.teamId"])
        .expect(LISTED),
        row(
            "Mutation.updateJob",
            "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }",
            |w, _| json!({"in": {"id": w.job, "priority": 1, "metadata": {"seen": true}}}),
        )
        .foreign(&["input.id"])
        .expect(EDITORS),
        row(
            "Mutation.cancelJob",
            "mutation($id: ID!) { cancelJob(id: $id) { job { id } } }",
            |w, _| json!({"id": w.job}),
        )
        .foreign(&["id"])
        .expect(EDITORS),
        row(
            "Mutation.retryJob",
            "mutation($id: ID!) { retryJob(id: $id) { job { id } } }",
            |w, _| json!({"id": w.stopped}),
        )
        .foreign(&["id"])
        .expect(EDITORS),
        row(
            "Mutation.deleteJob",
            "mutation($id: ID!) { deleteJob(id: $id) { deletedId } }",
            |w, _| json!({"id": w.job}),
        )
        .foreign(&["id"])
        .expect(OWNERS),
        row(
            "Subscription.jobUpdated",
            "subscription($id: ID!) { jobUpdated(id: $id) { metadata } }",
            |w, _| json!({"id": w.job}),
        )
        .foreign(&["id"])
        .expect(WATCHERS),
        row(
            "Subscription.jobEvents",
            "subscription($id: ID!) { jobEvents(jobId: $id) { data } }",
            |w, _| json!({"id": w.job}),
        )
        .foreign(&["jobId"])
        .expect(WATCHERS),
    ]
}

const ADD: &str = "mutation($in: AddCollaboratorInput!) { addCollaborator(input: $in) { job { id } } }";
const REMOVE: &str =
    "mutation($in: RemoveCollaboratorInput!) { removeCollaborator(input: $in) { job { id } } }";

fn sharing() -> Vec<Row> {
    const NOBODY: Expected = [NOT_FOUND, FORBIDDEN, FORBIDDEN, NOT_FOUND, NOT_FOUND, UNAUTHENTICATED];
    vec![
        row(
            "Mutation.addCollaborator",
            ADD,
            |w, _| json!({"in": {"jobId": w.job, "collaborator": {"userId": w.outsider}}}),
        )
        .foreign(&["input.jobId"])
        .expect(OWNERS),
        row(
            "Mutation.addCollaborator",
            ADD,
            |w, _| json!({"in": {"jobId": w.job, "collaborator": {"userId": w.job}}}),
        )
        .what("nobody")
        .foreign(&["input.collaborator.userId"])
        .expect(NOBODY),
        row(
            "Mutation.addCollaborator",
            ADD,
            |w, _| json!({"in": {"jobId": w.job, "collaborator": {"teamId": w.job}}}),
        )
        .what("no team")
        .foreign(&["input.collaborator.teamId"])
        .expect(NOBODY),
        row(
            "Mutation.removeCollaborator",
            REMOVE,
            |w, _| json!({"in": {"jobId": w.job, "collaborator": {"teamId": w.team}}}),
        )
        .foreign(&["input.jobId"])
        .expect(OWNERS),
        row(
            "Mutation.removeCollaborator",
            REMOVE,
            |w, _| json!({"in": {"jobId": w.job, "collaborator": {"userId": w.outsider}}}),
        )
        .what("somebody who is not in")
        .foreign(&["input.collaborator.userId", "input.collaborator.teamId"])
        .expect(NOBODY),
        row(
            "Mutation.rewindJob",
            "mutation($in: RewindJobInput!) { rewindJob(input: $in) { job { id } } }",
            |w, _| json!({"in": {"id": w.job, "toStep": "zoning"}}),
        )
        .foreign(&["input.id"])
        .expect(EDITORS),
        row(
            "Mutation.registerJobType",
            "mutation($in: RegisterJobTypeInput!) { registerJobType(input: $in) { jobType { id } } }",
            |w, _| json!({"in": {"id": w.job, "name": "x", "description": "x", "accepts": [], "steps": [{"name": "x"}]}}),
        )
        .foreign(&["input.id"])
        .expect([FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, Data, UNAUTHENTICATED]),
    ]
}

fn reviews() -> Vec<Row> {
    const WORKERS: Expected = [Data, Data, Data, NOT_FOUND, Data, UNAUTHENTICATED];
    // Whoever sees the review gets further than the stranger: nobody has claimed it.
    const UNCLAIMED: Expected = [CONFLICT, CONFLICT, CONFLICT, NOT_FOUND, CONFLICT, UNAUTHENTICATED];
    let by_id =
        |field, query| row(field, query, |w, _| json!({"id": w.review})).foreign(&["id"]).expect(WORKERS);
    vec![
        row("Query.reviews", "{ reviews(first: 100) { totalCount nodes { id reason job { metadata } } } }", |_, _| json!({}))
            .about(|w| w.review.clone())
            .expect([With, With, With, Without, With, UNAUTHENTICATED]),
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
            |w, _| json!({"in": {"id": w.review, "patch": []}}),
        )
        .foreign(&["input.id"])
        .expect(UNCLAIMED),
        row(
            "Mutation.decideReview",
            "mutation($in: DecideReviewInput!) { decideReview(input: $in) { review { id } } }",
            |w, _| json!({"in": {"id": w.review, "decision": "REJECT", "contentSha256": w.mapping_sha256}}),
        )
        .foreign(&["input.id"])
        .expect(UNCLAIMED),
        row(
            "Mutation.decideReview",
            "mutation($in: DecideReviewInput!) { decideReview(input: $in) { review { id } } }",
            |w, _| {
                let by_uri = json!({"role": "mapping-json", "source": {"uri": w.text_uri()}});
                let by_id = json!({"role": "mapping-json", "source": {"documentId": w.loose}});
                json!({"in": {"id": w.review, "decision": "APPROVE", "contents": [by_uri, by_id]}})
            },
        )
        .what("with contents of others, for a step that takes none")
        .foreign(&["input.contents.source.uri", "input.contents.source.documentId"])
        .expect([Code("BAD_USER_INPUT"), Code("BAD_USER_INPUT"), Code("BAD_USER_INPUT"), NOT_FOUND, Code("BAD_USER_INPUT"), UNAUTHENTICATED]),
    ]
}

fn workers() -> Vec<Row> {
    // Types are nobody's secret; what is no type is said to be none.
    const NO_TYPE: Expected = [
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
        row("Mutation.claimSteps", CLAIM, |w, _| json!({"types": [w.job]}))
            .what("of no type")
            .foreign(&["input.types", "input.workerId"])
            .expect(NO_TYPE),
        by_token("Mutation.reportStep", "mutation { reportStep(input: {leaseToken: \"x\"}) { cancelled } }"),
        by_token(
            "Mutation.completeStep",
            "mutation { completeStep(input: {leaseToken: \"x\"}) { job { id } } }",
        ),
        row(
            "Mutation.completeStep",
            "mutation($in: CompleteStepInput!) { completeStep(input: $in) { job { id } } }",
            |w, _| {
                let by_uri = json!({"role": "mapping-json", "source": {"uri": w.text_uri()}});
                let by_id = json!({"role": "mapping-json", "source": {"documentId": w.loose}});
                json!({"in": {"leaseToken": "x", "contents": [by_uri, by_id]}})
            },
        )
        .what("with contents of others")
        .foreign(&["input.contents.source.uri", "input.contents.source.documentId"])
        .expect(MISSING),
        by_token(
            "Mutation.failStep",
            "mutation { failStep(input: {leaseToken: \"x\", code: \"X\", message: \"x\"}) { job { id } } }",
        ),
        row(
            "Subscription.stepsQueued",
            "subscription($types: [ID!]!) { stepsQueued(types: $types) { count } }",
            |w, _| json!({"types": [w.job]}),
        )
        .foreign(&["types"])
        .expect(NO_TYPE),
    ]
}

/// Webhooks are their makers' alone: their addresses may be secrets.
fn webhooks() -> Vec<Row> {
    const MINE: Expected = [Data, NOT_FOUND, NOT_FOUND, NOT_FOUND, NOT_FOUND, UNAUTHENTICATED];
    const VIEWERS: Expected = [Data, Data, Data, NOT_FOUND, Data, UNAUTHENTICATED];
    let mine =
        |field, query| row(field, query, |w, _| json!({"id": w.webhook})).foreign(&["id"]).expect(MINE);
    vec![
        row("Query.webhook", "query($id: ID!) { webhook(id: $id) { url description deliveries(first: 1) { nodes { id } } } }", |w, _| {
            json!({"id": w.webhook})
        })
        .foreign(&["id"])
        .expect(OWNERS_ALONE),
        row("Query.webhooks", "{ webhooks(first: 100) { nodes { id description job { metadata } } } }", |_, _| json!({}))
            .about(|w| w.webhook.clone())
            .expect([With, Without, Without, Without, Without, UNAUTHENTICATED]),
        row(
            "Mutation.createWebhook",
            "mutation($in: CreateWebhookInput!) { createWebhook(input: $in) { webhook { id job { metadata } } } }",
            |w, _| json!({"in": {"url": "https://192.0.1.1/", "jobId": w.job}}),
        )
        .foreign(&["input.jobId"])
        .expect(VIEWERS),
        row(
            "Mutation.updateWebhook",
            "mutation($in: UpdateWebhookInput!) { updateWebhook(input: $in) { webhook { id } } }",
            |w, _| json!({"in": {"id": w.webhook, "description": "other"}}),
        )
        .foreign(&["input.id"])
        .expect(MINE),
        mine(
            "Mutation.rotateWebhookSecret",
            "mutation($id: ID!) { rotateWebhookSecret(id: $id) { webhook { id } } }",
        ),
        mine("Mutation.deleteWebhook", "mutation($id: ID!) { deleteWebhook(id: $id) { deletedId } }"),
        row(
            "Mutation.redeliverWebhook",
            "mutation($id: ID!) { redeliverWebhook(deliveryId: $id) { delivery { id } } }",
            |w, _| json!({"id": w.delivery}),
        )
        .foreign(&["deliveryId"])
        .expect(MINE),
    ]
}

/// What everybody may follow, each with what is theirs to see.
fn lists() -> Vec<Row> {
    const FOLLOWED: Expected = [With, With, With, Without, With, UNAUTHENTICATED];
    let list = |field, query| row(field, query, |_, _| json!({})).about(|w| w.job.clone()).expect(FOLLOWED);
    vec![
        list("Subscription.jobsUpdated", "subscription { jobsUpdated { id metadata } }"),
        row(
            "Subscription.jobsUpdated",
            "subscription($f: JobFilter) { jobsUpdated(filter: $f) { id metadata } }",
            |w, _| json!({"f": {"type": [w.job, "by-hand"], "owner": "ANY"}}),
        )
        .what("of a type that is none")
        .about(|w| w.job.clone())
        .foreign(&["filter.teamId", "filter.type"])
        .expect([Without, Without, Without, Without, Without, UNAUTHENTICATED]),
        list("Subscription.reviewsUpdated", "subscription { reviewsUpdated { reason job { id metadata } } }")
            .foreign(&["filter.type"]),
        list("Subscription.events", "subscription { events { jobId data job { metadata } } }")
            .foreign(&["filter.teamId", "filter.type"]),
    ]
}
