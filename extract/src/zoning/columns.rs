//! Splits pages with columns of running text, which are read one column after the other.
//!
//! A *gutter* is a vertical line that no row of a group crosses, with running text on both sides. Rows that cross it,
//! such as titles and captions of wide figures, split the page into bands. Bands are read from top to bottom, and the
//! columns of a band from left to right. Tables have gutters too, but their cells are short.

use super::rows::{Row, Segment, build_rows};

/// Least number of rows with text on both sides of a gutter.
const MIN_ROWS: usize = 4;
/// Average words of a segment from which text counts as running text rather than as cells.
const MIN_RUNNING_WORDS: f32 = 3.5;
/// Most levels of columns within columns.
const MAX_DEPTH: usize = 4;

/// Splits rows into groups in reading order.
pub(super) fn split_columns(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut parts = Vec::new();
    split_bands(rows, 0, &mut parts);
    parts
}

fn split_bands(rows: Vec<Row>, depth: usize, parts: &mut Vec<Vec<Row>>) {
    let gutter = if depth < MAX_DEPTH { find_gutter(&rows) } else { None };
    let Some(gutter) = gutter else {
        if !rows.is_empty() {
            parts.push(rows);
        }
        return;
    };
    let mut band: Vec<Row> = Vec::new();
    let mut across: Vec<Row> = Vec::new();
    for row in rows {
        if crosses(&row, gutter) {
            end_band(&mut band, gutter, depth, parts);
            across.push(row);
        } else {
            if !across.is_empty() {
                parts.push(std::mem::take(&mut across));
            }
            band.push(row);
        }
    }
    end_band(&mut band, gutter, depth, parts);
    if !across.is_empty() {
        parts.push(across);
    }
}

/// Ends a band: its left side is read before its right side.
fn end_band(band: &mut Vec<Row>, gutter: f32, depth: usize, parts: &mut Vec<Vec<Row>>) {
    let band = std::mem::take(band);
    let both_sides = band.iter().filter(|row| has_both_sides(row, gutter)).count();
    if both_sides == 0 {
        if !band.is_empty() {
            parts.push(band);
        }
        return;
    }
    let (left, right): (Vec<Segment>, Vec<Segment>) =
        band.into_iter().flat_map(|row| row.segments).partition(|segment| segment.area.x1 <= gutter);
    split_bands(build_rows(left), depth + 1, parts);
    split_bands(build_rows(right), depth + 1, parts);
}

fn crosses(row: &Row, gutter: f32) -> bool {
    row.segments.iter().any(|segment| segment.area.x0 < gutter && segment.area.x1 > gutter)
}

fn has_both_sides(row: &Row, gutter: f32) -> bool {
    !crosses(row, gutter)
        && row.segments.iter().any(|segment| segment.area.x1 <= gutter)
        && row.segments.iter().any(|segment| segment.area.x0 >= gutter)
}

/// Returns the gutter with running text along most rows.
fn find_gutter(rows: &[Row]) -> Option<f32> {
    // Gaps of a gutter end at the same position, so their right edges are the candidates.
    let mut edges: Vec<f32> =
        rows.iter().flat_map(|row| row.segments.windows(2)).map(|pair| pair[1].area.x0 - 0.5).collect();
    edges.sort_by(f32::total_cmp);
    edges.dedup_by(|a, b| (*a - *b).abs() < 2.0);
    edges
        .into_iter()
        .filter_map(|x| {
            let support: Vec<&Row> = rows.iter().filter(|row| has_both_sides(row, x)).collect();
            let crossed = rows.iter().filter(|row| crosses(row, x)).count();
            let enough = support.len() >= MIN_ROWS && support.len() * 2 > crossed;
            (enough && is_running_text(rows, x)).then_some((support.len(), x))
        })
        .max_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, x)| x)
}

/// Whether both sides of a gutter have running text, which means several words in the segments next to it.
fn is_running_text(rows: &[Row], gutter: f32) -> bool {
    let rows: Vec<&Row> = rows.iter().filter(|row| !crosses(row, gutter)).collect();
    let average = |pick: fn(&Row, f32) -> Option<&Segment>| {
        let words: Vec<f32> =
            rows.iter().filter_map(|row| pick(row, gutter)).map(|s| s.words as f32).collect();
        words.iter().sum::<f32>() / (words.len() as f32).max(1.0)
    };
    let left = average(|row, x| row.segments.iter().rev().find(|segment| segment.area.x1 <= x));
    let right = average(|row, x| row.segments.iter().find(|segment| segment.area.x0 >= x));
    left >= MIN_RUNNING_WORDS && right >= MIN_RUNNING_WORDS
}
