//! Counts a document's tokens and open brackets without recursion, before the recursive parser sees it.
//!
//! What this takes for a string or a comment, the parser must take for one too; otherwise brackets could hide in it. Where the
//! two could differ (a string that does not end), the document is refused here.

use async_graphql::Pos;

use super::limits::Limits;
use super::refusal::Refusal;
use crate::error::Code;

/// What a document holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    /// Tokens.
    pub(super) tokens: usize,
    /// Most brackets open at once.
    pub(super) nesting: usize,
}

/// Refuses what is too long, has too many tokens, or nests too deeply. One pass, no allocation.
pub(super) fn scan(document: &str, limits: &Limits) -> Result<Scan, Refusal> {
    if document.len() > limits.bytes {
        let message = format!("The document has {} bytes; the most is {}.", document.len(), limits.bytes);
        return Err(Refusal::too_complex(message, (document.len(), limits.bytes), None));
    }
    let bytes = document.as_bytes();
    let mut scan = Scan { tokens: 0, nesting: 0 };
    let (mut at, mut open) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => {
                at += 1;
                continue;
            }
            b'#' => {
                at = run(bytes, at, |b| b != b'\n' && b != b'\r');
                continue;
            }
            _ if bytes[at..].starts_with(BYTE_ORDER_MARK) => {
                at += BYTE_ORDER_MARK.len();
                continue;
            }
            b'"' => string_end(bytes, at).ok_or_else(|| unterminated(document, start))?,
            b'{' | b'[' | b'(' => {
                open += 1;
                scan.nesting = scan.nesting.max(open);
                at + 1
            }
            b'}' | b']' | b')' => {
                open = open.saturating_sub(1);
                at + 1
            }
            b'.' if bytes[at..].starts_with(b"...") => at + 3,
            b'-' | b'0'..=b'9' => {
                run(bytes, at + 1, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-'))
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => run(bytes, at, |b| b.is_ascii_alphanumeric() || b == b'_'),
            _ => run(bytes, at + 1, |b| b & 0b1100_0000 == 0b1000_0000),
        };
        scan.tokens += 1;
        if scan.tokens > limits.tokens {
            let message = format!("The document has more than {} tokens, which is the most.", limits.tokens);
            let bound = (scan.tokens, limits.tokens);
            return Err(Refusal::too_complex(message, bound, position(document, start)));
        }
        if open > limits.nesting {
            let message = format!(
                "The document opens {open} brackets within each other; the most is {}.",
                limits.nesting
            );
            return Err(Refusal::too_complex(message, (open, limits.nesting), position(document, start)));
        }
    }
    if scan.tokens == 0 {
        return Err(Refusal::new(
            Code::ParseFailed,
            "The document is empty. Send a query, mutation or subscription.",
            vec![],
        ));
    }
    Ok(scan)
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes[from..].iter().position(|byte| !belongs(*byte)).map_or(bytes.len(), |length| from + length)
}

/// Where the string that starts here ends; `None` where it does not.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    const BLOCK: &[u8] = b"\"\"\"";
    let block = bytes[start..].starts_with(BLOCK);
    let mut at = start + if block { 3 } else { 1 };
    loop {
        let rest = bytes.get(at..)?;
        at += match rest.first()? {
            _ if block && rest.starts_with(b"\\\"\"\"") => 4,
            _ if block && rest.starts_with(BLOCK) => return Some(at + 3),
            _ if block => 1,
            b'"' => return Some(at + 1),
            b'\n' | b'\r' => return None,
            b'\\' if !matches!(rest.get(1), Some(b'\n' | b'\r')) => 2,
            _ => 1,
        };
    }
}

fn unterminated(document: &str, start: usize) -> Refusal {
    let at = position(document, start);
    let message =
        format!("Syntax error at line {}, column {}: this string does not end.", at.line, at.column);
    Refusal::new(Code::ParseFailed, message, vec![at])
}

/// Line and column (in characters), both from 1, of a byte.
fn position(document: &str, byte: usize) -> Pos {
    let before = document.get(..byte).unwrap_or(document);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Pos { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(document: &str) -> (usize, usize) {
        let scan = scan(document, &Limits::default()).unwrap();
        (scan.tokens, scan.nesting)
    }

    #[test]
    fn tokens_and_brackets_are_counted() {
        assert_eq!(counts("{ jobs(first: 2) { nodes { id } } }"), (14, 3));
        assert_eq!(counts("\u{feff}{a,b}\t\r\n"), (4, 1));
        assert_eq!(counts("{ a(x: -1.5e+3) ...F }"), (10, 2));
    }

    #[test]
    fn brackets_in_strings_and_comments_are_text() {
        assert_eq!(counts(r#"{ a(x: "[[[[\"{{{\\") }"#), (8, 2));
        assert_eq!(counts("{ a(x: \"\"\" [[[ \" \\\"\"\" {{{ \"\"\") }"), (8, 2));
        assert_eq!(counts("{ a(x: \"\"\"\"\"\") }"), (8, 2), "an empty block string");
        assert_eq!(counts("{ # [[[ \"\n a # \"\"\" {{{\r b }"), (4, 1));
        assert_eq!(counts(r#"{ a(x: "ä\u00e4 # no comment") }"#), (8, 2));
    }

    #[test]
    fn strings_that_do_not_end_are_refused_where_they_start() {
        for document in
            ["{ a(x: \"b) }", "{ a(x: \"b\n\") }", "{ a(x: \"\"\"b\") }", "{ a(x: \"\\", "{ a(x: \"\\\n\") }"]
        {
            let refusal = scan(document, &Limits::default()).unwrap_err();
            assert_eq!(refusal.code, Code::ParseFailed);
            assert_eq!(refusal.message, "Syntax error at line 1, column 8: this string does not end.");
        }
    }

    #[test]
    fn places_count_characters_and_lines() {
        let refusal = scan("{ ä\n  ö(x: \"", &Limits::default()).unwrap_err();
        assert_eq!(refusal.locations, [Pos { line: 2, column: 8 }]);
    }
}
