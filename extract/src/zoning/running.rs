//! Running headers and footers: what repeats at the top or bottom of pages.

use std::collections::{HashMap, HashSet};

use super::Sheet;
use super::rows::Row;
use crate::document::ZoneKind;

/// Rows looked at from the top and the bottom of each page.
const ROWS: usize = 3;
/// How far from the edge a running line can be, as a fraction of the page's height.
const MARGIN: f32 = 0.12;
/// Repeated lines stand at the same height, as fractions of the page's height, but for this much.
const SAME_HEIGHT: f32 = 0.02;
/// Lines of more characters than this are no page numbers.
const LONGEST_NUMBER: usize = 20;

/// A row that runs through the document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Running {
    pub(super) kind: ZoneKind,
    pub(super) confidence: f32,
}

/// For each page, its running rows by their index.
pub(super) fn find(sheets: &[Sheet<'_>]) -> Vec<HashMap<usize, Running>> {
    let mut seen: HashMap<(ZoneEnd, String, i32), HashSet<usize>> = HashMap::new();
    for (page, Sheet { rows, page: paper, .. }) in sheets.iter().enumerate() {
        for (i, end) in candidates(rows, paper.height) {
            let key = key(&rows[i], end, paper.height);
            for near in [-1, 0, 1] {
                seen.entry((key.0, key.1.clone(), key.2 + near)).or_default().insert(page);
            }
        }
    }
    sheets
        .iter()
        .map(|Sheet { rows, page, .. }| {
            let height = page.height;
            candidates(rows, height)
                .filter_map(|(i, end)| {
                    let times = seen.get(&key(&rows[i], end, height)).map_or(0, HashSet::len);
                    let kind = match end {
                        ZoneEnd::Top => ZoneKind::Header,
                        ZoneEnd::Bottom => ZoneKind::Footer,
                    };
                    let confidence = match times {
                        0 | 1 => is_page_number(&rows[i].text()).then_some(0.7)?,
                        2 => 0.8,
                        _ => 0.95,
                    };
                    Some((i, Running { kind, confidence }))
                })
                .collect()
        })
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ZoneEnd {
    Top,
    Bottom,
}

/// The rows near the edges of a page.
fn candidates(rows: &[Row], height: f32) -> impl Iterator<Item = (usize, ZoneEnd)> {
    let top = (0..rows.len().min(ROWS)).filter(move |i| rows[*i].area.y1 < MARGIN * height);
    let bottom = (rows.len().saturating_sub(ROWS)..rows.len())
        .filter(move |i| rows[*i].area.y0 > (1.0 - MARGIN) * height);
    top.map(|i| (i, ZoneEnd::Top)).chain(bottom.map(|i| (i, ZoneEnd::Bottom)))
}

/// What repeats: the text without its numbers, and its height in steps.
fn key(row: &Row, end: ZoneEnd, height: f32) -> (ZoneEnd, String, i32) {
    let mut text = String::new();
    for word in row.text().split_whitespace() {
        let word = if is_roman(word) { "#" } else { word };
        for c in word.chars().flat_map(char::to_lowercase) {
            let c = if c.is_numeric() { '#' } else { c };
            if !(c == '#' && text.ends_with('#')) {
                text.push(c);
            }
        }
    }
    (end, text, (row.area.middle() / height / SAME_HEIGHT).round() as i32)
}

/// A page number as prefaces have it.
fn is_roman(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| matches!(c, 'i' | 'v' | 'x' | 'l'))
}

/// "12", "– 12 –", "Page 3 of 10", "Seite 3/10", "iv".
fn is_page_number(text: &str) -> bool {
    let words: Vec<String> = text
        .split(|c: char| c.is_whitespace() || c == '/')
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase())
        .filter(|word| !word.is_empty())
        .collect();
    let number = |word: &String| word.chars().all(|c| c.is_ascii_digit()) || is_roman(word);
    let label = |word: &String| {
        matches!(
            word.as_str(),
            "page" | "seite" | "pagina" | "página" | "p" | "s" | "of" | "von" | "van" | "de" | "sur" | "di"
        )
    };
    let numbers = words.iter().filter(|word| number(word)).count();
    let explained = numbers == 1 || text.contains('/') || words.iter().any(label);
    text.chars().count() <= LONGEST_NUMBER
        && numbers > 0
        && explained
        && words.iter().all(|word| number(word) || label(word))
}

#[cfg(test)]
mod tests {
    use super::is_page_number;

    #[test]
    fn page_numbers_are_recognised() {
        for text in ["12", "- 12 -", "Page 3 of 10", "Seite 3/10", "iv"] {
            assert!(is_page_number(text), "{text}");
        }
        for text in ["Total 12", "", "12 pages left", "Page", "1.  2."] {
            assert!(!is_page_number(text), "{text}");
        }
    }
}
