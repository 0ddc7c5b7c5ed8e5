//! Maps the subject of an issuer to an account, by issuer and subject and never by an e-mail address alone.

use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};

use super::Subject;
use crate::account::email::{by_email, normalize_email, plausible_email};
use crate::audit::{self, AuditEvent, AuditOrigin, Outcome};
use crate::clock::Timestamp;
use crate::config::{Oidc, Switch};
use crate::db::Db;
use crate::entity::{account, oidc_identity};
use crate::error::{Error, Result, unique_or};
use crate::id::UserId;

/// Maximum length of a name in characters.
const MAX_NAME_CHARS: usize = 200;

/// Returns the account of a subject. If the configuration allows it, the first token of a subject creates an account,
/// or links the one with its verified address.
pub(in crate::account) async fn find_or_create_account(
    db: &Db,
    config: &Oidc,
    subject: Subject,
    now: Timestamp,
    origin: AuditOrigin,
) -> Result<account::Model> {
    if let Some(account) = find_linked_account(db.read(), &config.issuer, &subject.id).await? {
        return Ok(account);
    }
    let (config, id) = (config.clone(), subject.id.clone());
    let issuer = config.issuer.clone();
    let first = db.write(move |tx| Box::pin(async move { link_or_create(tx, &config, subject, now).await }));
    match first.await {
        Ok((account, event)) => {
            audit::record_with_subject(event, Outcome::Ok, origin, account.id);
            Ok(account)
        }
        // A concurrent request of the same user may have created the account first.
        Err(error @ (Error::Conflict { .. } | Error::Forbidden(_))) => {
            find_linked_account(db.read(), &issuer, &id).await?.ok_or(error)
        }
        Err(other) => Err(other),
    }
}

async fn find_linked_account(
    db: &impl ConnectionTrait,
    issuer: &str,
    subject: &str,
) -> Result<Option<account::Model>> {
    let key = (issuer.to_owned(), subject.to_owned());
    let Some(identity) = oidc_identity::Entity::find_by_id(key).one(db).await? else { return Ok(None) };
    Ok(account::Entity::find_by_id(identity.account_id).one(db).await?)
}

async fn link_or_create(
    tx: &impl ConnectionTrait,
    config: &Oidc,
    subject: Subject,
    now: Timestamp,
) -> Result<(account::Model, AuditEvent)> {
    let forbidden = |message: &str| Err(Error::Forbidden(message.into()));
    let email = subject.email.as_deref().map(normalize_email).filter(|email| plausible_email(email));
    let Some(email) = email else {
        let claim = &config.email_claim;
        return forbidden(&format!(
            "The token has no e-mail address in the claim {claim:?}, and no account is linked to it."
        ));
    };
    if subject.email_verified == Some(false) {
        return forbidden(
            "The token's issuer has not verified the e-mail address. An account needs a verified one.",
        );
    }
    let (account, event) = match by_email(tx, &email).await? {
        Some(account) => {
            // Otherwise a user with an unverified address at the issuer could take over an account, even an admin's.
            let may_link = config.link_verified_email == Switch::On && subject.email_verified == Some(true);
            // The issuer may have given the address to another user since the account was linked.
            let existing_link = oidc_identity::Entity::find()
                .filter(oidc_identity::Column::AccountId.eq(account.id))
                .filter(oidc_identity::Column::Issuer.eq(&config.issuer));
            if !may_link || account.is_admin || existing_link.one(tx).await?.is_some() {
                return forbidden(
                    "An account with this e-mail address already exists and is not linked to the token. Sign in with \
                     its password or an API key, or ask the operator.",
                );
            }
            (account, AuditEvent::OidcAccountLinked)
        }
        None if config.create_users == Switch::Off => {
            return forbidden("No account is linked to the token. Ask the operator of this server for one.");
        }
        None => {
            let row = account::ActiveModel {
                id: Set(UserId::new()),
                name: Set(display_name(subject.name.as_deref(), &email)),
                email: Set(email),
                password_hash: Set(None),
                is_admin: Set(false),
                created_at: Set(now),
            };
            (row.insert(tx).await.map_err(conflict_error)?, AuditEvent::OidcAccountCreated)
        }
    };
    let row = oidc_identity::ActiveModel {
        issuer: Set(config.issuer.clone()),
        subject: Set(subject.id),
        account_id: Set(account.id),
        created_at: Set(now),
    };
    row.insert(tx).await.map_err(conflict_error)?;
    Ok((account, event))
}

fn conflict_error(error: sea_orm::DbErr) -> Error {
    unique_or(
        error,
        "Another request created an account with this e-mail address at the same time. Try again.",
    )
}

/// Returns the name that the issuer gives, without control characters and shortened, or else the address.
fn display_name(given: Option<&str>, email: &str) -> String {
    let printable: String =
        given.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect();
    match printable.trim() {
        "" => email.chars().take(MAX_NAME_CHARS).collect(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::NewAccount;
    use crate::app::tests::open;
    use crate::audit::tests::Lines;

    #[tokio::test]
    async fn first_sign_in_of_a_subject_is_audited() {
        let (lines, _guard) = Lines::capture("info");
        let (app, _dir) = open(|_| ()).await;
        let mut config = app.config.oidc.clone();
        (config.issuer, config.link_verified_email) = ("https://id.example.com".into(), Switch::On);
        let local = NewAccount {
            email: "bob@example.com".into(),
            name: "Bob".into(),
            password: None,
            is_admin: false,
        };
        let local = app.accounts.create(local).await.unwrap();
        let origin = AuditOrigin::address(Some([192, 0, 2, 7].into()));
        let mut accounts = Vec::new();
        for (id, email) in [("a", "ada@example.com"), ("a", "ada@example.com"), ("b", "bob@example.com")] {
            let now = app.clock.now();
            let (email, name) = (Some(email.to_owned()), None);
            let subject = Subject { id: id.into(), email, email_verified: Some(true), name, expires_at: now };
            accounts.push(find_or_create_account(&app.db, &config, subject, now, origin).await.unwrap().id);
        }
        assert_eq!((accounts[0], accounts[2]), (accounts[1], local.id));
        let audit = lines.audit();
        let seen: Vec<_> = audit
            .iter()
            .map(|(event, _, line)| (event.as_str(), line["subject"].as_str(), line["address"].as_str()))
            .collect();
        let (ada, bob) = (accounts[0].to_string(), local.id.to_string());
        let expected = [
            ("oidc_account_created", Some(ada.as_str()), Some("192.0.2.7")),
            ("oidc_account_linked", Some(bob.as_str()), Some("192.0.2.7")),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn issuer_names_are_sanitized() {
        assert_eq!(display_name(Some(" Ada\u{0} Lovelace "), "a@b"), "Ada Lovelace");
        assert_eq!(display_name(Some(&"x".repeat(300)), "a@b").chars().count(), MAX_NAME_CHARS);
        assert_eq!(display_name(Some(" \n"), "a@b"), "a@b");
        assert_eq!(display_name(None, "a@b"), "a@b");
    }
}
