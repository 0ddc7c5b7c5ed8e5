//! Counts the tokens and open brackets of a document without recursion, before the recursive parser reads it.
//!
//! The lexer and the parser must agree on strings and comments; otherwise brackets could hide in them. Where they could
//! differ (an unterminated string), the lexer refuses the document.

use async_graphql::Pos;

use super::refusal::Refusal;
use crate::config::graphql::Limits;
use crate::error::Code;

/// Lexical size of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenCounts {
    pub(super) tokens: usize,
    /// Maximum number of brackets open at once.
    pub(super) nesting: usize,
}

/// Refuses a document that is too long, has too many tokens, or nests too deeply. One pass, no allocation.
pub(super) fn count_tokens(document: &str, limits: &Limits) -> Result<TokenCounts, Refusal> {
    if document.len() > limits.bytes {
        let message = format!("The document has {} bytes; the limit is {}.", document.len(), limits.bytes);
        return Err(Refusal::too_complex(message, (document.len(), limits.bytes), None));
    }
    let bytes = document.as_bytes();
    let mut counts = TokenCounts { tokens: 0, nesting: 0 };
    let (mut at, mut open) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => {
                at += 1;
                continue;
            }
            b'#' => {
                at = end_of_run(bytes, at, |b| b != b'\n' && b != b'\r');
                continue;
            }
            _ if bytes[at..].starts_with(BYTE_ORDER_MARK) => {
                at += BYTE_ORDER_MARK.len();
                continue;
            }
            b'"' => end_of_string(bytes, at).ok_or_else(|| unterminated_string(document, start))?,
            b'{' | b'[' | b'(' => {
                open += 1;
                counts.nesting = counts.nesting.max(open);
                at + 1
            }
            b'}' | b']' | b')' => {
                open = open.saturating_sub(1);
                at + 1
            }
            b'.' if bytes[at..].starts_with(b"...") => at + 3,
            b'-' | b'0'..=b'9' => {
                end_of_run(bytes, at + 1, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-'))
            }
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                end_of_run(bytes, at, |b| b.is_ascii_alphanumeric() || b == b'_')
            }
            _ => end_of_run(bytes, at + 1, |b| b & 0b1100_0000 == 0b1000_0000),
        };
        counts.tokens += 1;
        if counts.tokens > limits.tokens {
            let message = format!("The document has more than {} tokens, which is the limit.", limits.tokens);
            let usage = (counts.tokens, limits.tokens);
            return Err(Refusal::too_complex(message, usage, position_of(document, start)));
        }
        if open > limits.nesting {
            let message =
                format!("The document nests brackets {open} levels deep; the limit is {}.", limits.nesting);
            return Err(Refusal::too_complex(message, (open, limits.nesting), position_of(document, start)));
        }
    }
    if counts.tokens == 0 {
        return Err(Refusal::new(
            Code::ParseFailed,
            "The document is empty. Send a query, mutation, or subscription.",
            vec![],
        ));
    }
    Ok(counts)
}

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Returns the end of the longest run of matching bytes that starts at `from`.
fn end_of_run(bytes: &[u8], from: usize, is_part: impl Fn(u8) -> bool) -> usize {
    bytes[from..].iter().position(|byte| !is_part(*byte)).map_or(bytes.len(), |length| from + length)
}

/// Returns the end of the string that starts at `start`; `None` if it is unterminated.
fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
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

fn unterminated_string(document: &str, start: usize) -> Refusal {
    let at = position_of(document, start);
    let message = format!("Syntax error at line {}, column {}: unterminated string.", at.line, at.column);
    Refusal::new(Code::ParseFailed, message, vec![at])
}

/// Returns the line and the column (in characters) of a byte, both from 1.
fn position_of(document: &str, byte: usize) -> Pos {
    let before = document.get(..byte).unwrap_or(document);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Pos { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(document: &str) -> (usize, usize) {
        let counts = count_tokens(document, &Limits::default()).unwrap();
        (counts.tokens, counts.nesting)
    }

    #[test]
    fn tokens_and_brackets_are_counted() {
        assert_eq!(counts("{ jobs(first: 2) { nodes { id } } }"), (14, 3));
        assert_eq!(counts("\u{feff}{a,b}\t\r\n"), (4, 1));
        assert_eq!(counts("{ a(x: -1.5e+3) ...F }"), (10, 2));
    }

    #[test]
    fn brackets_in_strings_and_comments_are_not_counted() {
        assert_eq!(counts(r#"{ a(x: "[[[[\"{{{\\") }"#), (8, 2));
        assert_eq!(counts("{ a(x: \"\"\" [[[ \" \\\"\"\" {{{ \"\"\") }"), (8, 2));
        assert_eq!(counts("{ a(x: \"\"\"\"\"\") }"), (8, 2), "an empty block string");
        assert_eq!(counts("{ # [[[ \"\n a # \"\"\" {{{\r b }"), (4, 1));
        assert_eq!(counts(r#"{ a(x: "ä\u00e4 # no comment") }"#), (8, 2));
    }

    #[test]
    fn unterminated_string_is_refused_at_its_start() {
        for document in
            ["{ a(x: \"b) }", "{ a(x: \"b\n\") }", "{ a(x: \"\"\"b\") }", "{ a(x: \"\\", "{ a(x: \"\\\n\") }"]
        {
            let refusal = count_tokens(document, &Limits::default()).unwrap_err();
            assert_eq!(refusal.code, Code::ParseFailed);
            assert_eq!(refusal.message, "Syntax error at line 1, column 8: unterminated string.");
        }
    }

    #[test]
    fn positions_count_lines_and_characters() {
        let refusal = count_tokens("{ ä\n  ö(x: \"", &Limits::default()).unwrap_err();
        assert_eq!(refusal.locations, [Pos { line: 2, column: 8 }]);
    }
}
