//! The audit log: sign-ins and their outcomes, credentials, and changes of access.
//!
//! Each event is one line under the target `docket::audit` at `info`, always with the same fields. It never contains
//! passwords, keys, tokens or the addresses given to sign in (which may be mistyped passwords): subjects are IDs.

use std::net::IpAddr;

use tracing::field::display;

use crate::id::UserId;

/// The log target of audit events.
pub(crate) const TARGET: &str = "docket::audit";

/// The kind of an audit event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditEvent {
    /// A user created an account; the subject is the account.
    SignUp,
    /// A user gave a password; the subject is the account, if it exists.
    SignIn,
    /// A token or API key was refused.
    Credential,
    /// An operator created an account; the subject is the account.
    AccountCreated,
    /// An operator created an admin; the subject is the account.
    AdminCreated,
    /// The first token of an OpenID Connect user created an account; the subject is the account.
    OidcAccountCreated,
    /// The first token of an OpenID Connect user was linked to an existing account; the subject is the account.
    OidcAccountLinked,
    /// An API key was created; the subject is the key.
    ApiKeyCreated,
    /// An API key was revoked; the subject is the key.
    ApiKeyRevoked,
    /// A team was created; the subject is the team.
    TeamCreated,
    /// A member was added to a team; the subject is the user, the object the team.
    TeamMemberAdded,
    /// A member was removed from a team; the subject is the user, the object the team.
    TeamMemberRemoved,
    /// A collaborator was added to a job or got other steps; the subject is the user or team, the object the job.
    CollaboratorAdded,
    /// A collaborator was removed from a job; the subject is the user or team, the object the job.
    CollaboratorRemoved,
    /// A webhook was created; the subject is the webhook.
    WebhookCreated,
    /// The URL, event kinds or description of a webhook changed; the subject is the webhook.
    WebhookUpdated,
    /// A webhook was enabled again; the subject is the webhook.
    WebhookEnabled,
    /// A webhook was disabled by its owner or because of failing deliveries; the subject is the webhook.
    WebhookDisabled,
    /// A webhook got a new secret; the subject is the webhook.
    WebhookSecretRotated,
    /// A webhook was deleted; the subject is the webhook.
    WebhookDeleted,
    /// An operator rotated the key that signs tokens and links.
    SigningKeyRotated,
}

impl AuditEvent {
    /// Returns the value of the field `event`.
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

/// The outcome of an audit event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The action was performed.
    Ok,
    /// The action was refused because of wrong input.
    Refused,
    /// The action was refused by a rate limit, before the input was checked.
    Limited,
}

impl Outcome {
    /// Returns the value of the field `outcome`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Limited => "limited",
        }
    }
}

/// The origin of an audit event; empty for commands of the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditOrigin {
    /// The authenticated account, if any.
    pub actor: Option<UserId>,
    /// The client's address.
    pub address: Option<IpAddr>,
}

impl AuditOrigin {
    /// Returns the origin of an unauthenticated request.
    pub fn address(address: Option<IpAddr>) -> Self {
        Self { actor: None, address }
    }
}

/// Records an event without a subject.
pub fn record(event: AuditEvent, outcome: Outcome, origin: AuditOrigin) {
    write(event, outcome, origin, None, None);
}

/// Records an event with a subject, given by its ID.
pub(crate) fn record_with_subject(
    event: AuditEvent,
    outcome: Outcome,
    origin: AuditOrigin,
    subject: impl ToString + Copy,
) {
    write(event, outcome, origin, Some(&subject.to_string()), None);
}

/// Records a successful change of access of a subject to an object, both given by their IDs.
pub(crate) fn record_access_change(
    event: AuditEvent,
    origin: AuditOrigin,
    subject: impl ToString + Copy,
    object: impl ToString + Copy,
) {
    write(event, Outcome::Ok, origin, Some(&subject.to_string()), Some(&object.to_string()));
}

