//! A worker that tests move by hand: it claims steps and says what came of them, without doing anything.

use bytes::Bytes;
use docket::engine::{Ask, Claim, Made, Results};
use docket::entity::job;
use docket::error::{Error, Result};
use docket::id::JobId;
use docket::job::Jobs;
use docket::job_type::{DATA_POINT_EXTRACTION, INDEXING, NOOP};
use serde_json::{Value, json};

/// Takes steps of every built-in type under its own name.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    jobs: Jobs,
    name: String,
    pub(crate) lease_seconds: u32,
}

impl Worker {
    pub(super) fn new(jobs: Jobs, name: &str) -> Self {
        Self { jobs, name: name.to_owned(), lease_seconds: 30 }
    }

    /// Up to `limit` steps, in the order of the queue.
    pub(crate) async fn claim_up_to(&self, limit: usize) -> Vec<Claim> {
        let types = [DATA_POINT_EXTRACTION, INDEXING, NOOP].map(str::to_owned);
        self.jobs.claim(&self.name, &types, limit, self.lease_seconds).await.expect("the queue can be read")
    }

    /// The next step of the queue, which must not be empty.
    pub(crate) async fn claim(&self) -> Claim {
        self.try_claim().await.expect("there is a step to claim")
    }

    /// The next step of the queue, where there is one.
    pub(crate) async fn try_claim(&self) -> Option<Claim> {
        self.claim_up_to(1).await.pop()
    }

    /// The next step of one job; whatever else is in the queue stays there.
    pub(crate) async fn claim_of(&self, job: JobId) -> Claim {
        let mut found = None;
        for claim in self.claim_up_to(1000).await {
            if claim.job.id == job {
                found = Some(claim);
            } else {
                self.give_back(&claim).await.expect("a good lease can be given back");
            }
        }
        found.expect("the job has a step in the queue")
    }

    /// Stores bytes as a content of a step; no row names them before they are handed in.
    pub(crate) async fn make(&self, claim: &Claim, role: &str, content: &str) -> Made {
        let (key, bytes) = (Jobs::content_key(claim, role), Bytes::from(content.to_owned()));
        let stored = self.jobs.storage.put_bytes(key, bytes).await.expect("bytes can be stored");
        let (name, media_type) = (format!("{role}.json"), "application/json".to_owned());
        Made { role: role.to_owned(), name, media_type, stored }
    }

    /// Hands in a step that made nothing; whether it was taken.
    pub(crate) async fn complete(&self, claim: &Claim) -> Result<job::Model> {
        self.jobs.complete(claim, Results::default()).await
    }

    /// Hands in a step that made contents.
    pub(crate) async fn complete_with(
        &self,
        claim: &Claim,
        contents: &[(&str, Value)],
    ) -> Result<job::Model> {
        let mut made = Vec::new();
        for (role, content) in contents {
            made.push(self.make(claim, role, &content.to_string()).await);
        }
        self.jobs.complete(claim, Results { made, ..Results::default() }).await
    }

    /// Hands in a step that made a content that a person should look at.
    pub(crate) async fn ask(&self, claim: &Claim, role: &str, content: &Value) -> Result<job::Model> {
        let made = self.make(claim, role, &content.to_string()).await;
        let item =
            json!({"path": "/data_points/0", "label": "invoice.number", "value": "7", "confidence": 0.5});
        let ask = Ask { reason: "Somebody has to look.".into(), role: role.into(), items: vec![item] };
        self.jobs.complete(claim, Results { made: vec![made], ask: Some(ask), scored: None }).await
    }

    /// Says that a step did not work.
    pub(crate) async fn fail(&self, claim: &Claim, code: &str, retryable: bool) -> Result<job::Model> {
        self.jobs.fail(claim, code.to_owned(), format!("It failed with {code}."), retryable).await
    }

    /// Renews a claim; whether it still held.
    pub(crate) async fn renew(&self, claim: &Claim, fraction: f64) -> bool {
        let kept = self.jobs.renew(claim, self.lease_seconds, fraction, Some("working")).await;
        kept.expect("a lease can be renewed").is_some()
    }

    /// Puts a step back.
    pub(crate) async fn give_back(&self, claim: &Claim) -> Result<job::Model> {
        self.jobs.give_back(claim).await
    }

    /// Does the steps of a job that is alone in the queue, up to the end, each making every content that its type lists
    /// for it and the job has not.
    pub(crate) async fn finish(&self, job: JobId) {
        while let Some(claim) = self.try_claim().await {
            assert_eq!(claim.job.id, job, "another job is in the queue");
            let made = self.all_contents(&claim).await.expect("the type of a job is there");
            let contents: Vec<_> =
                made.iter().map(|role| (role.as_str(), json!({"made by": claim.step}))).collect();
            self.complete_with(&claim, &contents).await.expect("a result under a good lease is taken");
        }
    }

    /// Does the next step of the queue.
    pub(crate) async fn finish_one(&self) {
        let claim = self.claim().await;
        self.complete(&claim).await.expect("a result under a good lease is taken");
    }

    /// Does the steps of whatever is in the queue, without making anything, until it is empty.
    pub(crate) async fn finish_all(&self) {
        while let Some(claim) = self.try_claim().await {
            self.complete(&claim).await.expect("a result under a good lease is taken");
        }
    }

    async fn all_contents(&self, claim: &Claim) -> Result<Vec<String>, Error> {
        let job_type = self.jobs.types.version(&claim.job.type_id, claim.job.type_version).await?;
        let roles = job_type.step(&claim.step).map(|step| step.content_roles.clone()).unwrap_or_default();
        Ok(roles.into_iter().filter(|role| !role.ends_with("-taxonomy-json")).collect())
    }
}
