//! Whose account a subject of the issuer has: by issuer and subject, never by an address alone.

use sea_orm::{ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Set};

use super::Subject;
use crate::account::{by_email, normalize_email, plausible_email};
use crate::audit::{self, By, Event, Outcome};
use crate::clock::Timestamp;
use crate::config::{Oidc, Switch};
use crate::db::Db;
use crate::entity::{account, oidc_identity};
use crate::error::{Error, Result, unique_or};
use crate::id::UserId;

/// Characters of a name.
const LONGEST_NAME: usize = 200;

/// The account of a subject; on first sight made, or found by its verified address, where the configuration allows it.
pub(in crate::account) async fn account_of(
    db: &Db,
    config: &Oidc,
    subject: Subject,
    now: Timestamp,
    by: By,
) -> Result<account::Model> {
    if let Some(account) = known(db.read(), &config.issuer, &subject.id).await? {
        return Ok(account);
    }
    let (config, id) = (config.clone(), subject.id.clone());
    let issuer = config.issuer.clone();
    let first = db.write(move |tx| Box::pin(async move { first_sight(tx, &config, subject, now).await }));
    match first.await {
        Ok((account, event)) => {
            audit::about(event, Outcome::Ok, by, account.id);
            Ok(account)
        }
        // Two requests of the same person came at once, and the other was faster: the address is theirs already.
        Err(error @ (Error::Conflict { .. } | Error::Forbidden(_))) => {
            known(db.read(), &issuer, &id).await?.ok_or(error)
        }
        Err(other) => Err(other),
    }
}

async fn known(db: &impl ConnectionTrait, issuer: &str, subject: &str) -> Result<Option<account::Model>> {
    let key = (issuer.to_owned(), subject.to_owned());
    let Some(identity) = oidc_identity::Entity::find_by_id(key).one(db).await? else { return Ok(None) };
    Ok(account::Entity::find_by_id(identity.account_id).one(db).await?)
}

async fn first_sight(
    tx: &impl ConnectionTrait,
    config: &Oidc,
    subject: Subject,
    now: Timestamp,
) -> Result<(account::Model, Event)> {
    let forbidden = |message: &str| Err(Error::Forbidden(message.into()));
    let email = subject.email.as_deref().map(normalize_email).filter(|email| plausible_email(email));
    let Some(email) = email else {
        let claim = &config.email_claim;
        return forbidden(&format!(
            "The token has no e-mail address in {claim:?}, and no account belongs to it."
        ));
    };
    if subject.email_verified == Some(false) {
        return forbidden(
            "The token's issuer has not verified the e-mail address; an account needs one that is.",
        );
    }
    let (account, event) = match by_email(tx, &email).await? {
        Some(account) => {
            // Whoever can make an issuer say any address would else become whoever has it here, an admin even.
            let may = config.link_verified_email == Switch::On && subject.email_verified == Some(true);
            // An address that somebody else has now at the issuer is not the person that it was.
            let theirs = oidc_identity::Entity::find()
                .filter(oidc_identity::Column::AccountId.eq(account.id))
                .filter(oidc_identity::Column::Issuer.eq(&config.issuer));
            if !may || account.is_admin || theirs.one(tx).await?.is_some() {
                return forbidden(
                    "There is an account with this e-mail address already, and it does not belong to the token. Sign \
                     in to it with its password or an API key, or ask the operator.",
                );
            }
            (account, Event::OidcAccountLinked)
        }
        None if config.create_users == Switch::Off => {
            return forbidden("No account belongs to the token. Ask the operator of this server for one.");
        }
        None => {
            let row = account::ActiveModel {
                id: Set(UserId::new()),
                name: Set(name(subject.name.as_deref(), &email)),
                email: Set(email),
                password_hash: Set(None),
                is_admin: Set(false),
                created_at: Set(now),
            };
            (row.insert(tx).await.map_err(at_once)?, Event::OidcAccountCreated)
        }
    };
    let row = oidc_identity::ActiveModel {
        issuer: Set(config.issuer.clone()),
        subject: Set(subject.id),
        account_id: Set(account.id),
        created_at: Set(now),
    };
    row.insert(tx).await.map_err(at_once)?;
    Ok((account, event))
}

fn at_once(error: sea_orm::DbErr) -> Error {
    unique_or(error, "Somebody took this e-mail address at the same time. Try again.")
}

/// What the issuer calls somebody, made fit for a name here; else their address.
fn name(given: Option<&str>, email: &str) -> String {
    let kept: String =
        given.unwrap_or_default().chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    match kept.trim() {
        "" => email.chars().take(LONGEST_NAME).collect(),
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
    async fn whoever_comes_for_the_first_time_is_in_the_audit_log() {
        let (lines, _listening) = Lines::listen("info");
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
        let by = By::address(Some([192, 0, 2, 7].into()));
        let mut accounts = Vec::new();
        for (id, email) in [("a", "ada@example.com"), ("a", "ada@example.com"), ("b", "bob@example.com")] {
            let now = app.clock.now();
            let (email, name) = (Some(email.to_owned()), None);
            let subject = Subject { id: id.into(), email, email_verified: Some(true), name, expires_at: now };
            accounts.push(account_of(&app.db, &config, subject, now, by).await.unwrap().id);
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
    fn names_are_made_to_fit() {
        assert_eq!(name(Some(" Ada\u{0} Lovelace "), "a@b"), "Ada Lovelace");
        assert_eq!(name(Some(&"x".repeat(300)), "a@b").chars().count(), LONGEST_NAME);
        assert_eq!(name(Some(" \n"), "a@b"), "a@b");
        assert_eq!(name(None, "a@b"), "a@b");
    }
}
