//! Groups the rows of one column into blocks and classifies them.

use super::markers::{has_marker, is_numbered_title};
use super::rows::{Rect, Row};
use super::stacks;
use crate::document::ZoneKind;

/// A gap between rows wider than this, in ems, separates blocks. So does one that is half as wide again as usual.
const MIN_BLOCK_GAP: f32 = 0.9;
/// Type sizes that differ by more than this share are different.
const MAX_SIZE_DIFFERENCE: f32 = 0.12;
/// Edges of cells in one column differ by at most this, in ems.
const MAX_MISALIGNMENT: f32 = 0.6;
/// Most rows of a wrapped cell before the table continues.
const MAX_WRAPPED_ROWS: usize = 4;
/// A heading on a line of its own is larger than running text by at least this share.
const MIN_HEADING_GROWTH: f32 = 0.05;
/// Most rows of a heading.
const MAX_HEADING_ROWS: usize = 3;
/// Most words of a heading.
const MAX_HEADING_WORDS: usize = 25;

/// Consecutive rows that form a zone.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) kind: ZoneKind,
    pub(super) rows: Vec<Row>,
    pub(super) confidence: f32,
}

impl Block {
    pub(super) fn area(&self) -> Option<Rect> {
        Rect::bounding(self.rows.iter().map(|row| row.area))
    }
}

/// Facts about the page around a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct ColumnContext<'a> {
    /// Size of the document's running text, in points.
    pub(super) body: f32,
    /// Drawn lines.
    pub(super) rules: &'a [Rect],
}

/// Returns the blocks of a column, from top to bottom.
pub(super) fn find_blocks(rows: Vec<Row>, context: ColumnContext<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut text: Vec<Row> = Vec::new();
    for (is_table, rows) in split_tables(rows, context) {
        if is_table {
            push_paragraphs(std::mem::take(&mut text), context, &mut blocks);
            let confidence = table_confidence(&rows, context);
            blocks.push(Block { kind: ZoneKind::Table, rows, confidence });
        } else {
            text.extend(rows);
        }
    }
    push_paragraphs(text, context, &mut blocks);
    blocks
}

/// Splits rows into tables (true) and other rows (false).
fn split_tables(rows: Vec<Row>, context: ColumnContext<'_>) -> Vec<(bool, Vec<Row>)> {
    let mut stretches: Vec<(bool, Vec<Row>)> = Vec::new();
    let belongs: Vec<bool> = (0..rows.len()).map(|i| is_aligned(&rows, i, context)).collect();
    for (i, row) in rows.into_iter().enumerate() {
        let goes_on = belongs.iter().skip(i + 1).take(MAX_WRAPPED_ROWS).any(|belongs| *belongs);
        let inside = belongs[i]
            || stretches
                .last()
                .is_some_and(|(is_table, above)| *is_table && is_wrapped(above, &row, goes_on));
        match stretches.last_mut().filter(|(is_table, rows)| {
            *is_table == inside
                && (!inside || rows.last().is_none_or(|last| row.area.y0 - last.area.y1 < 3.0 * last.size()))
        }) {
            Some((_, rows)) => rows.push(row),
            None => stretches.push((inside, vec![row])),
        }
    }
    // A single row with one gap is not a table.
    for (is_table, rows) in &mut stretches {
        *is_table &= rows.len() > 1 || rows.iter().any(|row| row.segments.len() > 2);
    }
    stretches
}

/// Whether a row closely below a table is the rest of a cell. The table then continues below the row, or the row is in
/// a column other than the first.
fn is_wrapped(table: &[Row], row: &Row, goes_on: bool) -> bool {
    let Some(last) = table.last() else { return false };
    let close = row.area.y0 - last.area.y1 < 0.6 * last.size();
    let same_size = (row.size() - last.size()).abs() < MAX_SIZE_DIFFERENCE * last.size();
    let full = table.iter().rev().find(|row| row.segments.len() > 1);
    let in_column = full.is_some_and(|full| {
        full.segments
            .iter()
            .skip(1)
            .any(|cell| (cell.area.x0 - row.area.x0).abs() < MAX_MISALIGNMENT * row.size())
    });
    close && same_size && (goes_on || in_column)
}

