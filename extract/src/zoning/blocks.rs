//! Rows of one column to blocks, and what each block is.

use super::markers::{has_marker, is_numbered_title};
use super::rows::{Area, Row};
use super::stacks;
use crate::document::ZoneKind;

/// A gap between rows wider than this, in ems, parts blocks; so does one that is half as wide again as those around.
const BLOCK_GAP: f32 = 0.9;
/// Sizes of type that differ by more than this share are different.
const SAME_SIZE: f32 = 0.12;
/// Cells of a column start or end at the same place but for this, in ems.
const ALIGNED: f32 = 0.6;
/// A cell goes on over at most this many rows for its table to be seen to go on below.
const WRAPPED_ROWS: usize = 4;
/// A heading that stands alone needs to be larger than running text by no more than this share.
const SLIGHTLY_LARGER: f32 = 0.05;
/// A heading has at most this many rows.
const HEADING_ROWS: usize = 3;
/// A heading has at most this many words.
const HEADING_WORDS: usize = 25;

/// Rows that belong together.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) kind: ZoneKind,
    pub(super) rows: Vec<Row>,
    pub(super) confidence: f32,
}

impl Block {
    pub(super) fn area(&self) -> Option<Area> {
        Area::around(self.rows.iter().map(|row| row.area))
    }
}

/// What is known of the page around a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// Size of the document's running text, in points.
    pub(super) body: f32,
    /// Lines that are drawn.
    pub(super) rules: &'a [Area],
}

/// The blocks of a column, from the top.
pub(super) fn blocks(rows: Vec<Row>, context: Context<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut text: Vec<Row> = Vec::new();
    for (is_table, rows) in tables(rows, context) {
        if is_table {
            paragraphs(std::mem::take(&mut text), context, &mut blocks);
            let confidence = table_confidence(&rows, context);
            blocks.push(Block { kind: ZoneKind::Table, rows, confidence });
        } else {
            text.extend(rows);
        }
    }
    paragraphs(text, context, &mut blocks);
    blocks
}

