//! Configuration: parsed once, handed on in parts. The only reader of the environment.
//!
//! Defaults are `config.default.toml`, which is compiled in; a file overrides them, `DOCKET_*` variables override the file,
//! flags override all.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Dict;
use ipnet::IpNet;
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::account::SECRET_BYTES;
use crate::error::Problem;

/// The defaults, with what each key means.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// A hundred years, which no clock overflows by.
const MOST_DAYS: u32 = 36_500;

/// Variables with this prefix that are not keys of the configuration.
const NOT_KEYS: [&str; 4] = ["CONFIG", "SERVER", "TOKEN", "TEST_"];

/// Variables of OpenTelemetry's own that stand for variables of ours; ours win.
const STANDARD: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "DOCKET_TELEMETRY__OTLP_ENDPOINT"),
    ("OTEL_SERVICE_NAME", "DOCKET_TELEMETRY__SERVICE_NAME"),
];

/// Sections whose keys the parts that own them document and check.
const OPEN_SECTIONS: [&str; 3] = ["extract", "graphql", "websocket"];

/// A switch, spelled as operators write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

/// Who may make an account by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signup {
    /// Everybody.
    Open,
    /// Nobody; accounts are made on the command line.
    Closed,
}

/// Whether documents that the operator trusts are read, and whether others run too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trusted {
    /// There are none.
    Off,
    /// They run, and so does every other.
    Allow,
    /// They run, and no other does.
    Only,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The value itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "(none)" } else { "(redacted)" })
    }
}

/// The whole configuration. `config.default.toml` says what each key means.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Config {
    pub listen: SocketAddr,
    pub public_url: String,
    pub data_dir: PathBuf,
    pub database_url: Secret,
    pub database_connections: u32,
    pub storage_url: String,
    pub bus_url: String,
    pub signup: Signup,
    pub rate_limits: Switch,
    pub log: String,
    pub log_format: LogFormat,
    pub jwt_secret: Secret,
    pub jwt_previous_secrets: Vec<Secret>,
    pub engine_concurrency: usize,
    pub noop_type: Switch,
    pub auth: Auth,
    pub oidc: Oidc,
    pub rates: Rates,
    pub http: Http,
    pub sse: Sse,
    pub persisted: Persisted,
    pub engine: Engine,
    pub review: Review,
    pub workers: Workers,
    pub retention: Retention,
    pub limits: Limits,
    pub telemetry: Telemetry,
    pub webhooks: Webhooks,
    #[serde(default)]
    pub extract: docket_extract::child::Limits,
    #[serde(default)]
    pub graphql: crate::graphql::guard::Limits,
    #[serde(default)]
    pub websocket: crate::http::graphql_ws::Settings,
}

/// Section `[auth]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Auth {
    pub token_seconds: u32,
    pub hash_concurrency: usize,
    pub hash_queue: usize,
    pub known_network_days: u32,
}

/// Section `[oidc]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Oidc {
    pub issuer: String,
    pub jwks_url: String,
    pub audience: String,
    pub algorithms: Vec<Algorithm>,
    pub clock_skew_seconds: u32,
    pub create_users: Switch,
    pub link_verified_email: Switch,
    pub email_claim: String,
    pub name_claim: String,
    pub keys_seconds: u32,
    pub retry_seconds: u32,
    pub fetch_seconds: u64,
    pub fetch_bytes: usize,
}

