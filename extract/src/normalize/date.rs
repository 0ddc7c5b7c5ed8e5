//! Reads dates in the formats of a taxonomy, then in the usual European and American ones.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::NaiveDate;
use regex::{Captures, Regex};

use super::month::month_number;
use super::text::Span;

static YEAR_FIRST: LazyLock<Regex> = LazyLock::new(|| compile(r"(\d{4})([-/.])(\d{1,2})([-/.])(\d{1,2})"));
static NUMERIC: LazyLock<Regex> =
    LazyLock::new(|| compile(r"(\d{1,2}) ?([-/.]) ?(\d{1,2}) ?([-/.]) ?(\d{4}|\d{2})"));
static DAY_NAME: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"(?i)(\d{1,2})(?:\.|st|nd|rd|th|er|e|º|°)?[ \-]*(?:de |of )?(\p{L}{3,12})\.?,?[ \-]*(?:del? )?(\d{4}|\d{2})",
    )
});
static NAME_DAY: LazyLock<Regex> =
    LazyLock::new(|| compile(r"(?i)(\p{L}{3,12})\.? *(\d{1,2})(?:st|nd|rd|th)? *,? *(\d{4})"));

#[expect(clippy::expect_used, reason = "constant patterns, each compiled by the tests below")]
fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a valid pattern")
}

/// Two-digit years from this one on belong to the twentieth century.
const PIVOT: i32 = 70;

/// A date in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FoundDate {
    /// First byte.
    pub(crate) start: usize,
    /// Byte after the last.
    pub(crate) end: usize,
    /// The day.
    pub(crate) date: NaiveDate,
    /// False if day and month could be swapped and the document does not tell the order.
    pub(crate) is_unambiguous: bool,
}

impl FoundDate {
    /// Returns the range of the date in the text.
    pub(crate) fn span(&self) -> Span {
        self.start..self.end
    }
}

/// A date format of a taxonomy: `%d.%m.%Y` (strftime), or `DD.MM.YYYY` if it has no percent sign.
#[derive(Debug, Clone)]
pub(crate) struct DateFormat {
    regex: Regex,
    fields: Vec<Field>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Day,
    Month,
    MonthName,
    Year,
    ShortYear,
}

impl Field {
    fn pattern(self) -> &'static str {
        match self {
            Self::Day | Self::Month => r"(\d{1,2})",
            Self::MonthName => r"(\p{L}{3,12})\.?",
            Self::Year => r"(\d{4})",
            Self::ShortYear => r"(\d{2})",
        }
    }
}

impl DateFormat {
    /// Parses a format. The error is a message for the author of the taxonomy.
    pub(crate) fn parse(format: &str) -> Result<Self, String> {
        let mut pattern = String::new();
        let mut fields = Vec::new();
        let mut chars = format.chars().peekable();
        let directives = format.contains('%');
        while let Some(c) = chars.next() {
            let field = if directives && c == '%' {
                let directive = chars.by_ref().find(|c| !matches!(c, '-' | '_' | '0')).unwrap_or(' ');
                match directive {
                    'd' | 'e' => Field::Day,
                    'm' => Field::Month,
                    'B' | 'b' | 'h' => Field::MonthName,
                    'Y' => Field::Year,
                    'y' => Field::ShortYear,
                    other => {
                        return Err(format!("uses %{other}; supported are %d, %e, %m, %b, %B, %y and %Y"));
                    }
                }
            } else if !directives && c.is_ascii_alphabetic() {
                let mut length = 1;
                while chars.next_if(|next| next.eq_ignore_ascii_case(&c)).is_some() {
                    length += 1;
                }
                match (c.to_ascii_lowercase(), length) {
                    ('d', 1 | 2) => Field::Day,
                    ('m', 1 | 2) => Field::Month,
                    ('m', 3 | 4) => Field::MonthName,
                    ('y', 4) => Field::Year,
                    ('y', 2) => Field::ShortYear,
                    _ => return Err(format!("{format:?} is not a date format such as \"%d.%m.%Y\"")),
                }
            } else {
                match c {
                    c if c.is_whitespace() => pattern.push_str(r"\s*"),
                    c => {
                        pattern.push_str(r"\s*");
                        pattern.push_str(&regex::escape(&c.to_string()));
                        pattern.push_str(r"\s*");
                    }
                }
                continue;
            };
            pattern.push_str(field.pattern());
            fields.push(field);
        }
        let count = |wanted: &[Field]| fields.iter().filter(|field| wanted.contains(field)).count();
        let complete = count(&[Field::Day]) == 1
            && count(&[Field::Month, Field::MonthName]) == 1
            && count(&[Field::Year, Field::ShortYear]) == 1;
        if !complete {
            return Err(format!(
                "{format:?} does not name a day, a month and a year once each, as \"%d.%m.%Y\" does"
            ));
        }
        let regex = Regex::new(&pattern).map_err(|_| format!("{format:?} is not a date format"))?;
        Ok(Self { regex, fields })
    }

