use std::num::NonZeroU32;

use sea_orm::ConnectionTrait;

use super::*;
use crate::app::App;
use crate::app::tests::{open, open_in};
use crate::audit::tests::Lines;
use crate::clock::Timestamp;
use crate::id::DocumentId;

const PASSWORD: &str = "correct horse battery";

fn at(address: &str) -> Option<IpAddr> {
    Some(address.parse().unwrap())
}

fn ada() -> NewAccount {
    let (email, password) = ("ada@example.com".into(), Some(PASSWORD.into()));
    NewAccount { email, name: "Ada".into(), password, is_admin: false }
}

/// Opens an application with the given attempt limits and an account that was created from 192.0.2.1.
async fn limited(address: u32, pair: u32, account: u32) -> (App, tempfile::TempDir) {
    let most = |n| NonZeroU32::new(n).unwrap();
    let (app, dir) = open(|config| {
        config.rates.sign_in_address_per_minute = most(address);
        config.rates.sign_in_pair_per_minute = most(pair);
        config.rates.sign_in_account_per_hour = most(account);
    })
    .await;
    app.accounts.sign_up(ada(), at("192.0.2.1")).await.unwrap();
    (app, dir)
}

/// Returns the error code of a sign-in attempt, or OK.
async fn sign_in(app: &App, password: &str, address: &str) -> &'static str {
    let tried = app.accounts.sign_in("ADA@example.com", password.into(), at(address)).await;
    tried.as_ref().map_or_else(|error| error.code().as_str(), |_| "OK")
}

#[tokio::test]
async fn attackers_elsewhere_do_not_lock_out_a_known_network() {
    let (app, _dir) = limited(100, 100, 3).await;
    for n in 1..=3 {
        assert_eq!(sign_in(&app, "wrong", &format!("198.51.100.{n}")).await, "UNAUTHENTICATED");
    }
    assert_eq!(sign_in(&app, PASSWORD, "198.51.100.4").await, "RATE_LIMITED", "the account limit is reached");
    for _ in 0..3 {
        assert_eq!(sign_in(&app, PASSWORD, "192.0.2.1").await, "OK", "a known network");
    }
    let unknown = app.accounts.sign_in("bob@example.com", PASSWORD.into(), at("192.0.2.1")).await;
    assert!(matches!(unknown, Err(Error::Unauthenticated(_))), "other accounts are not affected");
    app.clock.advance(TimeDelta::days(91));
    assert_eq!(sign_in(&app, PASSWORD, "192.0.2.1").await, "RATE_LIMITED", "the network is no longer known");
}

#[tokio::test]
async fn pair_limit_counts_each_network_separately() {
    let (app, _dir) = limited(100, 2, 100).await;
    for _ in 0..2 {
        assert_eq!(sign_in(&app, "wrong", "2001:db8::1").await, "UNAUTHENTICATED");
    }
    assert_eq!(sign_in(&app, PASSWORD, "2001:db8::2").await, "RATE_LIMITED", "the same /64 network");
    assert_eq!(sign_in(&app, PASSWORD, "2001:db8:0:1::1").await, "OK", "another network, new to the account");
}

#[tokio::test]
async fn address_limit_counts_sign_ups_and_sign_ins_together() {
    let (app, _dir) = limited(3, 100, 100).await;
    // Refused for its password, before anything is hashed.
    let short = || NewAccount { password: Some("short".into()), ..ada() };
    for _ in 0..2 {
        let refused = app.accounts.sign_up(short(), at("192.0.2.1")).await;
        assert!(matches!(refused, Err(Error::Invalid(_))));
    }
    let refused = app.accounts.sign_up(short(), at("192.0.2.1")).await;
    assert!(matches!(refused, Err(Error::RateLimited(_))));
    assert_eq!(sign_in(&app, PASSWORD, "192.0.2.1").await, "RATE_LIMITED");
    assert_eq!(sign_in(&app, PASSWORD, "192.0.2.2").await, "OK");
}

