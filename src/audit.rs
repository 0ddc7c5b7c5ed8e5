//! The audit log: what an operator wants to know afterwards of who got in, who did not, and who was let in to what.
//!
//! One line for each event, under the target `docket::audit` at `info`, with the same fields always. Passwords, keys, tokens
//! and the addresses that people tried to sign in with (which now and then are passwords) never get here: subjects are IDs.

use std::net::IpAddr;

use tracing::field::display;

use crate::id::UserId;

/// The target of the lines.
pub const TARGET: &str = "docket::audit";

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Somebody made an account for themselves; the subject is the account.
    SignUp,
    /// Somebody gave a password; the subject is the account, where there is one.
    SignIn,
    /// A token or key was not taken.
    Credential,
    /// An operator made an account; the subject is the account.
    AccountCreated,
    /// An operator made an admin; the subject is the account.
    AdminCreated,
    /// Somebody came with a token of the OpenID Connect issuer for the first time; the subject is the account.
    OidcAccountCreated,
    /// The same, whose verified address led to an account that was there; the subject is the account.
    OidcAccountLinked,
    /// An API key was made; the subject is the key.
    ApiKeyCreated,
    /// An API key was ended; the subject is the key.
    ApiKeyRevoked,
    /// A team was made; the subject is the team.
    TeamCreated,
    /// Somebody was let in to a team; the subject is the person, the object the team.
    TeamMemberAdded,
    /// Somebody was let out of a team; the subject is the person, the object the team.
    TeamMemberRemoved,
    /// Somebody was let in to a job, or to other steps of it; the subject is the person or team, the object the job.
    CollaboratorAdded,
    /// Somebody was let out of a job; the subject is the person or team, the object the job.
    CollaboratorRemoved,
    /// A webhook was created; the subject is the webhook.
    WebhookCreated,
    /// The address, event kinds or description of a webhook changed; the subject is the webhook.
    WebhookUpdated,
    /// A webhook was enabled again; the subject is the webhook.
    WebhookEnabled,
    /// A webhook was disabled, by its owner or because deliveries kept failing; the subject is the webhook.
    WebhookDisabled,
    /// A webhook got a new secret; the subject is the webhook.
    WebhookSecretRotated,
    /// A webhook was deleted; the subject is the webhook.
    WebhookDeleted,
    /// An operator changed the key that signs tokens and links.
    SigningKeyRotated,
}

impl Event {
    /// As the field `event` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignUp => "sign_up",
            Self::SignIn => "sign_in",
            Self::Credential => "credential",
            Self::AccountCreated => "account_created",
            Self::AdminCreated => "admin_created",
            Self::OidcAccountCreated => "oidc_account_created",
            Self::OidcAccountLinked => "oidc_account_linked",
            Self::ApiKeyCreated => "api_key_created",
            Self::ApiKeyRevoked => "api_key_revoked",
            Self::TeamCreated => "team_created",
            Self::TeamMemberAdded => "team_member_added",
            Self::TeamMemberRemoved => "team_member_removed",
            Self::CollaboratorAdded => "collaborator_added",
            Self::CollaboratorRemoved => "collaborator_removed",
            Self::WebhookCreated => "webhook_created",
            Self::WebhookUpdated => "webhook_updated",
            Self::WebhookEnabled => "webhook_enabled",
            Self::WebhookDisabled => "webhook_disabled",
            Self::WebhookSecretRotated => "webhook_secret_rotated",
            Self::WebhookDeleted => "webhook_deleted",
            Self::SigningKeyRotated => "signing_key_rotated",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was refused: what was given is wrong.
    Refused,
    /// It was refused unseen: too many tries.
    Limited,
}

impl Outcome {
    /// As the field `outcome` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Limited => "limited",
        }
    }
}

/// Who did it and from where; nobody, from nowhere, on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct By {
    /// Their account, where they have proved it.
    pub actor: Option<UserId>,
    /// The client's address.
    pub address: Option<IpAddr>,
}

impl By {
    /// Somebody who has not proved who they are.
    pub fn address(address: Option<IpAddr>) -> Self {
        Self { actor: None, address }
    }
}

/// An event that is about nothing further.
pub fn record(event: Event, outcome: Outcome, by: By) {
    write(event, outcome, by, None, None);
}

