//! Reads yes and no.

use super::text::fold;

const YES: [&str; 15] =
    ["true", "yes", "y", "ja", "j", "oui", "o", "si", "s", "x", "1", "wahr", "vrai", "vero", "verdadero"];
const NO: [&str; 12] =
    ["false", "no", "n", "nein", "nee", "non", "0", "falsch", "faux", "falso", "-", "onwaar"];
const CHECKED: [char; 6] = ['☑', '☒', '✓', '✔', '✗', '✘'];

/// Parses one word or check box as yes or no; `None` for other text.
pub(crate) fn parse_boolean(text: &str) -> Option<bool> {
    let text = text.trim();
    if let Some(mark) = text.chars().next().filter(|_| text.chars().count() == 1) {
        if CHECKED.contains(&mark) {
            return Some(true);
        }
        if mark == '☐' {
            return Some(false);
        }
    }
    let word = fold(text.trim_matches(['.', ',', ';', '[', ']', '(', ')', ' ']));
    match word.as_str() {
        word if YES.contains(&word) || word == "waar" => Some(true),
        word if NO.contains(&word) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse_boolean;

    #[test]
    fn words_and_check_boxes_are_parsed() {
        for text in ["Ja", "YES", "oui", "Sí", "true", "[x]", "☑", "☒"] {
            assert_eq!(parse_boolean(text), Some(true), "{text}");
        }
        for text in ["nein", "No", "non", "nee", "false", "☐", "0"] {
            assert_eq!(parse_boolean(text), Some(false), "{text}");
        }
        for text in ["", "maybe", "yesterday", "[ ]"] {
            assert_eq!(parse_boolean(text), None, "{text}");
        }
    }
}
