//! Six users, and a job with its objects, which only some of them can see.

use docket::id::UserId;
use serde_json::{Value, json};

use crate::harness::{TestApp, User, job_id};

/// A marker in every text that only users with access to the job may read, so that a leak is found.
pub(super) const MARKER: &str = "confidential";

/// Six users in the order of the table's columns, and an outsider.
pub(super) struct Users {
    columns: [(User, OwnIds); 6],
    /// A user without a shared team or job.
    outsider: User,
}

/// The IDs of a user's own objects.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnIds {
    pub(super) document: String,
    pub(super) team: String,
}

impl Users {
    pub(super) async fn new(app: &TestApp) -> Self {
        let mut signed_in = Vec::new();
        for name in ["owner", "all", "mapping", "stranger"] {
            signed_in.push(app.user(name).await);
        }
        signed_in.push(app.admin("admin").await);
        let mut columns = Vec::new();
        for user in signed_in {
            let document = user.upload("own", "own.txt", "text/plain").await;
            let team = user.team(&format!("team of {}", user.name), &[]).await;
            columns.push((user, OwnIds { document, team }));
        }
        columns.push((app.anonymous(), OwnIds::default()));
        let outsider = app.user("outsider").await;
        Self { columns: columns.try_into().expect("six users"), outsider }
    }

    pub(super) fn owner(&self) -> &User {
        &self.columns[0].0
    }

    /// Returns a collaborator with all steps, through a team.
    pub(super) fn all(&self) -> &User {
        &self.columns[1].0
    }

    /// Returns a collaborator with the step `mapping`.
    pub(super) fn mapping(&self) -> &User {
        &self.columns[2].0
    }

    /// Returns a user without access to the job.
    pub(super) fn stranger(&self) -> (&User, &OwnIds) {
        self.column(3)
    }

    /// Returns the user of a column of the table, and the IDs of their own objects.
    pub(super) fn column(&self, index: usize) -> (&User, &OwnIds) {
        let (user, own) = &self.columns[index];
        (user, own)
    }

    /// Returns whether the user of a column can see the job.
    pub(super) fn can_see_job(&self, column: usize) -> bool {
        !matches!(self.columns[column].0.name.as_str(), "stranger" | "anonymous")
    }
}

/// The objects of the owner to which the rows of the table refer.
#[derive(Debug)]
pub(super) struct Fixture {
    /// A job blocked in the step `mapping`, shared with a team (`*`) and with one user (`mapping`).
    pub(super) job: String,
    /// A cancelled job, shared with the same team and user.
    pub(super) cancelled: String,
    /// The review that blocks the job.
    pub(super) review: String,
    /// The team with access to the job: the owner and [`Users::all`].
    pub(super) team: String,
    /// The input of the job, and the contents of its steps `text-extraction` and `mapping`.
    pub(super) input: String,
    pub(super) text: String,
    pub(super) mapping: String,
    /// A document that no job uses.
    pub(super) unused: String,
    /// An API key, and the account to which it belongs.
    pub(super) key: String,
    pub(super) owner: String,
    /// The accounts of a member of the team and of a user outside it.
    pub(super) member: String,
    pub(super) outsider: String,
    pub(super) taxonomy: String,
    /// A webhook, and a delivery that is not yet sent.
    pub(super) webhook: String,
    pub(super) delivery: String,
    uri: String,
    /// The SHA-256 of the content under review.
    pub(super) mapping_sha256: String,
}

/// A job type with one MANUAL step, so that its jobs are blocked at once.
pub(super) const MANUAL_TYPE: &str = "by-hand";

impl Fixture {
    /// Changes the job and its review, which causes events for every subscriber.
    pub(super) async fn change_job_and_review(&self, users: &Users) {
        let owner = users.owner();
        let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
        owner.gql(update, json!({"in": {"id": self.job, "metadata": {"changed": unique_text()}}})).await;
        for change in ["claimReview", "releaseReview"] {
            let query = format!("mutation($id: ID!) {{ {change}(id: $id) {{ review {{ id }} }} }}");
            owner.gql(&query, json!({"id": self.review})).await;
        }
    }