#[tokio::test]
async fn every_sign_in_attempt_takes_one_hash() {
    let (app, _dir) = limited(100, 100, 100).await;
    let keyed = NewAccount { email: "keyed@example.com".into(), password: None, ..ada() };
    app.accounts.create(keyed).await.unwrap();
    let long = "x".repeat(5_000);
    let full = app.accounts.hasher.take_all_permits();
    let tries = [
        ("ada@example.com", "a wrong password"),
        ("nobody@example.com", PASSWORD),
        ("keyed@example.com", PASSWORD),
        ("ada@example.com", &long),
    ];
    let code = async |email: &str, password: &str| {
        let tried = app.accounts.sign_in(email, password.into(), at("192.0.2.1")).await;
        tried.map(drop).unwrap_err().code().as_str()
    };
    for (email, password) in tries {
        assert_eq!(code(email, password).await, "UNAVAILABLE", "{email} waits for a permit");
    }
    drop(full);
    for (email, password) in tries {
        assert_eq!(code(email, password).await, "UNAUTHENTICATED", "{email}");
    }
}

#[tokio::test]
async fn overlong_addresses_are_not_kept_in_memory() {
    let (app, _dir) = limited(100, 1, 1).await;
    let long = format!("{}@example.com", "x".repeat(250));
    for _ in 0..3 {
        let refused = app.accounts.sign_in(&long, PASSWORD.into(), at("192.0.2.1")).await;
        assert!(matches!(refused, Err(Error::Unauthenticated(_))));
    }
}

#[tokio::test]
async fn sign_ins_and_their_outcomes_are_audited() {
    let (lines, _guard) = Lines::capture("info,docket::sql=trace");
    let (app, _dir) = limited(100, 2, 100).await;
    sign_in(&app, "a wrong password", "192.0.2.2").await;
    sign_in(&app, PASSWORD, "192.0.2.2").await;
    sign_in(&app, PASSWORD, "192.0.2.2").await;
    let nobody = app.accounts.sign_in("secret@example.com", PASSWORD.into(), at("192.0.2.3")).await;
    assert!(nobody.is_err());
    let ada = app.accounts.by_email("ada@example.com").await.unwrap().unwrap().id.to_string();
    let seen: Vec<_> = lines
        .audit()
        .into_iter()
        .map(|(event, outcome, line)| {
            let of = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            (event, outcome, of("address"), of("subject"))
        })
        .collect();
    let expected = [
        ("sign_up", "ok", "192.0.2.1", ada.as_str()),
        ("sign_in", "refused", "192.0.2.2", &ada),
        ("sign_in", "ok", "192.0.2.2", &ada),
        ("sign_in", "limited", "192.0.2.2", ""),
        ("sign_in", "refused", "192.0.2.3", ""),
    ];
    let expected = expected.map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned()));
    assert_eq!(seen, expected);
    let text = lines.text();
    assert!(text.contains("INSERT INTO"), "the log contains statements");
    for secret in [PASSWORD, "a wrong password", "$argon2id$", "secret@example.com"] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn key_use_is_recorded_once_a_minute_without_failing_requests() {
    let (app, _dir) = open(|_| ()).await;
    let account = app.accounts.create(ada()).await.unwrap();
    let new = NewKey { name: "k".into(), mode: Mode::Live, expires_at: None };
    let (secret, key) = create_key(&app.db, &app.clock, account.id, new, &app.config.limits).await.unwrap();
    let recorded_use = async || {
        // Wait for the background tasks, and allow further ones.
        app.tasks.close();
        app.tasks.wait().await;
        app.tasks.reopen();
        let key = api_key::Entity::find_by_id(key.id).one(app.db.read()).await.unwrap();
        key.unwrap().last_used_at
    };
    let uses = async |times: usize| {
        let before = app.db.statement_count();
        for _ in 0..times {
            app.accounts.authenticate(&secret, None).await.unwrap();
        }
        let recorded_use = recorded_use().await;
        // One read for each request, and one to read the result.
        (recorded_use, app.db.statement_count() - before - times as u64 - 1)
    };
    let (first, written) = uses(3).await;
    assert!(first.is_some());
    assert_eq!(written, 1, "three uses at once are recorded once");
    assert_eq!(uses(3).await, (first, 0));
    app.clock.advance(TimeDelta::seconds(61));
    let (later, written) = uses(2).await;
    assert!(later > first);
    assert_eq!(written, 1);

    app.db
        .writer()
        .execute_unprepared("CREATE TRIGGER no BEFORE UPDATE ON api_key BEGIN SELECT RAISE(FAIL, 'no'); END")
        .await
        .unwrap();
    app.clock.advance(TimeDelta::seconds(61));
    assert_eq!(uses(2).await.0, later, "a failed update does not fail the request");
}

