//! Relay connections of pages.

use std::borrow::Cow;

use async_graphql::connection::EmptyFields;
use async_graphql::{Object, ObjectType, OutputType, SimpleObject, TypeName};

use crate::page::Page;

/// Default number of entries in a page.
pub(super) const DEFAULT_PAGE_SIZE: u32 = 20;

/// A page of a list, with additional fields `F`.
pub(super) struct Connection<N, F = EmptyFields> {
    edges: Vec<Edge<N>>,
    page: PageInfo,
    fields: F,
}

struct Edge<N> {
    cursor: String,
    node: N,
}

/// Position of a page in a list, as in Relay's cursor connections.
#[derive(Debug, Clone, SimpleObject)]
struct PageInfo {
    /// Whether the list continues after this page.
    /// To read the next page, pass `endCursor` as `after`.
    has_next_page: bool,
    /// Whether the list has entries before this page.
    /// To read the previous page, pass `startCursor` as `before` if the list has this argument.
    has_previous_page: bool,
    /// Cursor of the first entry of the page.
    /// Null if the page is empty.
    start_cursor: Option<String>,
    /// Cursor of the last entry of the page.
    /// Null if the page is empty.
    end_cursor: Option<String>,
}

/// Builds a connection from a page of rows. The function `edge` returns the cursor and the node of a row.
pub(super) fn connection<T, N, F>(
    page: Page<T>,
    fields: F,
    edge: impl Fn(T) -> (String, N),
) -> Connection<N, F> {
    let edges = page.rows.into_iter().map(edge).map(|(cursor, node)| Edge { cursor, node });
    let edges: Vec<_> = edges.collect();
    let cursor = |edge: Option<&Edge<N>>| edge.map(|edge| edge.cursor.clone());
    let page = PageInfo {
        has_next_page: page.has_next,
        has_previous_page: page.has_previous,
        start_cursor: cursor(edges.first()),
        end_cursor: cursor(edges.last()),
    };
    Connection { edges, page, fields }
}

impl<N: OutputType, F: ObjectType> TypeName for Connection<N, F> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", N::type_name()).into()
    }
}

/// A page of a list, as in Relay's cursor connections.
/// Read `nodes`, or read `edges` to get the cursor of each entry.
#[Object(name_type)]
impl<N: OutputType, F: ObjectType> Connection<N, F> {
    /// Entries of the page with their cursors.
    async fn edges(&self) -> &[Edge<N>] {
        &self.edges
    }

    /// Entries of the page without their cursors.
    async fn nodes(&self) -> Vec<&N> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Whether there are more pages, and the cursors to continue from.
    async fn page_info(&self) -> &PageInfo {
        &self.page
    }

    #[graphql(flatten)]
    async fn fields(&self) -> &F {
        &self.fields
    }
}

impl<N: OutputType> TypeName for Edge<N> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", N::type_name()).into()
    }
}

/// An entry of a page and its cursor.
#[Object(name_type)]
impl<N: OutputType> Edge<N> {
    /// Cursor of the entry, to be passed as `after` or `before`.
    /// Cursors are opaque, and are valid only for this list in this order.
    async fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The entry itself.
    async fn node(&self) -> &N {
        &self.node
    }
}
