//! Events of the state machine as entries of the history, and their effect on the rows of reviews.

use serde::Serialize;
use serde_json::{Value, json};

use super::locked::LockedJob;
use super::write_set::{ReviewSubject, TrackedReview};
use crate::entity::enums::{EventKind, ReviewStatus};
use crate::entity::review;
use crate::events::NewEvent;
use crate::id::ReviewId;
use crate::job::state::{Event, Release, ReviewClaim, ReviewOutcome, StepChange};

impl LockedJob {
    /// Adds an entry to the history that the state machine does not decide. Only users with access to `step` may read
    /// `data`; all who see the job may if it is `None`.
    pub fn record(&mut self, kind: EventKind, step: Option<&str>, data: Value) {
        self.push(kind, step, self.actor(), data);
    }

    fn push(&mut self, kind: EventKind, step: Option<&str>, actor: Option<crate::id::UserId>, data: Value) {
        self.row.seq += 1;
        self.writes.events.push(NewEvent {
            job: self.row.id,
            sequence: self.row.seq,
            kind,
            actor,
            step: step.map(str::to_owned),
            at: self.now(),
            data,
        });
    }

    pub(super) fn record_event(&mut self, event: Event) {
        let step_name = |index: usize| self.state.steps[index].name.clone();
        match event {
            Event::Status { from, to, reason, failure } => {
                let mut data = json!({"from": from, "to": to});
                insert_some(&mut data, "reason", reason);
                insert_some(&mut data, "failure", failure);
                self.record(EventKind::StatusChanged, None, data);
            }
            Event::Step { step, from, attempt, change } => {
                let name = step_name(step);
                let mut data =
                    json!({"step": &name, "from": from, "to": change.status(), "attempt": attempt});
                match change {
                    StepChange::Queued { run_at, error } => {
                        insert_some(&mut data, "error", error);
                        insert_some(&mut data, "runAt", (run_at > self.now()).then_some(run_at));
                    }
                    StepChange::Running { lease } => insert_some(&mut data, "worker", Some(lease.owner)),
                    StepChange::Failed { error } => insert_some(&mut data, "error", Some(error)),
                    StepChange::Reset { comment } => insert_some(&mut data, "comment", comment),
                    StepChange::Released
                    | StepChange::Blocked
                    | StepChange::Completed
                    | StepChange::Cancelled => {}
                }
                self.record(EventKind::StepChanged, Some(&name), data);
            }
            Event::ReviewOpened { step, reason } => {
                let name = step_name(step);
                let id = self.open_new_review(step, &reason);
                let data = json!({"reviewId": id, "step": name, "reason": reason});
                self.push(EventKind::ReviewOpened, Some(&name), None, data);
            }
            Event::ReviewClaimed { step, claim: ReviewClaim { by, until } } => {
                let name = step_name(step);
                let id = self.change_review(|review| {
                    review.status = ReviewStatus::Claimed;
                    (review.claimed_by, review.claim_expires_at) = (Some(by), Some(until));
                });
                let data = json!({"reviewId": id, "step": name, "expiresAt": until});
                self.record(EventKind::ReviewClaimed, Some(&name), data);
            }
            Event::ReviewRenewed { until } => {
                self.change_review(|review| review.claim_expires_at = Some(until));
            }
            Event::ReviewReleased { step, claimed_by, why } => {
                let name = step_name(step);
                let id = self.change_review(|review| {
                    review.status = ReviewStatus::Open;
                    (review.claimed_by, review.claim_expires_at) = (None, None);
                });
                let data = json!({"reviewId": id, "step": name, "claimedBy": claimed_by, "reason": why});
                // An expired claim was released by time, not by the user who noticed it.
                let actor = self.actor().filter(|_| why != Release::Expired);
                self.push(EventKind::ReviewReleased, Some(&name), actor, data);
            }
            Event::ReviewClosed { step, outcome, by, comment, receipt, to_step } => {
                let (step, to_step, now) = (step_name(step), to_step.map(step_name), self.now());
                let id = self.change_review(|review| {
                    review.status = outcome.into();
                    (review.claimed_by, review.claim_expires_at) = (None, None);
                    (review.decided_by, review.decided_at) = (by, Some(now));
                    review.comment.clone_from(&comment);
                    review.receipt.clone_from(&receipt.content_sha256);
                });
                self.writes.reviews.extend(self.open_review.take());
                let mut data = json!({"reviewId": id, "step": step, "decision": outcome});
                insert_some(&mut data, "automatic", by.is_none().then_some(true));
                insert_some(&mut data, "comment", comment);
                insert_some(&mut data, "contentSha256", receipt.content_sha256);
                insert_some(&mut data, "patch", receipt.patch);
                insert_some(&mut data, "toStep", to_step);
                // Only a reviewer decides, whoever cancelled the job.
                let decider = if outcome == ReviewOutcome::Cancelled { self.actor() } else { by };
                self.push(EventKind::ReviewDecided, Some(&step), decider, data);
            }
            Event::Retried { step } => {
                let data = json!({"step": step_name(step)});
                self.record(EventKind::Retried, None, data);
            }
            Event::Rewound { step, reason } => {
                let mut data = json!({"step": step_name(step)});
                insert_some(&mut data, "reason", reason);
                self.record(EventKind::Rewound, None, data);
            }
        }
    }

    fn open_new_review(&mut self, step: usize, reason: &str) -> ReviewId {
        let (id, ReviewSubject { content, items }) = (ReviewId::new(), self.take_review_subject());
        let step = &self.state.steps[step];
        let row = review::Model {
            id,
            job_id: self.row.id,
            type_id: self.row.type_id.clone(),
            step: step.name.clone(),
            status: ReviewStatus::Open,
            reason: reason.to_owned(),
            content_id: content,
            claimed_by: None,
            claim_expires_at: None,
            decided_by: None,
            decided_at: None,
            comment: None,
            receipt: None,
            barred_id: step.four_eyes.then_some(self.row.owner_id),
            created_at: self.now(),
            updated_at: Some(self.now()),
        };
        self.open_review = Some(TrackedReview::opened(row, items));
        id
    }

    fn change_review(&mut self, change: impl FnOnce(&mut review::Model)) -> Option<ReviewId> {
        let review = self.change_open_review()?;
        change(&mut review.row);
        Some(review.row.id)
    }
}

fn insert_some(data: &mut Value, key: &str, value: Option<impl Serialize>) {
    if let (Some(value), Some(object)) =
        (value.and_then(|value| serde_json::to_value(value).ok()), data.as_object_mut())
    {
        object.insert(key.to_owned(), value);
    }
}
