//! Lays out HTML, and the XHTML of ePubs, on virtual pages.
//!
//! The reader uses a tokenizer without a tree builder. Tree builders take quadratic time on deep or unclosed nesting,
//! and the text is the same without a tree.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::{RawKind, Rawtext, Rcdata, ScriptData};
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use crate::charset;
use crate::failure::{Code, Failure};
use crate::layout::DocumentLayout;
use crate::layout::typeset::Typesetter;
use crate::limits::Limits;

/// Levels of nested lists that are indented.
const MAX_LIST_DEPTH: usize = 16;

/// The syntax of tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `<script/>` opens a script.
    Html,
    /// `<script/>` is an empty script.
    Xhtml,
}

/// Lays out headings, paragraphs, lists and tables of a web page, without scripts and styles.
///
/// # Errors
/// [`Code::DocumentEmpty`] and [`Code::DocumentTooComplex`].
pub fn read(bytes: &[u8], limits: &Limits) -> Result<DocumentLayout, Failure> {
    if bytes.is_empty() {
        return Err(Failure::new(Code::DocumentEmpty, "The file is empty."));
    }
    let mut typesetter = Typesetter::new(limits);
    typesetter = typeset_markup(bytes, Dialect::Html, typesetter, limits)?;
    typesetter.finish()
}

/// Adds the text of one markup file to the typesetter.
pub(crate) fn typeset_markup<'l>(
    bytes: &[u8],
    dialect: Dialect,
    typesetter: Typesetter<'l>,
    limits: &Limits,
) -> Result<Typesetter<'l>, Failure> {
    limits.check_markup_size(bytes)?;
    let text = charset::decode_markup(bytes);
    let tokenizer =
        Tokenizer::new(Sink(RefCell::new(TextFlow::new(typesetter, dialect))), TokenizerOpts::default());
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from(text));
    // The tokenizer returns early only if the sink requests it, which this one never does.
    let _ = tokenizer.feed(&queue);
    tokenizer.end();
    let mut flow = tokenizer.sink.0.into_inner();
    flow.flush();
    flow.end_table();
    Ok(flow.typesetter)
}

struct Sink<'l>(RefCell<TextFlow<'l>>);

impl TokenSink for Sink<'_> {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut flow = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(text) => flow.push_text(&text),
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                if let Some(raw) = flow.start_tag(&tag) {
                    return TokenSinkResult::RawData(raw);
                }
            }
            Token::TagToken(tag) => flow.end_tag(&tag.name),
            _ => {}
        }
        TokenSinkResult::Continue
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.0.borrow().dialect == Dialect::Xhtml
    }
}

/// The kind of block that the collected text becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum BlockKind {
    Paragraph,
    Heading(usize),
    Item(String),
    Preformatted,
}

/// Collects the text of a page into blocks.
struct TextFlow<'l> {
    typesetter: Typesetter<'l>,
    dialect: Dialect,
    text: String,
    kind: BlockKind,
    /// Open lists, with the number of the last item for numbered ones.
    lists: Vec<Option<u32>>,
    quote_depth: usize,
    /// Rows of the outermost open table.
    table: Option<Vec<Vec<String>>>,
    /// Number of open tables. Tables within a cell become text of the cell.
    table_depth: usize,
    /// Name of a skipped element, and how many elements of that name are open.
    skipped: Option<(String, usize)>,
}

impl<'l> TextFlow<'l> {
    fn new(typesetter: Typesetter<'l>, dialect: Dialect) -> Self {
        Self {
            typesetter,
            dialect,
            text: String::new(),
            kind: BlockKind::Paragraph,
            lists: Vec::new(),
            quote_depth: 0,
            table: None,
            table_depth: 0,
            skipped: None,
        }
    }

    fn push_text(&mut self, text: &str) {
        if self.skipped.is_none() && !self.typesetter.is_full() {
            self.text.extend(text.chars().filter(|c| !c.is_control() || c.is_whitespace()));
        }
    }

