//! Lays out plain text on virtual pages.

use crate::charset;
use crate::failure::{Code, Failure};
use crate::layout::DocumentLayout;
use crate::layout::typeset::Typesetter;
use crate::limits::Limits;

/// Lays out plain text in any encoding. Wraps long lines, starts a page at each form feed, and drops control
/// characters.
///
/// # Errors
/// [`Code::DocumentEmpty`] and [`Code::DocumentTooComplex`].
pub fn read(bytes: &[u8], limits: &Limits) -> Result<DocumentLayout, Failure> {
    if bytes.is_empty() {
        return Err(Failure::new(Code::DocumentEmpty, "The file is empty."));
    }
    limits.check_markup_size(bytes)?;
    let mut text = charset::decode(bytes);
    text.retain(|c| !c.is_control() || matches!(c, '\n' | '\t' | '\x0C'));
    let mut typesetter = Typesetter::new(limits);
    typesetter.plain(&text);
    typesetter.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_keep_their_shape() {
        let layout = read(b"Invoice   17\r\n\r\nTotal\t99,00\n\x0Cpage two", &Limits::default()).unwrap();
        assert_eq!(layout.document.pages.len(), 2);
        assert_eq!(layout.document.pages[0].text, "Invoice   17\n\nTotal   99,00\n");
        let words = &layout.document.pages[0].words;
        assert_eq!(words[1].text, "17");
        assert!(words[0].bbox.y == words[1].bbox.y && words[2].bbox.y > words[0].bbox.y);
        assert_eq!(layout.document.pages[1].words.len(), 2);
    }

    #[test]
    fn long_lines_are_wrapped() {
        let layout = read("x".repeat(100_000).as_bytes(), &Limits::default()).unwrap();
        assert!(layout.document.pages.len() > 10);
        assert!(layout.document.pages.iter().all(|page| page.text.lines().all(|line| line.len() <= 100)));
        let limits = Limits { pages: 3, ..Limits::default() };
        assert_eq!(read("x\n".repeat(1000).as_bytes(), &limits).unwrap_err().code, Code::DocumentTooComplex);
    }
}
