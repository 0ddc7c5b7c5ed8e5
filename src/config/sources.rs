//! Reads the defaults, the file, the environment and the flags, and refuses unknown keys.

use std::ffi::OsString;
use std::path::Path;

use super::flags::Flags;
use super::tree::{Kind, Source, Table, Value};
use super::variable;

/// The default of each key, with its description.
const DEFAULTS: &str = include_str!("../../config.default.toml");

/// Prefixes of `DOCKET_` variables that are not keys of the configuration.
const NON_KEY_PREFIXES: [&str; 5] = ["CONFIG", "SERVER", "TOKEN", "URL", "TEST_"];

/// OpenTelemetry variables, each with the `DOCKET_` variable that overrides it.
const OTEL_ALIASES: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "DOCKET_TELEMETRY__OTLP_ENDPOINT"),
    ("OTEL_SERVICE_NAME", "DOCKET_TELEMETRY__SERVICE_NAME"),
];

/// Sections that refuse unknown keys themselves, with the list of valid keys.
const SELF_CHECKED_SECTIONS: [&str; 3] = ["extract", "graphql", "websocket"];

/// Reads `config.default.toml`.
pub(super) fn read_defaults() -> Result<Value, String> {
    read_toml(DEFAULTS, &Source::Defaults)
}

/// Reads the configuration file.
pub(super) fn read_file(path: &Path) -> Result<Value, String> {
    if !path.is_file() {
        return Err(format!("the configuration file {} does not exist", path.display()));
    }
    let source = Source::File(path.to_owned());
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("configuration: {error} in {source}"))?;
    read_toml(&text, &source)
}

fn read_toml(text: &str, source: &Source) -> Result<Value, String> {
    let table = text.parse().map_err(|error| format!("configuration: {error} in {source}"))?;
    Ok(Value::from_toml(toml::Value::Table(table), source))
}

/// Returns the keys that flags set.
pub(super) fn read_flags(flags: &Flags) -> Result<Value, String> {
    let data_dir = match &flags.data_dir {
        Some(path) => Some(path.to_str().ok_or("configuration: --data-dir is not valid UTF-8")?),
        None => None,
    };
    let given = [
        ("listen", "--listen", flags.listen.as_deref()),
        ("data_dir", "--data-dir", data_dir),
        ("database_url", "--database-url", flags.database_url.as_deref()),
    ];
    let keys = given.into_iter().filter_map(|(key, flag, text)| {
        Some((key.to_owned(), Value::new(Kind::Text(text?.to_owned()), &Source::Flag(flag))))
    });
    Ok(Value::new(Kind::Table(keys.collect()), &Source::Defaults))
}

/// Decodes the environment. An error names a variable that is not valid UTF-8 and that [`read_environment`] would read;
/// the variables of other programs may have any encoding, and are skipped.
pub(super) fn decode_environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, String> {
    let decode = |(name, text): (OsString, OsString)| {
        let shown = name.to_string_lossy().into_owned();
        let is_ours = shown.starts_with("DOCKET_") || OTEL_ALIASES.iter().any(|(otel, _)| *otel == shown);
        match (name.into_string(), text.into_string()) {
            (Ok(name), Ok(text)) => Some(Ok((name, text))),
            _ if is_ours => Some(Err(format!("configuration: the variable {shown} is not valid UTF-8"))),
            _ => None,
        }
    };
    variables.filter_map(decode).collect()
}

/// Reads `DOCKET_KEY`, `DOCKET_SECTION__KEY` and the OpenTelemetry variables. A key that is text in the defaults stays
/// text, so that a secret of digits is not a number.
pub(super) fn read_environment(defaults: &Value, variables: impl Iterator<Item = (String, String)>) -> Value {
    let mut found = Table::new();
    let alias = |name: &String| OTEL_ALIASES.iter().position(|(otel, _)| otel == name);
    // Our own variables come last, because later values override earlier ones.
    let (aliases, ours): (Vec<_>, Vec<_>) = variables.partition(|(name, _)| alias(name).is_some());
    for (name, text) in aliases.into_iter().chain(ours) {
        let docket_name = alias(&name).map_or(name.as_str(), |index| OTEL_ALIASES[index].1);
        let Some(key) = docket_name.strip_prefix("DOCKET_") else { continue };
        if NON_KEY_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
            continue;
        }
        let path = key.to_lowercase().replace("__", ".");
        let source = Source::Variable(name);
        let is_text = defaults.find(&path).is_some_and(|value| matches!(value.kind, Kind::Text(_)));
        let value =
            if is_text { Value::new(Kind::Text(text), &source) } else { variable::parse(&text, &source) };
        match path.split_once('.') {
            Some((section, key)) => {
                let section = found.entry(section.to_owned());
                let section = section.or_insert_with(|| Value::new(Kind::Table(Table::new()), &source));
                if let Kind::Table(keys) = &mut section.kind {
                    keys.insert(key.to_owned(), value);
                }
            }
            None => {
                found.insert(path, value);
            }
        }
    }
    Value::new(Kind::Table(found), &Source::Defaults)
}

/// Returns an error for a key that the defaults do not have, with the most similar key.
pub(super) fn refuse_unknown_keys(defaults: &Value, given: &Value) -> Result<(), String> {
    let known = list_keys(defaults);
    for key in list_keys(given) {
        if known.contains(&key) {
            continue;
        }
        let nearest = known
            .iter()
            .max_by(|a, b| strsim::jaro_winkler(a, &key).total_cmp(&strsim::jaro_winkler(b, &key)));
        return Err(match nearest.filter(|near| strsim::jaro_winkler(near, &key) > 0.8) {
            Some(near) => format!("configuration: unknown key {key}. Did you mean {near}?"),
            None => format!("configuration: unknown key {key}. config.default.toml lists all keys."),
        });
    }
    Ok(())
}

/// Returns the keys as `key` and `section.key`, without those of sections that check themselves.
fn list_keys(value: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    for (key, value) in value.as_table().into_iter().flatten() {
        match value.as_table() {
            Some(_) if SELF_CHECKED_SECTIONS.contains(&key.as_str()) => {}
            Some(section) => keys.extend(section.keys().map(|inner| format!("{key}.{inner}"))),
            None => keys.push(key.clone()),
        }
    }
    keys
}
