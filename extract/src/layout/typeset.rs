//! Virtual pages for documents that have none: flowing text set on A4 in one face.
//!
//! The places are plausible, not those that a browser would choose. What a block is (heading, list, …) is known from the
//! format and goes into the hints, so that zoning need not guess.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::glyph::{ASCENT, DESCENT};
use super::{Block, Hints, Laid, PageHints, fractions, runs};
use crate::document::{Page, TextDocument, Word, ZoneKind};
use crate::failure::{Code, Failure};
use crate::limits::Limits;

/// A4 in points.
const WIDTH: f32 = 595.28;
/// See [`WIDTH`].
const HEIGHT: f32 = 841.89;
/// White space around the text, in points.
const MARGIN: f32 = 56.0;
/// Size of running text, in points.
const BODY: f32 = 9.6;
/// Sizes of headings from the first level on, in points.
const HEADINGS: [f32; 6] = [20.0, 17.0, 14.5, 13.0, 12.0, 11.0];
/// Width of a character, in ems.
const CHARACTER: f32 = 0.5;
/// Distance of baselines, in ems.
const LEADING: f32 = 1.3;
/// Characters in a line of running text.
pub(crate) const COLUMNS: usize = 100;
/// Columns that a step of indentation takes.
const INDENT: usize = 4;
/// A table with narrower columns, in characters, is set row by row instead.
const LEAST_CELL: usize = 5;

/// A word and the column in which it starts.
type Placed<'t> = (usize, &'t str);

