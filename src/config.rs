//! The configuration, parsed once. No other module reads the environment.
//!
//! The defaults are `config.default.toml`, compiled into the program. A file overrides them, `DOCKET_*` variables
//! override the file, and flags override everything.

mod check;
mod sections;
mod sources;
pub mod switch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

pub use check::is_loopback;
pub use sections::{
    Auth, Engine, Http, Limits, Oidc, Persisted, Rates, Retention, Review, Sse, Telemetry, Webhooks, Workers,
};
use sources::{read_environment, refuse_unknown_keys};
pub use switch::Switch;

/// The default of each key, with its description.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// Whether people may create accounts themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signup {
    /// Anybody may.
    Open,
    /// Only the command line creates accounts.
    Closed,
}

/// Whether trusted documents are loaded, and whether other documents may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustedDocuments {
    /// There are no trusted documents.
    Off,
    /// Trusted and all other documents run.
    Allow,
    /// Only trusted documents run.
    Only,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// JSON for log collectors.
    Json,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns the value.
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

/// The whole configuration. `config.default.toml` documents each key.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Config {
    pub listen: SocketAddr,
    pub public_url: String,
    pub data_dir: PathBuf,
    pub database_url: Secret,
    pub database_connections: u32,
    pub database_wait_seconds: u32,
    pub storage_url: String,
    pub bus_url: String,
    pub signup: Signup,
    pub rate_limits: Switch,
    pub log: String,
    /// Whether the operator has set `log`.
    #[serde(skip)]
    pub log_is_set: bool,
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

/// Values from the command line; `None` for a missing flag.
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
    /// Loads the defaults, the file, the environment and the flags; later ones override earlier ones. The error names
    /// the key and source of an invalid value, and the valid values.
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
        let env = read_environment(&defaults, variables);
        figment = figment.merge(Serialized::defaults(env)).merge(Serialized::defaults(flags));
        refuse_unknown_keys(&defaults, &figment)?;
        let mut config: Self = figment.extract().map_err(|error| format!("configuration: {error}"))?;
        let source = |figment: &Figment| figment.find_metadata("log").map(|source| source.name.clone());
        config.log_is_set = source(&figment) != source(&defaults);
        config.check()?;
        Ok(config)
    }

    /// Returns the URL of this server for clients; the server listens on `address`.
    pub fn public_url(&self, address: SocketAddr) -> String {
        match self.public_url.as_str() {
            "" => format!("http://{address}"),
            url => url.trim_end_matches('/').to_owned(),
        }
    }

    /// Returns the longest wait for a free database connection.
    pub fn database_acquire_timeout(&self) -> Duration {
        Duration::from_secs(self.database_wait_seconds.into())
    }

    /// Returns the URL of the database, by default that of the embedded one.
    pub fn database(&self) -> String {
        match self.database_url.expose() {
            "" => format!("sqlite://{}", self.data_dir.join("docket.db").display()),
            url => url.to_owned(),
        }
    }
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
    fn defaults_come_from_the_default_file() {
        let config = Config::load(None, &Flags::default()).unwrap();
        assert_eq!(config.listen.port(), 8080);
        assert!(!config.log_is_set && load("log = 'info'").unwrap().log_is_set);
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
        assert_eq!(config.limits.metadata_bytes, 65_536, "other keys of the section keep their defaults");
    }

    #[test]
    fn unknown_keys_are_refused_with_a_suggestion() {
        let error = load("sign_up = 'open'").unwrap_err();
        assert_eq!(error, "configuration: unknown key sign_up. Did you mean signup?");
        let error = load("[limits]\nupload_byte = 1").unwrap_err();
        assert!(error.ends_with("Did you mean limits.upload_bytes?"), "{error}");
        assert!(load("zzz = 1").unwrap_err().ends_with("config.default.toml lists all keys."));
    }

    #[test]
    fn error_for_an_invalid_value_names_its_key() {
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
            ("http", "header_seconds", &["0", "9223372036854775807"]),
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
    fn invalid_section_values_are_refused_with_their_key() {
        let oidc = |keys: &str| load(&format!("[oidc]\naudience = 'docket'\n{keys}")).map(drop);
        assert_eq!(oidc("issuer = 'https://id.example.com'"), Ok(()));
        assert_eq!(oidc("issuer = 'http://127.0.0.1:99/realm'\njwks_url = 'http://[::1]/keys'"), Ok(()));
        for (keys, key) in [
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
            let error = oidc(keys).unwrap_err();
            assert!(error.contains(key), "{keys}: {error}");
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
    fn variables_are_parsed_by_the_type_of_their_key() {
        let variable = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let variables = [
            variable("DOCKET_JWT_SECRET", "00001111222233334444555566667777"),
            variable("DOCKET_LIMITS__PAGE_SIZE", "7"),
            variable("DOCKET_ENGINE_CONCURRENCY", "3"),
            variable("DOCKET_WEBHOOKS__ALLOWED_NETWORKS", r#"["10.0.0.0/8", "::1/128"]"#),
            variable("DOCKET_TEST_POSTGRES_URL", "x"),
            variable("DOCKET_TOKEN", "x"),
            variable("HOME", "/"),
        ];
        let figment =
            defaults.clone().merge(Serialized::defaults(read_environment(&defaults, variables.into_iter())));
        refuse_unknown_keys(&defaults, &figment).unwrap();
        let config: Config = figment.extract().unwrap();
        assert_eq!(config.jwt_secret.expose(), "00001111222233334444555566667777");
        assert_eq!((config.limits.page_size, config.engine_concurrency), (7, 3));
        assert_eq!(config.webhooks.allowed_networks.len(), 2);
    }

    #[test]
    fn docket_variables_override_opentelemetry_variables() {
        let variable = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let defaults = Figment::from(Toml::string(DEFAULTS));
        let read = |variables: Vec<_>| -> Config {
            let env = read_environment(&defaults, variables.into_iter());
            defaults.clone().merge(Serialized::defaults(env)).extract().unwrap()
        };
        let standard = || {
            vec![
                variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318"),
                variable("OTEL_SERVICE_NAME", "docket-eu"),
            ]
        };
        let config = read(standard());
        assert_eq!(config.telemetry.otlp_endpoint, "http://a:4318");
        assert_eq!(config.telemetry.service_name, "docket-eu");
        let ours = variable("DOCKET_TELEMETRY__OTLP_ENDPOINT", "");
        let config = read([vec![ours], standard()].concat());
        assert_eq!(config.telemetry.otlp_endpoint, "", "in any order");
    }

    #[test]
    fn invalid_trace_endpoint_or_ratio_is_refused() {
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