impl Oidc {
    fn check(&self) -> Result<(), String> {
        if self.issuer.is_empty() {
            return Ok(());
        }
        for (key, url) in [("oidc.issuer", &self.issuer), ("oidc.jwks_url", &self.jwks_url)] {
            let encrypted = |url: &Url| url.scheme() == "https" || url.scheme() == "http" && is_loopback(url);
            if !url.is_empty() && !Url::parse(url).is_ok_and(|url| url.has_host() && encrypted(&url)) {
                return Err(format!(
                    "{key} is {url:?}; it needs an https address (http on this machine only)"
                ));
            }
        }
        if self.audience.is_empty() {
            return Err(
                "oidc.audience is \"\"; it needs what the issuer puts into aud for this server".into()
            );
        }
        let symmetric = |algorithm: &&Algorithm| algorithm.family() == AlgorithmFamily::Hmac;
        if let Some(algorithm) = self.algorithms.iter().find(symmetric) {
            return Err(format!(
                "oidc.algorithms has {algorithm:?}; it takes those of public keys, such as RS256"
            ));
        }
        if self.algorithms.is_empty() {
            return Err("oidc.algorithms is empty; it needs one at least, such as RS256".into());
        }
        between("oidc.clock_skew_seconds", self.clock_skew_seconds, 0, 600)?;
        between("oidc.keys_seconds", self.keys_seconds, 1, 86_400)?;
        between("oidc.retry_seconds", self.retry_seconds, 1, 86_400)?;
        between("oidc.fetch_seconds", self.fetch_seconds, 1, 60)?;
        between("oidc.fetch_bytes", self.fetch_bytes, 1_024, 16_777_216)
    }
}

/// Section `[rates]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Rates {
    pub requests_per_minute: NonZeroU32,
    pub cost_per_minute: NonZeroU32,
    pub sign_in_address_per_minute: NonZeroU32,
    pub sign_in_pair_per_minute: NonZeroU32,
    pub sign_in_account_per_hour: NonZeroU32,
}

/// Section `[http]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Http {
    pub header_seconds: u64,
    pub body_seconds: u64,
    pub write_seconds: u64,
    pub execution_seconds: u64,
    pub trusted_proxies: Vec<IpNet>,
    pub cors_origins: Vec<String>,
}

/// Section `[sse]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Sse {
    pub keep_alive_milliseconds: u64,
    pub streams: usize,
}

/// Section `[persisted]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Persisted {
    pub automatic: Switch,
    pub mode: Trusted,
    pub path: String,
}

/// Section `[engine]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Engine {
    pub lease_seconds: u32,
    pub poll_milliseconds: u64,
    pub shutdown_seconds: u64,
}

/// Section `[workers]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Workers {
    pub claims: u32,
    pub lease_seconds: u32,
}

/// Section `[review]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Review {
    pub claim_seconds: u32,
    pub content_bytes: usize,
}

/// Section `[retention]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Retention {
    pub test_days: u32,
}

/// Section `[limits]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Limits {
    pub upload_bytes: u64,
    pub request_bytes: usize,
    pub page_size: u32,
    pub metadata_bytes: usize,
    pub taxonomy_bytes: usize,
    pub collaborators: usize,
    pub comment_characters: usize,
    pub request_files: usize,
}

/// Section `[telemetry]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Telemetry {
    pub otlp_endpoint: String,
    pub service_name: String,
    pub sample_ratio: f64,
}

/// Section `[webhooks]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Webhooks {
    pub allow_http: Switch,
    pub allowed_networks: Vec<IpNet>,
    pub per_user: u64,
    pub url_bytes: usize,
    pub message_bytes: usize,
    pub concurrency: usize,
    pub host_concurrency: usize,
    pub connect_seconds: u32,
    pub attempt_seconds: u32,
    pub poll_milliseconds: u64,
    pub first_retry_seconds: u32,
    pub longest_retry_seconds: u32,
    pub give_up_seconds: u32,
    pub disable_days: u32,
    pub old_secret_seconds: u32,
    pub log_days: u32,
}

impl Limits {
    /// What is wrong with a comment or reason that people give, at a place of the input.
    pub fn comment_problem(&self, text: Option<&str>, path: &str) -> Option<Problem> {
        let most = self.comment_characters;
        text.filter(|text| text.chars().count() > most)
            .map(|_| Problem::new(path, "TOO_LARGE", format!("It has {most} characters at the most.")))
    }
}

/// What the command line says; `None` where it says nothing.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Flags {
    /// `--listen`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// `--data-dir`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// `--database-url`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_url: Option<String>,
}

