//! The metrics are those of the documentation, and the dashboard shows them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::everything;
use super::program::Program;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const DASHBOARD: &str = include_str!("../../../docs/grafana/docket.json");

/// Kind and labels of each metric.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// The metrics in the documentation's table: name, kind, labels, what.
fn documented() -> Metrics {
    let section =
        OPERATIONS.split("\n## ").find(|section| section.starts_with("Metrics")).expect("a section");
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        match cells.as_slice() {
            ["", name, kind, labels, _, ""] if name.starts_with('`') => {
                let labels = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
                Some((name.trim_matches('`').to_owned(), ((*kind).to_owned(), labels)))
            }
            _ => None,
        }
    };
    section.lines().filter_map(row).collect()
}

/// The metrics in an answer of `/metrics`.
fn told(text: &str) -> Metrics {
    let mut told = Metrics::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a kind");
            told.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((series, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end));
            let name = name.filter(|name| told.contains_key(*name)).unwrap_or(series);
            let (_, known) = told.get_mut(name).unwrap_or_else(|| panic!("{line} has no type"));
            let labels = labels.split("\",").filter_map(|label| label.split_once("=\""));
            known.extend(labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le"));
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_are_those_of_the_documentation() {
    let program = Program::start(&[]).await;
    everything(&program).await;
    let asked = program.http.get(format!("{}/metrics", program.url)).send().await.expect("an answer");
    let text = asked.text().await.expect("a text");
    program.stop().await;
    assert_eq!(told(&text), documented(), "docs/operations.md, section Metrics");
    let uploads = text.lines().find(|line| {
        let parts = [
            "request_duration_seconds_count{",
            "method=\"POST\"",
            "status_code=\"201\"",
            "route=\"/documents\"",
        ];
        parts.iter().all(|part| line.contains(part))
    });
    assert!(uploads.is_some_and(|line| line.ends_with("} 1")), "{text}");
    assert!(text.contains("# HELP docket_jobs Jobs by status."), "{text}");
}

/// The metrics that an expression asks for.
fn asked(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let prefixes = ["docket_", "http_server_", "db_client_", "target_"];
    words.filter(move |word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
}

#[test]
fn the_dashboard_shows_every_metric_and_asks_for_no_other() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let variables = dashboard["templating"]["list"].as_array().expect("variables");
    assert!(
        variables.iter().any(|variable| variable["name"] == "datasource" && variable["type"] == "datasource")
    );
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut shown = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let title = &panel["title"];
        assert_eq!(panel["datasource"], json!({"type": "prometheus", "uid": "${datasource}"}), "{title}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{title}");
        for expression in targets.iter().map(|target| target["expr"].as_str().expect("an expression")) {
            shown.extend(asked(expression));
        }
    }
    let documented = documented();
    let labels: BTreeSet<_> =
        documented.values().flat_map(|(_, labels)| labels.iter().map(String::as_str)).collect();
    let series: BTreeMap<String, &String> = documented
        .iter()
        .flat_map(|(name, (kind, _))| {
            let ends: &[_] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            ends.iter().map(move |end| (format!("{name}{end}"), name))
        })
        .collect();
    let unknown: Vec<_> =
        shown.iter().filter(|word| !labels.contains(*word) && !series.contains_key(**word)).collect();
    assert!(unknown.is_empty(), "there are no such metrics: {unknown:?}");
    let seen: BTreeSet<_> = shown.iter().filter_map(|word| series.get(*word)).collect();
    let unseen: Vec<_> = documented.keys().filter(|name| !seen.contains(name)).collect();
    assert!(unseen.is_empty(), "no panel shows {unseen:?}");
}
