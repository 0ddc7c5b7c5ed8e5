//! Reads numbers and amounts of money in European and American notation.

use std::sync::LazyLock;

use regex::Regex;
use rust_decimal::Decimal;

use super::text::Span;

/// Digits, in groups of three or not, and decimals.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"[0-9]{1,3}(?:[.,'’\u{a0}\u{202f}\u{2009} ][0-9]{3}\b)+(?:[.,][0-9]{1,4})?|[0-9]+(?:[.,][0-9]+)?",
    )
});

/// A number with two decimals, which tells the decimal separator of a document.
static DECIMALS: LazyLock<Regex> =
    LazyLock::new(|| compile(r"(?:^|[^\d.,])\d[\d.,]*([.,])\d{2}(?:[^\d.,]|[.,]?(?:\s|$))"));

/// A currency directly before a number.
static CURRENCY_BEFORE: LazyLock<Regex> =
    LazyLock::new(|| compile(r"(?:^|[^\p{L}])([€$£¥₹]|[A-Z]{3}|zł|Fr\.)\s?$"));
static CURRENCY_AFTER: LazyLock<Regex> =
    LazyLock::new(|| compile(r"^\s?([€$£¥₹]|[A-Z]{3}|zł|Fr\.|EURO?)(?:$|[^\p{L}])"));

#[expect(clippy::expect_used, reason = "constant patterns, each compiled by the tests below")]
fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

/// ISO 4217 codes that count as currencies next to a number.
const CODES: [&str; 30] = [
    "EUR", "USD", "GBP", "CHF", "JPY", "CNY", "INR", "PLN", "CZK", "HUF", "SEK", "NOK", "DKK", "ISK", "RON",
    "BGN", "TRY", "RUB", "UAH", "CAD", "AUD", "NZD", "MXN", "BRL", "ARS", "ZAR", "SGD", "HKD", "KRW", "ILS",
];

/// A currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Currency(&'static str);

impl Currency {
    /// Parses a currency sign or an ISO 4217 code.
    pub(crate) fn parse(text: &str) -> Option<Self> {
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

    /// Returns the ISO 4217 code.
    pub(crate) fn code(self) -> &'static str {
        self.0
    }
}

/// A number in a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FoundNumber {
    /// Range in the text, with the sign but without the currency.
    pub(crate) span: Span,
    /// The number with all printed decimals.
    pub(crate) value: Decimal,
    /// Currency printed next to the number.
    pub(crate) currency: Option<Currency>,
    /// Whether a percent sign follows.
    pub(crate) percent: bool,
}

/// Reads the numbers of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumberReader {
    decimal_separator: char,
}

impl NumberReader {
    /// Creates a reader for the decimal separator `.` or `,`.
    pub(crate) fn new(decimal_separator: char) -> Self {
        Self { decimal_separator }
    }

