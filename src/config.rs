//! The configuration, parsed once. No other module reads the environment.
//!
//! The defaults are `config.default.toml`, compiled into the program. A file overrides them, `DOCKET_*` variables
//! override the file, and flags override everything.

mod check;
mod flags;
pub mod graphql;
mod origin;
mod sections;
mod sources;
pub(crate) mod switch;
mod tree;
mod values;
mod variable;
pub mod websocket;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub(crate) use check::{SECRET_BYTES, is_loopback};
pub use flags::Flags;
pub(crate) use sections::{Auth, Http, Oidc, Persisted, Rates, Retention, Review, Sse, Telemetry, Workers};
pub use sections::{Engine, Limits, Webhooks};
use sources::{
    decode_environment, read_defaults, read_environment, read_file, read_flags, refuse_unknown_keys,
};
pub use switch::Switch;
use tree::Source;
pub(crate) use values::LogFormat;
pub use values::{Secret, Signup, TrustedDocuments};

/// The whole configuration. `config.default.toml` documents each key.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml is the documentation of the keys")]
pub struct Config {
    pub listen: SocketAddr,
    pub(crate) public_url: String,
    pub data_dir: PathBuf,
    pub database_url: Secret,
    pub database_connections: u32,
    pub database_wait_seconds: u32,
    pub(crate) storage_url: String,
    pub(crate) bus_url: String,
    pub signup: Signup,
    pub rate_limits: Switch,
    pub log: String,
    /// Whether the operator has set `log`.
    #[serde(skip)]
    pub(crate) log_is_set: bool,
    pub(crate) log_format: LogFormat,
    pub(crate) jwt_secret: Secret,
    pub(crate) jwt_previous_secrets: Vec<Secret>,
    pub(crate) engine_concurrency: usize,
    pub noop_type: Switch,
    pub(crate) auth: Auth,
    pub oidc: Oidc,
    pub rates: Rates,
    pub http: Http,
    pub sse: Sse,
    pub persisted: Persisted,
    pub engine: Engine,
    pub review: Review,
    pub workers: Workers,
    pub(crate) retention: Retention,
    pub limits: Limits,
    pub telemetry: Telemetry,
    pub webhooks: Webhooks,
    #[serde(default)]
    pub extract: docket_extract::child::Limits,
    #[serde(default)]
    pub graphql: graphql::Limits,
    #[serde(default)]
    pub websocket: websocket::Settings,
}

