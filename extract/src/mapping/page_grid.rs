//! Splits a page into rows of cells: words close together on one line form a cell, and a wide gap starts the next.
//!
//! Only the boxes count, not the order of the words, so that the text of any reader can be mapped. Lengths are in
//! points.

use crate::document::{BBox, Page};
use crate::normalize::Span;

/// A gap wider than this, in heights of a word, separates two cells.
const MIN_CELL_GAP: f32 = 0.8;
/// Centers of words in one row differ by less than this, in heights of the lower word.
const SAME_ROW: f32 = 0.4;
/// A word of at least three characters that is higher than wide by this factor is vertical text.
const VERTICAL_TEXT_RATIO: f32 = 1.8;

/// The rows of a page, from top to bottom.
#[derive(Debug)]
pub(super) struct PageGrid<'d> {
    pub(super) page: &'d Page,
    pub(super) rows: Vec<Row>,
}

/// A line across the page.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// From left to right.
    pub(super) cells: Vec<Cell>,
    pub(super) area: Rect,
}

/// Words of a row without a wide gap, separated by single spaces.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) word_spans: Vec<WordSpan>,
    pub(super) area: Rect,
}

/// The position of a word in a text.
#[derive(Debug, Clone)]
pub(super) struct WordSpan {
    /// Index in the page's words.
    pub(super) word: usize,
    pub(super) span: Span,
}

/// A rectangle in points.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rect {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) right: f32,
    pub(super) bottom: f32,
}

impl Rect {
    pub(super) fn height(&self) -> f32 {
        self.bottom - self.top
    }

    pub(super) fn middle(&self) -> f32 {
        f32::midpoint(self.top, self.bottom)
    }

    /// Whether both share a part of their width.
    pub(super) fn shares_column(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

impl<'d> PageGrid<'d> {
    /// Splits the words of a page into rows and cells.
    pub(super) fn new(page: &'d Page) -> Self {
        let mut words: Vec<(usize, Rect)> = page
            .words
            .iter()
            .enumerate()
            .map(|(index, word)| (index, rect_of(word.bbox, page)))
            .filter(|(index, area)| {
                let upright = area.height() > VERTICAL_TEXT_RATIO * (area.right - area.left);
                !(upright && page.words[*index].text.chars().count() > 2)
            })
            .collect();
        words.sort_by(|a, b| a.1.middle().total_cmp(&b.1.middle()).then(a.1.left.total_cmp(&b.1.left)));

        let mut lines: Vec<Vec<(usize, Rect)>> = Vec::new();
        for (index, area) in words {
            let fits = lines.last().and_then(|line| line.first()).is_some_and(|(_, first)| {
                area.middle() - first.middle() < SAME_ROW * area.height().min(first.height())
            });
            match lines.last_mut().filter(|_| fits) {
                Some(line) => line.push((index, area)),
                None => lines.push(vec![(index, area)]),
            }
        }
        let rows = lines.into_iter().map(|line| build_row(page, line)).collect();
        Self { page, rows }
    }

    /// Returns the smallest box around words of the page, as fractions of the page.
    pub(super) fn bbox(&self, words: &[usize]) -> Option<BBox> {
        let frames = words.iter().filter_map(|word| self.page.words.get(*word)).map(|word| word.bbox);
        frames.reduce(|a, b| {
            let (x, y) = (a.x.min(b.x), a.y.min(b.y));
            BBox {
                x,
                y,
                width: (a.x + a.width).max(b.x + b.width) - x,
                height: (a.y + a.height).max(b.y + b.height) - y,
            }
        })
    }
}

fn build_row(page: &Page, mut line: Vec<(usize, Rect)>) -> Row {
    line.sort_by(|a, b| a.1.left.total_cmp(&b.1.left));
    let mut row = Row::default();
    for (word, area) in line {
        let near = row.cells.last().is_some_and(|cell| {
            area.left - cell.area.right < MIN_CELL_GAP * area.height().min(cell.area.height())
        });
        if !near {
            row.cells.push(Cell { area, ..Cell::default() });
        }
        row.area = if row.cells.len() == 1 && !near { area } else { row.area.union(&area) };
        if let Some(cell) = row.cells.last_mut() {
            if near {
                cell.text.push(' ');
                cell.area = cell.area.union(&area);
            }
            let start = cell.text.len();
            cell.text.push_str(&page.words[word].text);
            cell.word_spans.push(WordSpan { word, span: start..cell.text.len() });
        }
    }
    row
}

fn rect_of(bbox: BBox, page: &Page) -> Rect {
    Rect {
        left: bbox.x * page.width,
        top: bbox.y * page.height,
        right: (bbox.x + bbox.width) * page.width,
        bottom: (bbox.y + bbox.height) * page.height,
    }
}

/// A part of a row with its words, and two spaces between cells.
#[derive(Debug, Clone, Default)]
pub(super) struct TextRun {
    pub(super) text: String,
    pub(super) word_spans: Vec<WordSpan>,
    /// Start of each cell.
    pub(super) cells: Vec<usize>,
}

impl TextRun {
    /// Adds a cell's text from a byte on, up to the word that exceeds `limit` bytes.
    pub(super) fn push(&mut self, cell: &Cell, from: usize, limit: usize) {
        if !self.text.is_empty() {
            self.text.push_str("  ");
        }
        self.cells.push(self.text.len());
        let base = self.text.len();
        let first = cell.word_spans.partition_point(|word_span| word_span.span.end <= from);
        let mut end = from;
        for word_span in cell.word_spans[first..]
            .iter()
            .take_while(|word_span| word_span.span.start < from.saturating_add(limit))
        {
            let span = base + word_span.span.start.max(from) - from..base + word_span.span.end - from;
            self.word_spans.push(WordSpan { word: word_span.word, span });
            end = word_span.span.end;
        }
        self.text.push_str(&cell.text[from..end]);
    }

    /// Returns the words of a part of the text.
    pub(super) fn words(&self, part: &Span) -> Vec<usize> {
        let touched = self
            .word_spans
            .iter()
            .filter(|word_span| word_span.span.start < part.end && part.start < word_span.span.end);
        touched.map(|word_span| word_span.word).collect()
    }
}

/// Bytes of the page's text that are searched for the next word: several lines.
const LOOKAHEAD_BYTES: usize = 8_192;

/// Finds the position of each word in the page's text. Words that the text does not have in this order are left out.
pub(super) fn align_words(page: &Page) -> Vec<WordSpan> {
    let mut word_spans = Vec::with_capacity(page.words.len());
    let mut from = 0;
    for (word, printed) in page.words.iter().enumerate() {
        let to = (from + LOOKAHEAD_BYTES.max(printed.text.len())..page.text.len())
            .find(|at| page.text.is_char_boundary(*at));
        if let Some(at) = page.text[from..to.unwrap_or(page.text.len())].find(&printed.text) {
            let start = from + at;
            from = start + printed.text.len();
            word_spans.push(WordSpan { word, span: start..from });
        }
    }
    word_spans
}
