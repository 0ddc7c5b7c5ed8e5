//! Six people, and a job with everything that belongs to it, which some of them may see.

use docket::id::UserId;
use serde_json::{Value, json};

use crate::harness::{TestApp, User, job_id};

/// Stands in every text that only those may read who see the job, so that a leak shows.
pub(super) const HUSH: &str = "hush";

/// In the order of the columns of the table.
pub(super) struct People {
    everybody: [(User, Own); 6],
    /// Knows nobody.
    outsider: User,
}

/// What each of them has for themselves.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    pub(super) document: String,
    pub(super) team: String,
}

impl People {
    pub(super) async fn new(app: &TestApp) -> Self {
        let mut signed_in = Vec::new();
        for name in ["owner", "all", "mapping", "stranger"] {
            signed_in.push(app.user(name).await);
        }
        signed_in.push(app.admin("admin").await);
        let mut everybody = Vec::new();
        for person in signed_in {
            let document = person.upload("own", "own.txt", "text/plain").await;
            let team = person.team(&format!("team of {}", person.name), &[]).await;
            everybody.push((person, Own { document, team }));
        }
        everybody.push((app.anonymous(), Own::default()));
        let outsider = app.user("outsider").await;
        Self { everybody: everybody.try_into().expect("six people"), outsider }
    }

    pub(super) fn owner(&self) -> &User {
        &self.everybody[0].0
    }

    /// Let in to every step, by a team.
    pub(super) fn all(&self) -> &User {
        &self.everybody[1].0
    }

    /// Let in to the step `mapping`.
    pub(super) fn mapping(&self) -> &User {
        &self.everybody[2].0
    }

    /// Who was let in to nothing.
    pub(super) fn stranger(&self) -> (&User, &Own) {
        self.ask_as(3)
    }

    /// Whoever a column of the table is about.
    pub(super) fn ask_as(&self, column: usize) -> (&User, &Own) {
        let (person, own) = &self.everybody[column];
        (person, own)
    }

    /// Whether somebody sees the job at all.
    pub(super) fn is_in(&self, column: usize) -> bool {
        !matches!(self.everybody[column].0.name.as_str(), "stranger" | "nobody")
    }
}

/// What the rows of the table are about. All of it is the owner's.
#[derive(Debug)]
pub(super) struct World {
    /// Blocked in its step `mapping`; shared with a team (`*`) and with one person (`mapping`).
    pub(super) job: String,
    /// Cancelled, and shared in the same way.
    pub(super) stopped: String,
    /// The review that blocks the job.
    pub(super) review: String,
    /// The team that the job is shared with: the owner and [`People::all`].
    pub(super) team: String,
    /// The job's input, and what its steps `text-extraction` and `mapping` made.
    pub(super) input: String,
    pub(super) text: String,
    pub(super) mapping: String,
    /// A document that no job uses.
    pub(super) loose: String,
    /// An API key, and the account that it belongs to.
    pub(super) key: String,
    pub(super) owner: String,
    /// The accounts of people who are in the team, and who are not.
    pub(super) member: String,
    pub(super) outsider: String,
    /// A taxonomy.
    pub(super) taxonomy: String,
    /// A webhook, and something that waits to be sent to it.
    pub(super) webhook: String,
    pub(super) delivery: String,
    uri: String,
    /// Of what the review is about.
    pub(super) mapping_sha256: String,
}

/// A type whose one step is done by hand, so that its jobs wait for somebody at once.
pub(super) const BY_HAND: &str = "by-hand";

impl World {
    /// Something happens to the job that everybody who follows it hears of.
    pub(super) async fn change(&self, people: &People) {
        let owner = people.owner();
        let update = "mutation($in: UpdateJobInput!) { updateJob(input: $in) { job { id } } }";
        owner.gql(update, json!({"in": {"id": self.job, "metadata": {"changed": unique()}}})).await;
        for change in ["claimReview", "releaseReview"] {
            let query = format!("mutation($id: ID!) {{ {change}(id: $id) {{ review {{ id }} }} }}");
            owner.gql(&query, json!({"id": self.review})).await;
        }
    }

