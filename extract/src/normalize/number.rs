//! Numbers and sums of money as they are printed in Europe and America.

use std::sync::LazyLock;

use regex::Regex;
use rust_decimal::Decimal;

use super::Span;

/// Digits in groups of three with a separator, or all together; then decimals.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"[0-9]{1,3}(?:[.,'’\u{a0}\u{202f}\u{2009} ][0-9]{3}\b)+(?:[.,][0-9]{1,4})?|[0-9]+(?:[.,][0-9]+)?",
    )
});

/// Two decimals behind one separator or the other, which tells how a document prints decimals.
static DECIMALS: LazyLock<Regex> =
    LazyLock::new(|| compile(r"(?:^|[^\d.,])\d[\d.,]*([.,])\d{2}(?:[^\d.,]|[.,]?(?:\s|$))"));

/// A currency that ends right before a number, or starts right after one.
static BEFORE: LazyLock<Regex> = LazyLock::new(|| compile(r"(?:^|[^\p{L}])([€$£¥₹]|[A-Z]{3}|zł|Fr\.)\s?$"));
static AFTER: LazyLock<Regex> =
    LazyLock::new(|| compile(r"^\s?([€$£¥₹]|[A-Z]{3}|zł|Fr\.|EURO?)(?:$|[^\p{L}])"));

#[expect(clippy::expect_used, reason = "constant patterns, each compiled by the tests below")]
fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

/// ISO 4217 codes that are taken for currencies where they stand beside a number.
const CODES: [&str; 30] = [
    "EUR", "USD", "GBP", "CHF", "JPY", "CNY", "INR", "PLN", "CZK", "HUF", "SEK", "NOK", "DKK", "ISK", "RON",
    "BGN", "TRY", "RUB", "UAH", "CAD", "AUD", "NZD", "MXN", "BRL", "ARS", "ZAR", "SGD", "HKD", "KRW", "ILS",
];

/// Currencies by their signs and codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Currency(&'static str);

impl Currency {
    /// Reads a sign or an ISO 4217 code.
    pub fn parse(text: &str) -> Option<Self> {
        let code = match text {
            "€" | "EURO" => "EUR",
            "$" => "USD",
            "£" => "GBP",
            "¥" => "JPY",
            "₹" => "INR",
            "zł" => "PLN",
            "Fr." => "CHF",
            code => CODES.iter().find(|known| **known == code)?,
        };
        Some(Self(code))
    }

    /// The ISO 4217 code.
    pub fn code(self) -> &'static str {
        self.0
    }
}

/// A number in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundNumber {
    /// Where, with its sign, without its currency.
    pub span: Span,
    /// What it is, with as many decimals as are printed.
    pub value: Decimal,
    /// Printed with it.
    pub currency: Option<Currency>,
    /// Followed by a percent sign.
    pub percent: bool,
}

/// Reads numbers of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberReader {
    decimal: char,
}

impl NumberReader {
    /// A reader for documents that print decimals behind `decimal`, `.` or `,`.
    pub fn new(decimal: char) -> Self {
        Self { decimal }
    }

    /// Infers the separator from the numbers with two decimals in a document's pages. A point where there are none.
    pub fn infer<'t>(pages: impl Iterator<Item = &'t str>) -> Self {
        let mut commas = 0_i64;
        for page in pages {
            for found in DECIMALS.captures_iter(page) {
                commas += if &found[1] == "," { 1 } else { -1 };
            }
        }
        Self { decimal: if commas > 0 { ',' } else { '.' } }
    }

    /// Reads a text that is one number, perhaps with a currency.
    pub fn read(self, text: &str) -> Option<FoundNumber> {
        let found = self.find(text);
        let [number] = found.as_slice() else { return None };
        Some(number.clone())
    }

    /// Every number of the text. Parts of dates, codes and telephone numbers written together are none.
    pub fn find(self, text: &str) -> Vec<FoundNumber> {
        NUMBER.find_iter(text).filter_map(|found| self.number(text, found.range())).collect()
    }

    fn number(self, text: &str, digits: Span) -> Option<FoundNumber> {
        let (before, after) = (tail(&text[..digits.start]), &text[digits.end..]);
        let offset = digits.start - before.len();
        if !open_before(before) || !open_after(after) {
            return None;
        }
        let mut value = self.decimal(&text[digits.clone()])?;
        let mut span = digits;
        let currency_before = BEFORE.captures(before).and_then(|found| found.get(1));
        let currency_before =
            currency_before.and_then(|sign| Some((sign.start(), Currency::parse(sign.as_str())?)));
        let mut negative = false;
        if let Some(rest) = before.strip_suffix(MINUS) {
            if rest.is_empty() || rest.ends_with(|c: char| c.is_whitespace() || "(€$£:".contains(c)) {
                negative = true;
                span.start = offset + rest.len();
            }
        } else if let Some((start, _)) = currency_before
            && before[..start].trim_end().ends_with(MINUS)
            && !before[..start].trim_end().trim_end_matches(MINUS).ends_with(char::is_alphanumeric)
        {
            negative = true;
        }
        if after.starts_with(MINUS) && after[1..].chars().next().is_none_or(char::is_whitespace) {
            negative = true;
            span.end += 1;
        }
        if negative {
            value.set_sign_negative(true);
        }
        let before_sign = BEFORE
            .captures(&before[..span.start - offset])
            .and_then(|found| Currency::parse(found.get(1)?.as_str()));
        let currency = before_sign
            .or(currency_before.map(|(_, currency)| currency))
            .or_else(|| Currency::parse(AFTER.captures(after)?.get(1)?.as_str()));
        let percent = after.trim_start_matches([' ', '\u{a0}']).starts_with('%');
        Some(FoundNumber { span, value, currency, percent })
    }

    /// The value of digits with separators.
    fn decimal(self, digits: &str) -> Option<Decimal> {
        let separators: Vec<(usize, char)> =
            digits.char_indices().filter(|(_, c)| !c.is_ascii_digit()).collect();
        let decimals_at = match separators.as_slice() {
            [] => None,
            [(at, c)] if is_point(*c) => {
                let behind = digits.len() - at - 1;
                // 1.234 is a thousand and more where decimals stand behind commas, and the other way round.
                (behind != 3 || *c == self.decimal || *at > 3 || digits.starts_with('0')).then_some(*at)
            }
            [_] => None,
            [groups @ .., (at, last)] => {
                let group = groups[0].1;
                if groups.iter().any(|(_, c)| *c != group) {
                    return None;
                }
                (*last != group).then_some(*at).filter(|_| is_point(*last))
            }
        };
        let whole: String =
            digits[..decimals_at.unwrap_or(digits.len())].chars().filter(char::is_ascii_digit).collect();
        let plain = match decimals_at {
            Some(at) => format!("{whole}.{}", &digits[at + 1..]),
            None => whole,
        };
        Decimal::from_str_exact(&plain).ok()
    }
}