/// Whether a row has several cells, two of which align with cells of a nearby row.
fn is_aligned(rows: &[Row], i: usize, context: ColumnContext<'_>) -> bool {
    let row = &rows[i];
    let cells = row.segments.len();
    if cells < 2 || cells == 2 && has_marker(row) {
        return false;
    }
    let is_doubtful = cells == 2 && !is_label_with_value(row);
    let near = MAX_MISALIGNMENT * row.size().min(2.0 * context.body);
    // The row between may be a wrapped cell, so look two rows away. Look further if both rows have many cells, because
    // subtitles may be between them.
    let neighbors = (i.saturating_sub(5)..(i + 6).min(rows.len())).filter(|j| *j != i);
    let comparable = |j: usize| {
        let others = rows[j].segments.len();
        let (near, many) = (i.abs_diff(j) <= 2, others > 2);
        if is_doubtful { near && many } else { near && others > 1 || many && cells > 2 }
    };
    neighbors.filter(|j| comparable(*j)).map(|j| &rows[j]).any(|other| {
        let aligned = row
            .segments
            .iter()
            .filter(|cell| {
                other.segments.iter().any(|o| {
                    let (a, b) = (cell.area, o.area);
                    let middle = (a.x0 + a.x1 - b.x0 - b.x1).abs() / 2.0;
                    (a.x0 - b.x0).abs() < near || (a.x1 - b.x1).abs() < near || middle < near
                })
            })
            .count();
        aligned >= 2
    })
}

/// Whether a row of two texts belongs to a table: one is a figure, or the first ends in a colon. Otherwise they may be
/// two addresses.
fn is_label_with_value(row: &Row) -> bool {
    let is_figure = |text: &str| {
        let digits = text.chars().filter(char::is_ascii_digit).count();
        digits * 2 >= text.chars().filter(|c| !c.is_whitespace()).count()
    };
    row.segments.first().is_some_and(|label| label.text.ends_with(':'))
        || row.segments.iter().any(|segment| is_figure(&segment.text))
}

/// Returns a confidence that grows with the number of complete rows and of drawn lines.
fn table_confidence(rows: &[Row], context: ColumnContext<'_>) -> f32 {
    let most = rows.iter().map(|row| row.segments.len()).max().unwrap_or(0);
    let full = rows.iter().filter(|row| row.segments.len() * 2 > most).count() as f32 / rows.len() as f32;
    let ruled = Rect::bounding(rows.iter().map(|row| row.area)).is_some_and(|area| {
        let slack = Rect { x0: area.x0 - 12.0, y0: area.y0 - 12.0, x1: area.x1 + 12.0, y1: area.y1 + 12.0 };
        let inside = |rule: &&Rect| {
            rule.x0 >= slack.x0 && rule.x1 <= slack.x1 && rule.y0 >= slack.y0 && rule.y1 <= slack.y1
        };
        context.rules.iter().filter(inside).count() >= 3
    });
    let length = (rows.len() as f32 / 10.0).min(0.15);
    (0.45 + 0.25 * full + length + if ruled { 0.15 } else { 0.0 }).min(0.98)
}

/// Splits rows outside tables into blocks, from top to bottom, then from left to right.
fn push_paragraphs(rows: Vec<Row>, context: ColumnContext<'_>, blocks: &mut Vec<Block>) {
    let mut found: Vec<Block> =
        stacks::build_stacks(rows).into_iter().flat_map(|stack| split_stack(stack, context)).collect();
    merge_lists(&mut found);
    blocks.extend(found);
}

/// Splits rows that are one below the other into blocks.
fn split_stack(rows: Vec<Row>, context: ColumnContext<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    let gap = usual_gap(&rows);
    let mut block: Vec<Row> = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while let Some(row) = rows.next() {
        let ends = block.last().is_some_and(|above| {
            ends_block(&block, above, &row, gap) || begins_paragraph(&block, &row, rows.peek())
        });
        if ends {
            blocks.push(build_block(std::mem::take(&mut block), context));
        }
        block.push(row);
    }
    if !block.is_empty() {
        blocks.push(build_block(block, context));
    }
    blocks
}

/// Returns the usual gap between rows, in points.
fn usual_gap(rows: &[Row]) -> f32 {
    let mut gaps: Vec<f32> = rows.windows(2).map(|pair| pair[1].area.y0 - pair[0].area.y1).collect();
    gaps.sort_by(f32::total_cmp);
    gaps.get(gaps.len() / 3).copied().unwrap_or(0.0).max(0.0)
}

