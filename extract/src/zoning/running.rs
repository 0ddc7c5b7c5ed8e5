//! Finds running headers and footers: text that repeats at the top or bottom of pages.

use std::collections::{HashMap, HashSet};

use super::rows::Row;
use super::upright::UprightPage;
use crate::document::ZoneKind;

/// Rows that are examined at the top and the bottom of each page.
const EDGE_ROWS: usize = 3;
/// Greatest distance of a running row from the edge, as a fraction of the page's height.
const MAX_EDGE_DISTANCE: f32 = 0.12;
/// Heights of repeated rows differ by at most this, as a fraction of the page's height.
const HEIGHT_STEP: f32 = 0.02;
/// Most characters of a line with a page number.
const MAX_PAGE_NUMBER_CHARS: usize = 20;

/// A running header or footer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Running {
    pub(super) kind: ZoneKind,
    pub(super) confidence: f32,
}

/// Returns the running rows of each page, by index.
pub(super) fn find_running(pages: &[UprightPage<'_>]) -> Vec<HashMap<usize, Running>> {
    let mut seen: HashMap<(PageEdge, String, i32), HashSet<usize>> = HashMap::new();
    for (page, UprightPage { rows, page: upright_page, .. }) in pages.iter().enumerate() {
        for (i, end) in edge_rows(rows, upright_page.height) {
            let key = row_key(&rows[i], end, upright_page.height);
            for step in [-1, 0, 1] {
                seen.entry((key.0, key.1.clone(), key.2 + step)).or_default().insert(page);
            }
        }
    }
    pages
        .iter()
        .map(|UprightPage { rows, page, .. }| {
            let height = page.height;
            edge_rows(rows, height)
                .filter_map(|(i, end)| {
                    let times = seen.get(&row_key(&rows[i], end, height)).map_or(0, HashSet::len);
                    let kind = match end {
                        PageEdge::Top => ZoneKind::Header,
                        PageEdge::Bottom => ZoneKind::Footer,
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
enum PageEdge {
    Top,
    Bottom,
}

/// Returns the rows near the edges of a page.
fn edge_rows(rows: &[Row], height: f32) -> impl Iterator<Item = (usize, PageEdge)> {
    let top = (0..rows.len().min(EDGE_ROWS)).filter(move |i| rows[*i].area.y1 < MAX_EDGE_DISTANCE * height);
    let bottom = (rows.len().saturating_sub(EDGE_ROWS)..rows.len())
        .filter(move |i| rows[*i].area.y0 > (1.0 - MAX_EDGE_DISTANCE) * height);
    top.map(|i| (i, PageEdge::Top)).chain(bottom.map(|i| (i, PageEdge::Bottom)))
}

/// Returns a key that repeated rows share: the edge, the text without its numbers, and the height in steps.
fn row_key(row: &Row, end: PageEdge, height: f32) -> (PageEdge, String, i32) {
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
    (end, text, (row.area.middle() / height / HEIGHT_STEP).round() as i32)
}

/// Whether a word is a lower-case Roman numeral, as in page numbers of prefaces.
fn is_roman(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| matches!(c, 'i' | 'v' | 'x' | 'l'))
}

/// Whether a text is a page number, such as "12", "– 12 –", "Page 3 of 10", "Seite 3/10" or "iv".
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
    text.chars().count() <= MAX_PAGE_NUMBER_CHARS
        && numbers > 0
        && explained
        && words.iter().all(|word| number(word) || label(word))
}

#[cfg(test)]
mod tests {
    use super::is_page_number;

    #[test]
    fn page_numbers_are_recognized() {
        for text in ["12", "- 12 -", "Page 3 of 10", "Seite 3/10", "iv"] {
            assert!(is_page_number(text), "{text}");
        }
        for text in ["Total 12", "", "12 pages left", "Page", "1.  2."] {
            assert!(!is_page_number(text), "{text}");
        }
    }
}