impl Config {
    /// Reads file, environment and flags over the defaults. The error says which key of which source is wrong, and what
    /// would be right.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, String> {
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let mut figment = defaults.clone();
        if let Some(path) = file {
            if !path.is_file() {
                return Err(format!("the configuration file {} does not exist", path.display()));
            }
            figment = figment.merge(Toml::file_exact(path));
        }
        let variables = std::env::vars_os()
            .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
        let env = environment(&defaults, variables);
        figment = figment.merge(Serialized::defaults(env)).merge(Serialized::defaults(flags));
        refuse_unknown(&defaults, &figment)?;
        let config: Self = figment.extract().map_err(|error| format!("configuration: {error}"))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let shared = !self.database().starts_with("sqlite:");
        match self.bus_url.as_str() {
            "" | "local" => {}
            "postgres" if shared => {}
            "postgres" => {
                return Err("bus_url is postgres, and the database is SQLite; that takes local".into());
            }
            other => return Err(format!("bus_url is {other}; this version takes local and postgres")),
        }
        if self.retention.test_days > MOST_DAYS {
            let days = self.retention.test_days;
            return Err(format!("retention.test_days is {days}; it needs {MOST_DAYS} or less, 0 for ever"));
        }
        let current = Some(&self.jwt_secret).filter(|secret| !secret.expose().is_empty());
        let previous = self.jwt_previous_secrets.iter().map(|secret| ("jwt_previous_secrets", secret));
        for (key, secret) in current.map(|secret| ("jwt_secret", secret)).into_iter().chain(previous) {
            let bytes = secret.expose().len();
            if bytes < SECRET_BYTES {
                return Err(format!("{key} has {bytes} bytes; it needs {SECRET_BYTES} or more"));
            }
        }
        if !self.public_url.is_empty() {
            self.check_public_url()?;
        }
        self.oidc.check()?;
        between("auth.token_seconds", self.auth.token_seconds, 1, 31_536_000)?;
        between("auth.hash_concurrency", self.auth.hash_concurrency, 1, 1_024)?;
        between("auth.hash_queue", self.auth.hash_queue, 0, 100_000)?;
        between("auth.known_network_days", self.auth.known_network_days, 1, 3_650)?;
        let seconds = [
            ("http.header_seconds", self.http.header_seconds),
            ("http.body_seconds", self.http.body_seconds),
            ("http.write_seconds", self.http.write_seconds),
            ("http.execution_seconds", self.http.execution_seconds),
            ("sse.keep_alive_milliseconds", self.sse.keep_alive_milliseconds),
        ];
        if let Some((key, _)) = seconds.iter().find(|(_, seconds)| *seconds == 0) {
            return Err(format!("{key} is 0; it needs 1 or more"));
        }
        for (key, value) in [
            ("engine_concurrency", self.engine_concurrency),
            ("database_connections", self.database_connections as usize),
            ("engine.lease_seconds", self.engine.lease_seconds as usize),
            ("review.claim_seconds", self.review.claim_seconds as usize),
            ("limits.page_size", self.limits.page_size as usize),
            ("webhooks.concurrency", self.webhooks.concurrency),
            ("webhooks.host_concurrency", self.webhooks.host_concurrency),
            ("webhooks.connect_seconds", self.webhooks.connect_seconds as usize),
            ("webhooks.attempt_seconds", self.webhooks.attempt_seconds as usize),
            ("webhooks.first_retry_seconds", self.webhooks.first_retry_seconds as usize),
            ("sse.streams", self.sse.streams),
        ] {
            if value == 0 {
                return Err(format!("{key} is 0; it needs 1 or more"));
            }
        }
        let ratio = self.telemetry.sample_ratio;
        if !(0.0..=1.0).contains(&ratio) {
            return Err(format!("telemetry.sample_ratio is {ratio}; it needs 0 to 1"));
        }
        let endpoint = &self.telemetry.otlp_endpoint;
        if !endpoint.is_empty() && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(format!("telemetry.otlp_endpoint is {endpoint}; it needs http://… or https://…"));
        }
        if let Some(problem) =
            self.http.cors_origins.iter().find_map(|origin| crate::http::origin_problem(origin))
        {
            return Err(format!("http.cors_origins: {problem}"));
        }
        if self.persisted.mode != Trusted::Off && self.persisted.path.is_empty() {
            return Err("persisted.mode is not off; persisted.path must name a folder or a manifest".into());
        }
        self.websocket.check().map_err(|error| format!("websocket: {error}"))
    }

    fn check_public_url(&self) -> Result<(), String> {
        let good = |url: Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        if Url::parse(&self.public_url).is_ok_and(good) {
            return Ok(());
        }
        let right = "it needs an address such as https://docket.example.com, without query, fragment or user";
        Err(format!("public_url is {:?}; {right}", self.public_url))
    }

    /// How clients reach this server, which listens on `address`.
    pub fn public_url(&self, address: SocketAddr) -> String {
        match self.public_url.as_str() {
            "" => format!("http://{address}"),
            url => url.trim_end_matches('/').to_owned(),
        }
    }

    /// The database's URL, the embedded default filled in.
    pub fn database(&self) -> String {
        match self.database_url.expose() {
            "" => format!("sqlite://{}", self.data_dir.join("docket.db").display()),
            url => url.to_owned(),
        }
    }
}

