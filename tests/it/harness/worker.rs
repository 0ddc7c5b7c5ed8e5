//! A worker that tests control: it claims steps and submits results without running anything.

use bytes::Bytes;
use docket::entity::job;
use docket::error::{Error, Result};
use docket::id::JobId;
use docket::job::Jobs;
use docket::job::queue::{Claim, Output, OutputDocument, ReviewRequest, StepFailure, StepResult};
use docket::job_type::{DATA_POINT_EXTRACTION, INDEXING, NOOP};
use serde_json::{Value, json};

/// A worker for the steps of every built-in job type.
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

    /// Claims up to `limit` steps, in the order of the queue.
    pub(crate) async fn claim_up_to(&self, limit: usize) -> Vec<Claim> {
        let types = [DATA_POINT_EXTRACTION, INDEXING, NOOP].map(str::to_owned);
        self.jobs
            .claim_steps(&self.name, &types, limit, self.lease_seconds)
            .await
            .expect("the queue can be read")
    }

    /// Claims the next step of the queue, which must not be empty.
    pub(crate) async fn claim(&self) -> Claim {
        self.try_claim().await.expect("there is a step to claim")
    }

    /// Claims the next step of the queue, if there is one.
    pub(crate) async fn try_claim(&self) -> Option<Claim> {
        self.claim_up_to(1).await.pop()
    }

    /// Claims the next step of one job; other steps stay in the queue.
    pub(crate) async fn claim_step_of(&self, job: JobId) -> Claim {
        let mut found = None;
        for claim in self.claim_up_to(1000).await {
            if claim.job.id == job {
                found = Some(claim);
            } else {
                self.give_back(&claim).await.expect("a step with a valid lease can be returned");
            }
        }
        found.expect("the job has a step in the queue")
    }

    /// Stores bytes as a content of a step; no row refers to them until the result is submitted.
    pub(crate) async fn store_content(&self, claim: &Claim, role: &str, content: &str) -> Output {
        let (key, bytes) = (Jobs::output_key(claim, role), Bytes::from(content.to_owned()));
        let stored = self.jobs.storage.put_bytes(key, bytes).await.expect("bytes can be stored");
        let (name, media_type) = (format!("{role}.json"), "application/json".to_owned());
        Output { role: role.to_owned(), document: OutputDocument::New { name, media_type, stored } }
    }

    /// Completes a step without contents.
    pub(crate) async fn complete(&self, claim: &Claim) -> Result<job::Model> {
        self.jobs.complete_step(claim.holder(), StepResult::default()).await
    }

    /// Completes a step with contents.
    pub(crate) async fn complete_with(
        &self,
        claim: &Claim,
        contents: &[(&str, Value)],
    ) -> Result<job::Model> {
        let mut outputs = Vec::new();
        for (role, content) in contents {
            outputs.push(self.store_content(claim, role, &content.to_string()).await);
        }
        self.jobs.complete_step(claim.holder(), StepResult { outputs, ..StepResult::default() }).await
    }

    /// Completes a step with a content that needs a review.
    pub(crate) async fn complete_with_review(
        &self,
        claim: &Claim,
        role: &str,
        content: &Value,
    ) -> Result<job::Model> {
        let output = self.store_content(claim, role, &content.to_string()).await;
        let item =
            json!({"path": "/data_points/0", "label": "invoice.number", "value": "7", "confidence": 0.5});
        let review = ReviewRequest {
            reason: "A person must check the values.".into(),
            role: role.into(),
            items: vec![item],
        };
        let result = StepResult { outputs: vec![output], review: Some(review), scored: None };
        self.jobs.complete_step(claim.holder(), result).await
    }

    /// Reports that a step failed.
    pub(crate) async fn fail(&self, claim: &Claim, code: &str, retryable: bool) -> Result<job::Model> {
        let failure =
            StepFailure { code: code.to_owned(), message: format!("It failed with {code}."), retryable };
        self.jobs.fail_step(claim.holder(), failure).await
    }

    /// Renews a lease, and returns whether it was still valid.
    pub(crate) async fn renew(&self, claim: &Claim, fraction: f64) -> bool {
        let renewed = self.jobs.renew_lease(claim, self.lease_seconds, fraction, Some("working")).await;
        renewed.expect("a lease can be renewed").is_some()
    }

    /// Returns a step to the queue.
    pub(crate) async fn give_back(&self, claim: &Claim) -> Result<job::Model> {
        self.jobs.release_step(claim.holder()).await
    }

    /// Completes all steps of a job, which must be the only one in the queue.
    ///
    /// Each step stores every content that its job type lists, except taxonomies.
    pub(crate) async fn finish(&self, job: JobId) {
        while let Some(claim) = self.try_claim().await {
            assert_eq!(claim.job.id, job, "another job is in the queue");
            let roles = self.content_roles(&claim).await.expect("the job type exists");
            let contents: Vec<_> =
                roles.iter().map(|role| (role.as_str(), json!({"made by": claim.step}))).collect();
            self.complete_with(&claim, &contents).await.expect("a result with a valid lease is accepted");
        }
    }

    /// Claims and completes the next step of the queue.
    pub(crate) async fn finish_one(&self) {
        let claim = self.claim().await;
        self.complete(&claim).await.expect("a result with a valid lease is accepted");
    }

    /// Claims and completes steps without contents until the queue is empty.
    pub(crate) async fn finish_all(&self) {
        while let Some(claim) = self.try_claim().await {
            self.complete(&claim).await.expect("a result with a valid lease is accepted");
        }
    }

    async fn content_roles(&self, claim: &Claim) -> Result<Vec<String>, Error> {
        let job_type = self.jobs.types.version(&claim.job.type_id, claim.job.type_version).await?;
        let roles = job_type.step(&claim.step).map(|step| step.content_roles.clone()).unwrap_or_default();
        Ok(roles.into_iter().filter(|role| !role.ends_with("-taxonomy-json")).collect())
    }
}