fn write(
    event: AuditEvent,
    outcome: Outcome,
    origin: AuditOrigin,
    subject: Option<&str>,
    object: Option<&str>,
) {
    let (event, outcome) = (event.name(), outcome.name());
    let (actor, address) = (origin.actor.map(display), origin.address.map(display));
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
    use crate::team::UserRef;
    use crate::webhook::{Change, NewWebhook};
    use crate::{collaboration, team};

    /// Prevents other threads of the process from disabling the audit callsite. tracing caches for each callsite
    /// whether any subscriber wants it, as of the first log, which may be that of a thread without subscriber. A
    /// subscriber with a dynamic filter turns that cache off.
    static FORCE_DYNAMIC_FILTER: LazyLock<Dispatch> =
        LazyLock::new(|| Dispatch::new(tracing_subscriber::registry().with(dynamic_filter_fn(|_, _| false))));

    /// Captures the lines that this thread logs.
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
        /// Starts capturing at a level, until the guard is dropped.
        pub(crate) fn capture(filter: &str) -> (Self, DefaultGuard) {
            let lines = Self::default();
            let subscriber = tracing_subscriber::fmt()
                .json()
                .flatten_event(true)
                .with_env_filter(filter)
                .with_writer(lines.clone())
                .finish();
            LazyLock::force(&FORCE_DYNAMIC_FILTER);
            (lines, tracing::subscriber::set_default(subscriber))
        }

        /// Returns the captured text.
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        /// Returns the captured audit events: the event, its outcome, and all fields.
        pub(crate) fn audit(&self) -> Vec<(String, String, Value)> {
            let text = self.text();
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let of = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
            let audit = lines.filter(|line| line["target"] == TARGET);
            audit.map(|line| (of(&line, "event"), of(&line, "outcome"), line)).collect()
        }
    }

    #[test]
    fn audit_line_has_event_actor_and_address() {
        let (lines, _guard) = Lines::capture("info");
        let origin = AuditOrigin { actor: Some(UserId::new()), address: Some([192, 0, 2, 7].into()) };
        record_access_change(AuditEvent::TeamMemberAdded, origin, "person", "team");
        record(AuditEvent::Credential, Outcome::Refused, AuditOrigin::default());
        let audit = lines.audit();
        let (event, outcome, line) = &audit[0];
        assert_eq!(
            (event.as_str(), outcome.as_str(), line["level"].as_str()),
            ("team_member_added", "ok", Some("INFO"))
        );
        assert_eq!((&line["subject"], &line["object"]), (&Value::from("person"), &Value::from("team")));
        assert_eq!(
            (line["actor"].as_str(), line["address"].as_str()),
            (origin.actor.map(|id| id.to_string()).as_deref(), Some("192.0.2.7"))
        );
        assert_eq!((audit[1].0.as_str(), audit[1].1.as_str()), ("credential", "refused"));
        assert!(audit[1].2.get("actor").is_none(), "unknown fields are omitted");
    }

    #[tokio::test]
    async fn changes_of_access_are_audited() {
        let (lines, _guard) = Lines::capture("info");
        let (app, _dir) = open(|config| config.noop_type = Switch::On).await;
        let owner = Actor { address: Some([192, 0, 2, 7].into()), ..actor(&app, "owner", Mode::Live).await };
        let [other, third] = [actor(&app, "other", Mode::Live).await, actor(&app, "third", Mode::Live).await];
        let (other, third) = (other.user.id, third.user.id);
        let (db, clock, jobs) = (&app.db, &app.clock, &app.jobs);
        let team = team::create(db, clock, &owner, "readers", &app.config.limits).await.unwrap().id;
        team::add_member(db, clock, &owner, team, UserRef::Id(other), &app.config.limits).await.unwrap();
        team::remove_member(db, &owner, team, UserRef::Id(other)).await.unwrap();
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
    async fn changes_of_webhooks_are_audited() {
        let (lines, _guard) = Lines::capture("info");
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
        assert!(!lines.text().contains("127.0.0.1:9999/hook"), "the URL may contain a secret");
    }
}