    pub(super) async fn new(app: &TestApp, users: &Users) -> Self {
        let step = json!({
            "name": "do", "title": "Do", "kind": "MANUAL", "contentRoles": ["output"], "maxAttempts": 1, "timeoutSeconds": 1,
            "thresholdField": null, "fourEyes": false,
        });
        let by_hand = json!({
            "id": MANUAL_TYPE, "name": "By hand", "description": "For tests.", "accepts": [], "metadataSchema": {}, "steps": [step],
        });
        let by_hand = serde_json::from_value(by_hand).expect("a job type");
        app.jobs.types.put(&app.clock, by_hand).await.expect("a job type");
        let owner = users.owner();
        let name = format!("{MARKER} {}", unique_text());
        let team = owner.team(&name, &[users.all()]).await;
        let input = owner.upload("Invoice No 7", &format!("{name}.txt"), "text/plain").await;
        let unused = owner.upload("unused", &format!("{name} unused.txt"), "text/plain").await;
        let metadata = json!({"mapping.taxonomy": "invoices", "note": name});
        owner.put_taxonomy("invoices").await;
        let share = |step: &str| {
            json!([
                {"collaborator": {"teamId": team}, "steps": ["*"]},
                {"collaborator": {"userEmail": users.mapping().email()}, "steps": [step]}
            ])
        };
        let source = json!({"documentId": input});
        let job = json!({"type": "data-point-extraction", "input": source, "metadata": metadata, "collaboration": share("mapping")});
        let job = owner.create_job(job).await;
        let worker = app.worker();
        for (step, role) in
            [("text-extraction", "text-json"), ("zoning", "zoning-json"), ("mapping", "mapping-json")]
        {
            let claim = worker.claim_step_of(job_id(&job)).await;
            assert_eq!(claim.step, step);
            let content = json!({"data_points": [], "note": name});
            let completed = match step {
                "mapping" => worker.complete_with_review(&claim, role, &content).await,
                _ => worker.complete_with(&claim, &[(role, content)]).await,
            };
            completed.expect("a result with a valid lease is accepted");
        }
        let cancelled = json!({"input": source, "metadata": {"note": name}, "collaboration": share("first")});
        let cancelled = owner.create_job(cancelled).await;
        let hook = "mutation($in: CreateWebhookInput!) { createWebhook(input: $in) { webhook { id } } }";
        let hook_input = json!({"url": "https://192.0.1.1/", "jobId": cancelled, "description": name});
        let webhook = owner.gql(hook, json!({"in": hook_input})).await;
        let webhook = text(&webhook["createWebhook"]["webhook"]["id"]);
        owner.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": cancelled})).await;
        let log = "query($id: ID!) { webhook(id: $id) { deliveries(first: 1) { nodes { id } } } }";
        let log = owner.gql(log, json!({"id": webhook})).await;
        let key = "mutation($in: CreateApiKeyInput!) { createApiKey(input: $in) { apiKey { id } } }";
        let key = owner.gql(key, json!({"in": {"name": name}})).await;
        let seen =
            owner.job(&job, "review { id } contents { role document { id contentsUri sha256 } }").await;
        let taxonomy = owner.gql("{ taxonomy(name: \"invoices\") { id } }", json!({})).await;
        Self {
            review: text(&seen["review"]["id"]),
            text: content(&seen, "text-json", "id"),
            mapping: content(&seen, "mapping-json", "id"),
            uri: content(&seen, "text-json", "contentsUri"),
            mapping_sha256: content(&seen, "mapping-json", "sha256"),
            key: text(&key["createApiKey"]["apiKey"]["id"]),
            owner: owner.id(),
            member: users.all().id(),
            outsider: users.outsider.id(),
            taxonomy: text(&taxonomy["taxonomy"]["id"]),
            delivery: text(&log["webhook"]["deliveries"]["nodes"][0]["id"]),
            webhook,
            job,
            cancelled,
            team,
            input,
            unused,
        }
    }

    /// Replaces the IDs of the owner's objects in variables by unknown IDs, and returns the pairs of both.
    ///
    /// User IDs and job types stay: anyone who knows an ID or address finds the user, and job types are public.
    pub(super) fn with_unknown_ids(&self, variables: &Value) -> (Value, Vec<(String, String)>) {
        let ids = [
            &self.job,
            &self.cancelled,
            &self.review,
            &self.team,
            &self.input,
            &self.text,
            &self.mapping,
            &self.unused,
        ];
        let mut text = variables.to_string();
        let mut replaced = Vec::new();
        for id in ids.into_iter().chain([&self.key]) {
            if text.contains(id.as_str()) {
                let unknown_id = UserId::new().to_string();
                text = text.replace(id.as_str(), &unknown_id);
                replaced.push((id.clone(), unknown_id));
            }
        }
        (serde_json::from_str(&text).expect("variables"), replaced)
    }

    /// Returns the URI of the content of the step `text-extraction`.
    pub(super) fn text_uri(&self) -> &str {
        &self.uri
    }
}

/// Returns a text that no other call returns.
pub(super) fn unique_text() -> String {
    UserId::new().0.simple().to_string()
}

fn content(job: &Value, role: &str, field: &str) -> String {
    let contents = job["contents"].as_array().expect("contents");
    let found = contents.iter().find(|content| content["role"] == role).expect("a content with this role");
    text(&found["document"][field])
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
