//! Columns of running text: where a page is read down one side before the other.
//!
//! A *gutter* is a vertical line that no row of a stretch of rows crosses, with running text on both of its sides. Rows
//! that cross it (titles, wide figures' captions) part the page into bands; the bands are read from the top, each
//! band's columns from the left. Tables have gutters too, but their cells are short.

use super::rows::{Row, Segment, rows};

/// Rows with text on both sides that make a gutter.
const LEAST_ROWS: usize = 4;
/// Words per segment, on the average, from which on text is running text and no cell.
const RUNNING_WORDS: f32 = 3.5;
/// Columns within columns.
const MAX_DEPTH: usize = 4;

/// Parts rows into stretches to be read one after the other.
pub(super) fn stretches(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut into = Vec::new();
    part(rows, 0, &mut into);
    into
}

fn part(rows: Vec<Row>, depth: usize, into: &mut Vec<Vec<Row>>) {
    let gutter = if depth < MAX_DEPTH { gutter(&rows) } else { None };
    let Some(gutter) = gutter else {
        if !rows.is_empty() {
            into.push(rows);
        }
        return;
    };
    let mut band: Vec<Row> = Vec::new();
    let mut across: Vec<Row> = Vec::new();
    for row in rows {
        if crosses(&row, gutter) {
            end_band(&mut band, gutter, depth, into);
            across.push(row);
        } else {
            if !across.is_empty() {
                into.push(std::mem::take(&mut across));
            }
            band.push(row);
        }
    }
    end_band(&mut band, gutter, depth, into);
    if !across.is_empty() {
        into.push(across);
    }
}

/// Reads a band's left side, then its right one.
fn end_band(band: &mut Vec<Row>, gutter: f32, depth: usize, into: &mut Vec<Vec<Row>>) {
    let band = std::mem::take(band);
    let both_sides = band.iter().filter(|row| has_both_sides(row, gutter)).count();
    if both_sides == 0 {
        if !band.is_empty() {
            into.push(band);
        }
        return;
    }
    let (left, right): (Vec<Segment>, Vec<Segment>) =
        band.into_iter().flat_map(|row| row.segments).partition(|segment| segment.area.x1 <= gutter);
    part(rows(left), depth + 1, into);
    part(rows(right), depth + 1, into);
}

fn crosses(row: &Row, gutter: f32) -> bool {
    row.segments.iter().any(|segment| segment.area.x0 < gutter && segment.area.x1 > gutter)
}

fn has_both_sides(row: &Row, gutter: f32) -> bool {
    !crosses(row, gutter)
        && row.segments.iter().any(|segment| segment.area.x1 <= gutter)
        && row.segments.iter().any(|segment| segment.area.x0 >= gutter)
}

/// The gutter with running text along most rows.
fn gutter(rows: &[Row]) -> Option<f32> {
    // Gaps of neighbouring rows that end at the same place share a gutter: candidates are the right edges of gaps.
    let mut edges: Vec<f32> =
        rows.iter().flat_map(|row| row.segments.windows(2)).map(|pair| pair[1].area.x0 - 0.5).collect();
    edges.sort_by(f32::total_cmp);
    edges.dedup_by(|a, b| (*a - *b).abs() < 2.0);
    edges
        .into_iter()
        .filter_map(|x| {
            let support: Vec<&Row> = rows.iter().filter(|row| has_both_sides(row, x)).collect();
            let crossed = rows.iter().filter(|row| crosses(row, x)).count();
            let enough = support.len() >= LEAST_ROWS && support.len() * 2 > crossed;
            (enough && is_running(rows, x)).then_some((support.len(), x))
        })
        .max_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, x)| x)
}

/// Whether text on both sides of a gutter is running text: the segments next to it hold several words.
fn is_running(rows: &[Row], gutter: f32) -> bool {
    let rows: Vec<&Row> = rows.iter().filter(|row| !crosses(row, gutter)).collect();
    let average = |pick: fn(&Row, f32) -> Option<&Segment>| {
        let words: Vec<f32> =
            rows.iter().filter_map(|row| pick(row, gutter)).map(|s| s.words as f32).collect();
        words.iter().sum::<f32>() / (words.len() as f32).max(1.0)
    };
    let left = average(|row, x| row.segments.iter().rev().find(|segment| segment.area.x1 <= x));
    let right = average(|row, x| row.segments.iter().find(|segment| segment.area.x0 >= x));
    left >= RUNNING_WORDS && right >= RUNNING_WORDS
}
