//! Compares the exported metrics with the documentation and the dashboard.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::program::Program;
use super::run_workload;

const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const DASHBOARD: &str = include_str!("../../../docs/grafana/docket.json");

/// The kind and labels of each metric, by name.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

/// Parses the table of the documentation: name, kind, labels, description.
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

/// Parses a response of `/metrics`.
fn exported(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a name and a kind");
            metrics.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((series, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end));
            let name = name.filter(|name| metrics.contains_key(*name)).unwrap_or(series);
            let (_, known) = metrics.get_mut(name).unwrap_or_else(|| panic!("{line} has no type"));
            let labels = labels.split("\",").filter_map(|label| label.split_once("=\""));
            known.extend(labels.map(|(label, _)| label.to_owned()).filter(|label| label != "le"));
        }
    }
    metrics
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exported_metrics_match_the_documented_metrics() {
    let program = Program::start(&[]).await;
    run_workload(&program).await;
    let response = program.http.get(format!("{}/metrics", program.url)).send().await.expect("a response");
    let text = response.text().await.expect("a text");
    program.stop().await;
    assert_eq!(exported(&text), documented(), "docs/operations.md, section Metrics");
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

/// Returns the metrics that an expression reads.
fn metric_names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let prefixes = ["docket_", "http_server_", "db_client_", "target_"];
    words.filter(move |word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
}

#[test]
fn dashboard_shows_every_documented_metric_and_no_other() {
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
            shown.extend(metric_names(expression));
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
    assert!(unknown.is_empty(), "the dashboard reads unknown metrics: {unknown:?}");
    let seen: BTreeSet<_> = shown.iter().filter_map(|word| series.get(*word)).collect();
    let unseen: Vec<_> = documented.keys().filter(|name| !seen.contains(name)).collect();
    assert!(unseen.is_empty(), "no panel shows {unseen:?}");
}
