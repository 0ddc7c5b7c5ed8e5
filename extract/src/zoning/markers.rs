//! Recognizes list markers and section numbers.

use super::rows::Row;

/// Whether a row begins with a list marker: a bullet, or a number or letter with a dot or bracket.
pub(super) fn has_marker(row: &Row) -> bool {
    let Some(first) = row.segments.first() else { return false };
    let mut words = first.text.split_whitespace();
    let Some(marker) = words.next() else { return false };
    // Text must follow the marker on the same line.
    if words.next().is_none() && row.segments.len() < 2 {
        return false;
    }
    is_marker(marker)
}

/// Whether a word is a list marker.
pub(super) fn is_marker(marker: &str) -> bool {
    let mut chars = marker.chars();
    if let (Some(c), None) = (chars.next(), chars.next()) {
        return matches!(
            c,
            '•' | '◦'
                | '▪'
                | '▫'
                | '■'
                | '□'
                | '●'
                | '○'
                | '‣'
                | '⁃'
                | '∙'
                | '·'
                | '-'
                | '–'
                | '—'
                | '*'
                | '➢'
                | '✓'
                | '\u{F0B7}'
        );
    }
    let body = marker.strip_prefix('(').unwrap_or(marker);
    let Some(body) = body.strip_suffix(['.', ')']) else { return false };
    let number = body.len() <= 3 && body.chars().all(|c| c.is_ascii_digit());
    let letter = body.chars().count() == 1 && body.chars().all(char::is_alphabetic);
    let roman = body.len() <= 5 && body.chars().all(|c| matches!(c, 'i' | 'v' | 'x'));
    !body.is_empty() && (number || letter || roman)
}

/// Whether a text is a numbered title such as "2 Basic Idea" or "3.1.4 Results". The number has no final dot, and the
/// title begins with a capital.
pub(super) fn is_numbered_title(text: &str) -> bool {
    let Some((number, title)) = text.split_once(char::is_whitespace) else { return false };
    let parts = number.split('.');
    parts.clone().count() <= 5
        && parts.clone().all(|part| !part.is_empty() && part.len() <= 2 && part.chars().all(|c| c.is_ascii_digit()))
        && title.trim_start().chars().next().is_some_and(char::is_uppercase)
        // Amounts and dates have further numbers.
        && !title.chars().any(|c| c.is_ascii_digit())
}