    /// Handles a start tag. Returns the raw text mode for elements whose content is not markup.
    fn start_tag(&mut self, tag: &Tag) -> Option<RawKind> {
        let name: &str = &tag.name;
        let closed = tag.self_closing && self.dialect == Dialect::Xhtml;
        if let Some((skipped, open)) = &mut self.skipped {
            *open += usize::from(skipped == name && !tag.self_closing);
            return None;
        }
        let raw = match name {
            "script" => Some(ScriptData),
            "style" | "iframe" | "noembed" | "noframes" => Some(Rawtext),
            "title" => Some(Rcdata),
            _ => None,
        };
        if raw.is_some() || matches!(name, "svg" | "template" | "object") {
            if !(closed || raw.is_none() && tag.self_closing) {
                self.skipped = Some((name.to_owned(), 1));
            }
            return raw.filter(|_| !closed);
        }
        match name {
            "br" if self.kind == BlockKind::Preformatted => self.text.push('\n'),
            "br" if self.kind == BlockKind::Paragraph && self.table.is_none() => self.flush(),
            "br" | "wbr" => self.text.push(' '),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.flush();
                self.kind = BlockKind::Heading(usize::from(name.as_bytes()[1] - b'0'));
            }
            "pre" => {
                self.flush();
                self.kind = BlockKind::Preformatted;
            }
            "blockquote" => {
                self.flush();
                self.quote_depth += 1;
            }
            "ul" | "ol" | "menu" => {
                self.flush();
                if self.lists.len() < MAX_LIST_DEPTH {
                    self.lists.push((name == "ol").then_some(0));
                }
            }
            "li" => {
                self.flush();
                self.kind = BlockKind::Item(self.next_marker());
            }
            "table" => {
                self.flush();
                self.table_depth += 1;
                self.table.get_or_insert_default();
            }
            "tr" if self.table_depth == 1 => {
                self.flush();
                if let Some(rows) = &mut self.table {
                    rows.push(Vec::new());
                }
            }
            "td" | "th" if self.table_depth == 1 => {
                self.flush();
                if let Some(rows) = &mut self.table {
                    if rows.is_empty() {
                        rows.push(Vec::new());
                    }
                    if let Some(row) = rows.last_mut() {
                        row.push(String::new());
                    }
                }
            }
            name if is_block(name) => self.flush(),
            _ => {}
        }
        None
    }

    fn end_tag(&mut self, name: &str) {
        if let Some((skipped, open)) = &mut self.skipped {
            if skipped == name {
                *open -= 1;
                if *open == 0 {
                    self.skipped = None;
                }
            }
            return;
        }
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "pre" => self.flush(),
            "blockquote" => {
                self.flush();
                self.quote_depth = self.quote_depth.saturating_sub(1);
            }
            "ul" | "ol" | "menu" => {
                self.flush();
                self.lists.pop();
            }
            "table" => {
                self.flush();
                self.table_depth = self.table_depth.saturating_sub(1);
                if self.table_depth == 0 {
                    self.end_table();
                }
            }
            name if is_block(name) => self.flush(),
            _ => {}
        }
    }

    /// Sets the collected text as a block.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        let kind = std::mem::replace(&mut self.kind, BlockKind::Paragraph);
        if text.trim().is_empty() {
            // An item often contains a block element before its text.
            if matches!(kind, BlockKind::Item(_)) {
                self.kind = kind;
            }
            return;
        }
        if let Some(rows) = &mut self.table {
            match rows.last_mut().and_then(|row| row.last_mut()) {
                Some(cell) => {
                    if !cell.is_empty() {
                        cell.push(' ');
                    }
                    cell.push_str(text.trim());
                }
                // A caption, or text between rows.
                None => self.typesetter.paragraph(0, &text),
            }
            return;
        }
        let depth = self.quote_depth + self.lists.len();
        match kind {
            BlockKind::Paragraph => self.typesetter.paragraph(depth, &text),
            BlockKind::Heading(level) => self.typesetter.heading(level, &text),
            BlockKind::Item(marker) => self.typesetter.item(depth.saturating_sub(1), &marker, &text),
            BlockKind::Preformatted => self.typesetter.preformatted(&text),
        }
    }

    fn end_table(&mut self) {
        if let Some(mut rows) = self.table.take() {
            rows.retain(|row| row.iter().any(|cell| !cell.is_empty()));
            self.typesetter.table(&rows);
        }
        self.table_depth = 0;
    }

    fn next_marker(&mut self) -> String {
        match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{number}.")
            }
            _ => "•".to_owned(),
        }
    }
}

/// Whether an element starts on a new line.
fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "body"
            | "caption"
            | "center"
            | "dd"
            | "details"
            | "dialog"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "head"
            | "header"
            | "hr"
            | "html"
            | "li"
            | "main"
            | "nav"
            | "option"
            | "p"
            | "section"
            | "summary"
            | "tr"
            | "td"
            | "th"
    )
}

#[cfg(test)]
mod tests;
