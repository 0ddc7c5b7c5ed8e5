//! Cursor paging (Relay's connection specification): opaque cursors that name a place in an order, so that pages stay
//! stable while rows come and go.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::DateTime;
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

/// The version of what is inside a cursor.
const FORMAT: u8 = 1;

impl Cursor {
    /// As clients carry it.
    pub fn encode(&self) -> String {
        let mut bytes = [0_u8; 25];
        bytes[0] = FORMAT;
        bytes[1..9].copy_from_slice(&self.at.timestamp_micros().to_be_bytes());
        bytes[9..].copy_from_slice(self.id.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` where it is not one of ours.
    pub fn decode(text: &str) -> Option<Self> {
        let bytes: [u8; 25] = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (at, id) = (bytes[1..9].try_into().ok()?, bytes[9..].try_into().ok()?);
        let at = DateTime::from_timestamp_micros(i64::from_be_bytes(at))?;
        (bytes[0] == FORMAT).then_some(Self { at, id: Uuid::from_bytes(id) })
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
    /// Checks it: one direction, a size from 1 to `largest` (`usual` where none is given), cursors of ours.
    pub fn window(&self, usual: u32, largest: u32) -> Result<Window> {
        let mut problems = Vec::new();
        let backwards = self.last.is_some() || (self.before.is_some() && self.first.is_none());
        if backwards && (self.first.is_some() || self.after.is_some()) {
            problems.push(Problem::new(
                "/last",
                "BOTH_WAYS",
                "Page with first and after, or with last and before.",
            ));
        }
        let (size, name) = if backwards { (self.last, "/last") } else { (self.first, "/first") };
        let limit = match size {
            None => u64::from(Ord::min(usual, largest)),
            Some(n) => {
                u64::try_from(n).ok().filter(|n| (1..=u64::from(largest)).contains(n)).unwrap_or_else(|| {
                    problems.push(Problem::new(name, "RANGE", format!("A page has 1 to {largest} entries.")));
                    1
                })
            }
        };
        let (text, name) = if backwards { (&self.before, "/before") } else { (&self.after, "/after") };
        let from = text.as_ref().and_then(|text| {
            let cursor = Cursor::decode(text);
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

impl Window {
    /// Rows of the page.
    pub fn limit(&self) -> u64 {
        self.limit
    }

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

fn beyond(direction: Direction, from: Cursor, time: impl ColumnTrait, id: impl ColumnTrait) -> Condition {
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
        assert_eq!(Cursor::decode(&cursor.encode()), Some(cursor));
        for foreign in
            ["", "x", "AAAA", &BASE64_URL_SAFE_NO_PAD.encode([2; 25]), &format!("{}A", cursor.encode())]
        {
            assert_eq!(Cursor::decode(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn requests_are_checked_all_at_once() {
        let ask = |first, last, after: Option<&str>| {
            Paging { first, last, after: after.map(Into::into), before: None }.window(20, 100)
        };
        assert!(ask(Some(100), None, None).is_ok());
        for (first, last, after, problems) in [
            (Some(0), None, None, 1),
            (Some(101), None, Some("x"), 2),
            (None, Some(-1), None, 1),
            (Some(1), Some(1), None, 1),
        ] {
            let Err(Error::Invalid(found)) = ask(first, last, after) else { panic!("{first:?} {last:?}") };
            assert_eq!(found.len(), problems, "{found:?}");
        }
    }
}
