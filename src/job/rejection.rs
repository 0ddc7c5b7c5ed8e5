//! The errors that callers get for rejected commands.

use serde_json::json;

use super::decide::Rejection;
use crate::error::Error;

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        Self::conflict(match rejection {
            Rejection::Final(status) => format!("The job has already ended: it is {status}."),
            Rejection::NotStopped(status) => {
                format!("Only a FAILED or CANCELLED job can run again; this one is {status}.")
            }
            Rejection::StaleLease => {
                let message =
                    "This claim is lost: its lease has expired, or the job has continued without it.";
                return Self::conflict_with(message, "reason", "LEASE_LOST");
            }
            Rejection::NothingQueued | Rejection::LeaseHolds | Rejection::Started => {
                "Another request has already changed the job. Read it again.".into()
            }
            Rejection::NoReview => "This review has already ended.".into(),
            Rejection::ClaimedBy(user) => {
                let message = "Another user has claimed this review.";
                return Self::conflict_with(message, "claimedBy", json!(user));
            }
            Rejection::NotClaimed => {
                "You have not claimed this review, or your claim has expired. Claim it and retry.".into()
            }
            Rejection::FourEyes => {
                let message = "This step requires four eyes: the owner of the job may neither review it nor run it as a worker.";
                return Self::Forbidden(message.into());
            }
            Rejection::NotEarlier => {
                let message = "A review can send a job back only to an earlier step.";
                return Self::invalid("/toStep", "NOT_EARLIER", message);
            }
            Rejection::NotReached => {
                let message = "The job has not reached this step. It can be rewound only to a step that it has reached.";
                return Self::invalid("/toStep", "NOT_REACHED", message);
            }
        })
    }
}
