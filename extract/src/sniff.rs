//! Detects the media type of a file by its bytes.
//!
//! Signatures come from `infer`. The four types that Docket reads are detected more exactly. A PDF may have other bytes
//! before its header. An ePub may deviate from its specification. Text has no signature, so a file without binary bytes
//! is text (WHATWG, MIME Sniffing, sections 5 and 7.2).

use encoding_rs::{Encoding, UTF_8};

use crate::charset;
use crate::failure::{Code, Failure};

/// MIME type of PDF.
pub const PDF: &str = "application/pdf";
/// MIME type of ePub.
pub const EPUB: &str = "application/epub+zip";
/// MIME type of HTML.
pub const HTML: &str = "text/html";
/// MIME type of plain text.
pub const PLAIN: &str = "text/plain";

/// Bytes at the beginning of a file that suffice to detect its type. More do no harm.
pub const HEAD_BYTES: usize = 64 << 10;

/// Readers accept the header of a PDF within this many bytes (ISO 32000-1, annex H.3, note 13).
const PDF_HEADER_BYTES: usize = 1024;
/// Every ePub has this file (EPUB 3.3, section 4.2.6.3.1), and no other common archive does.
const EPUB_CONTAINER: &[u8] = b"META-INF/container.xml";
/// The first file of an ePub, uncompressed, if it follows the specification (EPUB 3.3, section 4.2.5).
const EPUB_MIMETYPE: &[u8] = b"mimetypeapplication/epub+zip";
/// The first file of an archive, and the end of an empty one (APPNOTE 4.3.7, 4.3.16).
const ZIP_SIGNATURES: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
/// First tags of an HTML file, followed by a space or `>` (WHATWG, MIME Sniffing, section 7.1).
const HTML_TAGS: [&str; 17] = [
    "<!doctype html",
    "<html",
    "<head",
    "<script",
    "<iframe",
    "<h1",
    "<div",
    "<font",
    "<table",
    "<a",
    "<style",
    "<title",
    "<b",
    "<body",
    "<br",
    "<p",
    "<meta",
];

/// Detects the MIME type of a file by its first [`HEAD_BYTES`] bytes; `None` if they match no known type.
pub fn detect_media_type(head: &[u8]) -> Option<&'static str> {
    if head.is_empty() {
        return None;
    }
    let early = &head[..head.len().min(PDF_HEADER_BYTES + 5)];
    if contains(early, b"%PDF-") {
        return Some(PDF);
    }
    if ZIP_SIGNATURES.iter().any(|signature| head.starts_with(signature)) {
        let epub = contains(head, EPUB_CONTAINER) || contains(head, EPUB_MIMETYPE);
        return if epub {
            Some(EPUB)
        } else {
            infer::get(head).map(|kind| kind.mime_type()).or(Some("application/zip"))
        };
    }
    let known = infer::get(head).map(|kind| kind.mime_type());
    match known {
        // `infer` knows too few texts, and takes some for binary formats.
        Some(mime) if !mime.starts_with("text/") => Some(mime),
        _ => detect_text(head),
    }
}

/// Checks a file against its declared type, and returns the one of `accepts` to read it as.
///
/// `declared` may have parameters; `application/octet-stream` declares no type. `head` has the first [`HEAD_BYTES`]
/// bytes of the file, or all of it.
///
/// # Errors
/// [`Code::DocumentEmpty`], or [`Code::DocumentTypeUnsupported`] with the detected and the accepted types.
pub fn check_media_type(declared: &str, accepts: &[String], head: &[u8]) -> Result<String, Failure> {
    if head.is_empty() {
        return Err(Failure::new(Code::DocumentEmpty, "The file is empty."));
    }
    let declared = canonical_type(declared);
    let found = detect_media_type(head);
    let mime = match (declared.as_str(), found) {
        ("", Some(found)) => found,
        (declared, Some(found)) if declared == found => found,
        // No byte of a text contradicts a declared text type.
        (HTML, Some(PLAIN)) => HTML,
        (PLAIN, Some(HTML)) => PLAIN,
        (declared, Some(PLAIN | HTML)) if declared.starts_with("text/") => PLAIN,
        (declared, _) => return Err(type_mismatch(declared, found, accepts)),
    };
    if accepts.iter().any(|accepted| canonical_type(accepted) == mime) {
        return Ok(mime.to_owned());
    }
    Err(unsupported(format!("The file is {}; {}.", describe(mime), list_accepted(accepts))))
}

