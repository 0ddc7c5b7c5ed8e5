//! Typesets flowing text on virtual A4 pages in one typeface, for formats without pages.
//!
//! Positions are plausible, but not those of a browser. The format marks the kinds of blocks (heading, list, …), which
//! become hints for zoning.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::glyph::{ASCENT, DESCENT};
use super::hints::{Block, DocumentLayout, Hints, PageHints, page_fractions, true_runs};
use crate::document::{Page, TextDocument, Word, ZoneKind};
use crate::failure::{Code, Failure};
use crate::limits::Limits;

/// Width of A4 in points.
const PAGE_WIDTH: f32 = 595.28;
/// Height of A4 in points.
const PAGE_HEIGHT: f32 = 841.89;
/// Margin on all sides, in points.
const MARGIN: f32 = 56.0;
/// Size of running text, in points.
const BODY_SIZE: f32 = 9.6;
/// Sizes of headings by level, in points.
const HEADING_SIZES: [f32; 6] = [20.0, 17.0, 14.5, 13.0, 12.0, 11.0];
/// Width of a character, in ems.
const CHARACTER_WIDTH: f32 = 0.5;
/// Distance between baselines, in ems.
const LINE_HEIGHT: f32 = 1.3;
/// Characters in a line of running text.
pub(crate) const LINE_COLUMNS: usize = 100;
/// Columns of one indentation level.
const INDENT_COLUMNS: usize = 4;
/// Tables with narrower columns, in characters, become one paragraph a row.
const MIN_CELL_COLUMNS: usize = 5;

/// A word with its start column.
type PlacedWord<'t> = (usize, &'t str);

/// Typesets blocks one below the other, page after page.
pub(crate) struct Typesetter<'l> {
    limits: &'l Limits,
    pages: Vec<Page>,
    hints: Vec<PageHints>,
    page: Page,
    bold: Vec<bool>,
    blocks: Vec<Block>,
    /// Used height, in points.
    y: f32,
    /// Kind of the open block, and the index of its first word on this page.
    open_block: Option<(ZoneKind, u32)>,
    chars: usize,
    failure: Option<Failure>,
}

