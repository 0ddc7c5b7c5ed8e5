//! Identifiers: one newtype per kind of entity, so that a document ID cannot be passed as a job ID.
//!
//! All are UUIDv7 (RFC 9562 section 5.7): unique without coordination, and ordered by creation time.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, sea_orm::DeriveValueType,
        )]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            /// Creates an ID that sorts after all earlier ones of this process.
            pub fn new() -> Self {
                Self(uuid::Uuid::now_v7())
            }

            /// Parses the hyphenated form that [`std::fmt::Display`] prints; `None` for anything else.
            pub fn parse(text: &str) -> Option<Self> {
                uuid::Uuid::try_parse(text).ok().map(Self)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl sea_orm::TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, sea_orm::DbErr> {
                Err(sea_orm::DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    )*};
}

ids! {
    /// ID of a user.
    UserId,
    /// ID of a team.
    TeamId,
    /// ID of an API key.
    ApiKeyId,
    /// ID of a document.
    DocumentId,
    /// ID of a taxonomy.
    TaxonomyId,
    /// ID of a job.
    JobId,
    /// ID of a content: a document in a role of a job.
    ContentId,
    /// ID of a review.
    ReviewId,
    /// ID of a webhook.
    WebhookId,
    /// ID of a delivery: an event for a webhook.
    DeliveryId,
    /// Fencing token: proof of a claim, unique to one lease of one attempt.
    LeaseToken,
}
