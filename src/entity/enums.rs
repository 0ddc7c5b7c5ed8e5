//! Statuses, modes and kinds as stored in columns and in the steps of a job. Reading any other value is an error.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// Declares an enum whose values are stored, and written as JSON, under the given names.
macro_rules! stored {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize,
        )]
        #[sea_orm(rs_type = "String", db_type = "Text")]
        pub enum $name {
            $(
                $(#[$variant_doc])*
                #[sea_orm(string_value = $text)]
                #[serde(rename = $text)]
                $variant,
            )+
        }

        impl $name {
            /// Returns the stored name.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    )+};
}

stored! {
    /// Status of a job.
    Status {
        /// Waits for a worker.
        Queued = "QUEUED",
        /// A worker runs a step.
        Running = "RUNNING",
        /// Waits for a person.
        Blocked = "BLOCKED",
        /// Done.
        Completed = "COMPLETED",
        /// Canceled by a user.
        Cancelled = "CANCELLED",
        /// Cannot continue.
        Failed = "FAILED",
    }

    /// Status of a step.
    StepStatus {
        /// Waits for earlier steps.
        Pending = "PENDING",
        /// Waits for a worker.
        Queued = "QUEUED",
        /// A worker runs it.
        Running = "RUNNING",
        /// Waits for a person.
        Blocked = "BLOCKED",
        /// Done.
        Completed = "COMPLETED",
        /// Not needed.
        Skipped = "SKIPPED",
        /// Its attempts are used up, or an error is permanent.
        Failed = "FAILED",
        /// The job was canceled during this step.
        Cancelled = "CANCELLED",
    }

    /// Kind of a step.
    StepKind {
        /// A worker runs it.
        Automatic = "AUTOMATIC",
        /// A person does it.
        Manual = "MANUAL",
    }

    /// Mode of an API key, job or document.
    Mode {
        /// Reviews need a person.
        Live = "LIVE",
        /// For integration tests: reviews approve themselves.
        Test = "TEST",
    }

    /// Kind of a row that gives access to a job.
    PrincipalKind {
        /// The user who created the job.
        Owner = "OWNER",
        /// A user who was added.
        User = "USER",
        /// A team that was added.
        Team = "TEAM",
    }

    /// Status of a review.
    ReviewStatus {
        /// Waits for a claim.
        Open = "OPEN",
        /// A person has claimed it.
        Claimed = "CLAIMED",
        /// The job continues.
        Approved = "APPROVED",
        /// The job fails.
        Rejected = "REJECTED",
        /// An earlier step runs again.
        SentBack = "SENT_BACK",
        /// The job ended or was rewound before a decision.
        Cancelled = "CANCELLED",
    }

    /// Kind of an event in the history of a job.
    EventKind {
        /// The job was created.
        Created = "CREATED",
        /// The job was taken back to an earlier step.
        Rewound = "REWOUND",
        /// The status of the job changed.
        StatusChanged = "STATUS_CHANGED",
        /// The status of a step changed.
        StepChanged = "STEP_CHANGED",
        /// A version of a content was added.
        ContentAdded = "CONTENT_ADDED",
        /// A collaborator was added or removed, or its steps changed.
        CollaborationChanged = "COLLABORATION_CHANGED",
        /// Metadata or priority changed.
        MetadataChanged = "METADATA_CHANGED",
        /// A review was opened.
        ReviewOpened = "REVIEW_OPENED",
        /// A review was claimed.
        ReviewClaimed = "REVIEW_CLAIMED",
        /// A claim ended.
        ReviewReleased = "REVIEW_RELEASED",
        /// A review was decided.
        ReviewDecided = "REVIEW_DECIDED",
        /// The job runs again from the step that stopped it.
        Retried = "RETRIED",
    }

    /// Status of a delivery to a webhook.
    DeliveryStatus {
        /// Waits for an attempt, or is being sent.
        Pending = "PENDING",
        /// The target accepted it.
        Delivered = "DELIVERED",
        /// It is not retried.
        GivenUp = "GIVEN_UP",
    }

    /// Reason why a webhook is disabled.
    DisabledReason {
        /// Its owner disabled it.
        ByOwner = "BY_OWNER",
        /// Its target returned 410 Gone.
        Gone = "GONE",
        /// Nothing was delivered for too long.
        Failing = "FAILING",
    }
}

impl Status {
    /// Returns whether the job has ended, so that only a retry or a rewind continues it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

impl ReviewStatus {
    /// The statuses of a review that has no decision yet.
    pub const UNDECIDED: [Self; 2] = [Self::Open, Self::Claimed];
}