impl<'l> Typesetter<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            pages: Vec::new(),
            hints: Vec::new(),
            page: empty_page(1),
            bold: Vec::new(),
            blocks: Vec::new(),
            y: MARGIN,
            open_block: None,
            chars: 0,
            failure: None,
        }
    }

    /// Sets a heading; `level` starts at 1.
    pub(crate) fn heading(&mut self, level: usize, text: &str) {
        let size = HEADING_SIZES[level.clamp(1, HEADING_SIZES.len()) - 1];
        self.begin_block(ZoneKind::Heading, size);
        self.set_wrapped(text, 0, size, true);
        self.end_block();
    }

    /// Sets running text, indented by `depth` levels.
    pub(crate) fn paragraph(&mut self, depth: usize, text: &str) {
        self.begin_block(ZoneKind::Paragraph, BODY_SIZE);
        self.set_wrapped(text, depth * INDENT_COLUMNS, BODY_SIZE, false);
        self.end_block();
    }

    /// Sets an item of a list, indented by `depth` levels. Consecutive items form one list.
    pub(crate) fn item(&mut self, depth: usize, marker: &str, text: &str) {
        if !matches!(self.open_block, Some((ZoneKind::List, _))) {
            self.begin_block(ZoneKind::List, BODY_SIZE);
        }
        let indent = (depth * INDENT_COLUMNS).min(LINE_COLUMNS / 2);
        let text_indent = indent + marker.width() + 1;
        let mut lines = wrap(text, LINE_COLUMNS.saturating_sub(text_indent).max(1)).into_iter();
        let first = lines.next().unwrap_or_default();
        let mut line: Vec<PlacedWord<'_>> = vec![(indent, marker)];
        line.extend(shift(first, text_indent));
        self.set_line(&line, BODY_SIZE, false);
        for rest in lines {
            self.set_line(&shift(rest, text_indent), BODY_SIZE, false);
        }
    }

    /// Sets a table with columns of equal width.
    pub(crate) fn table(&mut self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = LINE_COLUMNS / columns.max(1);
        if columns == 1 || width < MIN_CELL_COLUMNS {
            // A layout table with one column, or too many columns to fit side by side.
            for row in rows {
                self.paragraph(0, &row.join("  "));
            }
            return;
        }
        self.begin_block(ZoneKind::Table, BODY_SIZE);
        for row in rows {
            // Two characters separate the columns.
            let cells: Vec<Vec<Vec<PlacedWord<'_>>>> = row.iter().map(|cell| wrap(cell, width - 2)).collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(0);
            for i in 0..height {
                let line: Vec<PlacedWord<'_>> = cells
                    .iter()
                    .enumerate()
                    .filter_map(|(column, cell)| Some(shift(cell.get(i)?.clone(), column * width)))
                    .flatten()
                    .collect();
                self.set_line(&line, BODY_SIZE, false);
            }
        }
        self.end_block();
    }

    /// Sets a block of lines as they are, and wraps long ones.
    pub(crate) fn preformatted(&mut self, text: &str) {
        self.begin_block(ZoneKind::Paragraph, BODY_SIZE);
        self.set_lines(text);
        self.end_block();
    }

    /// Sets lines as they are, without marking blocks. A form feed starts a page.
    pub(crate) fn plain(&mut self, text: &str) {
        for (i, part) in text.split('\x0C').enumerate() {
            if i > 0 {
                self.page_break();
            }
            self.set_lines(part);
        }
    }

    fn set_lines(&mut self, text: &str) {
        let mut blank = false;
        for line in text.lines() {
            if line.trim().is_empty() {
                blank = self.y > MARGIN;
                continue;
            }
            if std::mem::take(&mut blank) {
                self.add_space(BODY_SIZE);
            }
            let placed = word_columns(line);
            if placed.last().is_none_or(|(column, word)| column + word.width() <= LINE_COLUMNS) {
                self.set_line(&placed, BODY_SIZE, false);
            } else {
                self.set_wrapped(line, 0, BODY_SIZE, false);
            }
        }
    }

    /// Starts a new page, unless this one is empty.
    pub(crate) fn page_break(&mut self) {
        if self.page.words.is_empty() {
            return;
        }
        let reopened = self.open_block.map(|(kind, _)| (kind, 0));
        self.end_block();
        self.open_block = reopened;
        let number = self.page.number + 1;
        if number > self.limits.pages && self.failure.is_none() {
            self.failure = Some(Failure::new(
                Code::DocumentTooComplex,
                format!(
                    "The document fills more than {} pages. Split it and upload the parts.",
                    self.limits.pages
                ),
            ));
        }
        self.pages.push(std::mem::replace(&mut self.page, empty_page(number)));
        self.hints.push(PageHints {
            bold: true_runs(&std::mem::take(&mut self.bold)),
            blocks: std::mem::take(&mut self.blocks),
            ..PageHints::default()
        });
        self.y = MARGIN;
    }

    /// Whether a limit is exceeded, so that further text is ignored.
    pub(crate) fn is_full(&self) -> bool {
        self.failure.is_some()
    }

    /// Returns at least one page.
    pub(crate) fn finish(mut self) -> Result<DocumentLayout, Failure> {
        self.end_block();
        if !self.page.words.is_empty() || self.pages.is_empty() {
            let bold = true_runs(&self.bold);
            self.hints.push(PageHints { bold, blocks: self.blocks, ..PageHints::default() });
            self.pages.push(self.page);
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => Ok(DocumentLayout {
                document: TextDocument { pages: self.pages },
                hints: Hints { pages: self.hints },
            }),
        }
    }

    /// Ends the open block and begins a new one.
    fn begin_block(&mut self, kind: ZoneKind, size: f32) {
        self.end_block();
        if self.y > MARGIN {
            self.add_space(0.8 * size);
        }
        self.open_block = Some((kind, self.page.words.len() as u32));
    }

    fn end_block(&mut self) {
        let end = self.page.words.len() as u32;
        if let Some((kind, start)) = self.open_block.take()
            && start < end
        {
            self.blocks.push(Block { kind, words: start..end });
        }
    }

    fn add_space(&mut self, points: f32) {
        self.y += points;
        if !self.page.text.is_empty() {
            self.page.text.push('\n');
        }
    }

    fn set_wrapped(&mut self, text: &str, indent: usize, size: f32, bold: bool) {
        let indent = indent.min(LINE_COLUMNS / 2);
        let columns = (LINE_COLUMNS as f32 * BODY_SIZE / size) as usize;
        for line in wrap(text, columns.saturating_sub(indent).max(1)) {
            self.set_line(&shift(line, indent), size, bold);
        }
    }

    fn set_line(&mut self, words: &[PlacedWord<'_>], size: f32, bold: bool) {
        if self.is_full() || words.is_empty() {
            return;
        }
        if self.y + LINE_HEIGHT * size > PAGE_HEIGHT - MARGIN {
            self.page_break();
        }
        let baseline = self.y + size;
        self.y += LINE_HEIGHT * size;
        let unit = CHARACTER_WIDTH * size;
        let mut column = 0;
        for (i, (place, word)) in words.iter().enumerate() {
            let spaces = place.saturating_sub(column).max(usize::from(i > 0));
            self.page.text.extend(std::iter::repeat_n(' ', spaces));
            self.page.text.push_str(word);
            column += spaces + word.width();
            let x = MARGIN + *place as f32 * unit;
            let area =
                (x, baseline - ASCENT * size, x + word.width() as f32 * unit, baseline + DESCENT * size);
            self.page
                .words
                .push(Word { text: (*word).to_owned(), bbox: page_fractions(area, PAGE_WIDTH, PAGE_HEIGHT) });
            self.bold.push(bold);
        }
        self.page.text.push('\n');
        self.chars += column;
        if self.chars > self.limits.chars {
            self.failure = Some(Failure::new(
                Code::DocumentTooComplex,
                format!("The document has more than {} characters of text.", self.limits.chars),
            ));
        }
    }
}

