//! Names of sender and recipient of a letter that calls them neither: by the letterhead and the address.
//!
//! A guess from how letters look, for data points whose names say that they are the seller's or the buyer's name and
//! that have no label on the page. Its confidence is low: a person should look.

use std::sync::LazyLock;

use regex::Regex;

use super::candidate::{Candidate, Group, Origin};
use super::label::Occurrence;
use super::sheet::{Cell, Frame, Sheet};
use super::token::tokens;
use crate::taxonomy::{DataPoint, Kind, Taxonomy};

const SENDER: [&str; 11] = [
    "seller",
    "supplier",
    "vendor",
    "issuer",
    "sender",
    "verkaufer",
    "lieferant",
    "fournisseur",
    "vendeur",
    "emetteur",
    "leverancier",
];
const RECIPIENT: [&str; 10] = [
    "buyer",
    "customer",
    "client",
    "recipient",
    "kunde",
    "kaufer",
    "empfanger",
    "destinataire",
    "acheteur",
    "klant",
];
const NAME: [&str; 4] = ["name", "company", "firma", "nom"];
/// Words before a person's name on a line of their own.
const SALUTATIONS: [&str; 12] =
    ["herr", "herrn", "frau", "firma", "m", "mme", "mr", "mrs", "ms", "monsieur", "madame", "familie"];
/// What senders print below their address.
const CONTACT: [&str; 14] = [
    "tel", "telefon", "phone", "fax", "mail", "email", "www", "http", "iban", "siret", "ust", "vat", "tva",
    "btw",
];

/// A postal code and a town.
static TOWN: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a constant pattern, compiled by the tests")]
    Regex::new(r"^(?:[A-Z]{1,3}[- ])?\d{4,5}(?: ?[A-Z]{2})? +\p{Lu}|\b[A-Z]{2},? \d{5}(?:-\d{4})?$")
        .expect("a valid pattern")
});

/// Names are looked for in this upper part of the first page, letterheads in the smaller one.
const UPPER: f32 = 0.5;
const HEAD: f32 = 0.15;
/// Lines of a block are closer than this, in heights, and begin this close to each other.
const LINE_GAP: f32 = 1.1;
const INDENT: f32 = 0.6;
const GUESS: f32 = 0.4;

/// Lines below each other that begin at the same place.
struct Block<'s> {
    lines: Vec<&'s Cell>,
}

impl Block<'_> {
    fn texts(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| line.text.as_str())
    }

    /// The line with postal code and town, with a name and a street before it.
    fn town(&self) -> Option<usize> {
        self.texts().position(|line| TOWN.is_match(line)).filter(|at| *at >= 2)
    }

    fn has_contact(&self) -> bool {
        self.texts().any(|line| tokens(line).iter().any(|token| CONTACT.contains(&token.text.as_str())))
    }

    /// The lines that make the name.
    fn name(&self) -> &[&Cell] {
        let before_street = match self.town() {
            Some(town) => town - 1,
            None => self
                .texts()
                .position(|line| line.contains(|c: char| c.is_ascii_digit() || c == '@'))
                .unwrap_or(self.lines.len()),
        };
        let greets = self.texts().next().is_some_and(|line| {
            let words = tokens(line);
            words.len() == 1 && SALUTATIONS.contains(&words[0].text.as_str())
        });
        let lines = if greets || self.town().is_none() { 2 } else { 1 };
        &self.lines[..before_street.min(lines)]
    }
}

