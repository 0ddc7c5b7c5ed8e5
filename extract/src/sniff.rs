//! What kind of document some bytes are, whatever they are called.
//!
//! Signatures come from `infer`; the four kinds that are read here are told more exactly: a PDF may have rubbish before
//! its header, an ePub need not begin as its specification says, and text has no signature at all, so that it is what
//! has no byte that text never has (WHATWG, MIME Sniffing, section 5 and 7.2).

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

/// How many bytes of the beginning of a file tell what it is; more do no harm.
pub const HEAD: usize = 64 << 10;

/// Readers look for the header of a PDF this far into the file (ISO 32000-1, annex H.3, note 13).
const PDF_HEADER_WITHIN: usize = 1024;
/// Every ePub has it (EPUB 3.3, section 4.2.6.3.1), and no other archive that is common.
const EPUB_CONTAINER: &[u8] = b"META-INF/container.xml";
/// The file that stands first in an ePub, uncompressed, where it follows its specification (EPUB 3.3, section 4.2.5).
const EPUB_MIMETYPE: &[u8] = b"mimetypeapplication/epub+zip";
/// First file of an archive, and the end of one that is empty (APPNOTE 4.3.7, 4.3.16).
const ZIP: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
/// How an HTML file begins; a space or `>` follows (WHATWG, MIME Sniffing, section 7.1).
const HTML_STARTS: [&str; 17] = [
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

/// The MIME type of a file by its first [`HEAD`] bytes, as far as it can be told: one of the four that are read here, or
/// that of something else.
pub fn detect(head: &[u8]) -> Option<&'static str> {
    if head.is_empty() {
        return None;
    }
    let early = &head[..head.len().min(PDF_HEADER_WITHIN + 5)];
    if contains(early, b"%PDF-") {
        return Some(PDF);
    }
    if ZIP.iter().any(|signature| head.starts_with(signature)) {
        let epub = contains(head, EPUB_CONTAINER) || contains(head, EPUB_MIMETYPE);
        return if epub {
            Some(EPUB)
        } else {
            infer::get(head).map(|kind| kind.mime_type()).or(Some("application/zip"))
        };
    }
    let known = infer::get(head).map(|kind| kind.mime_type());
    match known {
        // Its own idea of text is too narrow, and comes before that of some binary formats.
        Some(mime) if !mime.starts_with("text/") => Some(mime),
        _ => text(head),
    }
}

/// Checks that a file is what it was declared to be and what is accepted, and returns the type to read it as: one of
/// `accepts`.
///
/// `declared` is what its sender said (parameters are tolerated; `application/octet-stream` says nothing), `head` at
/// least its first [`HEAD`] bytes, or all.
///
/// # Errors
/// [`Code::DocumentEmpty`], or [`Code::DocumentTypeUnsupported`] with what it is and what would be right.
pub fn check(declared: &str, accepts: &[String], head: &[u8]) -> Result<String, Failure> {
    if head.is_empty() {
        return Err(Failure::new(Code::DocumentEmpty, "The file is empty."));
    }
    let declared = canonical(declared);
    let found = detect(head);
    let mime = match (declared.as_str(), found) {
        ("", Some(found)) => found,
        (declared, Some(found)) if declared == found => found,
        // Whatever text is declared to be, nothing in it contradicts.
        (HTML, Some(PLAIN)) => HTML,
        (PLAIN, Some(HTML)) => PLAIN,
        (declared, Some(PLAIN | HTML)) if declared.starts_with("text/") => PLAIN,
        (declared, _) => return Err(contradiction(declared, found, accepts)),
    };
    if accepts.iter().any(|accepted| canonical(accepted) == mime) {
        return Ok(mime.to_owned());
    }
    Err(unsupported(format!("The file is {}; {}.", name(mime), accepted(accepts))))
}

fn contradiction(declared: &str, found: Option<&str>, accepts: &[String]) -> Failure {
    let is = match found {
        Some(found) => format!("but is {}", name(found)),
        None => "but its bytes are those of no type known here; it may be damaged or encrypted".to_owned(),
    };
    let advice = match found.filter(|found| accepts.iter().any(|accepted| canonical(accepted) == *found)) {
        Some(found) => format!("Upload it as {found}, or upload the right file"),
        None => format!("Check that it is the right file; {}", accepted(accepts)),
    };
    let declared =
        if declared.is_empty() { "to be read".to_owned() } else { format!("as {}", name(declared)) };
    unsupported(format!("The file was sent {declared}, {is}. {advice}."))
}

fn unsupported(message: String) -> Failure {
    Failure::new(Code::DocumentTypeUnsupported, message)
}

/// What is accepted, as the end of a sentence.
fn accepted(accepts: &[String]) -> String {
    let names: Vec<String> = accepts.iter().map(|mime| name(mime)).collect();
    match names.as_slice() {
        [] => "no documents are accepted".to_owned(),
        [one] => format!("what is accepted is {one}"),
        [most @ .., last] => format!("what is accepted is {} or {last}", most.join(", ")),
    }
}