    /// Whether the month precedes the day; `None` if the month is a name.
    fn month_first(&self) -> Option<bool> {
        let place = |wanted| self.fields.iter().position(|field| *field == wanted);
        Some(place(Field::Month)? < place(Field::Day)?)
    }

    fn read(&self, found: &Captures<'_>) -> Option<NaiveDate> {
        let (mut day, mut month, mut year) = (None, None, None);
        for (field, group) in self.fields.iter().zip(found.iter().skip(1)) {
            let text = group?.as_str();
            match field {
                Field::Day => day = text.parse().ok(),
                Field::Month => month = text.parse().ok(),
                Field::MonthName => month = month_number(text),
                Field::Year | Field::ShortYear => year = parse_year(text),
            }
        }
        NaiveDate::from_ymd_opt(year?, month?, day?)
    }
}

/// Reads the dates of one document.
#[derive(Debug, Clone)]
pub(crate) struct DateReader {
    formats: Vec<DateFormat>,
    month_first: bool,
    /// Whether the order of day and month is known rather than assumed.
    order_known: bool,
}

impl DateReader {
    /// Creates a reader for a document. The order of day and month in `03/04/2024` comes from `formats`, else from
    /// other dates of the document, else from `american`.
    pub(crate) fn new<'t>(
        formats: Vec<DateFormat>,
        pages: impl Iterator<Item = &'t str>,
        american: bool,
    ) -> Self {
        if let Some(month_first) = formats.iter().find_map(DateFormat::month_first) {
            return Self { formats, month_first, order_known: true };
        }
        let (mut day_first, mut month_first) = (0, 0);
        for page in pages {
            for found in NUMERIC.captures_iter(page) {
                let part = |group: usize| found[group].parse::<u32>().unwrap_or(0);
                match (part(1), part(3)) {
                    (13..=31, 1..=12) => day_first += 1,
                    (1..=12, 13..=31) if &found[2] == "/" || &found[2] == "-" => month_first += 1,
                    _ => {}
                }
            }
        }
        let order_known = day_first != month_first;
        Self {
            formats,
            month_first: if order_known { month_first > day_first } else { american },
            order_known,
        }
    }

    /// Returns the first date of a text.
    pub(crate) fn read(&self, text: &str) -> Option<FoundDate> {
        self.find(text).into_iter().next()
    }

    /// Returns every date of a text, in order.
    pub(crate) fn find(&self, text: &str) -> Vec<FoundDate> {
        let mut found = BTreeMap::new();
        for format in &self.formats {
            collect(text, &format.regex, &mut found, |captures| Some((format.read(captures)?, true)));
        }
        collect(text, &YEAR_FIRST, &mut found, |c| {
            (c[2] == c[4]).then_some(())?;
            Some((NaiveDate::from_ymd_opt(parse_year(&c[1])?, c[3].parse().ok()?, c[5].parse().ok()?)?, true))
        });
        collect(text, &NUMERIC, &mut found, |c| self.parse_numeric(c));
        collect(text, &DAY_NAME, &mut found, |c| {
            Some((
                NaiveDate::from_ymd_opt(parse_year(&c[3])?, month_number(&c[2])?, c[1].parse().ok()?)?,
                true,
            ))
        });
        collect(text, &NAME_DAY, &mut found, |c| {
            Some((
                NaiveDate::from_ymd_opt(parse_year(&c[3])?, month_number(&c[1])?, c[2].parse().ok()?)?,
                true,
            ))
        });
        found.into_values().collect()
    }

    fn parse_numeric(&self, found: &Captures<'_>) -> Option<(NaiveDate, bool)> {
        (found[2] == found[4]).then_some(())?;
        let (first, second): (u32, u32) = (found[1].parse().ok()?, found[3].parse().ok()?);
        let year = parse_year(&found[5])?;
        // Dates with points are European.
        let month_first = self.month_first && &found[2] != ".";
        let (day, month) = if month_first { (second, first) } else { (first, second) };
        let is_unambiguous =
            self.order_known || first > 12 || second > 12 || first == second || &found[2] == ".";
        let date = NaiveDate::from_ymd_opt(year, month, day)
            .or_else(|| NaiveDate::from_ymd_opt(year, day, month).filter(|_| &found[2] != "."))?;
        Some((date, is_unambiguous))
    }
}