fn type_mismatch(declared: &str, found: Option<&str>, accepts: &[String]) -> Failure {
    let is = match found {
        Some(found) => format!("but is {}", describe(found)),
        None => "but its bytes match no known type; it may be damaged or encrypted".to_owned(),
    };
    let advice = match found.filter(|found| accepts.iter().any(|accepted| canonical_type(accepted) == *found))
    {
        Some(found) => format!("Upload it as {found}, or upload the right file"),
        None => format!("Check that it is the right file; {}", list_accepted(accepts)),
    };
    let declared =
        if declared.is_empty() { "without a type".to_owned() } else { format!("as {}", describe(declared)) };
    unsupported(format!("The file was sent {declared}, {is}. {advice}."))
}

fn unsupported(message: String) -> Failure {
    Failure::new(Code::DocumentTypeUnsupported, message)
}

/// Returns the accepted types, as the end of a sentence.
fn list_accepted(accepts: &[String]) -> String {
    let names: Vec<String> = accepts.iter().map(|mime| describe(mime)).collect();
    match names.as_slice() {
        [] => "no type is accepted".to_owned(),
        [one] => format!("the accepted type is {one}"),
        [most @ .., last] => format!("the accepted types are {} and {last}", most.join(", ")),
    }
}

/// Describes a type in words.
fn describe(mime: &str) -> String {
    let known = match mime {
        PDF => "a PDF",
        EPUB => "an ePub",
        HTML => "an HTML page",
        PLAIN => "plain text",
        "application/zip" => "a ZIP archive",
        "application/x-executable"
        | "application/vnd.microsoft.portable-executable"
        | "application/x-mach-binary" => "a program",
        other => return format!("a file of the type {other}"),
    };
    format!("{known} ({mime})")
}

/// Returns a MIME type in lower case, without parameters, under its usual name. The result is empty for types that
/// declare nothing.
fn canonical_type(mime: &str) -> String {
    let essence = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/octet-stream" | "binary/octet-stream" | "application/unknown" | "unknown/unknown" => {
            String::new()
        }
        "application/x-pdf" => PDF.to_owned(),
        "application/epub" | "application/x-epub+zip" => EPUB.to_owned(),
        "application/xhtml+xml" => HTML.to_owned(),
        _ => essence,
    }
}

/// Detects HTML or plain text.
fn detect_text(head: &[u8]) -> Option<&'static str> {
    let encoding =
        Encoding::for_bom(head).map(|(encoding, _)| encoding).or_else(|| charset::detect_utf16(head));
    // Only UTF-16 text may contain these bytes.
    let is_wide = encoding.is_some_and(|encoding| encoding != UTF_8);
    if !is_wide && head.iter().any(|byte| is_binary(*byte)) {
        return None;
    }
    let start = charset::decode_markup(&head[..head.len().min(4096) & !1]);
    // The sample may end within a character.
    if is_wide && start.trim_end_matches('\u{FFFD}').chars().any(is_binary_char) {
        return None;
    }
    Some(if is_html(&start) { HTML } else { PLAIN })
}

fn is_html(start: &str) -> bool {
    let mut rest = start.trim_start_matches('\u{FEFF}').trim_start();
    // Comments and an XML declaration may precede the first tag.
    loop {
        let after = match rest {
            _ if rest.starts_with("<!--") => rest.split_once("-->"),
            _ if rest.starts_with("<?xml") => rest.split_once("?>"),
            _ => break,
        };
        let Some((_, after)) = after else { return rest.starts_with("<!--") };
        rest = after.trim_start();
    }
    HTML_TAGS.iter().any(|tag| {
        rest.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag))
            && rest[tag.len()..].starts_with(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/')
    })
}

/// A "binary data byte" of the standard.
fn is_binary(byte: u8) -> bool {
    matches!(byte, 0x00..=0x08 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F)
}