#[tokio::test]
async fn expiries_out_of_range_are_refused() {
    let (app, _dir) = open(|_| ()).await;
    let account = app.accounts.create(ada()).await.unwrap();
    for (at, code) in [
        (Timestamp::MAX_UTC, "RANGE"),
        (Timestamp::MIN_UTC, "PAST"),
        ("9999-12-31T23:59:59Z".parse().unwrap(), "OK"),
        ("+10000-01-01T00:00:00Z".parse().unwrap(), "RANGE"),
    ] {
        let new = NewKey { name: "k".into(), mode: Mode::Live, expires_at: Some(at) };
        let found = match create_key(&app.db, &app.clock, account.id, new, &app.config.limits).await {
            Ok(_) => "OK".to_owned(),
            Err(Error::Invalid(problems)) => problems[0].code.clone(),
            Err(other) => other.code().to_string(),
        };
        assert_eq!(found, code, "{at}");
    }
}

#[test]
fn email_addresses_are_checked_for_plausibility_only() {
    for good in ["a@b", "ada@example.com", "o'hara+x@example.co.uk", "用户@例子.广告"] {
        assert!(plausible_email(good), "{good}");
    }
    for bad in ["", "ada", "@example.com", "ada@", "a b@example.com", "ada@.com", "ada@example.", "a@b\n"] {
        assert!(!plausible_email(bad), "{bad}");
    }
}

#[tokio::test]
async fn rotated_key_keeps_tokens_and_links_valid() {
    let dir = tempfile::tempdir().unwrap();
    let app = open_in(dir.path(), |_| ()).await.unwrap();
    let account = app.accounts.create(ada()).await.unwrap();
    let token = app.accounts.issue_token(&account).unwrap();
    let document = DocumentId::new();
    let link = app.jobs.documents.links().signed(document, 3_600, app.clock.now()).unwrap();
    app.drain().await;

    rotate_secret(dir.path(), TimeDelta::days(7), app.clock.now()).unwrap();
    let again = open_in(dir.path(), |_| ()).await.unwrap();
    assert_eq!(again.accounts.authenticate(&token.text, None).await.unwrap().user.id, account.id);
    let query = link.rsplit_once("expires=").unwrap().1;
    let (expires, signature) = query.split_once("&signature=").unwrap();
    let links = again.jobs.documents.links();
    assert!(links.verify(document, expires.parse().unwrap(), signature, again.clock.now()));
    let newer = again.accounts.issue_token(&account).unwrap();
    again.drain().await;

    // Without the previous key its signatures are invalid, so the new key did not verify them above.
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let old: Vec<_> = names.filter(|path| path.to_string_lossy().contains(".until-")).collect();
    assert_eq!(old.len(), 1);
    std::fs::remove_file(&old[0]).unwrap();
    let bare = open_in(dir.path(), |_| ()).await.unwrap();
    assert!(bare.accounts.authenticate(&newer.text, None).await.is_ok());
    assert!(bare.accounts.authenticate(&token.text, None).await.is_err());
    let links = bare.jobs.documents.links();
    assert!(!links.verify(document, expires.parse().unwrap(), signature, bare.clock.now()));
}

#[tokio::test]
async fn invalid_key_file_prevents_startup() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("jwt.key"), "").unwrap();
    let refused = open_in(dir.path(), |_| ()).await.map(drop).unwrap_err();
    assert!(refused.contains("jwt.key") && refused.contains("0 bytes"), "{refused}");
}