/// Adds the matches of a pattern, except those that overlap an earlier match or lie within a longer number or word.
fn collect(
    text: &str,
    regex: &Regex,
    found: &mut BTreeMap<usize, FoundDate>,
    read: impl Fn(&Captures<'_>) -> Option<(NaiveDate, bool)>,
) {
    let mut from = 0;
    while let Some(captures) = regex.captures_at(text, from) {
        let Some(whole) = captures.get(0) else { break };
        let (start, end) = (whole.start(), whole.end());
        let before = found.range(..end).next_back();
        let free = before.is_none_or(|(_, date)| date.end <= start);
        match read(&captures).filter(|_| free && is_bounded(text, start, end)) {
            Some((date, is_unambiguous)) => {
                found.insert(start, FoundDate { start, end, date, is_unambiguous });
                from = end;
            }
            // The next date may begin within this match, as in "1 11.12.2013".
            None => from = start + text[start..].chars().next().map_or(1, char::len_utf8),
        }
    }
}

/// Whether the text around a match allows it to be a date.
fn is_bounded(text: &str, start: usize, end: usize) -> bool {
    let mut behind = text[..start].chars().rev();
    let mut following = text[end..].chars();
    let before = match behind.next() {
        Some(c) if c.is_alphanumeric() => false,
        Some('.' | '/' | '-' | ',') => !behind.next().is_some_and(|c| c.is_ascii_digit()),
        _ => true,
    };
    let after = match following.next() {
        // A time may follow as in 2024-01-31T10:00.
        Some('T') => following.next().is_some_and(|c| c.is_ascii_digit()),
        Some(c) if c.is_alphanumeric() => false,
        Some('.' | '/' | '-') => !following.next().is_some_and(|c| c.is_ascii_digit()),
        _ => true,
    };
    before && after
}

fn parse_year(text: &str) -> Option<i32> {
    let year: i32 = text.parse().ok()?;
    match text.len() {
        2 if year < PIVOT => Some(2000 + year),
        2 => Some(1900 + year),
        _ => Some(year).filter(|year| (1900..=2199).contains(year)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(format: Option<&str>, american: bool) -> DateReader {
        let formats = format.map(|format| DateFormat::parse(format).expect("a format"));
        DateReader::new(formats.into_iter().collect(), std::iter::empty(), american)
    }

    fn iso(reader: &DateReader, text: &str) -> Vec<String> {
        reader.find(text).into_iter().map(|found| found.date.to_string()).collect()
    }

    #[test]
    fn dates_are_read_in_six_languages() {
        let reader = reader(None, false);
        for (text, date) in [
            ("05.03.2013", "2013-03-05"),
            ("am 5.3.13.", "2013-03-05"),
            ("31/01/2026", "2026-01-31"),
            ("8-9-2022", "2022-09-08"),
            ("2024-02-29T10:00:00", "2024-02-29"),
            ("2024/02/29", "2024-02-29"),
            ("21. März 2017", "2017-03-21"),
            ("1er août 2020", "2020-08-01"),
            ("23 april 2016", "2016-04-23"),
            ("August 4 , 2015", "2015-08-04"),
            ("Jan 1, 2022", "2022-01-01"),
            ("3 de enero de 2021", "2021-01-03"),
            ("15 giugno 2019", "2019-06-15"),
            ("21-mrt-2018", "2018-03-21"),
            ("Sept. 5th, 2020", "2020-09-05"),
            ("03/20/2023", "2023-03-20"),
        ] {
            assert_eq!(iso(&reader, text), [date], "{text}");
        }
    }

    #[test]
    fn other_numbers_are_not_dates() {
        let reader = reader(None, false);
        for text in [
            "31.02.2013",
            "192.168.10.12",
            "1.2.3",
            "2014-123456",
            "12.13.2014",
            "Seite 1, 2014",
            "RK01.02.2013",
        ] {
            assert_eq!(iso(&reader, text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn day_month_order_follows_format_then_document() {
        assert_eq!(iso(&reader(Some("%m/%d/%Y"), false), "03/04/2023"), ["2023-03-04"]);
        assert_eq!(iso(&reader(Some("DD/MM/YYYY"), true), "03/04/2023"), ["2023-04-03"]);
        let text = "03/20/2023 04/05/2023";
        let inferred = DateReader::new(Vec::new(), [text].into_iter(), false);
        assert_eq!(iso(&inferred, text), ["2023-03-20", "2023-04-05"]);
        let assumed = reader(None, true).find("03/04/2023");
        assert_eq!(
            (assumed[0].date.to_string(), assumed[0].is_unambiguous),
            ("2023-03-04".to_owned(), false)
        );
    }

    #[test]
    fn date_formats_are_validated() {
        for format in ["%d.%m.%Y", "%B %d, %Y", "%-d/%-m/%y", "YYYY-MM-DD", "d MMMM yyyy"] {
            assert!(DateFormat::parse(format).is_ok(), "{format}");
        }
        for format in ["%d.%m", "%d %d %m %Y", "%Q", "tomorrow", "", "DD.MM.YYYYY"] {
            assert!(DateFormat::parse(format).is_err(), "{format}");
        }
        assert_eq!(iso(&reader(Some("%B %d, %Y"), false), "on August 4 , 2015"), ["2015-08-04"]);
    }

    #[test]
    fn printed_dates_are_read_back_unchanged() {
        let reader = reader(None, false);
        let first = NaiveDate::from_ymd_opt(1990, 1, 1).expect("a day");
        for date in first.iter_days().step_by(13).take(2_000) {
            for printed in ["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%e %B %Y", "%B %e, %Y"] {
                let text = date.format(printed).to_string();
                assert_eq!(iso(&reader, text.trim()), [date.to_string()], "{text}");
            }
        }
    }
}
