//! The part of a job that a viewer may see. Every transport asks a [`JobView`] and keeps its own types over the answers.

use std::sync::Arc;

use super::contents;
use super::progress::{self, Progress, StepNow};
use super::rows;
use super::state::{Failure, Status, StepStatus};
use crate::access::policy::{AccessDecision, Action, Standing, permits, works_on};
use crate::access::steps;
use crate::clock::Timestamp;
use crate::entity::enums::PrincipalKind;
use crate::entity::{access, content, document, job, review, task};
use crate::error::{Error, Result};
use crate::id::{TeamId, UserId};
use crate::job_type::{INPUT, JobType, OUTPUT};

/// A content with its document.
pub(crate) type ContentWithDocument = (content::Model, document::Model);

/// The rows that belong to one job, and the viewer's standing on it. Each is read only when a rule needs it.
pub(crate) trait JobRows: Sync {
    /// Returns the row of the job.
    fn job(&self) -> &job::Model;

    /// Returns the viewer's standing on the job. Fails with NOT_FOUND if the viewer has no access.
    fn standing(&self) -> impl Future<Output = Result<Standing>> + Send;

    /// Returns the type of the job, in the version that the job started with.
    fn job_type(&self) -> impl Future<Output = Result<Arc<JobType>>> + Send;

    /// Returns the queued or leased step.
    fn task(&self) -> impl Future<Output = Result<Option<task::Model>>> + Send;

    /// Returns the current content of a role.
    fn current_content(
        &self,
        role: &'static str,
    ) -> impl Future<Output = Result<Option<ContentWithDocument>>> + Send;

    /// Returns the review that is not decided yet.
    fn undecided_review(&self) -> impl Future<Output = Result<Option<review::Model>>> + Send;

    /// Returns the access of the owner and of the collaborators.
    fn access(&self) -> impl Future<Output = Result<Vec<access::Model>>> + Send;
}

/// One viewer's view of a job.
#[derive(Debug)]
pub(crate) struct JobView<R>(R);

/// The collaborators of a job, each with the names of its steps.
#[derive(Debug, Default)]
pub(crate) struct Collaborators {
    /// The teams.
    pub teams: Vec<(TeamId, Vec<String>)>,
    /// The users.
    pub users: Vec<(UserId, Vec<String>)>,
}

/// The step that a blocked job waits for.
#[derive(Debug)]
pub(crate) struct BlockingStep {
    /// The name of the step.
    pub name: String,
    /// The claim on the review of the step.
    pub claim: VisibleClaim,
}

/// The claim on a review, as a viewer may see it.
#[derive(Debug)]
pub(crate) enum VisibleClaim {
    /// The viewer has no access to the step.
    Hidden,
    /// No user has claimed the review.
    Free,
    /// The user has claimed the review until this time.
    Held(UserId, Timestamp),
}

/// An action that a viewer may take on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobPermission {
    /// Seeing the job.
    View,
    /// Changing its metadata and priority.
    Edit,
    /// Working on its steps.
    Work,
    /// Adding and removing collaborators.
    Share,
    /// Canceling, retrying and rewinding it.
    Cancel,
    /// Deleting it.
    Delete,
}

impl<R: JobRows> JobView<R> {
    /// Creates the view from the rows of the job.
    pub(crate) fn new(rows: R) -> Self {
        Self(rows)
    }

    /// Returns the steps in the order in which they run.
    ///
    /// A comment of a reviewer is withheld from viewers without access to the step.
    pub(crate) async fn steps(&self) -> Result<Vec<StepNow>> {
        let mut steps = self.all_steps().await?;
        self.withhold_comments(&mut steps).await?;
        Ok(steps)
    }

    /// Returns the step that is running, queued or blocked; `None` after a final status.
    pub(crate) async fn current_step(&self) -> Result<Option<StepNow>> {
        if self.0.job().status.is_final() {
            return Ok(None);
        }
        let mut step = progress::current(self.all_steps().await?);
        self.withhold_comments(step.as_mut_slice()).await?;
        Ok(step)
    }

    /// Returns the estimated progress.
    pub(crate) async fn progress(&self) -> Result<Progress> {
        Ok(Progress::of(&self.all_steps().await?))
    }

    async fn all_steps(&self) -> Result<Vec<StepNow>> {
        // Only a running step has progress that the row of the job lacks.
        let task = match self.0.job().status {
            Status::Running => self.0.task().await?,
            _ => None,
        };
        progress::steps_now(self.0.job(), task.as_ref())
    }

