//! The syntax of values in environment variables: booleans, numbers, lists such as `[a, "b c"]`, tables such as
//! `{key = 1}`, and text with or without quotes.

use super::tree::{Kind, Source, Table, Value};

/// Parses the text of a variable. Text that follows no other syntax is the value itself.
pub(super) fn parse(text: &str, source: &Source) -> Value {
    let mut parser = Parser { rest: text, source };
    match parser.parse_value() {
        Some(value) if parser.rest.is_empty() => value,
        _ => Value::new(Kind::Text(text.to_owned()), source),
    }
}

struct Parser<'a> {
    rest: &'a str,
    source: &'a Source,
}

/// Each method consumes what it parses and returns `None` if the text does not follow the syntax.
impl<'a> Parser<'a> {
    fn parse_value(&mut self) -> Option<Value> {
        self.skip_whitespace();
        let kind = if self.eat("true") {
            Kind::Boolean(true)
        } else if self.eat("false") {
            Kind::Boolean(false)
        } else {
            match self.rest.chars().next() {
                Some('{') => self.parse_table()?,
                Some('[') => self.parse_list()?,
                Some('"') => Kind::Text(self.parse_quoted()?),
                Some('\'') => Kind::Text(self.parse_character()?),
                _ => parse_word(self.take_while(|c| !matches!(c, ',' | '{' | '}' | '[' | ']')).trim()),
            }
        };
        self.skip_whitespace();
        Some(Value::new(kind, self.source))
    }

    fn parse_list(&mut self) -> Option<Kind> {
        let mut list = Vec::new();
        self.parse_items('[', ']', |parser| {
            list.push(parser.parse_value()?);
            Some(())
        })?;
        Some(Kind::List(list))
    }

    fn parse_table(&mut self) -> Option<Kind> {
        let mut table = Table::new();
        self.parse_items('{', '}', |parser| {
            parser.skip_whitespace();
            let key = if parser.rest.starts_with('"') {
                parser.parse_quoted()?
            } else {
                parser.parse_bare_key()?
            };
            parser.skip_whitespace();
            if !parser.eat("=") {
                return None;
            }
            table.insert(key, parser.parse_value()?);
            Some(())
        })?;
        Some(Kind::Table(table))
    }

    fn parse_bare_key(&mut self) -> Option<String> {
        let key = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        (!key.is_empty()).then(|| key.to_owned())
    }

    /// Parses items with commas between them. A comma may follow the last one.
    fn parse_items(
        &mut self,
        open: char,
        close: char,
        mut parse_item: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.rest = self.rest.strip_prefix(open)?;
        loop {
            if let Some(rest) = self.rest.strip_prefix(close) {
                self.rest = rest;
                return Some(());
            }
            parse_item(self)?;
            if !self.eat(",") {
                self.rest = self.rest.strip_prefix(close)?;
                return Some(());
            }
        }
    }

    /// Parses text in double quotes, with the escapes of TOML.
    fn parse_quoted(&mut self) -> Option<String> {
        let mut escaped = false;
        let is_end = |(_, c): &(usize, char)| {
            let is_end = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            is_end
        };
        let (end, _) = self.rest.char_indices().skip(1).find(is_end)?;
        let (quoted, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        let mut table: toml::Table = format!("text = {quoted}").parse().ok()?;
        match table.remove("text") {
            Some(toml::Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Parses one character in single quotes.
    fn parse_character(&mut self) -> Option<String> {
        let mut chars = self.rest.chars();
        let (_, character, end) = (chars.next()?, chars.next()?, chars.next()?);
        self.rest = chars.as_str();
        (end == '\'').then(|| character.to_string())
    }

    fn skip_whitespace(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
    }

    fn eat(&mut self, token: &str) -> bool {
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

/// Parses a number, or text without quotes.
fn parse_word(word: &str) -> Kind {
    if word.contains('.')
        && let Ok(float) = word.parse()
    {
        return Kind::Float(float);
    }
    let integer = word.parse::<u64>().map(i128::from).or_else(|_| word.parse::<i64>().map(i128::from));
    integer.map_or_else(|_| Kind::Text(word.to_owned()), Kind::Integer)
}
