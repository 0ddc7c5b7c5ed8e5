//! What callers are told of a decision that changed nothing.

use serde_json::json;

use super::decide::Rejection;
use crate::error::Error;

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::conflict(match rejection {
            Rejection::Final(status) => format!("The job has ended already: it is {status}."),
            Rejection::NotStopped(status) => {
                format!("Only a job that FAILED or was CANCELLED can be run again; this one is {status}.")
            }
            Rejection::StaleLease => {
                "This claim was lost: its time ran out, or the job went on without it.".into()
            }
            Rejection::NothingQueued | Rejection::LeaseHolds | Rejection::Started => {
                "Somebody else was faster.".into()
            }
            Rejection::NoReview => "This review has ended already.".into(),
            Rejection::ClaimedBy(who) => {
                let message = "Somebody else has claimed this review.".into();
                let details = [("claimedBy".to_owned(), json!(who))].into_iter().collect();
                return Self::Conflict { message, details };
            }
            Rejection::NotClaimed => "Claim this review first, or again where its time ran out.".into(),
            Rejection::FourEyes => {
                let message = "This step needs four eyes: the owner of a job may neither decide its reviews nor do it as a worker.";
                return Self::Forbidden(message.into());
            }
            Rejection::NotEarlier => {
                let message = "A review sends a job back to a step before its own.";
                return Self::invalid("/toStep", "NOT_EARLIER", message);
            }
            Rejection::NotReached => {
                let message = "The job has not come to this step yet; it can be taken back only.";
                return Self::invalid("/toStep", "NOT_REACHED", message);
            }
        })
    }
}