    pub(super) async fn new(app: &TestApp, people: &People) -> Self {
        let step = json!({
            "name": "do", "title": "Do", "kind": "MANUAL", "contentRoles": ["output"], "maxAttempts": 1, "timeoutSeconds": 1,
            "thresholdField": null, "fourEyes": false,
        });
        let by_hand = json!({
            "id": BY_HAND, "name": "By hand", "description": "For tests.", "accepts": [], "metadataSchema": {}, "steps": [step],
        });
        let by_hand = serde_json::from_value(by_hand).expect("a job type");
        app.jobs.types.put(&app.clock, by_hand).await.expect("a job type");
        let owner = people.owner();
        let name = format!("{HUSH} {}", unique());
        let team = owner.team(&name, &[people.all()]).await;
        let input = owner.upload("Invoice No 7", &format!("{name}.txt"), "text/plain").await;
        let loose = owner.upload("loose", &format!("{name} loose.txt"), "text/plain").await;
        let metadata = json!({"mapping.taxonomy": "invoices", "note": name});
        owner.put_taxonomy("invoices").await;
        let share = |step: &str| {
            json!([
                {"collaborator": {"teamId": team}, "steps": ["*"]},
                {"collaborator": {"userEmail": people.mapping().email()}, "steps": [step]}
            ])
        };
        let source = json!({"documentId": input});
        let job = json!({"type": "data-point-extraction", "input": source, "metadata": metadata, "collaboration": share("mapping")});
        let job = owner.create_job(job).await;
        let worker = app.worker();
        for (step, role) in
            [("text-extraction", "text-json"), ("zoning", "zoning-json"), ("mapping", "mapping-json")]
        {
            let claim = worker.claim_of(job_id(&job)).await;
            assert_eq!(claim.step, step);
            let content = json!({"data_points": [], "note": name});
            let taken = match step {
                "mapping" => worker.ask(&claim, role, &content).await,
                _ => worker.complete_with(&claim, &[(role, content)]).await,
            };
            taken.expect("a result under a good lease is taken");
        }
        let stopped = json!({"input": source, "metadata": {"note": name}, "collaboration": share("first")});
        let stopped = owner.create_job(stopped).await;
        let hook = "mutation($in: CreateWebhookInput!) { createWebhook(input: $in) { webhook { id } } }";
        let hook_input = json!({"url": "https://192.0.1.1/", "jobId": stopped, "description": name});
        let webhook = owner.gql(hook, json!({"in": hook_input})).await;
        let webhook = text(&webhook["createWebhook"]["webhook"]["id"]);
        owner.gql("mutation($id: ID!) { cancelJob(id: $id) { job { id } } }", json!({"id": stopped})).await;
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
            member: people.all().id(),
            outsider: people.outsider.id(),
            taxonomy: text(&taxonomy["taxonomy"]["id"]),
            delivery: text(&log["webhook"]["deliveries"]["nodes"][0]["id"]),
            webhook,
            job,
            stopped,
            team,
            input,
            loose,
        }
    }

    /// The same variables, with IDs that nobody has in place of those of things that are the owner's, and which stands for
    /// which. People are found by who knows their ID or address, types of jobs by all.
    pub(super) fn made_up(&self, variables: &Value) -> (Value, Vec<(String, String)>) {
        let things = [
            &self.job,
            &self.stopped,
            &self.review,
            &self.team,
            &self.input,
            &self.text,
            &self.mapping,
            &self.loose,
        ];
        let mut text = variables.to_string();
        let mut replaced = Vec::new();
        for id in things.into_iter().chain([&self.key]) {
            if text.contains(id.as_str()) {
                let made_up = UserId::new().to_string();
                text = text.replace(id.as_str(), &made_up);
                replaced.push((id.clone(), made_up));
            }
        }
        (serde_json::from_str(&text).expect("variables"), replaced)
    }

    /// Where the content of the step `text-extraction` is fetched.
    pub(super) fn text_uri(&self) -> &str {
        &self.uri
    }
}

/// Something that was not said before.
pub(super) fn unique() -> String {
    UserId::new().0.simple().to_string()
}

fn content(job: &Value, role: &str, field: &str) -> String {
    let contents = job["contents"].as_array().expect("contents");
    let found = contents.iter().find(|content| content["role"] == role).expect("a content of this role");
    text(&found["document"][field])
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