/// Adds guesses for sender and recipient where nothing else was found.
pub(super) fn guess(
    groups: &mut [Vec<Group>],
    taxonomy: &Taxonomy,
    sheets: &[Sheet<'_>],
    labels: &[Occurrence],
) {
    let Some(sheet) = sheets.first() else { return };
    let of = |wanted: &[&str]| taxonomy.data_points.iter().position(|point| is_name_of(point, wanted));
    let missing = |point: Option<usize>| point.filter(|point| groups[*point].is_empty());
    let (sender, recipient) = (missing(of(&SENDER)), missing(of(&RECIPIENT)));
    if sender.is_none() && recipient.is_none() {
        return;
    }
    let mut blocks = blocks(sheet, labels);
    // What is one party's is not the other's.
    let named = [of(&SENDER), of(&RECIPIENT)].into_iter().flatten().filter_map(|point| groups[point].first());
    let taken: Vec<usize> = named.flat_map(|group| group.best().words.clone()).collect();
    blocks.retain(|block| {
        !block.lines.iter().flat_map(|line| &line.pieces).any(|piece| taken.contains(&piece.word))
    });
    let to = |block: &Block<'_>| recipient.is_some() && block.town().is_some() && !block.has_contact();
    let address = blocks.iter().position(to);
    let head = blocks.iter().enumerate().position(|(index, block)| {
        let above_address = address.is_some_and(|address| index < address);
        let letterhead =
            above_address || block.lines.iter().all(|line| line.frame.bottom < HEAD * sheet.page.height);
        Some(index) != address && (letterhead || block.town().is_some()) && !block.name().is_empty()
    });
    for (point, block) in [(sender, head), (recipient, address)] {
        if let (Some(point), Some(candidate)) =
            (point, block.and_then(|block| candidate(blocks[block].name())))
        {
            let key = candidate.key(Kind::String);
            groups[point].push(Group { key, score: GUESS, candidates: vec![candidate] });
        }
    }
}

fn is_name_of(point: &DataPoint, wanted: &[&str]) -> bool {
    let party = tokens(&point.name).iter().any(|word| wanted.contains(&word.text.as_str()));
    party && is_name(point) && !point.multiple
}

/// Whether a data point is by its own name that of a person or company: `buyer_name`, or `seller` alone.
pub(super) fn is_name(point: &DataPoint) -> bool {
    let words = tokens(&point.name);
    let is = |known: &[&str]| words.last().is_some_and(|last| known.contains(&last.text.as_str()));
    point.kind == Kind::String && (is(&NAME) || words.len() == 1 && (is(&SENDER) || is(&RECIPIENT)))
}

/// The blocks of the upper part of a page, by where they begin. What is nothing but a label, as `INVOICE`, is left out.
fn blocks<'s>(sheet: &'s Sheet<'_>, labels: &[Occurrence]) -> Vec<Block<'s>> {
    let is_label = |row: usize, index: usize, cell: &Cell| {
        let here = labels.iter().filter(|label| (label.sheet, label.row, label.cell) == (0, row, index));
        here.into_iter()
            .any(|label| label.leads && !cell.text[label.span.end..].contains(char::is_alphanumeric))
    };
    let mut blocks: Vec<Block<'s>> = Vec::new();
    let upper = sheet.rows.iter().enumerate().filter(|(_, row)| row.frame.bottom < UPPER * sheet.page.height);
    let cells =
        upper.flat_map(|(at, row)| row.cells.iter().enumerate().map(move |(index, cell)| (at, index, cell)));
    for (row, index, cell) in cells {
        if !cell.text.contains(char::is_alphabetic) || is_label(row, index, cell) {
            continue;
        }
        let follows = |block: &&mut Block<'_>| {
            block.lines.last().is_some_and(|last| {
                let height = cell.frame.height().min(last.frame.height());
                let gap = cell.frame.top - last.frame.bottom;
                (cell.frame.left - last.frame.left).abs() < INDENT * height
                    && (-0.5 * height..LINE_GAP * height).contains(&gap)
            })
        };
        match blocks.iter_mut().find(follows) {
            Some(block) => block.lines.push(cell),
            None => blocks.push(Block { lines: vec![cell] }),
        }
    }
    blocks
}

fn candidate(lines: &[&Cell]) -> Option<Candidate> {
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    let frame = lines.iter().map(|line| line.frame).reduce(|a, b| a.join(&b)).unwrap_or_else(Frame::default);
    (!texts.is_empty()).then(|| Candidate {
        origin: Origin::Inference,
        sheet: 0,
        words: lines.iter().flat_map(|line| line.pieces.iter().map(|piece| piece.word)).collect(),
        frame,
        value: texts.join("\n"),
        normalized: Some(texts.join(" ")),
        currency: None,
        number: None,
        date: None,
        score: GUESS,
    })
}