fn is_binary_char(c: char) -> bool {
    u8::try_from(c).is_ok_and(is_binary) || c == '\u{FFFD}'
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_types() -> Vec<String> {
        [PDF, EPUB, HTML, PLAIN].map(str::to_owned).to_vec()
    }

    fn executable() -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf
    }

    fn message(declared: &str, head: &[u8]) -> String {
        let failure = check_media_type(declared, &all_types(), head).unwrap_err();
        assert_eq!(failure.code, Code::DocumentTypeUnsupported);
        failure.message
    }

    #[test]
    fn media_types_are_detected_by_bytes() {
        assert_eq!(detect_media_type(b"\n\nrubbish\n%PDF-1.7\n"), Some(PDF));
        assert_eq!(detect_media_type(b"PK\x03\x04..............mimetypeapplication/epub+zipPK"), Some(EPUB));
        assert_eq!(detect_media_type(b"PK\x03\x04..............META-INF/container.xml..."), Some(EPUB));
        assert_eq!(
            detect_media_type(b"PK\x03\x04\x14\0\0\0\0\0\xd6\xaa\x77\x5d a b"),
            Some("application/zip")
        );
        assert_eq!(detect_media_type(&executable()), Some("application/x-executable"));
        assert_eq!(detect_media_type(b"\x89PNG\r\n\x1a\n\0"), Some("image/png"));
        assert_eq!(detect_media_type(b"  <!-- a --> <!DOCTYPE html>"), Some(HTML));
        assert_eq!(detect_media_type(b"<?xml version='1.0'?>\n<html xmlns='x'>"), Some(HTML));
        assert_eq!(detect_media_type(b"\xFF\xFE<\0h\0t\0m\0l\0>\0"), Some(HTML));
        assert_eq!(detect_media_type(b"<abc> is a word in brackets"), Some(PLAIN));
        assert_eq!(detect_media_type("Größe".as_bytes()), Some(PLAIN));
        assert_eq!(detect_media_type(b"Gr\xF6\xDFe"), Some(PLAIN));
        assert_eq!(detect_media_type(b"a\0b\x01\x02\xFF\x13"), None);
        assert_eq!(detect_media_type(b""), None);
    }

    #[test]
    fn declared_types_are_checked() {
        assert_eq!(
            check_media_type("application/pdf; charset=binary", &all_types(), b"%PDF-1.4").unwrap(),
            PDF
        );
        assert_eq!(check_media_type("application/octet-stream", &all_types(), b"<html>").unwrap(), HTML);
        assert_eq!(check_media_type(HTML, &all_types(), b"<html>").unwrap(), HTML);
        assert_eq!(check_media_type(HTML, &all_types(), b"text").unwrap(), HTML);
        assert_eq!(check_media_type("text/csv", &all_types(), b"a,b").unwrap(), PLAIN);
        assert_eq!(check_media_type("text/plain", &all_types(), b"<html>").unwrap(), PLAIN);
        assert_eq!(check_media_type("application/xhtml+xml", &all_types(), b"<html>").unwrap(), HTML);
        assert_eq!(check_media_type(PDF, &all_types(), b"").unwrap_err().code, Code::DocumentEmpty);
        assert_eq!(
            check_media_type(PLAIN, &[PDF.to_owned()], b"text").unwrap_err().code,
            Code::DocumentTypeUnsupported
        );
    }

    #[test]
    fn refusals_name_detected_and_accepted_types() {
        assert_eq!(
            message(PDF, b"<html>"),
            "The file was sent as a PDF (application/pdf), but is an HTML page (text/html). Upload it as text/html, or \
             upload the right file."
        );
        assert_eq!(
            message(PDF, &executable()),
            "The file was sent as a PDF (application/pdf), but is a program (application/x-executable). Check that it is \
             the right file; the accepted types are a PDF (application/pdf), an ePub (application/epub+zip), an HTML page \
             (text/html) and plain text (text/plain)."
        );
        assert!(message(PDF, b"a\0b\x01\x02\xFF\x13").contains("match no known type"));
        assert!(message("application/octet-stream", b"\x89PNG\r\n\x1a\n\0").contains("image/png"));
        assert!(message("", b"a\0b\x01\x02\xFF\x13").starts_with("The file was sent without a type, but"));
    }
}
