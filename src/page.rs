//! Cursor pagination (Relay's connection specification). Opaque cursors name a position in an order, so that pages stay
//! stable while rows are added and removed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike};
use sea_orm::sea_query::{ExprTrait, SelectStatement, SimpleExpr};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, Value};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::{Error, Problem, Result};

/// The pagination arguments of a request.
#[derive(Debug, Clone, Default)]
pub struct Paging {
    /// Size of a page from the start, or after `after`.
    pub first: Option<i32>,
    /// Cursor of the entry before the page.
    pub after: Option<String>,
    /// Size of a page from the end, or before `before`.
    pub last: Option<i32>,
    /// Cursor of the entry behind the page.
    pub before: Option<String>,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

impl Direction {
    fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// A position in a list that is ordered by a time and then by ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The time of the row.
    pub at: Timestamp,
    /// The ID of the row, which breaks ties.
    pub id: Uuid,
}

/// The list that a cursor belongs to; cursors of other lists are invalid. Clients hold cursors with these numbers, so
/// they must not change; 1 was used by an earlier format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum List {
    /// Jobs by creation time.
    JobsByCreation = 2,
    /// Jobs by time of the last change.
    JobsByChange = 3,
    /// Documents by creation time.
    Documents = 4,
    /// Reviews by opening time.
    Reviews = 5,
    /// Webhooks by creation time.
    Webhooks = 6,
    /// Deliveries of a webhook by time of their events.
    Deliveries = 7,
}

impl Cursor {
    /// Encodes the cursor for clients.
    pub(crate) fn encode(&self, list: List) -> String {
        let mut bytes = [0_u8; 25];
        bytes[0] = list as u8;
        bytes[1..9].copy_from_slice(&self.at.timestamp_micros().to_be_bytes());
        bytes[9..].copy_from_slice(self.id.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Decodes a cursor; returns `None` unless it is one of `list`.
    pub(crate) fn decode(list: List, text: &str) -> Option<Self> {
        let bytes: [u8; 25] = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (at, id) = (bytes[1..9].try_into().ok()?, bytes[9..].try_into().ok()?);
        let at = DateTime::from_timestamp_micros(i64::from_be_bytes(at))?;
        // The list has no rows outside these years, and PostgreSQL cannot store such times.
        let is_storable = (1970..=9_999).contains(&at.year());
        (bytes[0] == list as u8 && is_storable).then_some(Self { at, id: Uuid::from_bytes(id) })
    }
}

/// A validated request for a page.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    limit: u64,
    from: Option<Cursor>,
    backwards: bool,
}

/// A page of rows, in the order of the list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows of the page.
    pub rows: Vec<T>,
    /// Whether rows follow the page.
    pub(crate) has_next: bool,
    /// Whether rows precede the page.
    pub(crate) has_previous: bool,
}

impl Paging {
    /// Validates the arguments: one direction, a size from 1 to `max_size` (default `default_size`), and cursors of
    /// `list`.
    pub fn window(&self, list: List, default_size: u32, max_size: u32) -> Result<Window> {
        let mut problems = Vec::new();
        let backwards = self.last.is_some() || self.before.is_some();
        if backwards && (self.first.is_some() || self.after.is_some()) {
            problems.push(Problem::new(
                "/last",
                "BOTH_WAYS",
                "Use first and after, or last and before, but not both.",
            ));
        }
        let (size, name) = if backwards { (self.last, "/last") } else { (self.first, "/first") };
        let limit = page_size(size, name, default_size, max_size).unwrap_or_else(|problem| {
            problems.push(problem);
            1
        });
        let (text, name) = if backwards { (&self.before, "/before") } else { (&self.after, "/after") };
        let from = text.as_ref().and_then(|text| {
            let cursor = Cursor::decode(list, text);
            if cursor.is_none() {
                problems.push(Problem::new(
                    name,
                    "CURSOR",
                    "This is not a cursor of this list. Use one that the list returned.",
                ));
            }
            cursor
        });
        if problems.is_empty() {
            Ok(Window { limit, from, backwards })
        } else {
            Err(Error::Invalid(problems))
        }
    }
}

/// Validates the page size of a list that only goes forward and has its own cursors.
pub(crate) fn forward_page_size(size: Option<i32>, default_size: u32, max_size: u32) -> Result<u64> {
    page_size(size, "/first", default_size, max_size).map_err(|problem| Error::Invalid(vec![problem]))
}

fn page_size(size: Option<i32>, name: &str, default_size: u32, max_size: u32) -> Result<u64, Problem> {
    let Some(size) = size else { return Ok(Ord::min(default_size, max_size).into()) };
    let size = u64::try_from(size).ok().filter(|size| (1..=u64::from(max_size)).contains(size));
    size.ok_or_else(|| Problem::new(name, "RANGE", format!("A page must have 1 to {max_size} entries.")))
}

