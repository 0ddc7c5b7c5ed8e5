//! Reads values from the environment, and refuses unknown keys.

use figment::Figment;
use figment::value::Dict;

/// Prefixes of `DOCKET_` variables that are not keys of the configuration.
const NON_KEY_PREFIXES: [&str; 5] = ["CONFIG", "SERVER", "TOKEN", "URL", "TEST_"];

/// OpenTelemetry variables, each with the `DOCKET_` variable that overrides it.
const OTEL_ALIASES: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "DOCKET_TELEMETRY__OTLP_ENDPOINT"),
    ("OTEL_SERVICE_NAME", "DOCKET_TELEMETRY__SERVICE_NAME"),
];

/// Sections that refuse unknown keys themselves, with the list of valid keys.
const SELF_CHECKED_SECTIONS: [&str; 3] = ["extract", "graphql", "websocket"];

/// Reads `DOCKET_KEY`, `DOCKET_SECTION__KEY` and the OpenTelemetry variables. A key that is text in the defaults stays
/// text, so that a secret of digits is not a number.
pub(super) fn read_environment(
    defaults: &Figment,
    variables: impl Iterator<Item = (String, String)>,
) -> Dict {
    let mut found = Dict::new();
    let alias = |name: &String| OTEL_ALIASES.iter().position(|(otel, _)| otel == name);
    // Our own variables come last, because later values override earlier ones.
    let (aliases, ours): (Vec<_>, Vec<_>) = variables.partition(|(name, _)| alias(name).is_some());
    let aliases =
        aliases.into_iter().filter_map(|(name, text)| Some((OTEL_ALIASES[alias(&name)?].1.to_owned(), text)));
    for (name, text) in aliases.chain(ours) {
        let Some(key) = name.strip_prefix("DOCKET_") else { continue };
        if NON_KEY_PREFIXES.iter().any(|prefix| key.starts_with(prefix)) {
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

/// Returns an error for a key that the defaults do not have, with the most similar key.
pub(super) fn refuse_unknown_keys(defaults: &Figment, given: &Figment) -> Result<(), String> {
    let known = keys(defaults)?;
    for key in keys(given)? {
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

fn keys(figment: &Figment) -> Result<Vec<String>, String> {
    let all: Dict = figment.extract().map_err(|error| format!("configuration: {error}"))?;
    let mut keys = Vec::new();
    for (key, value) in all {
        match value.into_dict() {
            Some(_) if SELF_CHECKED_SECTIONS.contains(&key.as_str()) => {}
            Some(section) => keys.extend(section.into_keys().map(|inner| format!("{key}.{inner}"))),
            None => keys.push(key),
        }
    }
    Ok(keys)
}
