//! Scores the mapping on invoices with known values: `mapping_score FOLDER [--details]`.
//!
//! The folder has `NAME.pdf` and `NAME.expected.json`, which names its taxonomy in `taxonomies/`. Amounts are compared
//! by absolute value, dates as ISO 8601, and other texts by their letters and digits without case.
//!
//! Prints for each document and in total: expected values, right ones, and right ones among those with a confidence of
//! 0.8 or more. Unexpected values are counted separately, because they may be right.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use docket_extract::limits::Limits;
use docket_extract::mapping::{self, Finding};
use docket_extract::taxonomy::{Kind, Taxonomy};
use docket_extract::{pdf, zoning};
use serde_json::Value;

const GENERIC: &str = "invoice-generic.json";
const SURE: f64 = 0.8;

#[derive(Default, Clone, Copy)]
struct Score {
    expected: usize,
    right: usize,
    sure: usize,
    sure_right: usize,
    unexpected: usize,
}

impl Score {
    fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.right += other.right;
        self.sure += other.sure;
        self.sure_right += other.sure_right;
        self.unexpected += other.unexpected;
    }

    fn line(&self, name: &str) {
        let share = |part: usize, whole: usize| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
        println!(
            "{name:<62} {:>3}/{:<3} {:.3}   sure {:>3}/{:<3} {:.3}   unexpected sure {}",
            self.right,
            self.expected,
            share(self.right, self.expected),
            self.sure_right,
            self.sure,
            share(self.sure_right, self.sure),
            self.unexpected
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: mapping_score FOLDER [--details]")?);
    let details = std::env::args().any(|argument| argument == "--details");
    if !folder.is_dir() {
        println!("skipped: the folder {} does not exist", folder.display());
        return Ok(());
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.to_string_lossy().ends_with(".expected.json"));
    files.sort();

    let (mut own, mut generic) = (Score::default(), Score::default());
    for file in &files {
        let expected: Value = serde_json::from_slice(&fs::read(file)?)?;
        let document = expected["document"].as_str().ok_or("an expected.json does not name its document")?;
        let taxonomy = expected["taxonomy"].as_str().ok_or("an expected.json does not name its taxonomy")?;
        let score = score(&folder, document, taxonomy, &expected, details)?;
        score.line(document);
        if taxonomy == GENERIC {
            generic.add(&score)
        } else {
            own.add(&score)
        };
    }
    own.line("issuers' own taxonomies");
    generic.line("generic taxonomy");
    own.add(&generic);
    own.line("all");
    Ok(())
}

fn score(
    folder: &Path,
    document: &str,
    taxonomy: &str,
    expected: &Value,
    details: bool,
) -> Result<Score, Box<dyn Error>> {
    let bytes = Arc::new(fs::read(folder.join(document))?);
    let layout = pdf::read(bytes, &Limits::default(), &mut |_| {})?.layout;
    let zones = zoning::find_zones(&layout.document, &layout.hints);
    let definition: Value = serde_json::from_slice(&fs::read(folder.join("taxonomies").join(taxonomy))?)?;
    let taxonomy = Taxonomy::parse(&definition).map_err(|problems| format!("{taxonomy}: {problems:?}"))?;
    let found = mapping::map_document(&layout.document, Some(&zones), &taxonomy).data_points;

    let mut score = Score::default();
    let wanted = expected["data_points"].as_object().ok_or("an expected.json has no data_points")?;
    for (name, wanted) in wanted {
        score.expected += 1;
        let finding = found.iter().find(|finding| finding.name == *name && finding.value.is_some());
        let right = finding.is_some_and(|finding| same(finding, &wanted["value"]));
        score.right += usize::from(right);
        let sure = finding.is_some_and(|finding| finding.confidence >= SURE);
        score.sure += usize::from(sure);
        score.sure_right += usize::from(sure && right);
        if details {
            let mark = if right { "ok   " } else { "WRONG" };
            let shown =
                finding.map(|f| format!("{:?} -> {:?} at {:.2}", f.value, f.normalized, f.confidence));
            println!("  {mark} {name}: {} | {}", wanted["value"], shown.unwrap_or_default());
        }
    }
    for finding in
        found.iter().filter(|finding| finding.value.is_some() && !wanted.contains_key(&finding.name))
    {
        let known = &expected["not_printed_on_page"][&finding.name]["value"];
        let right = same(finding, known);
        score.unexpected += usize::from(finding.confidence >= SURE && !right);
        if details {
            println!(
                "  {} {}: {known} | {:?} at {:.2}",
                if right { "extra" } else { "?    " },
                finding.name,
                finding.value,
                finding.confidence
            );
        }
    }
    Ok(score)
}

fn same(finding: &Finding, wanted: &Value) -> bool {
    let normalized = finding.normalized.as_deref().unwrap_or_default();
    match (finding.kind, wanted) {
        (Some(Kind::Amount | Kind::Number), Value::Number(wanted)) => {
            let (found, wanted) = (normalized.parse::<f64>(), wanted.as_f64());
            matches!((found, wanted), (Ok(found), Some(wanted)) if (found.abs() - wanted.abs()).abs() < 0.005)
        }
        (Some(Kind::Date), Value::String(wanted)) => normalized == wanted,
        (_, Value::String(wanted)) => {
            let plain = |text: &str| {
                text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>()
            };
            plain(finding.value.as_deref().unwrap_or_default()) == plain(wanted)
        }
        _ => false,
    }
}