/// Refuses a value by its key where it is out of range.
fn between<N: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    value: N,
    least: N,
    most: N,
) -> Result<(), String> {
    if value < least || value > most {
        return Err(format!("{key} is {value}; it needs {least} to {most}"));
    }
    Ok(())
}

/// Whether an address is on this machine, so that nobody listens in between.
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// `DOCKET_KEY` and `DOCKET_SECTION__KEY`, and what stands for them. What is text in the defaults is taken as text, so that a secret of digits only is
/// no number.
fn environment(defaults: &Figment, variables: impl Iterator<Item = (String, String)>) -> Dict {
    let mut found = Dict::new();
    let standard = |name: &String| STANDARD.iter().position(|(standard, _)| standard == name);
    // What is set later wins.
    let (others, ours): (Vec<_>, Vec<_>) = variables.partition(|(name, _)| standard(name).is_some());
    let others =
        others.into_iter().filter_map(|(name, text)| Some((STANDARD[standard(&name)?].1.to_owned(), text)));
    for (name, text) in others.chain(ours) {
        let Some(key) = name.strip_prefix("DOCKET_") else { continue };
        if NOT_KEYS.iter().any(|other| key.starts_with(other)) {
            continue;
        }
        let path = key.to_lowercase().replace("__", ".");
        let is_text = matches!(defaults.find_value(&path), Ok(figment::value::Value::String(..)));
        let value = match text.parse::<figment::value::Value>() {
            Ok(parsed) if !is_text => parsed,
            _ => text.into(),
        };
        match path.split_once('.') {
            Some((section, key)) => {
                let inner = found.entry(section.to_owned()).or_insert_with(|| Dict::new().into());
                if let figment::value::Value::Dict(_, inner) = inner {
                    inner.insert(key.to_owned(), value);
                }
            }
            None => {
                found.insert(path, value);
            }
        }
    }
    found
}

fn refuse_unknown(defaults: &Figment, given: &Figment) -> Result<(), String> {
    let known = keys(defaults)?;
    for key in keys(given)? {
        if known.contains(&key) {
            continue;
        }
        let nearest = known
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, &key).total_cmp(&strsim::jaro_winkler(b, &key)));
        return Err(match nearest.filter(|near| strsim::jaro_winkler(near, &key) > 0.8) {
            Some(near) => format!("configuration: there is no key {key}; did you mean {near}?"),
            None => format!("configuration: there is no key {key}; config.default.toml lists all"),
        });
    }
    Ok(())
}