/// Sets blocks one below the other, page after page.
pub(crate) struct Typesetter<'l> {
    limits: &'l Limits,
    pages: Vec<Page>,
    hints: Vec<PageHints>,
    page: Page,
    bold: Vec<bool>,
    blocks: Vec<Block>,
    /// Height that is used up, in points.
    y: f32,
    /// The block that is being set, and the index of its first word on this page.
    open: Option<(ZoneKind, u32)>,
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
            open: None,
            chars: 0,
            failure: None,
        }
    }

    /// A heading; `level` from 1.
    pub(crate) fn heading(&mut self, level: usize, text: &str) {
        let size = HEADINGS[level.clamp(1, HEADINGS.len()) - 1];
        self.block(ZoneKind::Heading, size);
        self.flow(text, 0, size, true);
        self.close();
    }

    /// Running text, `depth` steps indented.
    pub(crate) fn paragraph(&mut self, depth: usize, text: &str) {
        self.block(ZoneKind::Paragraph, BODY);
        self.flow(text, depth * INDENT, BODY, false);
        self.close();
    }

    /// An item of a list, `depth` steps indented; items that follow one another are one list.
    pub(crate) fn item(&mut self, depth: usize, marker: &str, text: &str) {
        if !matches!(self.open, Some((ZoneKind::List, _))) {
            self.block(ZoneKind::List, BODY);
        }
        let indent = (depth * INDENT).min(COLUMNS / 2);
        let text_indent = indent + marker.width() + 1;
        let mut lines = wrap(text, COLUMNS.saturating_sub(text_indent).max(1)).into_iter();
        let first = lines.next().unwrap_or_default();
        let mut line: Vec<Placed<'_>> = vec![(indent, marker)];
        line.extend(shifted(first, text_indent));
        self.line(&line, BODY, false);
        for rest in lines {
            self.line(&shifted(rest, text_indent), BODY, false);
        }
    }

    /// Rows of cells in columns of the same width.
    pub(crate) fn table(&mut self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = COLUMNS / columns.max(1);
        if columns == 1 || width < LEAST_CELL {
            // A frame for the layout, or too many columns to set them side by side.
            for row in rows {
                self.paragraph(0, &row.join("  "));
            }
            return;
        }
        self.block(ZoneKind::Table, BODY);
        for row in rows {
            // Two characters stay free between columns.
            let cells: Vec<Vec<Vec<Placed<'_>>>> = row.iter().map(|cell| wrap(cell, width - 2)).collect();
            let height = cells.iter().map(Vec::len).max().unwrap_or(0);
            for i in 0..height {
                let line: Vec<Placed<'_>> = cells
                    .iter()
                    .enumerate()
                    .filter_map(|(column, cell)| Some(shifted(cell.get(i)?.clone(), column * width)))
                    .flatten()
                    .collect();
                self.line(&line, BODY, false);
            }
        }
        self.close();
    }

    /// Lines as they are, one call for all that belong together; wrapped where they are too long.
    pub(crate) fn preformatted(&mut self, text: &str) {
        self.block(ZoneKind::Paragraph, BODY);
        self.lines(text);
        self.close();
    }

    /// Lines as they are, of which nothing is known: zoning judges by their shape. A form feed starts a page.
    pub(crate) fn plain(&mut self, text: &str) {
        for (i, part) in text.split('\x0C').enumerate() {
            if i > 0 {
                self.page_break();
            }
            self.lines(part);
        }
    }

    fn lines(&mut self, text: &str) {
        let mut blank = false;
        for line in text.lines() {
            if line.trim().is_empty() {
                blank = self.y > MARGIN;
                continue;
            }
            if std::mem::take(&mut blank) {
                self.space(BODY);
            }
            let placed = columns(line);
            if placed.last().is_none_or(|(column, word)| column + word.width() <= COLUMNS) {
                self.line(&placed, BODY, false);
            } else {
                self.flow(line, 0, BODY, false);
            }
        }
    }

    /// Goes on with a new page, unless this one is empty.
    pub(crate) fn page_break(&mut self) {
        if self.page.words.is_empty() {
            return;
        }
        let reopened = self.open.map(|(kind, _)| (kind, 0));
        self.close();
        self.open = reopened;
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
            bold: runs(&std::mem::take(&mut self.bold)),
            blocks: std::mem::take(&mut self.blocks),
            ..PageHints::default()
        });
        self.y = MARGIN;
    }

    /// Whether a limit is passed, so that what follows will not be set.
    pub(crate) fn is_full(&self) -> bool {
        self.failure.is_some()
    }

    /// The pages; at least one.
    pub(crate) fn finish(mut self) -> Result<Laid, Failure> {
        self.close();
        if !self.page.words.is_empty() || self.pages.is_empty() {
            let bold = runs(&self.bold);
            self.hints.push(PageHints { bold, blocks: self.blocks, ..PageHints::default() });
            self.pages.push(self.page);
        }
        match self.failure {
            Some(failure) => Err(failure),
            None => {
                Ok(Laid { document: TextDocument { pages: self.pages }, hints: Hints { pages: self.hints } })
            }
        }
    }

    /// Ends the block that is being set and begins one.
    fn block(&mut self, kind: ZoneKind, size: f32) {
        self.close();
        if self.y > MARGIN {
            self.space(0.8 * size);
        }
        self.open = Some((kind, self.page.words.len() as u32));
    }

    fn close(&mut self) {
        let end = self.page.words.len() as u32;
        if let Some((kind, start)) = self.open.take()
            && start < end
        {
            self.blocks.push(Block { kind, words: start..end });
        }
    }

    fn space(&mut self, points: f32) {
        self.y += points;
        if !self.page.text.is_empty() {
            self.page.text.push('\n');
        }
    }

    fn flow(&mut self, text: &str, indent: usize, size: f32, bold: bool) {
        let indent = indent.min(COLUMNS / 2);
        let columns = (COLUMNS as f32 * BODY / size) as usize;
        for line in wrap(text, columns.saturating_sub(indent).max(1)) {
            self.line(&shifted(line, indent), size, bold);
        }
    }

    /// Sets one line.
    fn line(&mut self, words: &[Placed<'_>], size: f32, bold: bool) {
        if self.is_full() || words.is_empty() {
            return;
        }
        if self.y + LEADING * size > HEIGHT - MARGIN {
            self.page_break();
        }
        let baseline = self.y + size;
        self.y += LEADING * size;
        let unit = CHARACTER * size;
        let mut column = 0;
        for (i, (place, word)) in words.iter().enumerate() {
            let spaces = place.saturating_sub(column).max(usize::from(i > 0));
            self.page.text.extend(std::iter::repeat_n(' ', spaces));
            self.page.text.push_str(word);
            column += spaces + word.width();
            let x = MARGIN + *place as f32 * unit;
            let area =
                (x, baseline - ASCENT * size, x + word.width() as f32 * unit, baseline + DESCENT * size);
            self.page.words.push(Word { text: (*word).to_owned(), bbox: fractions(area, WIDTH, HEIGHT) });
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
    Page { number, width: WIDTH, height: HEIGHT, text: String::new(), words: Vec::new() }
}

fn shifted(line: Vec<Placed<'_>>, by: usize) -> Vec<Placed<'_>> {
    line.into_iter().map(|(column, word)| (column + by, word)).collect()
}

/// The words of a line with their columns; tabs go to multiples of eight.
fn columns(line: &str) -> Vec<Placed<'_>> {
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

/// Words in lines of at most `columns` characters, one space between them. Words that are longer are cut.
fn wrap(text: &str, columns: usize) -> Vec<Vec<Placed<'_>>> {
    let mut lines = vec![Vec::new()];
    let mut column = 0;
    for word in text.split_whitespace() {
        for piece in pieces(word, columns) {
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

/// A word cut to pieces of at most `columns` characters.
fn pieces(word: &str, columns: usize) -> Vec<&str> {
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
