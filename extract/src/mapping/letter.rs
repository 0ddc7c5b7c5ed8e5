//! Guesses the names of sender and recipient of a letter from its letterhead and address.
//!
//! Guesses are for data points whose names mean the seller's or the buyer's name and that have no label on the page.
//! Their confidence is low, so that they are reviewed.

use std::sync::LazyLock;

use regex::Regex;

use super::candidate::{Candidate, CandidateGroup, Origin};
use super::label::LabelOccurrence;
use super::page_grid::{Cell, PageGrid, Rect};
use super::party_name::{RECIPIENT_WORDS, SENDER_WORDS, is_name_of_party};
use super::token::tokenize;
use crate::taxonomy::{Kind, Taxonomy};

/// Words on the line above a person's name.
const SALUTATIONS: [&str; 12] =
    ["herr", "herrn", "frau", "firma", "m", "mme", "mr", "mrs", "ms", "monsieur", "madame", "familie"];
/// Words of contact details, which senders print below their address.
const CONTACT_WORDS: [&str; 14] = [
    "tel", "telefon", "phone", "fax", "mail", "email", "www", "http", "iban", "siret", "ust", "vat", "tva",
    "btw",
];

/// A postal code and a town.
static POSTAL_CODE_AND_TOWN: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a constant pattern, compiled by the tests")]
    Regex::new(r"^(?:[A-Z]{1,3}[- ])?\d{4,5}(?: ?[A-Z]{2})? +\p{Lu}|\b[A-Z]{2},? \d{5}(?:-\d{4})?$")
        .expect("a valid pattern")
});

/// Names are in this upper share of the first page, letterheads in the smaller one.
const NAMES_WITHIN: f32 = 0.5;
const LETTERHEAD_WITHIN: f32 = 0.15;
/// Greatest gap between lines of a block, and greatest difference of their left edges, in heights of a line.
const MAX_LINE_GAP: f32 = 1.1;
const MAX_INDENT: f32 = 0.6;
const GUESS_SCORE: f32 = 0.4;

/// Lines below each other with the same left edge.
struct TextBlock<'s> {
    lines: Vec<&'s Cell>,
}

impl TextBlock<'_> {
    fn texts(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| line.text.as_str())
    }

    /// Returns the index of the line with postal code and town, if a name and a street precede it.
    fn town_line(&self) -> Option<usize> {
        self.texts().position(|line| POSTAL_CODE_AND_TOWN.is_match(line)).filter(|at| *at >= 2)
    }

    fn has_contact(&self) -> bool {
        self.texts()
            .any(|line| tokenize(line).iter().any(|token| CONTACT_WORDS.contains(&token.text.as_str())))
    }

    /// Returns the lines of the name.
    fn name_lines(&self) -> &[&Cell] {
        let before_street = match self.town_line() {
            Some(town) => town - 1,
            None => self
                .texts()
                .position(|line| line.contains(|c: char| c.is_ascii_digit() || c == '@'))
                .unwrap_or(self.lines.len()),
        };
        let has_salutation = self.texts().next().is_some_and(|line| {
            let words = tokenize(line);
            words.len() == 1 && SALUTATIONS.contains(&words[0].text.as_str())
        });
        let lines = if has_salutation || self.town_line().is_none() { 2 } else { 1 };
        &self.lines[..before_street.min(lines)]
    }
}