fn keys(figment: &Figment) -> Result<Vec<String>, String> {
    let all: Dict = figment.extract().map_err(|error| format!("configuration: {error}"))?;
    let mut keys = Vec::new();
    for (key, value) in all {
        match value.into_dict() {
            // These refuse unknown keys themselves, with the list of those that exist.
            Some(_) if OPEN_SECTIONS.contains(&key.as_str()) => {}
            Some(section) => keys.extend(section.into_keys().map(|inner| format!("{key}.{inner}"))),
            None => keys.push(key),
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(Some(file.path()), &Flags::default())
    }

    #[test]
    fn the_default_file_is_the_defaults() {
        let config = Config::load(None, &Flags::default()).unwrap();
        assert_eq!(config.listen.port(), 8080);
        assert_eq!(config.database(), "sqlite://docket-data/docket.db");
    }

    #[test]
    fn flags_override_the_file_which_overrides_the_defaults() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "listen = '127.0.0.1:1'\nsignup = 'closed'\n[limits]\npage_size = 7")
            .unwrap();
        let flags = Flags { listen: Some("127.0.0.1:2".into()), ..Flags::default() };
        let config = Config::load(Some(file.path()), &flags).unwrap();
        assert_eq!((config.listen.port(), config.signup, config.limits.page_size), (2, Signup::Closed, 7));
        assert_eq!(config.limits.metadata_bytes, 65_536, "the rest of a section stays");
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_known_one() {
        let error = load("sign_up = 'open'").unwrap_err();
        assert_eq!(error, "configuration: there is no key sign_up; did you mean signup?");
        let error = load("[limits]\nupload_byte = 1").unwrap_err();
        assert!(error.ends_with("did you mean limits.upload_bytes?"), "{error}");
        assert!(load("zzz = 1").unwrap_err().ends_with("config.default.toml lists all"));
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        assert!(load("signup = 'perhaps'").unwrap_err().contains("signup"));
        assert!(load("jwt_secret = 'short'").unwrap_err().contains("32"));
        assert!(load("engine_concurrency = 0").unwrap_err().contains("engine_concurrency"));
        let short = load("jwt_previous_secrets = ['short']").unwrap_err();
        assert_eq!(short, "jwt_previous_secrets has 5 bytes; it needs 32 or more");
        for (section, key, values) in [
            ("auth", "token_seconds", &["0", "4294967295"][..]),
            ("auth", "hash_concurrency", &["0", "9223372036854775807"]),
            ("auth", "hash_queue", &["9223372036854775807"]),
            ("auth", "known_network_days", &["0", "4294967295"]),
            ("rates", "requests_per_minute", &["0"]),
            ("http", "trusted_proxies", &["['10.0.0.0/33']", "['proxy']", "'10.0.0.0/8'"]),
        ] {
            for value in values {
                let error = load(&format!("[{section}]\n{key} = {value}")).unwrap_err();
                assert!(error.contains(&format!("{section}.{key}")), "{error}");
            }
        }
        for url in
            ["docket.example.com", "ftp://a", "http://", "https://a/?q=1", "https://a/#f", "https://me@a"]
        {
            let error = load(&format!("public_url = '{url}'")).unwrap_err();
            assert!(error.starts_with("public_url is") && error.contains("https://docket"), "{error}");
        }
        assert!(load("public_url = 'https://docket.example.com/api/'").is_ok());
    }

    #[test]
    fn an_issuer_is_configured_wholly_or_not_at_all() {
        let oidc = |further: &str| load(&format!("[oidc]\naudience = 'docket'\n{further}")).map(drop);
        assert_eq!(oidc("issuer = 'https://id.example.com'"), Ok(()));
        assert_eq!(oidc("issuer = 'http://127.0.0.1:99/realm'\njwks_url = 'http://[::1]/keys'"), Ok(()));
        for (further, key) in [
            ("issuer = 'http://id.example.com'", "oidc.issuer"),
            ("issuer = 'id.example.com'", "oidc.issuer"),
            ("issuer = 'http://localhost.example.com'", "oidc.issuer"),
            ("issuer = 'https://a'\njwks_url = 'http://a/keys'", "oidc.jwks_url"),
            ("issuer = 'https://a'\nalgorithms = []", "oidc.algorithms"),
            ("issuer = 'https://a'\nalgorithms = ['RS256', 'HS256']", "oidc.algorithms"),
            ("issuer = 'https://a'\nalgorithms = ['none']", "oidc.algorithms"),
            ("issuer = 'https://a'\nretry_seconds = 0", "oidc.retry_seconds"),
            ("issuer = 'https://a'\nclock_skew_seconds = 9999", "oidc.clock_skew_seconds"),
        ] {
            let error = oidc(further).unwrap_err();
            assert!(error.contains(key), "{further}: {error}");
        }
        assert!(load("[oidc]\nissuer = 'https://a'").unwrap_err().starts_with("oidc.audience is"));
        let network = load("[webhooks]\nallowed_networks = ['10.0.0.0/99']").unwrap_err();
        assert!(network.contains("webhooks.allowed_networks"), "{network}");
        assert!(load("[webhooks]\nconcurrency = 0").unwrap_err().contains("webhooks.concurrency"));
        let origins = |list: &str| load(&format!("[http]\ncors_origins = [{list}]"));
        assert!(origins("'https://a.example', 'https://a.example/x'").unwrap_err().contains("a.example/x"));
        assert_eq!(origins("'https://a.example'").unwrap().http.cors_origins.len(), 1);
        assert!(load("[persisted]\nmode = 'only'").unwrap_err().contains("persisted.path"));
    }

    #[test]
    fn variables_are_taken_as_what_their_keys_are() {
        let given = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let variables = [
            given("DOCKET_JWT_SECRET", "00001111222233334444555566667777"),
            given("DOCKET_LIMITS__PAGE_SIZE", "7"),
            given("DOCKET_ENGINE_CONCURRENCY", "3"),
            given("DOCKET_WEBHOOKS__ALLOWED_NETWORKS", r#"["10.0.0.0/8", "::1/128"]"#),
            given("DOCKET_TEST_POSTGRES_URL", "x"),
            given("DOCKET_TOKEN", "x"),
            given("HOME", "/"),
        ];
        let figment =
            defaults.clone().merge(Serialized::defaults(environment(&defaults, variables.into_iter())));
        refuse_unknown(&defaults, &figment).unwrap();
        let config: Config = figment.extract().unwrap();
        assert_eq!(config.jwt_secret.expose(), "00001111222233334444555566667777");
        assert_eq!((config.limits.page_size, config.engine_concurrency), (7, 3));
        assert_eq!(config.webhooks.allowed_networks.len(), 2);
    }

    #[test]
    fn standard_variables_stand_for_ours_and_ours_win() {
        let given = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let read = |variables: Vec<_>| -> Config {
            let env = environment(&defaults, variables.into_iter());
            defaults.clone().merge(Serialized::defaults(env)).extract().unwrap()
        };
        let standard = || {
            vec![
                given("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318"),
                given("OTEL_SERVICE_NAME", "docket-eu"),
            ]
        };
        let config = read(standard());
        assert_eq!(config.telemetry.otlp_endpoint, "http://a:4318");
        assert_eq!(config.telemetry.service_name, "docket-eu");
        let ours = given("DOCKET_TELEMETRY__OTLP_ENDPOINT", "");
        let config = read([vec![ours], standard()].concat());
        assert_eq!(config.telemetry.otlp_endpoint, "", "whichever comes first");
    }

    #[test]
    fn traces_need_an_address_and_a_ratio() {
        let error = load("[telemetry]\notlp_endpoint = 'localhost:4317'").unwrap_err();
        assert!(error.contains("telemetry.otlp_endpoint") && error.contains("http://"), "{error}");
        for ratio in ["-0.1", "1.1", "nan"] {
            let error = load(&format!("[telemetry]\nsample_ratio = {ratio}")).unwrap_err();
            assert!(error.contains("telemetry.sample_ratio"), "{error}");
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let config = load("jwt_secret = 'correct horse battery staple stapler'").unwrap();
        let printed = format!("{config:?}");
        assert!(!printed.contains("horse") && printed.contains("(redacted)"), "{printed}");
    }
}
