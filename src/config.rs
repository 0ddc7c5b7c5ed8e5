//! Configuration: parsed once, handed on in parts. The only reader of the environment.
//!
//! Defaults are `config.default.toml`, which is compiled in; a file overrides them, `DOCKET_*` variables override the file,
//! flags override all.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Dict;
use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// The defaults, with what each key means.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// Variables with this prefix that are not keys of the configuration.
const NOT_KEYS: [&str; 4] = ["CONFIG", "SERVER", "TOKEN", "TEST_"];

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
    pub engine_concurrency: usize,
    pub noop_type: Switch,
    pub auth: Auth,
    pub http: Http,
    pub sse: Sse,
    pub persisted: Persisted,
    pub engine: Engine,
    pub review: Review,
    pub retention: Retention,
    pub limits: Limits,
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
}

/// Section `[http]`.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Http {
    pub header_seconds: u64,
    pub body_seconds: u64,
    pub write_seconds: u64,
    pub execution_seconds: u64,
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
        if !matches!(self.bus_url.as_str(), "" | "local") {
            return Err(format!("bus_url is {}; this version takes local", self.bus_url));
        }
        let secret = self.jwt_secret.expose();
        if !secret.is_empty() && secret.len() < 32 {
            return Err(format!("jwt_secret has {} bytes; it needs 32 or more", secret.len()));
        }
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
            ("auth.hash_concurrency", self.auth.hash_concurrency),
            ("database_connections", self.database_connections as usize),
            ("engine.lease_seconds", self.engine.lease_seconds as usize),
            ("review.claim_seconds", self.review.claim_seconds as usize),
            ("limits.page_size", self.limits.page_size as usize),
            ("sse.streams", self.sse.streams),
        ] {
            if value == 0 {
                return Err(format!("{key} is 0; it needs 1 or more"));
            }
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

/// `DOCKET_KEY` and `DOCKET_SECTION__KEY`. What is text in the defaults is taken as text, so that a secret of digits only is
/// no number.
fn environment(defaults: &Figment, variables: impl Iterator<Item = (String, String)>) -> Dict {
    let mut found = Dict::new();
    for (name, text) in variables {
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
    }

    #[test]
    fn secrets_are_never_printed() {
        let config = load("jwt_secret = 'correct horse battery staple stapler'").unwrap();
        let printed = format!("{config:?}");
        assert!(!printed.contains("horse") && printed.contains("(redacted)"), "{printed}");
    }
}