/// The end of a text, where signs and currencies stand: what is before them does not matter.
fn tail(text: &str) -> &str {
    const BYTES: usize = 24;
    let from = text.len().saturating_sub(BYTES);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[from..]
}

/// A hyphen as a sign. Typographic minus signs are folded by the layout's reader of glyphs in most documents.
const MINUS: char = '-';

fn is_point(c: char) -> bool {
    matches!(c, '.' | ',')
}

/// Whether a number may begin after this text: not within a word, a date or a code.
fn open_before(before: &str) -> bool {
    let mut back = before.chars().rev();
    match back.next() {
        None => true,
        Some(c) if c.is_alphabetic() => {
            BEFORE.captures(before).is_some_and(|found| Currency::parse(&found[1]).is_some())
        }
        Some(c) if c.is_numeric() => false,
        Some('.' | ',' | '/' | '-' | ':' | '_' | '\'' | '#') => {
            !back.next().is_some_and(char::is_alphanumeric)
        }
        Some(_) => true,
    }
}

/// Whether a number may end before this text.
fn open_after(after: &str) -> bool {
    let mut ahead = after.chars();
    match ahead.next() {
        None => true,
        Some(c) if c.is_alphabetic() => {
            AFTER.captures(after).is_some_and(|found| Currency::parse(&found[1]).is_some())
        }
        Some('.' | ',' | '/' | '-' | ':' | '_') => !ahead.next().is_some_and(char::is_alphanumeric),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, decimal: char) -> Vec<(String, Option<&'static str>)> {
        let reader = NumberReader::new(decimal);
        reader.find(text).into_iter().map(|n| (n.value.to_string(), n.currency.map(Currency::code))).collect()
    }

    #[test]
    fn numbers_are_read_as_printed() {
        for (text, decimal, value) in [
            ("5.678,90", '.', "5678.90"),
            ("5,678.90", ',', "5678.90"),
            ("1 234,50", ',', "1234.50"),
            ("1’234.50", '.', "1234.50"),
            ("1.234", ',', "1234"),
            ("1.234", '.', "1.234"),
            ("1.5000", ',', "1.5000"),
            ("0.125", ',', "0.125"),
            ("1.000.000", '.', "1000000"),
            ("-8,76", ',', "-8.76"),
            ("12,00-", ',', "-12.00"),
            ("1234", ',', "1234"),
            ("99999999999999999999", '.', "99999999999999999999"),
        ] {
            assert_eq!(read(text, decimal), [(value.to_owned(), None)], "{text}");
        }
    }

    #[test]
    fn currencies_stand_on_either_side() {
        for (text, value, currency) in [
            ("$6.12", "6.12", "USD"),
            ("€ -7.25", "-7.25", "EUR"),
            ("-€ 7.25", "-7.25", "EUR"),
            ("203.40 EUR", "203.40", "EUR"),
            ("(46.24 €)", "46.24", "EUR"),
            ("EUR 12.00,", "12.00", "EUR"),
            ("12.00€", "12.00", "EUR"),
            ("CHF12.00", "12.00", "CHF"),
        ] {
            assert_eq!(read(text, '.'), [(value.to_owned(), Some(currency))], "{text}");
        }
    }

    #[test]
    fn dates_codes_and_times_are_no_numbers() {
        for text in
            ["05.03.2013", "2014-123456", "8-9-2022", "A123", "12kg", "RK98765", "10:30", "123/456/78901"]
        {
            assert_eq!(read(text, ','), [], "{text}");
        }
        assert!(NumberReader::new('.').find("21 %")[0].percent);
    }

    #[test]
    fn decimal_separators_are_inferred() {
        let infer = |text: &str| NumberReader::infer([text].into_iter());
        assert_eq!(infer("1.234,56 and 7,00 on 05.03.2013"), NumberReader::new(','));
        assert_eq!(infer("$1,234.56"), NumberReader::new('.'));
        assert_eq!(infer("nothing"), NumberReader::new('.'));
    }

    #[test]
    fn plain_decimals_are_read_back_unchanged() {
        let reader = NumberReader::new('.');
        for cents in (0..2_000_000_i64).step_by(7_919) {
            let value = Decimal::new(cents, 2);
            assert_eq!(reader.read(&value.to_string()).map(|n| n.value), Some(value));
        }
    }
}