impl Config {
    /// Loads the defaults, the file, the environment and the flags; later ones override earlier ones. The error names
    /// the key and source of an invalid value, and the valid values.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, String> {
        let defaults = read_defaults()?;
        let mut merged = defaults.clone();
        if let Some(path) = file {
            merged.merge(read_file(path)?);
        }
        let variables = decode_environment(std::env::vars_os())?;
        merged.merge(read_environment(&defaults, variables.into_iter()));
        merged.merge(read_flags(flags)?);
        refuse_unknown_keys(&defaults, &merged)?;
        let mut config: Self = merged.read().map_err(|error| format!("configuration: {error}"))?;
        config.log_is_set = merged.find("log").is_some_and(|value| value.source != Source::Defaults);
        config.check()?;
        Ok(config)
    }

    /// Returns the URL of this server for clients; the server listens on `address`.
    pub(crate) fn public_url(&self, address: SocketAddr) -> String {
        match self.public_url.as_str() {
            "" => format!("http://{address}"),
            url => url.trim_end_matches('/').to_owned(),
        }
    }

    /// Returns the longest wait for a free database connection.
    pub(crate) fn database_acquire_timeout(&self) -> Duration {
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
            ("engine", "poll_milliseconds", &["0", "9", "3600001"]),
            ("webhooks", "poll_milliseconds", &["0"]),
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

    /// Loads the defaults and these variables.
    fn load_variables(variables: &[(&str, &str)]) -> Result<Config, String> {
        let defaults = read_defaults().unwrap();
        let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        let mut merged = defaults.clone();
        merged.merge(read_environment(&defaults, variables));
        refuse_unknown_keys(&defaults, &merged)?;
        merged.read()
    }

    #[test]
    fn variables_are_parsed_by_the_type_of_their_key() {
        let config = load_variables(&[
            ("DOCKET_JWT_SECRET", "00001111222233334444555566667777"),
            ("DOCKET_LIMITS__PAGE_SIZE", "7"),
            ("DOCKET_LIMITS__UPLOAD_BYTES", "18446744073709551615"),
            ("DOCKET_ENGINE_CONCURRENCY", " 3 "),
            ("DOCKET_TELEMETRY__SAMPLE_RATIO", "1"),
            ("DOCKET_WEBHOOKS__ALLOWED_NETWORKS", r#"["10.0.0.0/8", "::1/128"]"#),
            ("DOCKET_HTTP__CORS_ORIGINS", "[https://a.example, https://b.example]"),
            ("DOCKET_AUTH", "{hash_queue = 5, token_seconds=60}"),
            ("DOCKET_TEST_POSTGRES_URL", "x"),
            ("DOCKET_TOKEN", "x"),
            ("HOME", "/"),
        ])
        .unwrap();
        assert_eq!(config.jwt_secret.expose(), "00001111222233334444555566667777");
        assert_eq!((config.limits.page_size, config.engine_concurrency), (7, 3));
        assert_eq!((config.limits.upload_bytes, config.telemetry.sample_ratio), (u64::MAX, 1.0));
        assert_eq!(config.webhooks.allowed_networks.len(), 2);
        assert_eq!(config.http.cors_origins, ["https://a.example", "https://b.example"]);
        assert_eq!((config.auth.hash_queue, config.auth.token_seconds), (5, 60));
        assert_eq!(config.auth.hash_concurrency, 2, "other keys of the section keep their defaults");
    }

    #[test]
    fn variable_that_is_not_utf8_is_refused_by_name() {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt;

        let decode = |name: &[u8], text: &[u8]| {
            let [name, text] = [name, text].map(|bytes| OsString::from_vec(bytes.to_vec()));
            decode_environment([(name, text)].into_iter())
        };
        for name in ["DOCKET_JWT_SECRET", "OTEL_SERVICE_NAME"] {
            let error = decode(name.as_bytes(), b"\xff").unwrap_err();
            assert_eq!(error, format!("configuration: the variable {name} is not valid UTF-8"));
        }
        assert!(decode(b"DOCKET_\xff", b"x").unwrap_err().contains("DOCKET_"));
        assert_eq!(decode(b"PS1", b"\xff"), Ok(Vec::new()), "other programs may use other encodings");
        assert_eq!(decode(b"DOCKET_LOG", b"\xc3\xa4"), Ok(vec![("DOCKET_LOG".to_owned(), "ä".to_owned())]));
    }

    #[test]
    fn docket_variables_override_opentelemetry_variables() {
        let standard = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318"), ("OTEL_SERVICE_NAME", "docket-eu")];
        let config = load_variables(&standard).unwrap();
        assert_eq!(config.telemetry.otlp_endpoint, "http://a:4318");
        assert_eq!(config.telemetry.service_name, "docket-eu");
        let ours = ("DOCKET_TELEMETRY__OTLP_ENDPOINT", "");
        let config = load_variables(&[&[ours], &standard[..]].concat()).unwrap();
        assert_eq!(config.telemetry.otlp_endpoint, "", "in any order");
    }

    #[test]
    fn errors_name_the_file_variable_or_flag_of_a_value() {
        let error = load_variables(&[("DOCKET_LIMITS__PAGE_SIZE", "many")]).unwrap_err();
        assert_eq!(
            error,
            "invalid type: string \"many\", expected u32 for key \"limits.page_size\" in the variable \
             DOCKET_LIMITS__PAGE_SIZE"
        );
        let error = load_variables(&[("DOCKET_LOGS", "info")]).unwrap_err();
        assert_eq!(error, "configuration: unknown key logs. Did you mean log?");
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display();
        let load_file = |text: &str| {
            std::fs::write(file.path(), text).unwrap();
            Config::load(Some(file.path()), &Flags::default()).unwrap_err()
        };
        assert_eq!(
            load_file("signup = 'perhaps'"),
            format!(
                "configuration: unknown variant `perhaps`, expected `open` or `closed` for key \"signup\" in the file \
                 {path}"
            )
        );
        let error = load_file("[http]\ntrusted_proxies = ['10.0.0.0/8', 7]");
        assert!(
            error.ends_with(&format!("for key \"http.trusted_proxies[1]\" in the file {path}")),
            "{error}"
        );
        let error = load_file("listen = ");
        assert!(error.contains("line 1") && error.ends_with(&format!("in the file {path}")), "{error}");
        let flags = Flags { listen: Some("here".into()), ..Flags::default() };
        let error = Config::load(None, &flags).unwrap_err();
        assert!(error.ends_with("for key \"listen\" in the flag --listen"), "{error}");
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
