//! Converts tokens from visual to logical order.
//!
//! Pages draw right-to-left scripts in any order, so sorting by position reverses their letters. This module undoes
//! rule L2 of the Unicode bidirectional algorithm (UAX #9) for the two levels that documents have. It reverses
//! right-to-left runs, but not the numbers and left-to-right words within them.

use super::token::Token;

/// Converts tokens and their text from visual to logical order.
pub(super) fn to_logical_order(mut tokens: Vec<Token>) -> Vec<Token> {
    if !tokens.iter().any(|token| token.text.chars().any(is_rtl)) {
        return tokens;
    }
    let count = |pick: fn(char) -> bool| {
        tokens.iter().flat_map(|token| token.text.chars()).filter(|c| pick(*c)).count()
    };
    let base_rtl = count(is_rtl) >= count(|c| c.is_alphabetic() && !is_rtl(c));
    for token in &mut tokens {
        if token.text.chars().any(is_rtl) {
            token.text = reverse_word(&token.text);
        }
    }
    if base_rtl {
        tokens.reverse();
    }
    // Runs against the base direction appear in reverse order.
    let is_reversed = |token: &Token| token.text.chars().any(is_rtl) != base_rtl && !is_neutral(&token.text);
    let mut start = 0;
    while start < tokens.len() {
        let length = tokens[start..].iter().take_while(|token| is_reversed(token)).count();
        tokens[start..start + length].reverse();
        start += length.max(1);
    }
    tokens
}

/// Converts one right-to-left word from visual to logical order.
fn reverse_word(visual: &str) -> String {
    // A mark is sorted near the letter that it is drawn over. In logical order it follows the letter, which a reversal
    // gives if the mark was sorted before it.
    let mut chars: Vec<char> = visual.chars().rev().map(mirror).collect();
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

/// Returns the opposite bracket. Right-to-left text draws brackets by their shape but means the opposite.
fn mirror(c: char) -> char {
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

/// Whether a character is a letter of a right-to-left script: Hebrew, Arabic, Syriac, Thaana, N'Ko, or a presentation
/// form.
fn is_rtl(c: char) -> bool {
    matches!(u32::from(c), 0x0590..=0x08FF | 0xFB1D..=0xFDFF | 0xFE70..=0xFEFF | 0x1_0800..=0x1_0FFF | 0x1_E800..=0x1_EFFF)
        && !c.is_numeric()
}
