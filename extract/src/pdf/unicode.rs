//! What a font says that its glyphs mean, as text that can be searched.

use encoding_rs::{UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use unicode_normalization::UnicodeNormalization;

/// A hyphen that is seen only where a line breaks.
pub(super) const SOFT_HYPHEN: char = '\u{AD}';

/// Adds the text of one glyph: ligatures and presentation forms taken apart, what cannot be seen or read left out.
pub(super) fn push(into: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            // Drawn, so it is seen: fonts name their hyphen so.
            SOFT_HYPHEN => into.push('-'),
            c if c.is_whitespace() => into.push(' '),
            '\u{FFFD}' | '\u{FEFF}' | '\u{200B}' => {}
            c if c.is_control() => {}
            // Latin, Armenian and Hebrew ligatures.
            '\u{FB00}'..='\u{FB4F}' => into.extend(std::iter::once(c).nfkc()),
            // Arabic: letters are sorted by place later, from the left; the parts of a ligature are read from the right.
            '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFE}' => {
                let parts: Vec<char> = std::iter::once(c).nfkc().collect();
                into.extend(parts.into_iter().rev());
            }
            c => into.push(c),
        }
    }
}

/// A PDF text string (ISO 32000-2, 7.9.2.2). PDFDocEncoding is read as Windows-1252: they agree on what is printable
/// outside 0x18 to 0x1F and 0x80 to 0x9F.
pub(super) fn text_string(bytes: &[u8]) -> String {
    let encoding = match bytes {
        [0xFE, 0xFF, ..] => UTF_16BE,
        [0xFF, 0xFE, ..] => UTF_16LE,
        [0xEF, 0xBB, 0xBF, ..] => UTF_8,
        _ => WINDOWS_1252,
    };
    encoding.decode(bytes).0.into_owned()
}
