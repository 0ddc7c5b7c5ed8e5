//! Normalizes words to compare labels: folds them, and unifies abbreviations and compounds.
//!
//! `Rechnungs-Nr.`, `Rechnungsnummer` and `Rechnung Nr` all become `rechnung #`; `Beleg-Datum` and `Belegdatum` become
//! `beleg datum`.

use crate::normalize::{Span, fold};

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Folded and normalized.
    pub(super) text: String,
    /// Range of bytes in the text. The parts of a compound may share a range.
    pub(super) span: Span,
    /// Whether it is a later part of a word: `datum` in `Belegdatum` or `Beleg-Datum`.
    pub(super) is_inner: bool,
}

/// Words and signs for "number".
const NUMBER_WORDS: [&str; 13] =
    ["nr", "no", "n°", "nos", "nrs", "num", "numero", "nummer", "number", "n", "nbr", "№", "#"];

/// Second parts of German and Dutch compounds, with their normalized form.
const COMPOUND_HEADS: [(&str, &str); 8] = [
    ("nummer", "#"),
    ("nr", "#"),
    ("datum", "datum"),
    ("betrag", "betrag"),
    ("bedrag", "bedrag"),
    ("summe", "summe"),
    ("totaal", "totaal"),
    ("tag", "datum"),
];
/// Least length of the first part of a compound.
const MIN_STEM_CHARS: usize = 4;
/// Least length of the first part before `tag`, so that names of weekdays stay whole.
const MIN_DAY_STEM_CHARS: usize = 8;
/// Words of at least this length lose a final `s`, which joins German compounds and forms English plurals.
const MIN_PLURAL_CHARS: usize = 6;

/// Splits a text into tokens.
pub(super) fn tokenize(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        if !is_word_char(c) {
            continue;
        }
        let mut end = start + c.len_utf8();
        // Number signs are separate tokens, except in "n°".
        if !matches!(c, '#' | '№') {
            while let Some((at, next)) =
                chars.next_if(|(_, next)| is_word_char(*next) && !matches!(next, '#' | '№'))
            {
                end = at + next.len_utf8();
                if next == '°' {
                    break;
                }
            }
        }
        let is_inner = text[..start].ends_with(['-', '_', '/'])
            && text[..start - 1].ends_with(char::is_alphanumeric)
            && !tokens.is_empty();
        push_word(&text[start..end], start..end, is_inner, &mut tokens);
    }
    tokens
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '°' | 'º' | '#' | '№') || is_combining_mark(c)
}

fn is_combining_mark(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

fn push_word(printed: &str, span: Span, is_inner: bool, tokens: &mut Vec<Token>) {
    let folded = fold(printed);
    for (head, name) in COMPOUND_HEADS {
        let Some(stem) = folded.strip_suffix(head) else { continue };
        let least = if head == "tag" { MIN_DAY_STEM_CHARS } else { MIN_STEM_CHARS };
        if stem.chars().count() >= least && !stem.ends_with(|c: char| c.is_ascii_digit()) {
            tokens.push(Token { text: normalize_word(stem), span: span.clone(), is_inner });
            tokens.push(Token { text: name.to_owned(), span, is_inner: true });
            return;
        }
    }
    tokens.push(Token { text: normalize_word(&folded), span, is_inner });
}

fn normalize_word(folded: &str) -> String {
    if NUMBER_WORDS.contains(&folded) {
        return "#".to_owned();
    }
    let singular = folded.strip_suffix('s').filter(|_| folded.chars().count() >= MIN_PLURAL_CHARS);
    singular.unwrap_or(folded).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        tokenize(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn label_spellings_have_the_same_tokens() {
        for (text, expected) in [
            ("Rechnungs-Nr.:", ["rechnung", "#"]),
            ("Rechnungsnummer", ["rechnung", "#"]),
            ("Rechnung Nr", ["rechnung", "#"]),
            ("Invoice #", ["invoice", "#"]),
            ("FACTURE N° :", ["facture", "#"]),
            ("Beleg-Datum", ["beleg", "datum"]),
            ("Belegdatum", ["beleg", "datum"]),
            ("Fälligkeitstag", ["falligkeit", "datum"]),
            ("Fälligkeitsdatum", ["falligkeit", "datum"]),
        ] {
            assert_eq!(texts(text), expected, "{text}");
        }
        assert_eq!(texts("N° de facture"), ["#", "de", "facture"]);
        assert_eq!(texts("Montag, 3 Rechnungen, Invoices"), ["montag", "3", "rechnungen", "invoice"]);
        assert_eq!(texts("(€)"), Vec::<String>::new());
    }

    #[test]
    fn later_parts_of_compounds_are_marked() {
        let is_inner =
            |text: &str| tokenize(text).into_iter().map(|token| token.is_inner).collect::<Vec<_>>();
        assert_eq!(is_inner("Leistungsdatum"), [false, true]);
        assert_eq!(is_inner("Leistungs-Datum"), [false, true]);
        assert_eq!(is_inner("Leistung - Datum"), [false, false]);
    }
}