/// An event about somebody or something, by ID.
pub fn about(event: Event, outcome: Outcome, by: By, subject: impl ToString + Copy) {
    write(event, outcome, by, Some(&subject.to_string()), None);
}

/// Somebody who is let in to something, or out, by their IDs. It has been done.
pub fn between(event: Event, by: By, subject: impl ToString + Copy, object: impl ToString + Copy) {
    write(event, Outcome::Ok, by, Some(&subject.to_string()), Some(&object.to_string()));
}

fn write(event: Event, outcome: Outcome, by: By, subject: Option<&str>, object: Option<&str>) {
    let (event, outcome) = (event.name(), outcome.name());
    let (actor, address) = (by.actor.map(display), by.address.map(display));
    tracing::info!(target: TARGET, event, outcome, actor, address, subject, object, "audit");
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::sync::{Arc, LazyLock, Mutex};

    use serde_json::Value;
    use tracing::Dispatch;
    use tracing::subscriber::DefaultGuard;
    use tracing_subscriber::filter::dynamic_filter_fn;
    use tracing_subscriber::fmt::MakeWriter;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::access::{self, Actor, Share};
    use crate::account::{NewKey, create_key};
    use crate::app::tests::{actor, new_job, open, upload};
    use crate::config::Switch;
    use crate::job::collaborator::PrincipalRef;
    use crate::job::request::NewJob;
    use crate::job::state::Mode;
    use crate::job_type::NOOP;
    use crate::team::PersonRef;
    use crate::webhook::{Change, NewWebhook};
    use crate::{collaboration, team};

    /// Keeps what other threads of this process do from deciding what is listened to: tracing remembers for each place
    /// that logs whether anybody wants it, by whoever is there when it first logs, which may be a thread that listens
    /// to nothing. As long as one subscriber wants to be asked each time, all are.
    static ASKED: LazyLock<Dispatch> =
        LazyLock::new(|| Dispatch::new(tracing_subscriber::registry().with(dynamic_filter_fn(|_, _| false))));

    /// The lines that this thread writes for as long as it is kept.
    #[derive(Clone, Default)]
    pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Lines {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        /// Listens from now on, at a level, until the guard is dropped.
        pub(crate) fn listen(filter: &str) -> (Self, DefaultGuard) {
            let lines = Self::default();
            let subscriber = tracing_subscriber::fmt()
                .json()
                .flatten_event(true)
                .with_env_filter(filter)
                .with_writer(lines.clone())
                .finish();
            LazyLock::force(&ASKED);
            (lines, tracing::subscriber::set_default(subscriber))
        }

        /// Everything that was written.
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        /// The audit log so far: the event, its outcome, and the rest.
        pub(crate) fn audit(&self) -> Vec<(String, String, Value)> {
            let text = self.text();
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let of = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
            let audit = lines.filter(|line| line["target"] == TARGET);
            audit.map(|line| (of(&line, "event"), of(&line, "outcome"), line)).collect()
        }
    }

    #[test]
    fn a_line_says_what_who_and_from_where() {
        let (lines, _listening) = Lines::listen("info");
        let by = By { actor: Some(UserId::new()), address: Some([192, 0, 2, 7].into()) };
        between(Event::TeamMemberAdded, by, "person", "team");
        record(Event::Credential, Outcome::Refused, By::default());
        let audit = lines.audit();
        let (event, outcome, line) = &audit[0];
        assert_eq!(
            (event.as_str(), outcome.as_str(), line["level"].as_str()),
            ("team_member_added", "ok", Some("INFO"))
        );
        assert_eq!((&line["subject"], &line["object"]), (&Value::from("person"), &Value::from("team")));
        assert_eq!(
            (line["actor"].as_str(), line["address"].as_str()),
            (by.actor.map(|id| id.to_string()).as_deref(), Some("192.0.2.7"))
        );
        assert_eq!((audit[1].0.as_str(), audit[1].1.as_str()), ("credential", "refused"));
        assert!(audit[1].2.get("actor").is_none(), "what is not known is left out");
    }

    #[tokio::test]
    async fn who_is_let_in_to_what_is_written_down() {
        let (lines, _listening) = Lines::listen("info");
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let owner = Actor { address: Some([192, 0, 2, 7].into()), ..actor(&app, "owner", Mode::Live).await };
        let [other, third] = [actor(&app, "other", Mode::Live).await, actor(&app, "third", Mode::Live).await];
        let (other, third) = (other.user.id, third.user.id);
        let (db, clock, jobs) = (&app.db, &app.clock, &app.jobs);
        let team = team::create(db, clock, &owner, "readers", &app.config.limits).await.unwrap().id;
        team::add_member(db, clock, &owner, team, PersonRef::Id(other), &app.config.limits).await.unwrap();
        team::remove_member(db, &owner, team, PersonRef::Id(other)).await.unwrap();
        let input = upload(&app, &owner, "a").await;
        let share = |who: UserId| PrincipalRef::UserId(who.to_string());
        let new = NewJob { collaboration: vec![(share(other), vec!["*".into()])], ..new_job(NOOP, &input) };
        let job = jobs.create(&owner, new).await.unwrap().id;
        let grant = access::job::<Share>(db.read(), &owner, job).await.unwrap();
        collaboration::share(jobs, &grant, &share(third), &["*".into()]).await.unwrap();
        collaboration::revoke(jobs, &grant, &share(third)).await.unwrap();
        let new = NewKey { name: "k".into(), mode: Mode::Live, expires_at: None };
        let (_, key) = create_key(db, clock, owner.user.id, new, &app.config.limits).await.unwrap();
        app.accounts.revoke_key(&owner, key.id).await.unwrap();

        let (team, job, key) = (team.to_string(), job.to_string(), key.id.to_string());
        let (other, third) = (other.to_string(), third.to_string());
        let expected = [
            ("team_created", &team, ""),
            ("team_member_added", &other, &team),
            ("team_member_removed", &other, &team),
            ("collaborator_added", &other, &job),
            ("collaborator_added", &third, &job),
            ("collaborator_removed", &third, &job),
            ("api_key_revoked", &key, ""),
        ];
        let audit = lines.audit();
        assert_eq!(audit.len(), expected.len(), "{audit:#?}");
        for ((event, outcome, line), (name, subject, object)) in audit.iter().zip(expected) {
            let of = |key: &str| line[key].as_str().unwrap_or_default();
            assert_eq!((event.as_str(), outcome.as_str()), (name, "ok"));
            assert_eq!((of("subject"), of("object")), (subject.as_str(), object), "{name}");
            assert_eq!(
                (of("actor"), of("address")),
                (owner.user.id.to_string().as_str(), "192.0.2.7"),
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn changes_of_webhooks_are_written_down() {
        let (lines, _listening) = Lines::listen("info");
        let allowed = "127.0.0.1/32".parse().unwrap();
        let (app, _dir) = open(|config| config.webhooks.allowed_networks = vec![allowed]).await;
        let owner = Actor { address: Some([192, 0, 2, 7].into()), ..actor(&app, "owner", Mode::Live).await };
        let url = "https://127.0.0.1:9999/hook".to_owned();
        let new = NewWebhook { url: url.clone(), job: None, kinds: Vec::new(), description: String::new() };
        let (_, webhook) = app.webhooks.create(&owner, new).await.unwrap();
        let change = |change: Change| app.webhooks.update(&owner, webhook.id, change);
        let enabled = |on: bool| Change { enabled: Some(on), ..Change::default() };
        change(enabled(false)).await.unwrap();
        change(enabled(false)).await.unwrap();
        change(Change { url: Some(url), enabled: Some(true), ..Change::default() }).await.unwrap();
        app.webhooks.rotate(&owner, webhook.id).await.unwrap();
        app.webhooks.delete(&owner, webhook.id).await.unwrap();

        let expected = ["created", "disabled", "updated", "enabled", "secret_rotated", "deleted"];
        let audit = lines.audit();
        let events: Vec<_> = audit.iter().map(|(event, ..)| event.clone()).collect();
        assert_eq!(events, expected.map(|event| format!("webhook_{event}")));
        for (event, outcome, line) in &audit {
            let of = |key: &str| line[key].as_str().unwrap_or_default();
            assert_eq!(outcome, "ok");
            assert_eq!(of("subject"), webhook.id.to_string(), "{event}");
            assert_eq!(
                (of("actor"), of("address")),
                (owner.user.id.to_string().as_str(), "192.0.2.7"),
                "{event}"
            );
        }
        assert!(!lines.text().contains("127.0.0.1:9999/hook"), "the address may carry a secret");
    }
}
