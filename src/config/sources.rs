//! Where values come from besides the files: the environment; and which keys there are.

use figment::Figment;
use figment::value::Dict;

/// Variables with this prefix that are not keys of the configuration.
const NOT_KEYS: [&str; 5] = ["CONFIG", "SERVER", "TOKEN", "URL", "TEST_"];

/// Variables of OpenTelemetry's own that stand for variables of ours; ours win.
const STANDARD: [(&str, &str); 2] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "DOCKET_TELEMETRY__OTLP_ENDPOINT"),
    ("OTEL_SERVICE_NAME", "DOCKET_TELEMETRY__SERVICE_NAME"),
];

/// Sections whose keys the parts that own them document and check.
const OPEN_SECTIONS: [&str; 3] = ["extract", "graphql", "websocket"];

/// `DOCKET_KEY` and `DOCKET_SECTION__KEY`, and what stands for them. What is text in the defaults is taken as text, so that a secret of digits only is
/// no number.
pub(super) fn environment(defaults: &Figment, variables: impl Iterator<Item = (String, String)>) -> Dict {
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

/// Refuses keys that the defaults do not have, with the nearest one that they do.
pub(super) fn refuse_unknown(defaults: &Figment, given: &Figment) -> Result<(), String> {
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