/// A type in words.
fn name(mime: &str) -> String {
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

/// A MIME type without parameters, in lower case, under its usual name; nothing where it says nothing.
fn canonical(mime: &str) -> String {
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

/// HTML or plain text, or neither.
fn text(head: &[u8]) -> Option<&'static str> {
    let encoding = Encoding::for_bom(head).map(|(encoding, _)| encoding).or_else(|| charset::utf16(head));
    // Only two encodings have bytes that others never have in text.
    let is_wide = encoding.is_some_and(|encoding| encoding != UTF_8);
    if !is_wide && head.iter().any(|byte| is_binary(*byte)) {
        return None;
    }
    let start = charset::decode_markup(&head[..head.len().min(4096) & !1]);
    // The sample may end in the middle of a character.
    if is_wide && start.trim_end_matches('\u{FFFD}').chars().any(is_binary_char) {
        return None;
    }
    Some(if is_html(&start) { HTML } else { PLAIN })
}

fn is_html(start: &str) -> bool {
    let mut rest = start.trim_start_matches('\u{FEFF}').trim_start();
    // What may stand before the first tag.
    loop {
        let after = match rest {
            _ if rest.starts_with("<!--") => rest.split_once("-->"),
            _ if rest.starts_with("<?xml") => rest.split_once("?>"),
            _ => break,
        };
        let Some((_, after)) = after else { return rest.starts_with("<!--") };
        rest = after.trim_start();
    }
    HTML_STARTS.iter().any(|tag| {
        rest.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag))
            && rest[tag.len()..].starts_with(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/')
    })
}

/// "Binary data byte" of the standard.
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

    fn all() -> Vec<String> {
        [PDF, EPUB, HTML, PLAIN].map(str::to_owned).to_vec()
    }

    fn program() -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(64, 0);
        elf
    }

    fn message(declared: &str, head: &[u8]) -> String {
        let failure = check(declared, &all(), head).unwrap_err();
        assert_eq!(failure.code, Code::DocumentTypeUnsupported);
        failure.message
    }

    #[test]
    fn kinds_are_told_by_their_bytes() {
        assert_eq!(detect(b"\n\nrubbish\n%PDF-1.7\n"), Some(PDF));
        assert_eq!(detect(b"PK\x03\x04..............mimetypeapplication/epub+zipPK"), Some(EPUB));
        assert_eq!(detect(b"PK\x03\x04..............META-INF/container.xml..."), Some(EPUB));
        assert_eq!(detect(b"PK\x03\x04\x14\0\0\0\0\0\xd6\xaa\x77\x5d a b"), Some("application/zip"));
        assert_eq!(detect(&program()), Some("application/x-executable"));
        assert_eq!(detect(b"\x89PNG\r\n\x1a\n\0"), Some("image/png"));
        assert_eq!(detect(b"  <!-- a --> <!DOCTYPE html>"), Some(HTML));
        assert_eq!(detect(b"<?xml version='1.0'?>\n<html xmlns='x'>"), Some(HTML));
        assert_eq!(detect(b"\xFF\xFE<\0h\0t\0m\0l\0>\0"), Some(HTML));
        assert_eq!(detect(b"<abc> is a word in brackets"), Some(PLAIN));
        assert_eq!(detect("Größe".as_bytes()), Some(PLAIN));
        assert_eq!(detect(b"Gr\xF6\xDFe"), Some(PLAIN));
        assert_eq!(detect(b"a\0b\x01\x02\xFF\x13"), None);
        assert_eq!(detect(b""), None);
    }

    #[test]
    fn declarations_are_checked() {
        assert_eq!(check("application/pdf; charset=binary", &all(), b"%PDF-1.4").unwrap(), PDF);
        assert_eq!(check("application/octet-stream", &all(), b"<html>").unwrap(), HTML);
        assert_eq!(check(HTML, &all(), b"<html>").unwrap(), HTML);
        assert_eq!(check(HTML, &all(), b"text").unwrap(), HTML);
        assert_eq!(check("text/csv", &all(), b"a,b").unwrap(), PLAIN);
        assert_eq!(check("text/plain", &all(), b"<html>").unwrap(), PLAIN);
        assert_eq!(check("application/xhtml+xml", &all(), b"<html>").unwrap(), HTML);
        assert_eq!(check(PDF, &all(), b"").unwrap_err().code, Code::DocumentEmpty);
        assert_eq!(check(PLAIN, &[PDF.to_owned()], b"text").unwrap_err().code, Code::DocumentTypeUnsupported);
    }

    #[test]
    fn refusals_say_what_is_wrong_and_what_would_be_right() {
        assert_eq!(
            message(PDF, b"<html>"),
            "The file was sent as a PDF (application/pdf), but is an HTML page (text/html). Upload it as text/html, or \
             upload the right file."
        );
        assert_eq!(
            message(PDF, &program()),
            "The file was sent as a PDF (application/pdf), but is a program (application/x-executable). Check that it is \
             the right file; what is accepted is a PDF (application/pdf), an ePub (application/epub+zip), an HTML page \
             (text/html) or plain text (text/plain)."
        );
        assert!(message(PDF, b"a\0b\x01\x02\xFF\x13").contains("no type known here"));
        assert!(message("application/octet-stream", b"\x89PNG\r\n\x1a\n\0").contains("image/png"));
        assert!(message("", b"a\0b\x01\x02\xFF\x13").starts_with("The file was sent to be read, but"));
    }
}
