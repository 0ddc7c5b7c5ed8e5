//! Converts the text of glyphs to searchable characters.

use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use unicode_normalization::UnicodeNormalization;

/// A hyphen that is visible only at the end of a line.
pub(super) const SOFT_HYPHEN: char = '\u{AD}';

/// Adds the text of one glyph. Splits ligatures and presentation forms, and drops invisible and unreadable characters.
pub(super) fn push_readable(output: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            // It is drawn, so it is visible: fonts name their hyphen so.
            SOFT_HYPHEN => output.push('-'),
            c if c.is_whitespace() => output.push(' '),
            '\u{FFFD}' | '\u{FEFF}' | '\u{200B}' => {}
            c if c.is_control() => {}
            // Latin, Armenian and Hebrew ligatures.
            '\u{FB00}'..='\u{FB4F}' => output.extend(std::iter::once(c).nfkc()),
            // Letters are sorted from left to right later, so the parts of an Arabic ligature are reversed here.
            '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFE}' => {
                let parts: Vec<char> = std::iter::once(c).nfkc().collect();
                output.extend(parts.into_iter().rev());
            }
            c => output.push(c),
        }
    }
}

/// Decodes a PDF text string (ISO 32000-2, 7.9.2.2). PDFDocEncoding is read as Windows-1252; printable characters are
/// the same in both, except for 0x18 to 0x1F and 0x80 to 0x9F.
pub(super) fn decode_text_string(bytes: &[u8]) -> String {
    let encoding = match bytes {
        [0xFE, 0xFF, ..] => UTF_16BE,
        [0xFF, 0xFE, ..] => UTF_16LE,
        [0xEF, 0xBB, 0xBF, ..] => UTF_8,
        _ => WINDOWS_1252,
    };
    encoding.decode(bytes).0.into_owned()
}