    /// Infers the separator from the numbers with two decimals in a document. The default is a point.
    pub(crate) fn infer<'t>(pages: impl Iterator<Item = &'t str>) -> Self {
        let mut commas = 0_i64;
        for page in pages {
            for found in DECIMALS.captures_iter(page) {
                commas += if &found[1] == "," { 1 } else { -1 };
            }
        }
        Self { decimal_separator: if commas > 0 { ',' } else { '.' } }
    }

    /// Parses a text that is one number, with or without a currency.
    pub(crate) fn read(self, text: &str) -> Option<FoundNumber> {
        let found = self.find(text);
        let [number] = found.as_slice() else { return None };
        Some(number.clone())
    }

    /// Returns every number of the text, except parts of dates, codes and telephone numbers.
    pub(crate) fn find(self, text: &str) -> Vec<FoundNumber> {
        NUMBER.find_iter(text).filter_map(|found| self.parse_at(text, found.range())).collect()
    }

    fn parse_at(self, text: &str, digits: Span) -> Option<FoundNumber> {
        let (before, after) = (last_bytes(&text[..digits.start]), &text[digits.end..]);
        let offset = digits.start - before.len();
        if !may_begin_after(before) || !may_end_before(after) {
            return None;
        }
        let mut value = self.parse_digits(&text[digits.clone()])?;
        let mut span = digits;
        let currency_before = CURRENCY_BEFORE.captures(before).and_then(|found| found.get(1));
        let currency_before =
            currency_before.and_then(|sign| Some((sign.start(), Currency::parse(sign.as_str())?)));
        let mut negative = false;
        if let Some(rest) = before.strip_suffix(HYPHEN_MINUS) {
            if rest.is_empty() || rest.ends_with(|c: char| c.is_whitespace() || "(€$£:".contains(c)) {
                negative = true;
                span.start = offset + rest.len();
            }
        } else if let Some((start, _)) = currency_before
            && before[..start].trim_end().ends_with(HYPHEN_MINUS)
            && !before[..start].trim_end().trim_end_matches(HYPHEN_MINUS).ends_with(char::is_alphanumeric)
        {
            negative = true;
        }
        if after.starts_with(HYPHEN_MINUS) && after[1..].chars().next().is_none_or(char::is_whitespace) {
            negative = true;
            span.end += 1;
        }
        if negative {
            value.set_sign_negative(true);
        }
        let before_sign = CURRENCY_BEFORE
            .captures(&before[..span.start - offset])
            .and_then(|found| Currency::parse(found.get(1)?.as_str()));
        let currency = before_sign
            .or(currency_before.map(|(_, currency)| currency))
            .or_else(|| Currency::parse(CURRENCY_AFTER.captures(after)?.get(1)?.as_str()));
        let percent = after.trim_start_matches([' ', '\u{a0}']).starts_with('%');
        Some(FoundNumber { span, value, currency, percent })
    }

    /// Parses digits with separators.
    fn parse_digits(self, digits: &str) -> Option<Decimal> {
        let separators: Vec<(usize, char)> =
            digits.char_indices().filter(|(_, c)| !c.is_ascii_digit()).collect();
        let decimals_at = match separators.as_slice() {
            [] => None,
            [(at, c)] if is_point(*c) => {
                let behind = digits.len() - at - 1;
                // 1.234 has thousands if the decimal separator is a comma, and decimals if it is a point.
                (behind != 3 || *c == self.decimal_separator || *at > 3 || digits.starts_with('0'))
                    .then_some(*at)
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

/// Returns the end of a text, which suffices to find a sign and a currency.
fn last_bytes(text: &str) -> &str {
    const BYTES: usize = 24;
    let from = text.len().saturating_sub(BYTES);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[from..]
}

/// The hyphen as a minus sign. Other minus signs, such as U+2212, are not recognized.
const HYPHEN_MINUS: char = '-';

fn is_point(c: char) -> bool {
    matches!(c, '.' | ',')
}

/// Whether a number may begin after this text: not within a word, a date or a code.
fn may_begin_after(before: &str) -> bool {
    let mut behind = before.chars().rev();
    match behind.next() {
        None => true,
        Some(c) if c.is_alphabetic() => {
            CURRENCY_BEFORE.captures(before).is_some_and(|found| Currency::parse(&found[1]).is_some())
        }
        Some(c) if c.is_numeric() => false,
        Some('.' | ',' | '/' | '-' | ':' | '_' | '\'' | '#') => {
            !behind.next().is_some_and(char::is_alphanumeric)
        }
        Some(_) => true,
    }
}

/// Whether a number may end before this text.
fn may_end_before(after: &str) -> bool {
    let mut following = after.chars();
    match following.next() {
        None => true,
        Some(c) if c.is_alphabetic() => {
            CURRENCY_AFTER.captures(after).is_some_and(|found| Currency::parse(&found[1]).is_some())
        }
        Some('.' | ',' | '/' | '-' | ':' | '_') => !following.next().is_some_and(char::is_alphanumeric),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, decimal_separator: char) -> Vec<(String, Option<&'static str>)> {
        let reader = NumberReader::new(decimal_separator);
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
    fn currencies_are_read_on_either_side() {
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
    fn dates_codes_and_times_are_not_numbers() {
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
