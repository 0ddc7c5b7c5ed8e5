//! Detects the encoding of text and decodes it.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Bytes at the beginning of a file that may declare its encoding (HTML: 1024 bytes; some pages exceed that).
const DECLARATION_BYTES: usize = 4096;

/// Decodes plain text. Tries a byte order mark, UTF-16 without one, UTF-8, then Windows-1252.
pub(crate) fn decode(bytes: &[u8]) -> String {
    let encoding =
        bom_encoding(bytes).or_else(|| detect_utf16(bytes)).unwrap_or_else(|| fallback_encoding(bytes));
    encoding.decode(bytes).0.into_owned()
}

/// Decodes markup. Tries a byte order mark, UTF-16 without one, the declaration in `<meta charset>` or in the XML
/// declaration, UTF-8, then Windows-1252.
pub(crate) fn decode_markup(bytes: &[u8]) -> String {
    let encoding = bom_encoding(bytes)
        .or_else(|| detect_utf16(bytes))
        .or_else(|| declared_encoding(bytes))
        .unwrap_or_else(|| fallback_encoding(bytes));
    encoding.decode(bytes).0.into_owned()
}

fn bom_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    Encoding::for_bom(bytes).map(|(encoding, _)| encoding)
}

/// Detects UTF-16 without a byte order mark. Mostly Latin text has a zero in every other byte.
pub(crate) fn detect_utf16(bytes: &[u8]) -> Option<&'static Encoding> {
    const SAMPLE_BYTES: usize = 512;
    const MIN_PAIRS: usize = 4;
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let pairs = sample.len() / 2;
    let zeros = |offset: usize| sample.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    if pairs < MIN_PAIRS {
        None
    } else if odd * 10 > pairs * 7 && even * 10 < pairs {
        Some(UTF_16LE)
    } else if even * 10 > pairs * 7 && odd * 10 < pairs {
        Some(UTF_16BE)
    } else {
        None
    }
}

fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes[..bytes.len().min(DECLARATION_BYTES)].to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head);
    let label = ["charset", "encoding"].iter().find_map(|key| {
        let (_, rest) = head.split_once(key)?;
        let rest = rest.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"-_:".contains(c)).unwrap_or(rest.len());
        Some(rest[..end].to_owned())
    })?;
    let encoding = Encoding::for_label(label.as_bytes())?;
    // A declaration that is readable as ASCII is not in UTF-16 (HTML, "prescan a byte stream").
    Some(if encoding == UTF_16LE || encoding == UTF_16BE { UTF_8 } else { encoding })
}

fn fallback_encoding(bytes: &[u8]) -> &'static Encoding {
    if std::str::from_utf8(bytes).is_ok() { UTF_8 } else { WINDOWS_1252 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_encoding_is_detected_from_bytes() {
        assert_eq!(decode("Größe".as_bytes()), "Größe");
        assert_eq!(decode(b"Gr\xF6\xDFe"), "Größe");
        assert_eq!(decode(b"\xFF\xFEG\0r\0\xF6\0"), "Grö");
        assert_eq!(decode(b"\0T\0o\0t\0a\0l"), "Total");
    }

    #[test]
    fn markup_is_decoded_with_its_declared_encoding() {
        assert_eq!(decode_markup(b"<meta charset=\"windows-1251\">\xC0"), "<meta charset=\"windows-1251\">А");
        assert_eq!(decode_markup(b"<?xml encoding='iso-8859-1'?>\xE9"), "<?xml encoding='iso-8859-1'?>é");
        assert_eq!(decode_markup("<meta charset=utf-16>é".as_bytes()), "<meta charset=utf-16>é");
    }
}
