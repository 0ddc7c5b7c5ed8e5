//! Cursor paging (Relay's connection specification): opaque cursors that name a place in an order, so that pages stay
//! stable while rows come and go.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike};
use sea_orm::sea_query::{ExprTrait, SelectStatement, SimpleExpr};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, Value};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::{Error, Problem, Result};

/// What a client asks for.
#[derive(Debug, Clone, Default)]
pub struct Paging {
    /// So many from the start, or after `after`.
    pub first: Option<i32>,
    /// A cursor.
    pub after: Option<String>,
    /// So many from the end, or before `before`.
    pub last: Option<i32>,
    /// A cursor.
    pub before: Option<String>,
}

/// Which way a list runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The oldest first.
    Ascending,
    /// The newest first.
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

/// A place in a list that is ordered by a time and then by ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The time.
    pub at: Timestamp,
    /// Decides between rows of the same time.
    pub id: Uuid,
}

/// The list and order that a cursor belongs to: its place means nothing in another. The numbers are in cursors that clients
/// hold; 1 was that of an earlier format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum List {
    /// Jobs by when they were made.
    JobsByCreation = 2,
    /// Jobs by when they last changed.
    JobsByChange = 3,
    /// Documents by when they were made.
    Documents = 4,
    /// Reviews by when they were opened.
    Reviews = 5,
    /// Webhooks by when they were made.
    Webhooks = 6,
    /// Deliveries to a webhook by when their events happened.
    Deliveries = 7,
}

impl Cursor {
    /// As clients carry it.
    pub fn encode(&self, list: List) -> String {
        let mut bytes = [0_u8; 25];
        bytes[0] = list as u8;
        bytes[1..9].copy_from_slice(&self.at.timestamp_micros().to_be_bytes());
        bytes[9..].copy_from_slice(self.id.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` where it is not one of this list.
    pub fn decode(list: List, text: &str) -> Option<Self> {
        let bytes: [u8; 25] = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (at, id) = (bytes[1..9].try_into().ok()?, bytes[9..].try_into().ok()?);
        let at = DateTime::from_timestamp_micros(i64::from_be_bytes(at))?;
        // What lies beyond could be none of this list's, and PostgreSQL has no such times.
        let usual = (1970..=9_999).contains(&at.year());
        (bytes[0] == list as u8 && usual).then_some(Self { at, id: Uuid::from_bytes(id) })
    }
}

/// A checked request for a page.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    limit: u64,
    from: Option<Cursor>,
    backwards: bool,
}

/// A page of rows in the list's own order.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether the list goes on behind them.
    pub has_next: bool,
    /// Whether there is something before them.
    pub has_previous: bool,
}

impl Paging {
    /// Checks it: one direction, a size from 1 to `largest` (`usual` where none is given), cursors of this list.
    pub fn window(&self, list: List, usual: u32, largest: u32) -> Result<Window> {
        let mut problems = Vec::new();
        let backwards = self.last.is_some() || self.before.is_some();
        if backwards && (self.first.is_some() || self.after.is_some()) {
            problems.push(Problem::new(
                "/last",
                "BOTH_WAYS",
                "Page with first and after, or with last and before.",
            ));
        }
        let (size, name) = if backwards { (self.last, "/last") } else { (self.first, "/first") };
        let limit = page_size(size, name, usual, largest).unwrap_or_else(|problem| {
            problems.push(problem);
            1
        });
        let (text, name) = if backwards { (&self.before, "/before") } else { (&self.after, "/after") };
        let from = text.as_ref().and_then(|text| {
            let cursor = Cursor::decode(list, text);
            if cursor.is_none() {
                problems.push(Problem::new(name, "CURSOR", "This is not a cursor of this list."));
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

/// The size of a page of a list that only goes forwards and has cursors of its own.
pub fn first(size: Option<i32>, usual: u32, largest: u32) -> Result<u64> {
    page_size(size, "/first", usual, largest).map_err(|problem| Error::Invalid(vec![problem]))
}

fn page_size(size: Option<i32>, name: &str, usual: u32, largest: u32) -> Result<u64, Problem> {
    let Some(size) = size else { return Ok(Ord::min(usual, largest).into()) };
    let size = u64::try_from(size).ok().filter(|size| (1..=u64::from(largest)).contains(size));
    size.ok_or_else(|| Problem::new(name, "RANGE", format!("A page has 1 to {largest} entries.")))
}

impl Window {
    /// Limits a query to this page; `time` and `id` are the list's order.
    pub fn select<E: EntityTrait>(
        &self,
        query: Select<E>,
        direction: Direction,
        time: impl ColumnTrait,
        id: impl ColumnTrait,
    ) -> Select<E> {
        let direction = if self.backwards { direction.reversed() } else { direction };
        let query = match self.from {
            Some(from) => query.filter(beyond(direction, from, time, id)),
            None => query,
        };
        let order = match direction {
            Direction::Ascending => sea_orm::Order::Asc,
            Direction::Descending => sea_orm::Order::Desc,
        };
        query.order_by(time, order.clone()).order_by(id, order).limit(self.limit + 1)
    }

    /// The same for a statement over other tables, by the expressions that its order goes by.
    pub fn narrow(
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

    /// What [`Window::select`] found, as a page.
    pub fn page<T>(&self, mut rows: Vec<T>) -> Page<T> {
        let more = rows.len() as u64 > self.limit;
        rows.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        let came_from = self.from.is_some();
        if self.backwards {
            rows.reverse();
            Page { rows, has_next: came_from, has_previous: more }
        } else {
            Page { rows, has_next: more, has_previous: came_from }
        }
    }
}

/// What lies further on in a list than a place in it.
pub fn beyond(direction: Direction, from: Cursor, time: impl ColumnTrait, id: impl ColumnTrait) -> Condition {
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
    fn cursors_come_back_and_foreign_ones_do_not() {
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
    fn requests_are_checked_all_at_once() {
        let cursor = Cursor { at: DateTime::UNIX_EPOCH, id: Uuid::now_v7() }.encode(List::Documents);
        let ask = |first, last, after: Option<&str>, before: Option<&str>| {
            let paging = Paging { first, last, after: after.map(Into::into), before: before.map(Into::into) };
            paging.window(List::Documents, 20, 100)
        };
        assert!(ask(Some(100), None, Some(&cursor), None).is_ok());
        assert!(ask(None, None, None, Some(&cursor)).unwrap().backwards);
        for (first, last, after, before, codes) in [
            (Some(0), None, None, None, ["RANGE"].as_slice()),
            (Some(101), None, Some("x"), None, &["RANGE", "CURSOR"]),
            (None, Some(-1), None, None, &["RANGE"]),
            (Some(1), Some(1), None, None, &["BOTH_WAYS"]),
            (Some(1), None, None, Some(&*cursor), &["BOTH_WAYS"]),
            (None, None, Some(&*cursor), Some(&*cursor), &["BOTH_WAYS"]),
        ] {
            let asked = ask(first, last, after, before);
            let Err(Error::Invalid(found)) = asked else { panic!("{first:?} {last:?} {before:?}") };
            assert_eq!(found.iter().map(|problem| &*problem.code).collect::<Vec<_>>(), codes);
        }
        assert_eq!((first(None, 20, 10), first(Some(7), 20, 10)), (Ok(10), Ok(7)));
        assert!(first(Some(11), 20, 10).is_err());
    }
}
