//! Folds words for comparison, without case, accents and ligatures.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A range of bytes in a text.
pub(crate) type Span = std::ops::Range<usize>;

/// Folds case, diacritics and compatibility forms (NFKD without marks), so that `N° Échéance` equals `n° echeance`.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        match c {
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            'œ' => folded.push_str("oe"),
            'ø' => folded.push('o'),
            'ł' => folded.push('l'),
            '’' | '‘' | '´' | '`' => folded.push('\''),
            c => folded.push(c),
        }
    }
    folded
}

/// Removes white space, which has no meaning in codes.
pub(crate) fn strip_whitespace(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_removes_case_accents_and_ligatures() {
        for (text, folded) in [
            ("Fälligkeit", "falligkeit"),
            ("ÉCHÉANCE", "echeance"),
            ("Straße", "strasse"),
            ("N°", "n°"),
            ("ﬁn", "fin"),
            ("d’échéance", "d'echeance"),
            ("İ", "i"),
        ] {
            assert_eq!(fold(text), folded, "{text}");
        }
        assert_eq!(strip_whitespace("DE08 7009\u{a0}0100"), "DE0870090100");
    }
}
