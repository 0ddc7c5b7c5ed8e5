//! Handing in: what a step made, or why it did not. Taken once, and only under the lease that holds.

use docket_extract::operation::Scored;
use docket_extract::review::Score;
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, IntoActiveModel, Set};

use super::claim::Claim;
use crate::db::Work;
use crate::entity::{confidence, document, job};
use crate::error::{Error, Result};
use crate::id::{ContentId, DocumentId};
use crate::job::contents::Origin;
use crate::job::decide::Command;
use crate::job::record::{Locked, ReviewSubject, Saved};
use crate::job::state::Mode;
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

/// What a step hands in.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// Contents, whose bytes are in the store already.
    pub made: Vec<Made>,
    /// Set where a person should look at one of them.
    pub ask: Option<Ask>,
    /// How sure the step is of what one of them holds.
    pub scored: Option<Scored>,
}

impl Jobs {
    /// Where the bytes of a step's content go: the fence keeps attempts apart, so that a late one overwrites nothing.
    pub fn content_key(claim: &Claim, role: &str) -> String {
        format!("jobs/{}/{role}/{}-{}", claim.job.id, claim.fence, DocumentId::new())
    }

    /// Takes the result of a step. Where it is not taken, its bytes are removed.
    pub async fn complete(&self, claim: &Claim, results: Results) -> Result<job::Model> {
        let Results { made, ask, scored } = results;
        let keys: Vec<String> = made.iter().map(|made| made.stored.key.clone()).collect();
        let (clock, claim) = (self.clock.clone(), claim.clone());
        let saved = self.db.write(move |tx| -> Work<'_, Saved> {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, claim.job.id, &clock).await?.ok_or_else(gone)?;
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
                        mode: locked.row().mode,
                        created_at: locked.now(),
                    };
                    let row = row.into_active_model().reset_all().insert(tx).await?;
                    let content =
                        contents::add(tx, &mut locked, &made.role, &row, Origin::Made(&claim.step), None)
                            .await?;
                    if ask.as_ref().is_some_and(|ask| ask.role == made.role) {
                        subject.content = Some(content);
                    }
                    if let Some(scored) = scored.as_ref().filter(|scored| scored.content_role == made.role) {
                        keep_scores(tx, &locked, content, &claim.step, &scored.scores).await?;
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
            Ok(saved) => Ok(self.announce(saved)),
            Err(error) => {
                if error.nothing_written() {
                    for key in keys {
                        self.documents.discard(&key).await;
                    }
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
        let (clock, id) = (self.clock.clone(), claim.job.id);
        let saved = self.db.write(move |tx| -> Work<'_, Saved> {
            Box::pin(async move {
                let mut locked = Locked::lock(tx, id, &clock).await?.ok_or_else(gone)?;
                locked.perform(command, None)?;
                locked.save(tx).await
            })
        });
        Ok(self.announce(saved.await?))
    }
}

/// Keeps how sure a step was, for asking what another threshold would have done. Nobody looks at test jobs.
async fn keep_scores(
    tx: &impl ConnectionTrait,
    locked: &Locked,
    content: ContentId,
    step: &str,
    scores: &[Score],
) -> Result<()> {
    if locked.state().mode == Mode::Test || scores.is_empty() {
        return Ok(());
    }
    let count = |n: u32| Set(i32::try_from(n).unwrap_or(i32::MAX));
    let rows = scores.iter().map(|score| confidence::ActiveModel {
        content_id: Set(content),
        thousandths: Set(score.thousandths.into()),
        missing: Set(score.missing),
        job_id: Set(locked.row().id),
        type_id: Set(locked.row().type_id.clone()),
        step: Set(step.to_owned()),
        at: Set(locked.now()),
        items: count(score.items),
        due: count(score.due),
        reviewed: Set(0),
        corrected: Set(0),
    });
    confidence::Entity::insert_many(rows).exec(tx).await?;
    Ok(())
}
