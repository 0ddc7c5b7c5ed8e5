//! Decodes the name of an uploaded file in the header `X-Name`, in all encodings that clients use.

use axum::http::HeaderValue;
use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};

/// Decodes a name.
///
/// | written as | by |
/// |---|---|
/// | `UTF-8''…`, percent-encoded (RFC 8187) | clients whose headers are ASCII only |
/// | percent-encoded UTF-8 without a prefix | JavaScript's `encodeURIComponent`, Python's `quote` |
/// | raw UTF-8 | curl |
/// | raw ISO 8859-1 | `fetch`, Python's `http.client`, Node |
pub(super) fn decode(value: &HeaderValue) -> Result<String> {
    let name = match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => match extended(text) {
            Some(encoded) => percent_decode_str(encoded).decode_utf8().map(Into::into).map_err(|_| {
                let message = "X-Name has the prefix UTF-8'' but is not percent-encoded UTF-8 (RFC 8187).";
                Error::invalid("/name", "INVALID", message)
            })?,
            None => percent_encoded(text).unwrap_or_else(|| text.to_owned()),
        },
        // Each byte of ISO 8859-1 equals the code point of its character.
        Err(_) => value.as_bytes().iter().copied().map(char::from).collect(),
    };
    if name.contains('\0') {
        return Err(Error::invalid("/name", "INVALID", "X-Name must not contain the character U+0000."));
    }
    Ok(name)
}

/// Returns the encoded part of an extended value. The language is ignored.
fn extended(text: &str) -> Option<&str> {
    let (charset, rest) = text.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    charset.eq_ignore_ascii_case("UTF-8").then_some(encoded)
}

/// Returns the decoded name if every `%` begins an escape and the result is UTF-8.
///
/// Other names are literal ("50% off.pdf").
fn percent_encoded(text: &str) -> Option<String> {
    let is_escape = |(at, _): (usize, &str)| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let encoded = text.is_ascii() && text.contains('%') && text.match_indices('%').all(is_escape);
    encoded.then(|| percent_decode_str(text).decode_utf8().ok().map(Into::into)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> Result<String> {
        decode(&HeaderValue::from_bytes(bytes).unwrap())
    }

    #[test]
    fn all_encodings_of_a_name_are_decoded() {
        for bytes in [
            "Rechnung März.pdf".as_bytes(),
            b"Rechnung M\xe4rz.pdf",
            b"Rechnung%20M%C3%A4rz.pdf",
            b"UTF-8''Rechnung%20M%C3%A4rz.pdf",
            b"utf-8'de'Rechnung%20M%c3%a4rz.pdf",
        ] {
            assert_eq!(name(bytes).as_deref(), Ok("Rechnung März.pdf"), "{bytes:?}");
        }
    }

    #[test]
    fn percent_signs_outside_of_escapes_are_literal() {
        for literal in ["50% off.pdf", "100%.pdf", "%", "%4", "a%zzb", "%E4.pdf", "ä%20.pdf", "it's 'x'.pdf"]
        {
            assert_eq!(name(literal.as_bytes()).as_deref(), Ok(literal));
        }
    }

    #[test]
    fn broken_extended_values_and_nul_are_refused() {
        for wrong in ["UTF-8''%E4.pdf", "a%00b", "UTF-8''a%00b"] {
            let Err(Error::Invalid(problems)) = name(wrong.as_bytes()) else { panic!("{wrong}") };
            assert_eq!(problems[0].path, "/name");
        }
    }
}