fn empty_page(number: u32) -> Page {
    Page { number, width: PAGE_WIDTH, height: PAGE_HEIGHT, text: String::new(), words: Vec::new() }
}

fn shift(line: Vec<PlacedWord<'_>>, by: usize) -> Vec<PlacedWord<'_>> {
    line.into_iter().map(|(column, word)| (column + by, word)).collect()
}

/// Returns the words of a line with their columns. Tab stops are multiples of eight.
fn word_columns(line: &str) -> Vec<PlacedWord<'_>> {
    const TAB: usize = 8;
    let mut placed = Vec::new();
    let mut column = 0;
    let mut start: Option<(usize, usize)> = None;
    for (i, c) in line.char_indices() {
        if c.is_whitespace() {
            if let Some((column, start)) = start.take() {
                placed.push((column, &line[start..i]));
            }
        } else if start.is_none() {
            start = Some((column, i));
        }
        column = if c == '\t' { (column / TAB + 1) * TAB } else { column + c.width().unwrap_or(0) };
    }
    if let Some((column, start)) = start {
        placed.push((column, &line[start..]));
    }
    placed
}

/// Wraps words into lines of at most `columns` characters. Longer words are split.
fn wrap(text: &str, columns: usize) -> Vec<Vec<PlacedWord<'_>>> {
    let mut lines = vec![Vec::new()];
    let mut column = 0;
    for word in text.split_whitespace() {
        for piece in split_word(word, columns) {
            let width = piece.width();
            if column > 0 && column + width > columns {
                lines.push(Vec::new());
                column = 0;
            }
            if let Some(line) = lines.last_mut() {
                line.push((column, piece));
            }
            column += width + 1;
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

/// Splits a word into pieces of at most `columns` characters.
fn split_word(word: &str, columns: usize) -> Vec<&str> {
    if word.len() <= columns {
        return vec![word];
    }
    let mut pieces = Vec::new();
    let (mut start, mut width) = (0, 0);
    for (i, c) in word.char_indices() {
        let next = c.width().unwrap_or(0);
        if width + next > columns && i > start {
            pieces.push(&word[start..i]);
            (start, width) = (i, 0);
        }
        width += next;
    }
    pieces.push(&word[start..]);
    pieces
}