    async fn withhold_comments(&self, steps: &mut [StepNow]) -> Result<()> {
        // Comments are rare. Without one, the standing is not read.
        if steps.iter().all(|now| now.step.comment.is_none()) {
            return Ok(());
        }
        let standing = self.0.standing().await?;
        for now in steps.iter_mut().filter(|now| !works_on(&standing, &now.step.name)) {
            now.step.comment = None;
        }
        Ok(())
    }

    /// Returns the current input, which everyone who can see the job may see.
    pub(crate) async fn input(&self) -> Result<ContentWithDocument> {
        let input = self.0.current_content(INPUT).await?;
        input.ok_or_else(|| Error::Internal(format!("job {} has no input", self.0.job().id)))
    }

    /// Returns the current output; `None` until the job has completed, and for a viewer who may not see it.
    pub(crate) async fn output(&self) -> Result<Option<ContentWithDocument>> {
        if self.0.job().status != Status::Completed {
            return Ok(None);
        }
        let (standing, job_type) = (self.0.standing().await?, self.0.job_type().await?);
        match contents::is_visible(&standing, &job_type, OUTPUT) {
            true => self.0.current_content(OUTPUT).await,
            false => Ok(None),
        }
    }

    /// Returns those of the contents of the job that the viewer may see.
    pub(crate) async fn visible_contents(
        &self,
        all: Vec<ContentWithDocument>,
    ) -> Result<Vec<ContentWithDocument>> {
        let (standing, job_type) = (self.0.standing().await?, self.0.job_type().await?);
        let is_visible =
            |(content, _): &ContentWithDocument| contents::is_visible(&standing, &job_type, &content.role);
        Ok(all.into_iter().filter(is_visible).collect())
    }

    /// Returns the collaborators, whom everyone who can see the job may see.
    pub(crate) async fn collaborators(&self) -> Result<Collaborators> {
        let mut all = Collaborators::default();
        for row in self.0.access().await? {
            let steps = steps(&row.steps);
            match row.kind {
                PrincipalKind::Team => all.teams.push((TeamId(row.principal_id), steps)),
                PrincipalKind::User => all.users.push((UserId(row.principal_id), steps)),
                PrincipalKind::Owner => {}
            }
        }
        Ok(all)
    }

    /// Returns the review that blocks the job; `None` for a viewer without access to its step.
    pub(crate) async fn open_review(&self) -> Result<Option<review::Model>> {
        if self.0.job().status != Status::Blocked {
            return Ok(None);
        }
        let standing = self.0.standing().await?;
        let review = self.0.undecided_review().await?;
        Ok(review.filter(|review| works_on(&standing, &review.step)))
    }

    /// Returns the step that waits for a person, and the claim on its review at `now`; `None` unless the job is
    /// blocked.
    ///
    /// Everyone who can see the job may see the name of the step.
    pub(crate) async fn blocking_step(&self, now: Timestamp) -> Result<Option<BlockingStep>> {
        if self.0.job().status != Status::Blocked {
            return Ok(None);
        }
        let is_blocked = |now: &StepNow| now.step.status == StepStatus::Blocked;
        let Some(StepNow { step, .. }) = self.all_steps().await?.into_iter().find(is_blocked) else {
            return Ok(None);
        };
        if !works_on(&self.0.standing().await?, &step.name) {
            return Ok(Some(BlockingStep { name: step.name, claim: VisibleClaim::Hidden }));
        }
        // The review may have been decided since the job was read.
        let review = self.0.undecided_review().await?.filter(|review| review.step == step.name);
        let claim = match review.and_then(|review| review.claim_at(now)) {
            Some((by, until)) => VisibleClaim::Held(by, until),
            None => VisibleClaim::Free,
        };
        Ok(Some(BlockingStep { name: step.name, claim }))
    }

    /// Returns the reason for which the job failed; `None` if it has not failed.
    pub(crate) fn failure(&self) -> Result<Option<Failure>> {
        rows::failure(self.0.job())
    }

    /// Returns the actions that the viewer may take.
    pub(crate) async fn permissions(&self) -> Result<Vec<JobPermission>> {
        let standing = self.0.standing().await?;
        let has_steps = !matches!(&standing, Standing::Steps(steps) if steps.is_empty());
        let is_allowed = |action| permits(&standing, action) == AccessDecision::Allowed;
        let all = [
            (JobPermission::View, is_allowed(Action::View)),
            (JobPermission::Edit, is_allowed(Action::Edit)),
            (JobPermission::Work, has_steps),
            (JobPermission::Share, is_allowed(Action::Share)),
            (JobPermission::Cancel, is_allowed(Action::Cancel)),
            (JobPermission::Delete, is_allowed(Action::Delete)),
        ];
        Ok(all.into_iter().filter_map(|(permission, yes)| yes.then_some(permission)).collect())
    }
}
