//! Statuses, modes and kinds as they are stored, in columns and in the steps of a job. Any other value is an error where the
//! row is read.

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
            /// Returns the name under which it is stored.
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
        /// A worker has it.
        Running = "RUNNING",
        /// Waits for a person.
        Blocked = "BLOCKED",
        /// Done.
        Completed = "COMPLETED",
        /// Ended by a user.
        Cancelled = "CANCELLED",
        /// Cannot go on.
        Failed = "FAILED",
    }

    /// Status of a step.
    StepStatus {
        /// Its turn has not come.
        Pending = "PENDING",
        /// Waits for a worker.
        Queued = "QUEUED",
        /// A worker has it.
        Running = "RUNNING",
        /// Waits for a person.
        Blocked = "BLOCKED",
        /// Done.
        Completed = "COMPLETED",
        /// Not needed.
        Skipped = "SKIPPED",
        /// Its attempts are used up, or another attempt cannot help.
        Failed = "FAILED",
        /// The job was cancelled while it was this step's turn.
        Cancelled = "CANCELLED",
    }

    /// Kind of a step.
    StepKind {
        /// A built-in executor or an external worker does it.
        Automatic = "AUTOMATIC",
        /// A person does it.
        Manual = "MANUAL",
    }

    /// Whether people are needed: reviews of test jobs approve themselves.
    Mode {
        /// For real.
        Live = "LIVE",
        /// For integrators.
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
        /// Nobody has claimed it.
        Open = "OPEN",
        /// A person has claimed it.
        Claimed = "CLAIMED",
        /// The job goes on.
        Approved = "APPROVED",
        /// The job fails.
        Rejected = "REJECTED",
        /// An earlier step runs again.
        SentBack = "SENT_BACK",
        /// The job ended, or was rewound, without it.
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
        /// A collaborator was added or removed, or got other steps.
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
        /// Waits, or is being sent.
        Pending = "PENDING",
        /// The target took it.
        Delivered = "DELIVERED",
        /// It is not tried again.
        GivenUp = "GIVEN_UP",
    }

    /// Reason why a webhook is sent nothing.
    DisabledReason {
        /// Its owner disabled it.
        ByOwner = "BY_OWNER",
        /// Its target answered 410 Gone.
        Gone = "GONE",
        /// Nothing was delivered for too long.
        Failing = "FAILING",
    }
}

impl Status {
    /// Whether only a retry or a rewind opens the job again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }
}

impl ReviewStatus {
    /// The statuses of a review that has no decision yet.
    pub const UNDECIDED: [Self; 2] = [Self::Open, Self::Claimed];
}
