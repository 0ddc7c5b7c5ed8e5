//! Words as labels are compared by: folded, with abbreviations and compounds made alike.
//!
//! `Rechnungs-Nr.`, `Rechnungsnummer` and `Rechnung Nr` are all `rechnung #`; `Beleg-Datum` and `Belegdatum` are
//! `beleg datum`.

use crate::normalize::{Span, fold};

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Folded and made alike.
    pub(super) text: String,
    /// Bytes of the text that it stands for. Parts of a compound share the compound's end or begin within it.
    pub(super) span: Span,
    /// Whether it is a later part of a word: `datum` in `Belegdatum` or `Beleg-Datum`.
    pub(super) inner: bool,
}

/// All that stands for "number".
const NUMBER: [&str; 13] =
    ["nr", "no", "n°", "nos", "nrs", "num", "numero", "nummer", "number", "n", "nbr", "№", "#"];

/// Second parts of compounds, and what they are called alone.
const HEADS: [(&str, &str); 8] = [
    ("nummer", "#"),
    ("nr", "#"),
    ("datum", "datum"),
    ("betrag", "betrag"),
    ("bedrag", "bedrag"),
    ("summe", "summe"),
    ("totaal", "totaal"),
    ("tag", "datum"),
];
/// A first part is at least this long.
const LEAST_STEM: usize = 4;
/// Before `tag` only, so that days of the week stay whole.
const LEAST_STEM_OF_DAY: usize = 8;
/// Words from this length on lose a final `s`, which joins German compounds and makes English plurals.
const LEAST_PLURAL: usize = 6;

/// The tokens of a text.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        if !is_part(c) {
            continue;
        }
        let mut end = start + c.len_utf8();
        // Number signs are tokens of their own, but "n°" is one.
        if !matches!(c, '#' | '№') {
            while let Some((at, next)) =
                chars.next_if(|(_, next)| is_part(*next) && !matches!(next, '#' | '№'))
            {
                end = at + next.len_utf8();
                if next == '°' {
                    break;
                }
            }
        }
        let inner = text[..start].ends_with(['-', '_', '/'])
            && text[..start - 1].ends_with(char::is_alphanumeric)
            && !tokens.is_empty();
        word(&text[start..end], start..end, inner, &mut tokens);
    }
    tokens
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '°' | 'º' | '#' | '№') || is_mark(c)
}

fn is_mark(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

fn word(printed: &str, span: Span, inner: bool, tokens: &mut Vec<Token>) {
    let folded = fold(printed);
    for (head, name) in HEADS {
        let Some(stem) = folded.strip_suffix(head) else { continue };
        let least = if head == "tag" { LEAST_STEM_OF_DAY } else { LEAST_STEM };
        if stem.chars().count() >= least && !stem.ends_with(|c: char| c.is_ascii_digit()) {
            tokens.push(Token { text: alike(stem), span: span.clone(), inner });
            tokens.push(Token { text: name.to_owned(), span, inner: true });
            return;
        }
    }
    tokens.push(Token { text: alike(&folded), span, inner });
}

fn alike(folded: &str) -> String {
    if NUMBER.contains(&folded) {
        return "#".to_owned();
    }
    let singular = folded.strip_suffix('s').filter(|_| folded.chars().count() >= LEAST_PLURAL);
    singular.unwrap_or(folded).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        tokens(text).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn spellings_of_a_label_are_alike() {
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
    fn later_parts_of_a_word_are_marked() {
        let inner = |text: &str| tokens(text).into_iter().map(|token| token.inner).collect::<Vec<_>>();
        assert_eq!(inner("Leistungsdatum"), [false, true]);
        assert_eq!(inner("Leistungs-Datum"), [false, true]);
        assert_eq!(inner("Leistung - Datum"), [false, false]);
    }
}