impl Window {
    /// Limits a query to this page; the list is ordered by `time` and `id`.
    pub(crate) fn select<E: EntityTrait>(
        &self,
        query: Select<E>,
        direction: Direction,
        time: impl ColumnTrait,
        id: impl ColumnTrait,
    ) -> Select<E> {
        let direction = if self.backwards { direction.reversed() } else { direction };
        let query = match self.from {
            Some(from) => query.filter(after_cursor(direction, from, time, id)),
            None => query,
        };
        let order = match direction {
            Direction::Ascending => sea_orm::Order::Asc,
            Direction::Descending => sea_orm::Order::Desc,
        };
        query.order_by(time, order.clone()).order_by(id, order).limit(self.limit + 1)
    }

    /// Limits a statement over other tables to this page; the list is ordered by `time` and `id`.
    pub(crate) fn apply_to_statement(
        &self,
        query: &mut SelectStatement,
        direction: Direction,
        time: &SimpleExpr,
        id: &SimpleExpr,
    ) {
        let direction = if self.backwards { direction.reversed() } else { direction };
        if let Some(from) = self.from {
            let (further, tie) = match direction {
                Direction::Ascending => (time.clone().gt(from.at), id.clone().gt(from.id)),
                Direction::Descending => (time.clone().lt(from.at), id.clone().lt(from.id)),
            };
            let same = Condition::all().add(time.clone().eq(from.at)).add(tie);
            query.cond_where(Condition::any().add(further).add(same));
        }
        let order = match direction {
            Direction::Ascending => sea_orm::Order::Asc,
            Direction::Descending => sea_orm::Order::Desc,
        };
        query
            .order_by_expr(time.clone(), order.clone())
            .order_by_expr(id.clone(), order)
            .limit(self.limit + 1);
    }

    /// Returns the rows that [`Window::select`] found as a page.
    pub fn page<T>(&self, mut rows: Vec<T>) -> Page<T> {
        let more = rows.len() as u64 > self.limit;
        rows.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        let has_cursor = self.from.is_some();
        if self.backwards {
            rows.reverse();
            Page { rows, has_next: has_cursor, has_previous: more }
        } else {
            Page { rows, has_next: more, has_previous: has_cursor }
        }
    }
}

/// Returns a condition for the rows behind a cursor.
pub(crate) fn after_cursor(
    direction: Direction,
    from: Cursor,
    time: impl ColumnTrait,
    id: impl ColumnTrait,
) -> Condition {
    let (at, key): (Value, Value) = (from.at.into(), from.id.into());
    let (further, tie) = match direction {
        Direction::Ascending => (time.gt(at.clone()), id.gt(key)),
        Direction::Descending => (time.lt(at.clone()), id.lt(key)),
    };
    Condition::any().add(further).add(Condition::all().add(time.eq(at)).add(tie))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_round_trip_and_foreign_ones_are_refused() {
        let cursor = Cursor {
            at: DateTime::from_timestamp_micros(1_790_000_000_123_456).unwrap(),
            id: Uuid::now_v7(),
        };
        let list = List::JobsByCreation;
        let text = cursor.encode(list);
        assert_eq!(Cursor::decode(list, &text), Some(cursor));
        for foreign in ["", "x", "AAAA", &BASE64_URL_SAFE_NO_PAD.encode([1; 25]), &format!("{text}A")] {
            assert_eq!(Cursor::decode(list, foreign), None, "{foreign}");
        }
        for beyond in [i64::MIN, -1, i64::MAX] {
            let mut bytes = [0; 25];
            bytes[0] = list as u8;
            bytes[1..9].copy_from_slice(&beyond.to_be_bytes());
            assert_eq!(Cursor::decode(list, &BASE64_URL_SAFE_NO_PAD.encode(bytes)), None, "{beyond}");
        }
        for other in [List::JobsByChange, List::Documents, List::Reviews] {
            assert_eq!(Cursor::decode(list, &cursor.encode(other)), None, "{other:?}");
        }
    }

    #[test]
    fn all_problems_of_a_page_request_are_reported() {
        let cursor = Cursor { at: DateTime::UNIX_EPOCH, id: Uuid::now_v7() }.encode(List::Documents);
        let window = |first, last, after: Option<&str>, before: Option<&str>| {
            let paging = Paging { first, last, after: after.map(Into::into), before: before.map(Into::into) };
            paging.window(List::Documents, 20, 100)
        };
        assert!(window(Some(100), None, Some(&cursor), None).is_ok());
        assert!(window(None, None, None, Some(&cursor)).unwrap().backwards);
        for (first, last, after, before, codes) in [
            (Some(0), None, None, None, ["RANGE"].as_slice()),
            (Some(101), None, Some("x"), None, &["RANGE", "CURSOR"]),
            (None, Some(-1), None, None, &["RANGE"]),
            (Some(1), Some(1), None, None, &["BOTH_WAYS"]),
            (Some(1), None, None, Some(&*cursor), &["BOTH_WAYS"]),
            (None, None, Some(&*cursor), Some(&*cursor), &["BOTH_WAYS"]),
        ] {
            let result = window(first, last, after, before);
            let Err(Error::Invalid(found)) = result else { panic!("{first:?} {last:?} {before:?}") };
            assert_eq!(found.iter().map(|problem| &*problem.code).collect::<Vec<_>>(), codes);
        }
        assert_eq!((forward_page_size(None, 20, 10), forward_page_size(Some(7), 20, 10)), (Ok(10), Ok(7)));
        assert!(forward_page_size(Some(11), 20, 10).is_err());
    }
}
