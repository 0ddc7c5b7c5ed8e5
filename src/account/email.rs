//! E-mail addresses, by which users sign in.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use crate::entity::account;
use crate::error::Result;

/// Maximum length of an e-mail address in bytes (RFC 5321 section 4.5.3.1.3, without the angle brackets).
pub(in crate::account) const MAX_EMAIL_BYTES: usize = 254;

/// Returns the account with an e-mail address, compared without case.
pub async fn by_email(db: &impl ConnectionTrait, email: &str) -> Result<Option<account::Model>> {
    let email = normalize_email(email);
    Ok(account::Entity::find().filter(account::Column::Email.eq(email)).one(db).await?)
}

/// Returns an address as accounts store it.
pub(in crate::account) fn normalize_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Returns whether an address has an `@` between a local part and a domain. Only a message to it could verify more.
pub(in crate::account) fn plausible_email(email: &str) -> bool {
    let domain_ok = |domain: &str| !domain.is_empty() && !domain.starts_with('.') && !domain.ends_with('.');
    email.len() <= MAX_EMAIL_BYTES
        && !email.contains(|c: char| c.is_whitespace() || c.is_control())
        && email.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && domain_ok(domain))
}
