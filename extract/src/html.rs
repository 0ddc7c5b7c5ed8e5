//! HTML (and the XHTML of ePubs) on virtual pages.
//!
//! Only the tokens are looked at, no tree is built: tree builders take quadratic time on deep or unclosed nesting, and
//! text flows the same without. Entities, attributes and raw text are the tokenizer's business.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::{RawKind, Rawtext, Rcdata, ScriptData};
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

use crate::charset;
use crate::failure::{Code, Failure};
use crate::layout::Laid;
use crate::layout::typeset::Typesetter;
use crate::limits::Limits;

/// Lists within lists that are told apart.
const MAX_LIST_DEPTH: usize = 16;

/// Which rules tags follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `<script/>` opens a script.
    Html,
    /// `<script/>` is an empty script.
    Xhtml,
}

/// Lays out a web page: headings, paragraphs, lists and tables one below the other, without its scripts and styles.
///
/// # Errors
/// [`Code::DocumentEmpty`] and [`Code::DocumentTooComplex`].
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Laid, Failure> {
    if bytes.is_empty() {
        return Err(Failure::new(Code::DocumentEmpty, "The file is empty."));
    }
    let mut typesetter = Typesetter::new(limits);
    typesetter = set(bytes, Dialect::Html, typesetter, limits)?;
    typesetter.finish()
}

/// Sets one file of markup.
pub(crate) fn set<'l>(
    bytes: &[u8],
    dialect: Dialect,
    typesetter: Typesetter<'l>,
    limits: &Limits,
) -> Result<Typesetter<'l>, Failure> {
    limits.check_markup(bytes)?;
    let text = charset::decode_markup(bytes);
    let tokenizer =
        Tokenizer::new(Sink(RefCell::new(Flow::new(typesetter, dialect))), TokenizerOpts::default());
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from(text));
    // It returns early only where the sink asks it to wait for a script; this one never does.
    let _ = tokenizer.feed(&queue);
    tokenizer.end();
    let mut flow = tokenizer.sink.0.into_inner();
    flow.flush();
    flow.end_table();
    Ok(flow.typesetter)
}

struct Sink<'l>(RefCell<Flow<'l>>);

impl TokenSink for Sink<'_> {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut flow = self.0.borrow_mut();
        match token {
            Token::CharacterTokens(text) => flow.text(&text),
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                if let Some(raw) = flow.start(&tag) {
                    return TokenSinkResult::RawData(raw);
                }
            }
            Token::TagToken(tag) => flow.end(&tag.name),
            _ => {}
        }
        TokenSinkResult::Continue
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.0.borrow().dialect == Dialect::Xhtml
    }
}

/// What the text that is being collected will become.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    Paragraph,
    Heading(usize),
    Item(String),
    Preformatted,
}

/// The text of the page on its way to blocks.
struct Flow<'l> {
    typesetter: Typesetter<'l>,
    dialect: Dialect,
    text: String,
    role: Role,
    /// Open lists; the number of the last item where they are numbered.
    lists: Vec<Option<u32>>,
    quotes: usize,
    /// Rows of the outermost open table.
    table: Option<Vec<Vec<String>>>,
    /// Open tables: what is inside a cell's table is text of the cell.
    tables: usize,
    /// An element that is left out, and how many of its name are open.
    skipped: Option<(String, usize)>,
}

impl<'l> Flow<'l> {
    fn new(typesetter: Typesetter<'l>, dialect: Dialect) -> Self {
        Self {
            typesetter,
            dialect,
            text: String::new(),
            role: Role::Paragraph,
            lists: Vec::new(),
            quotes: 0,
            table: None,
            tables: 0,
            skipped: None,
        }
    }

    fn text(&mut self, text: &str) {
        if self.skipped.is_none() && !self.typesetter.is_full() {
            self.text.extend(text.chars().filter(|c| !c.is_control() || c.is_whitespace()));
        }
    }

    /// Handles a start tag; what the tokenizer must take literally from here on, if so.
    fn start(&mut self, tag: &Tag) -> Option<RawKind> {
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
            "br" if self.role == Role::Preformatted => self.text.push('\n'),
            "br" if self.role == Role::Paragraph && self.table.is_none() => self.flush(),
            "br" | "wbr" => self.text.push(' '),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.flush();
                self.role = Role::Heading(usize::from(name.as_bytes()[1] - b'0'));
            }
            "pre" => {
                self.flush();
                self.role = Role::Preformatted;
            }
            "blockquote" => {
                self.flush();
                self.quotes += 1;
            }
            "ul" | "ol" | "menu" => {
                self.flush();
                if self.lists.len() < MAX_LIST_DEPTH {
                    self.lists.push((name == "ol").then_some(0));
                }
            }
            "li" => {
                self.flush();
                self.role = Role::Item(self.next_marker());
            }
            "table" => {
                self.flush();
                self.tables += 1;
                self.table.get_or_insert_default();
            }
            "tr" if self.tables == 1 => {
                self.flush();
                if let Some(rows) = &mut self.table {
                    rows.push(Vec::new());
                }
            }
            "td" | "th" if self.tables == 1 => {
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

    fn end(&mut self, name: &str) {
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
                self.quotes = self.quotes.saturating_sub(1);
            }
            "ul" | "ol" | "menu" => {
                self.flush();
                self.lists.pop();
            }
            "table" => {
                self.flush();
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    self.end_table();
                }
            }
            name if is_block(name) => self.flush(),
            _ => {}
        }
    }

    /// Sets what was collected.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        let role = std::mem::replace(&mut self.role, Role::Paragraph);
        if text.trim().is_empty() {
            // Markup inside an item often starts a block before any text comes.
            if matches!(role, Role::Item(_)) {
                self.role = role;
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
        let depth = self.quotes + self.lists.len();
        match role {
            Role::Paragraph => self.typesetter.paragraph(depth, &text),
            Role::Heading(level) => self.typesetter.heading(level, &text),
            Role::Item(marker) => self.typesetter.item(depth.saturating_sub(1), &marker, &text),
            Role::Preformatted => self.typesetter.preformatted(&text),
        }
    }

    fn end_table(&mut self) {
        if let Some(mut rows) = self.table.take() {
            rows.retain(|row| row.iter().any(|cell| !cell.is_empty()));
            self.typesetter.table(&rows);
        }
        self.tables = 0;
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
