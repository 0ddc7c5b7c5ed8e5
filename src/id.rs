//! Identifiers: one newtype per kind of thing, so that a document's ID cannot be passed where a job's belongs.
//!
//! All are UUIDv7 (RFC 9562 section 5.7): unique without coordination, and in the order of their creation.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, sea_orm::DeriveValueType,
        )]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            /// A new one, later in order than all that this process made before.
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
    /// A person with an account.
    UserId,
    /// A team.
    TeamId,
    /// An API key.
    ApiKeyId,
    /// A stored document.
    DocumentId,
    /// A taxonomy.
    TaxonomyId,
    /// A job.
    JobId,
    /// A document in a role of a job.
    ContentId,
    /// A review.
    ReviewId,
    /// Where events are sent.
    WebhookId,
    /// An event on its way to a webhook.
    DeliveryId,
    /// Proof of a claim: names one lease of one attempt.
    LeaseToken,
}