/// Stretches of rows that are tables, and those that are not.
fn tables(rows: Vec<Row>, context: Context<'_>) -> Vec<(bool, Vec<Row>)> {
    let mut stretches: Vec<(bool, Vec<Row>)> = Vec::new();
    let belongs: Vec<bool> = (0..rows.len()).map(|i| aligns(&rows, i, context)).collect();
    for (i, row) in rows.into_iter().enumerate() {
        let goes_on = belongs.iter().skip(i + 1).take(WRAPPED_ROWS).any(|belongs| *belongs);
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
    // A single row with one gap is a line with a gap.
    for (is_table, rows) in &mut stretches {
        *is_table &= rows.len() > 1 || rows.iter().any(|row| row.segments.len() > 2);
    }
    stretches
}

/// Whether a row closely below a table is the rest of a cell: the table goes on after it, or it stands in a column that
/// is not the first.
fn is_wrapped(table: &[Row], row: &Row, goes_on: bool) -> bool {
    let Some(last) = table.last() else { return false };
    let close = row.area.y0 - last.area.y1 < 0.6 * last.size();
    let same_size = (row.size() - last.size()).abs() < SAME_SIZE * last.size();
    let full = table.iter().rev().find(|row| row.segments.len() > 1);
    let in_column = full.is_some_and(|full| {
        full.segments.iter().skip(1).any(|cell| (cell.area.x0 - row.area.x0).abs() < ALIGNED * row.size())
    });
    close && same_size && (goes_on || in_column)
}

/// Whether a row has several cells, two of which line up with cells of a row next to it.
fn aligns(rows: &[Row], i: usize, context: Context<'_>) -> bool {
    let row = &rows[i];
    let cells = row.segments.len();
    if cells < 2 || cells == 2 && has_marker(row) {
        return false;
    }
    let is_doubtful = cells == 2 && !is_label_with_value(row);
    let near = ALIGNED * row.size().min(2.0 * context.body);
    // Two rows away: the row between may be a wrapped cell. Further where many cells leave no doubt: there may be
    // subtitles between.
    let neighbours = (i.saturating_sub(5)..(i + 6).min(rows.len())).filter(|j| *j != i);
    let comparable = |j: usize| {
        let others = rows[j].segments.len();
        let (near, many) = (i.abs_diff(j) <= 2, others > 2);
        if is_doubtful { near && many } else { near && others > 1 || many && cells > 2 }
    };
    neighbours.filter(|j| comparable(*j)).map(|j| &rows[j]).any(|other| {
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

/// Two texts side by side are a row of a table if one is a figure or the first one says so by a colon; else they may be
/// two addresses.
fn is_label_with_value(row: &Row) -> bool {
    let is_figure = |text: &str| {
        let digits = text.chars().filter(char::is_ascii_digit).count();
        digits * 2 >= text.chars().filter(|c| !c.is_whitespace()).count()
    };
    row.segments.first().is_some_and(|label| label.text.ends_with(':'))
        || row.segments.iter().any(|segment| is_figure(&segment.text))
}

/// The more rows fill the same columns, and the more lines are drawn around them, the surer.
fn table_confidence(rows: &[Row], context: Context<'_>) -> f32 {
    let most = rows.iter().map(|row| row.segments.len()).max().unwrap_or(0);
    let full = rows.iter().filter(|row| row.segments.len() * 2 > most).count() as f32 / rows.len() as f32;
    let ruled = Area::around(rows.iter().map(|row| row.area)).is_some_and(|area| {
        let slack = Area { x0: area.x0 - 12.0, y0: area.y0 - 12.0, x1: area.x1 + 12.0, y1: area.y1 + 12.0 };
        let inside = |rule: &&Area| {
            rule.x0 >= slack.x0 && rule.x1 <= slack.x1 && rule.y0 >= slack.y0 && rule.y1 <= slack.y1
        };
        context.rules.iter().filter(inside).count() >= 3
    });
    let length = (rows.len() as f32 / 10.0).min(0.15);
    (0.45 + 0.25 * full + length + if ruled { 0.15 } else { 0.0 }).min(0.98)
}

/// Parts rows that are no table into blocks, from the top, those side by side from the left.
fn paragraphs(rows: Vec<Row>, context: Context<'_>, into: &mut Vec<Block>) {
    let mut found: Vec<Block> =
        stacks::stacks(rows).into_iter().flat_map(|stack| parted(stack, context)).collect();
    merge_lists(&mut found);
    into.extend(found);
}

/// Parts rows that stand one below the other into blocks.
fn parted(rows: Vec<Row>, context: Context<'_>) -> Vec<Block> {
    let mut into = Vec::new();
    let gap = usual_gap(&rows);
    let mut block: Vec<Row> = Vec::new();
    let mut rows = rows.into_iter().peekable();
    while let Some(row) = rows.next() {
        let ends = block.last().is_some_and(|above| {
            parts(&block, above, &row, gap) || begins_paragraph(&block, &row, rows.peek())
        });
        if ends {
            into.push(classified(std::mem::take(&mut block), context));
        }
        block.push(row);
    }
    if !block.is_empty() {
        into.push(classified(block, context));
    }
    into
}

/// The gap between rows that is most usual, in points.
fn usual_gap(rows: &[Row]) -> f32 {
    let mut gaps: Vec<f32> = rows.windows(2).map(|pair| pair[1].area.y0 - pair[0].area.y1).collect();
    gaps.sort_by(f32::total_cmp);
    gaps.get(gaps.len() / 3).copied().unwrap_or(0.0).max(0.0)
}

fn parts(block: &[Row], above: &Row, row: &Row, usual: f32) -> bool {
    let em = above.size().min(row.size());
    let gap = row.area.y0 - above.area.y1;
    let sizes_differ = (above.size() - row.size()).abs() > SAME_SIZE * above.size().max(row.size());
    let block_is_bold = block.iter().all(Row::bold);
    let far = gap > BLOCK_GAP * em || gap > usual * 1.5 + 0.3 * em;
    far || gap < -2.0 * em
        || sizes_differ
        || block_is_bold != row.bold() && row.bold() != above.bold()
        || has_marker(row)
}

/// Whether a row is indented between rows that are not, as the first of a paragraph is.
fn begins_paragraph(block: &[Row], row: &Row, below: Option<&Row>) -> bool {
    let (Some(above), Some(below)) = (block.last(), below) else { return false };
    let em = row.size();
    let flush = (above.area.x0 - below.area.x0).abs() < 0.3 * em;
    let indent = row.area.x0 - below.area.x0;
    flush && indent > 0.7 * em && indent < 4.0 * em && !block.first().is_some_and(has_marker)
}

/// What a block of rows is that is no table.
fn classified(rows: Vec<Row>, context: Context<'_>) -> Block {
    let (kind, confidence) = classify(&rows, context);
    Block { kind, rows, confidence }
}

fn classify(rows: &[Row], context: Context<'_>) -> (ZoneKind, f32) {
    let text = rows.iter().map(Row::text).collect::<Vec<_>>().join(" ");
    let words = text.split_whitespace().count();
    let size = rows.iter().map(Row::size).fold(0.0, f32::max);
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let larger = size > context.body * (1.0 + SAME_SIZE);
    let bold = rows.iter().all(Row::bold);
    let capitals = letters > 3 && text.chars().filter(|c| c.is_alphabetic()).all(|c| !c.is_lowercase())
        // Scripts without case have no capitals.
        && text.chars().any(char::is_uppercase);
    let ends_like_a_sentence = text.ends_with(['.', ',', ';', ':']);
    let short = rows.len() <= HEADING_ROWS && words <= HEADING_WORDS && letters > 1;
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
    let alone = rows.len() == 1 && words <= HEADING_WORDS / 2 && letters > 1 && !ends_like_a_sentence;
    let numbered = alone && is_numbered_title(&text) && size > context.body * (1.0 - SAME_SIZE);
    if alone && size > context.body * (1.0 + SLIGHTLY_LARGER) || numbered {
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

/// Items that follow one another are one list, the surer the more there are.
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
