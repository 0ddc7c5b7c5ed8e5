//! Text side by side that is no table: address blocks, labels over their values.
//!
//! A *stack* is made of segments each of which stands closely below the one before.

use super::markers::is_marker;
use super::rows::{Area, Row, Segment};

/// What stands further below than this, in ems, begins a stack of its own.
const BELOW: f32 = 2.5;
/// A marker or section number belongs to text that is no further away than this, in ems.
const MARKER_GAP: f32 = 4.0;
/// Segments of one stack start at the same place but for this, in ems, or lie one over the other for the most part.
const ALIGNED: f32 = 1.0;

/// The stacks of rows in reading order: by their first row, then from the left.
pub(super) fn stacks(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let rows = mended(rows);
    let mut stacks: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        let alone = row.segments.len() == 1;
        for segment in row.segments {
            let below = stacks
                .iter_mut()
                .rev()
                .find(|stack| stack.last().is_some_and(|above| is_below(above, &segment, alone)));
            let row = Row { area: segment.area, segments: vec![segment] };
            match below {
                Some(stack) => stack.push(row),
                None => stacks.push(vec![row]),
            }
        }
    }
    stacks
}

fn is_below(above: &Row, segment: &Segment, alone: bool) -> bool {
    let em = segment.size.min(above.size());
    let gap = segment.area.y0 - above.area.y1;
    let overlap = above.area.x1.min(segment.area.x1) - above.area.x0.max(segment.area.x0);
    let narrower = above.area.width().min(segment.area.width());
    let start = (above.area.x0 - segment.area.x0).abs() < ALIGNED * em;
    let near = gap > -0.5 * em && gap < BELOW * em;
    // What has a line for itself goes on with anything above it; what has neighbours must line up.
    near && overlap > 0.0 && (start || alone || overlap > 0.8 * narrower)
}

/// Joins segments that only seem to be apart: a marker and its item, words of a line with wide spaces.
fn mended(mut rows: Vec<Row>) -> Vec<Row> {
    let areas: Vec<Vec<Area>> =
        rows.iter().map(|row| row.segments.iter().map(|segment| segment.area).collect()).collect();
    for (i, row) in rows.iter_mut().enumerate() {
        let neighbours = [i.checked_sub(1), Some(i + 1)];
        let crossed = |from: f32, to: f32| {
            neighbours.iter().flatten().filter_map(|j| areas.get(*j)).flatten().any(|other| {
                let near =
                    other.y0 - row.area.y1 < row.area.height() && row.area.y0 - other.y1 < row.area.height();
                near && other.x0 < from && other.x1 > to
            })
        };
        let mut mended: Vec<Segment> = Vec::new();
        for segment in row.segments.drain(..) {
            match mended.last_mut() {
                Some(last)
                    if crossed(last.area.x1, segment.area.x0)
                        || marks(last) && segment.area.x0 - last.area.x1 < MARKER_GAP * last.size =>
                {
                    last.text.push(' ');
                    last.text.push_str(&segment.text);
                    last.words += segment.words;
                    last.area = last.area.union(segment.area);
                    last.bold &= segment.bold;
                    last.size = last.size.max(segment.size);
                }
                _ => mended.push(segment),
            }
        }
        row.segments = mended;
    }
    rows
}

/// A bullet, an item's number or a section's number alone.
fn marks(segment: &Segment) -> bool {
    let number =
        segment.text.split('.').all(|part| part.len() <= 2 && part.chars().all(|c| c.is_ascii_digit()));
    segment.words == 1 && (is_marker(&segment.text) || number)
}
