//! From the order in which a line is seen to the order in which it is read.
//!
//! Pages draw right-to-left scripts anywhere; sorted by position their letters come out reversed. This undoes rule L2 of
//! the Unicode bidirectional algorithm (UAX #9) for the two levels that documents have: right-to-left runs are turned
//! round, numbers and left-to-right words within them are not.

use super::lines::Token;

/// Tokens in logical order with logical text, from tokens in visual order.
pub(super) fn logical(mut tokens: Vec<Token>) -> Vec<Token> {
    if !tokens.iter().any(|token| token.text.chars().any(is_rtl)) {
        return tokens;
    }
    let count = |pick: fn(char) -> bool| {
        tokens.iter().flat_map(|token| token.text.chars()).filter(|c| pick(*c)).count()
    };
    let base_rtl = count(is_rtl) >= count(|c| c.is_alphabetic() && !is_rtl(c));
    for token in &mut tokens {
        if token.text.chars().any(is_rtl) {
            token.text = turn(&token.text);
        }
    }
    if base_rtl {
        tokens.reverse();
    }
    // Runs against the base direction were seen the other way round.
    let against = |token: &Token| token.text.chars().any(is_rtl) != base_rtl && !is_neutral(&token.text);
    let mut start = 0;
    while start < tokens.len() {
        let length = tokens[start..].iter().take_while(|token| against(token)).count();
        tokens[start..start + length].reverse();
        start += length.max(1);
    }
    tokens
}

/// One right-to-left word from visual to logical order.
fn turn(visual: &str) -> String {
    // A mark is drawn over its letter and sorted somewhere near it; it follows its letter in logical order, which a
    // plain reversal gives where it was sorted before it.
    let mut chars: Vec<char> = visual.chars().rev().map(mirrored).collect();
    let ltr = |c: char| c.is_numeric() || (c.is_alphabetic() && !is_rtl(c));
    let mut start = 0;
    while start < chars.len() {
        if !ltr(chars[start]) {
            start += 1;
            continue;
        }
        let mut end = start + 1;
        // Separators within a number belong to it.
        while end < chars.len()
            && (ltr(chars[end])
                || (matches!(chars[end], '.' | ',' | ':' | '/' | '-')
                    && chars.get(end + 1).is_some_and(|c| ltr(*c))))
        {
            end += 1;
        }
        chars[start..end].reverse();
        start = end;
    }
    chars.into_iter().collect()
}

/// Brackets are drawn by their shape and read by their meaning.
fn mirrored(c: char) -> char {
    match c {
        '(' => ')',
        ')' => '(',
        '[' => ']',
        ']' => '[',
        '{' => '}',
        '}' => '{',
        '<' => '>',
        '>' => '<',
        '«' => '»',
        '»' => '«',
        other => other,
    }
}

fn is_neutral(text: &str) -> bool {
    !text.chars().any(char::is_alphanumeric)
}

/// Letters of the scripts that run right to left: Hebrew, Arabic, Syriac, Thaana, N'Ko and their presentation forms.
fn is_rtl(c: char) -> bool {
    matches!(u32::from(c), 0x0590..=0x08FF | 0xFB1D..=0xFDFF | 0xFE70..=0xFEFF | 0x1_0800..=0x1_0FFF | 0x1_E800..=0x1_EFFF)
        && !c.is_numeric()
}
