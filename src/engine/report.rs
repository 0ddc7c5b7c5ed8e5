//! Handing in: what a step made, or why it did not. Taken once, and only under the lease that holds.

use sea_orm::{ActiveModelTrait, IntoActiveModel};

use super::claim::Claim;
use crate::db::Work;
use crate::entity::{document, job};
use crate::error::{Error, Result};
use crate::id::DocumentId;
use crate::job::decide::Command;
use crate::job::record::{Locked, ReviewSubject};
use crate::job::{Jobs, contents, gone};
use crate::storage::Stored;

/// A content that a step made; its bytes are in the store already.
#[derive(Debug, Clone)]
pub struct Made {
    /// Role of the job.
    pub role: String,
    /// File name.
    pub name: String,
    /// MIME type.
    pub media_type: String,
    /// Its bytes.
    pub stored: Stored,
}

/// A wish that a person look at something that was made.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Why.
    pub reason: String,
    /// The content that it is about.
    pub role: String,
    /// Its parts that need a decision.
    pub items: Vec<serde_json::Value>,
}

impl Jobs {
    /// Where the bytes of a step's content go: the fence keeps attempts apart, so that a late one overwrites nothing.
    pub fn content_key(claim: &Claim, role: &str) -> String {
        format!("jobs/{}/{role}/{}-{}", claim.job.id, claim.fence, DocumentId::new())
    }

    /// Takes the result of a step. Where it is not taken, its bytes are removed.
    pub async fn complete(&self, claim: &Claim, made: Vec<Made>, ask: Option<Ask>) -> Result<job::Model> {
        let keys: Vec<String> = made.iter().map(|made| made.stored.key.clone()).collect();
        let (db, clock, claim) = (self.db.clone(), self.clock.clone(), claim.clone());
        let saved = self.db.write(move |tx| -> Work<'_, job::Model> {
            Box::pin(async move {
                let now = db.now(tx, &clock).await?;
                let mut locked = Locked::lock(tx, claim.job.id, now).await?.ok_or_else(gone)?;
                // Checked before anything is written: a stale result changes nothing.
                locked.check_lease(claim.token)?;
                let mut subject = ReviewSubject::default();
                for made in made {
                    let row = document::Model {
                        id: DocumentId::new(),
                        name: made.name,
                        media_type: made.media_type,
                        size: i64::try_from(made.stored.size).map_err(Error::internal)?,
                        sha256: made.stored.sha256,
                        storage_key: made.stored.key,
                        owner_id: locked.row().owner_id,
                        job_id: Some(locked.row().id),
                        created_at: now,
                    };
                    let row = row.into_active_model().reset_all().insert(tx).await?;
                    let content =
                        contents::add(tx, &mut locked, &made.role, &row, Some(&claim.step), None).await?;
                    if ask.as_ref().is_some_and(|ask| ask.role == made.role) {
                        subject.content = Some(content);
                    }
                }
                let reason = ask.map(|ask| {
                    subject.items = ask.items;
                    ask.reason
                });
                locked.set_review_subject(subject);
                locked.perform(Command::Complete { token: claim.token, review: reason }, None)?;
                locked.save(tx).await
            })
        });
        match saved.await {
            Ok(job) => {
                self.changed(&job);
                Ok(job)
            }
            Err(error) => {
                for key in keys {
                    self.documents.discard(&key).await;
                }
                Err(error)
            }
        }
    }

    /// Takes the news that a step did not work.
    pub async fn fail(
        &self,
        claim: &Claim,
        code: String,
        message: String,
        retryable: bool,
    ) -> Result<job::Model> {
        let token = claim.token;
        let fail = Command::Fail { token, code, message, retryable, jitter: rand::random() };
        self.hand_in(claim, fail).await
    }

    /// Puts a step back into the queue: nothing is wrong with it, its worker has to go.
    pub async fn give_back(&self, claim: &Claim) -> Result<job::Model> {
        self.hand_in(claim, Command::GiveBack { token: claim.token }).await
    }

    async fn hand_in(&self, claim: &Claim, command: Command) -> Result<job::Model> {
        let (db, clock, id) = (self.db.clone(), self.clock.clone(), claim.job.id);
        let saved = self.db.write(move |tx| -> Work<'_, job::Model> {
            Box::pin(async move {
                let now = db.now(tx, &clock).await?;
                let mut locked = Locked::lock(tx, id, now).await?.ok_or_else(gone)?;
                locked.perform(command, None)?;
                locked.save(tx).await
            })
        });
        let job = saved.await?;
        self.changed(&job);
        Ok(job)
    }
}
