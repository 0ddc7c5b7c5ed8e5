//! Scores the text of PDFs against that of `pdftotext -layout`: `text_score FOLDER [--missing]`.
//!
//! Prints the F1 score of the tokens, as multisets, for each `NAME.pdf` with a `NAME.pdftotext.txt`, and the mean. With
//! `--missing` it also prints the tokens that only one of the texts has.
#![expect(clippy::print_stdout, reason = "a command line tool")]

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use docket_extract::limits::Limits;
use docket_extract::pdf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: text_score FOLDER [--missing]")?);
    let missing = arguments.next().is_some_and(|argument| argument == "--missing");
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "pdf") && expected(path).exists());
    files.sort();
    let (mut all, mut with_text) = (Vec::new(), Vec::new());
    for path in &files {
        let score = score(path, missing)?;
        all.push(score);
        if !fs::read_to_string(expected(path))?.trim().is_empty() {
            with_text.push(score);
        }
    }
    let mean = |scores: &[f64]| scores.iter().sum::<f64>() / scores.len() as f64;
    println!("{:6.4} mean of {}", mean(&all), all.len());
    println!("{:6.4} mean of the {} in which pdftotext finds text", mean(&with_text), with_text.len());
    Ok(())
}

fn expected(path: &Path) -> PathBuf {
    path.with_extension("pdftotext.txt")
}

fn score(path: &Path, missing: bool) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let read = match pdf::read(Arc::new(fs::read(path)?), &Limits::default(), &mut |_| {}) {
        Ok(read) => read,
        Err(failure) => {
            println!("0.0000 {name}: {failure}");
            return Ok(0.0);
        }
    };
    let text: Vec<&str> = read.layout.document.pages.iter().map(|page| page.text.as_str()).collect();
    let text = text.join("\n");
    let expected = fs::read_to_string(expected(path))?;
    let (ours, theirs) = (tokens(&text), tokens(&expected));
    let (count_ours, count_theirs): (usize, usize) = (ours.values().sum(), theirs.values().sum());
    let common: usize = ours.iter().map(|(token, n)| (*n).min(theirs.get(token).copied().unwrap_or(0))).sum();
    let f1 = if count_ours + count_theirs == 0 {
        1.0
    } else {
        2.0 * common as f64 / (count_ours + count_theirs) as f64
    };
    println!(
        "{f1:6.4} {name}: {count_ours} tokens for {count_theirs}, {:?}, {:?}",
        read.meta.pdf_type,
        start.elapsed()
    );
    if missing {
        print_excess("only in docket", &ours, &theirs);
        print_excess("only in pdftotext", &theirs, &ours);
    }
    Ok(f1)
}

fn tokens(text: &str) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for token in text.split_whitespace() {
        *counts.entry(token).or_insert(0) += 1;
    }
    counts
}

fn print_excess(title: &str, a: &HashMap<&str, usize>, b: &HashMap<&str, usize>) {
    const SHOWN: usize = 60;
    let mut excess: Vec<(usize, &str)> = a
        .iter()
        .map(|(token, n)| (n.saturating_sub(b.get(token).copied().unwrap_or(0)), *token))
        .filter(|(n, _)| *n > 0)
        .collect();
    excess.sort_by(|a, b| b.cmp(a));
    let list: Vec<String> = excess.iter().take(SHOWN).map(|(n, token)| format!("{token}*{n}")).collect();
    println!("  {title} ({}): {}", excess.iter().map(|(n, _)| n).sum::<usize>(), list.join(" "));
}
