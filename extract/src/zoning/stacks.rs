//! Groups text side by side that is not a table, such as address blocks, and labels above their values.
//!
//! A *stack* consists of segments that are closely below each other.

use super::markers::is_marker;
use super::rows::{Rect, Row, Segment};

/// Segments further below than this, in ems, begin a new stack.
const MAX_STACK_GAP: f32 = 2.5;
/// Greatest distance between a marker or section number and its text, in ems.
const MAX_MARKER_GAP: f32 = 4.0;
/// Left edges of segments in a stack differ by at most this, in ems, unless the segments mostly overlap.
const MAX_MISALIGNMENT: f32 = 1.0;

/// Groups rows into stacks in reading order: by their first row, then from left to right.
pub(super) fn build_stacks(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let rows = join_fragments(rows);
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
    let start = (above.area.x0 - segment.area.x0).abs() < MAX_MISALIGNMENT * em;
    let near = gap > -0.5 * em && gap < MAX_STACK_GAP * em;
    // A segment on a line of its own continues any stack above it; others must align.
    near && overlap > 0.0 && (start || alone || overlap > 0.8 * narrower)
}

/// Joins segments that only appear separate: a marker and its item, and words of a line with wide spaces.
fn join_fragments(mut rows: Vec<Row>) -> Vec<Row> {
    let areas: Vec<Vec<Rect>> =
        rows.iter().map(|row| row.segments.iter().map(|segment| segment.area).collect()).collect();
    for (i, row) in rows.iter_mut().enumerate() {
        let neighbors = [i.checked_sub(1), Some(i + 1)];
        let is_covered = |from: f32, to: f32| {
            neighbors.iter().flatten().filter_map(|j| areas.get(*j)).flatten().any(|other| {
                let near =
                    other.y0 - row.area.y1 < row.area.height() && row.area.y0 - other.y1 < row.area.height();
                near && other.x0 < from && other.x1 > to
            })
        };
        let mut joined: Vec<Segment> = Vec::new();
        for segment in row.segments.drain(..) {
            match joined.last_mut() {
                Some(last)
                    if is_covered(last.area.x1, segment.area.x0)
                        || is_lone_marker(last)
                            && segment.area.x0 - last.area.x1 < MAX_MARKER_GAP * last.size =>
                {
                    last.text.push(' ');
                    last.text.push_str(&segment.text);
                    last.words += segment.words;
                    last.area = last.area.union(segment.area);
                    last.bold &= segment.bold;
                    last.size = last.size.max(segment.size);
                }
                _ => joined.push(segment),
            }
        }
        row.segments = joined;
    }
    rows
}

/// Whether a segment is only a bullet, an item number or a section number.
fn is_lone_marker(segment: &Segment) -> bool {
    let number =
        segment.text.split('.').all(|part| part.len() <= 2 && part.chars().all(|c| c.is_ascii_digit()));
    segment.words == 1 && (is_marker(&segment.text) || number)
}