fn ends_block(block: &[Row], above: &Row, row: &Row, usual: f32) -> bool {
    let em = above.size().min(row.size());
    let gap = row.area.y0 - above.area.y1;
    let sizes_differ = (above.size() - row.size()).abs() > MAX_SIZE_DIFFERENCE * above.size().max(row.size());
    let block_is_bold = block.iter().all(Row::is_bold);
    let far = gap > MIN_BLOCK_GAP * em || gap > usual * 1.5 + 0.3 * em;
    far || gap < -2.0 * em
        || sizes_differ
        || block_is_bold != row.is_bold() && row.is_bold() != above.is_bold()
        || has_marker(row)
}

/// Whether a row between two others is indented like the first row of a paragraph.
fn begins_paragraph(block: &[Row], row: &Row, below: Option<&Row>) -> bool {
    let (Some(above), Some(below)) = (block.last(), below) else { return false };
    let em = row.size();
    let flush = (above.area.x0 - below.area.x0).abs() < 0.3 * em;
    let indent = row.area.x0 - below.area.x0;
    flush && indent > 0.7 * em && indent < 4.0 * em && !block.first().is_some_and(has_marker)
}

fn build_block(rows: Vec<Row>, context: ColumnContext<'_>) -> Block {
    let (kind, confidence) = classify(&rows, context);
    Block { kind, rows, confidence }
}

fn classify(rows: &[Row], context: ColumnContext<'_>) -> (ZoneKind, f32) {
    let text = rows.iter().map(Row::text).collect::<Vec<_>>().join(" ");
    let words = text.split_whitespace().count();
    let size = rows.iter().map(Row::size).fold(0.0, f32::max);
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let larger = size > context.body * (1.0 + MAX_SIZE_DIFFERENCE);
    let bold = rows.iter().all(Row::is_bold);
    let capitals = letters > 3 && text.chars().filter(|c| c.is_alphabetic()).all(|c| !c.is_lowercase())
        // Scripts without case have no capitals.
        && text.chars().any(char::is_uppercase);
    let ends_like_a_sentence = text.ends_with(['.', ',', ';', ':']);
    let short = rows.len() <= MAX_HEADING_ROWS && words <= MAX_HEADING_WORDS && letters > 1;
    let marker = rows.first().is_some_and(has_marker);

    if short
        && (larger || (bold || capitals) && !ends_like_a_sentence && rows.len() <= 2)
        && !(marker && !larger && !bold)
    {
        let ratio = (size / context.body.max(1.0) - 1.0).clamp(0.0, 0.5);
        let mut confidence = 0.55 + 0.5 * ratio;
        confidence += if bold { 0.15 } else { 0.0 } + if capitals { 0.05 } else { 0.0 };
        confidence -= if ends_like_a_sentence { 0.15 } else { 0.0 };
        return (ZoneKind::Heading, confidence.clamp(0.4, 0.95));
    }
    let alone = rows.len() == 1 && words <= MAX_HEADING_WORDS / 2 && letters > 1 && !ends_like_a_sentence;
    let numbered = alone && is_numbered_title(&text) && size > context.body * (1.0 - MAX_SIZE_DIFFERENCE);
    if alone && size > context.body * (1.0 + MIN_HEADING_GROWTH) || numbered {
        return (ZoneKind::Heading, 0.6);
    }
    if marker {
        let bullet = text.chars().next().is_some_and(|c| !c.is_alphanumeric() && c != '(');
        return (ZoneKind::List, if bullet { 0.85 } else { 0.65 });
    }
    let confidence = match (rows.len(), words) {
        (3.., _) => 0.9,
        (_, 8..) => 0.8,
        _ => 0.6,
    };
    (ZoneKind::Paragraph, confidence)
}

/// Merges consecutive items into lists. The confidence grows with the number of items.
fn merge_lists(blocks: &mut Vec<Block>) {
    let mut merged: Vec<Block> = Vec::new();
    for block in blocks.drain(..) {
        match merged.last_mut().filter(|last| last.kind == ZoneKind::List && block.kind == ZoneKind::List) {
            Some(last) => {
                last.confidence = (last.confidence.max(block.confidence) + 0.05).min(0.95);
                last.rows.extend(block.rows);
            }
            None => merged.push(block),
        }
    }
    *blocks = merged;
}
