//! A page as rows of cells: words that stand close on one line make a cell, a wide gap begins the next one.
//!
//! Only boxes are used, never the order of the words, so that any reader's text can be mapped. Lengths are in points.

use crate::document::{BBox, Page};
use crate::normalize::Span;

/// A gap wider than this, in heights of a word, parts two cells.
const CELL_GAP: f32 = 0.8;
/// Words whose middles differ by less than this, in heights of the lower one, stand on one row.
const SAME_ROW: f32 = 0.4;
/// A word of three characters or more that is this much taller than wide runs up or down the page.
const UPRIGHT: f32 = 1.8;

/// A page as rows, from top to bottom.
#[derive(Debug)]
pub(super) struct Sheet<'d> {
    pub(super) page: &'d Page,
    pub(super) rows: Vec<Row>,
}

/// A line across the page.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// From left to right.
    pub(super) cells: Vec<Cell>,
    pub(super) frame: Frame,
}

/// Words that belong together, parted by single spaces.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) frame: Frame,
}

/// Where a word stands in a text made of words.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Index in the page's words.
    pub(super) word: usize,
    pub(super) span: Span,
}

/// A rectangle in points.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Frame {
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) right: f32,
    pub(super) bottom: f32,
}

impl Frame {
    pub(super) fn height(&self) -> f32 {
        self.bottom - self.top
    }

    pub(super) fn middle(&self) -> f32 {
        f32::midpoint(self.top, self.bottom)
    }

    /// Whether both share a part of their width.
    pub(super) fn above_or_below(&self, other: &Self) -> bool {
        self.left < other.right && other.left < self.right
    }

    pub(super) fn join(&self, other: &Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

impl<'d> Sheet<'d> {
    /// Lays the words of a page into rows and cells.
    pub(super) fn new(page: &'d Page) -> Self {
        let mut words: Vec<(usize, Frame)> = page
            .words
            .iter()
            .enumerate()
            .map(|(index, word)| (index, frame(word.bbox, page)))
            .filter(|(index, frame)| {
                let upright = frame.height() > UPRIGHT * (frame.right - frame.left);
                !(upright && page.words[*index].text.chars().count() > 2)
            })
            .collect();
        words.sort_by(|a, b| a.1.middle().total_cmp(&b.1.middle()).then(a.1.left.total_cmp(&b.1.left)));

        let mut lines: Vec<Vec<(usize, Frame)>> = Vec::new();
        for (index, frame) in words {
            let fits = lines.last().and_then(|line| line.first()).is_some_and(|(_, first)| {
                frame.middle() - first.middle() < SAME_ROW * frame.height().min(first.height())
            });
            match lines.last_mut().filter(|_| fits) {
                Some(line) => line.push((index, frame)),
                None => lines.push(vec![(index, frame)]),
            }
        }
        let rows = lines.into_iter().map(|line| row(page, line)).collect();
        Self { page, rows }
    }

    /// The smallest box around words of the page, in fractions of it.
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

fn row(page: &Page, mut line: Vec<(usize, Frame)>) -> Row {
    line.sort_by(|a, b| a.1.left.total_cmp(&b.1.left));
    let mut row = Row::default();
    for (word, frame) in line {
        let near = row.cells.last().is_some_and(|cell| {
            frame.left - cell.frame.right < CELL_GAP * frame.height().min(cell.frame.height())
        });
        if !near {
            row.cells.push(Cell { frame, ..Cell::default() });
        }
        row.frame = if row.cells.len() == 1 && !near { frame } else { row.frame.join(&frame) };
        if let Some(cell) = row.cells.last_mut() {
            if near {
                cell.text.push(' ');
                cell.frame = cell.frame.join(&frame);
            }
            let start = cell.text.len();
            cell.text.push_str(&page.words[word].text);
            cell.pieces.push(Piece { word, span: start..cell.text.len() });
        }
    }
    row
}

fn frame(bbox: BBox, page: &Page) -> Frame {
    Frame {
        left: bbox.x * page.width,
        top: bbox.y * page.height,
        right: (bbox.x + bbox.width) * page.width,
        bottom: (bbox.y + bbox.height) * page.height,
    }
}

/// A stretch of text with the words that it is made of: a part of a row, with two spaces between cells.
#[derive(Debug, Clone, Default)]
pub(super) struct Run {
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
    /// Where each cell begins.
    pub(super) cells: Vec<usize>,
}

impl Run {
    /// Adds a cell's text from a byte on, up to the word that goes beyond `limit` bytes.
    pub(super) fn push(&mut self, cell: &Cell, from: usize, limit: usize) {
        if !self.text.is_empty() {
            self.text.push_str("  ");
        }
        self.cells.push(self.text.len());
        let base = self.text.len();
        let first = cell.pieces.partition_point(|piece| piece.span.end <= from);
        let mut end = from;
        for piece in
            cell.pieces[first..].iter().take_while(|piece| piece.span.start < from.saturating_add(limit))
        {
            let span = base + piece.span.start.max(from) - from..base + piece.span.end - from;
            self.pieces.push(Piece { word: piece.word, span });
            end = piece.span.end;
        }
        self.text.push_str(&cell.text[from..end]);
    }

    /// The words that a part of the text is printed by.
    pub(super) fn words(&self, part: &Span) -> Vec<usize> {
        let touched =
            self.pieces.iter().filter(|piece| piece.span.start < part.end && part.start < piece.span.end);
        touched.map(|piece| piece.word).collect()
    }
}

/// How far ahead of the one before a word is looked for in the page's text, in bytes: several lines of it.
const AHEAD: usize = 8_192;

/// Where each word of a page stands in the page's text. Words that the text does not hold in this order stay out.
pub(super) fn align(page: &Page) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(page.words.len());
    let mut from = 0;
    for (word, printed) in page.words.iter().enumerate() {
        let to = (from + AHEAD.max(printed.text.len())..page.text.len())
            .find(|at| page.text.is_char_boundary(*at));
        if let Some(at) = page.text[from..to.unwrap_or(page.text.len())].find(&printed.text) {
            let start = from + at;
            from = start + printed.text.len();
            pieces.push(Piece { word, span: start..from });
        }
    }
    pieces
}