/// Adds guesses for sender and recipient if no candidate was found.
pub(super) fn guess_names(
    groups: &mut [Vec<CandidateGroup>],
    taxonomy: &Taxonomy,
    grids: &[PageGrid<'_>],
    labels: &[LabelOccurrence],
) {
    let Some(grid) = grids.first() else { return };
    let index_of =
        |wanted: &[&str]| taxonomy.data_points.iter().position(|point| is_name_of_party(point, wanted));
    let missing = |point: Option<usize>| point.filter(|point| groups[*point].is_empty());
    let (sender, recipient) = (missing(index_of(&SENDER_WORDS)), missing(index_of(&RECIPIENT_WORDS)));
    if sender.is_none() && recipient.is_none() {
        return;
    }
    let mut blocks = text_blocks(grid, labels);
    // The name of one party is not that of the other.
    let named = [index_of(&SENDER_WORDS), index_of(&RECIPIENT_WORDS)]
        .into_iter()
        .flatten()
        .filter_map(|point| groups[point].first());
    let taken: Vec<usize> = named.flat_map(|group| group.best().words.clone()).collect();
    blocks.retain(|block| {
        !block.lines.iter().flat_map(|line| &line.word_spans).any(|word_span| taken.contains(&word_span.word))
    });
    let is_address =
        |block: &TextBlock<'_>| recipient.is_some() && block.town_line().is_some() && !block.has_contact();
    let address = blocks.iter().position(is_address);
    let head = blocks.iter().enumerate().position(|(index, block)| {
        let above_address = address.is_some_and(|address| index < address);
        let letterhead = above_address
            || block.lines.iter().all(|line| line.area.bottom < LETTERHEAD_WITHIN * grid.page.height);
        Some(index) != address
            && (letterhead || block.town_line().is_some())
            && !block.name_lines().is_empty()
    });
    for (point, block) in [(sender, head), (recipient, address)] {
        if let (Some(point), Some(candidate)) =
            (point, block.and_then(|block| name_candidate(blocks[block].name_lines())))
        {
            let key = candidate.key(Kind::String);
            groups[point].push(CandidateGroup { key, score: GUESS_SCORE, candidates: vec![candidate] });
        }
    }
}

/// Returns the blocks of the upper part of a page, by their start. Cells that are only a label, such as `INVOICE`, are
/// left out.
fn text_blocks<'s>(grid: &'s PageGrid<'_>, labels: &[LabelOccurrence]) -> Vec<TextBlock<'s>> {
    let is_label = |row: usize, index: usize, cell: &Cell| {
        let here = labels.iter().filter(|label| (label.page_index, label.row, label.cell) == (0, row, index));
        here.into_iter()
            .any(|label| label.leads && !cell.text[label.span.end..].contains(char::is_alphanumeric))
    };
    let mut blocks: Vec<TextBlock<'s>> = Vec::new();
    let upper =
        grid.rows.iter().enumerate().filter(|(_, row)| row.area.bottom < NAMES_WITHIN * grid.page.height);
    let cells =
        upper.flat_map(|(at, row)| row.cells.iter().enumerate().map(move |(index, cell)| (at, index, cell)));
    for (row, index, cell) in cells {
        if !cell.text.contains(char::is_alphabetic) || is_label(row, index, cell) {
            continue;
        }
        let follows = |block: &&mut TextBlock<'_>| {
            block.lines.last().is_some_and(|last| {
                let height = cell.area.height().min(last.area.height());
                let gap = cell.area.top - last.area.bottom;
                (cell.area.left - last.area.left).abs() < MAX_INDENT * height
                    && (-0.5 * height..MAX_LINE_GAP * height).contains(&gap)
            })
        };
        match blocks.iter_mut().find(follows) {
            Some(block) => block.lines.push(cell),
            None => blocks.push(TextBlock { lines: vec![cell] }),
        }
    }
    blocks
}

fn name_candidate(lines: &[&Cell]) -> Option<Candidate> {
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let area = lines.iter().map(|line| line.area).reduce(|a, b| a.union(&b)).unwrap_or_else(Rect::default);
    (!texts.is_empty()).then(|| Candidate {
        origin: Origin::Inference,
        page_index: 0,
        words: lines.iter().flat_map(|line| line.word_spans.iter().map(|word_span| word_span.word)).collect(),
        area,
        value: texts.join("\n"),
        normalized: Some(texts.join(" ")),
        currency: None,
        number: None,
        date: None,
        score: GUESS_SCORE,
    })
}
