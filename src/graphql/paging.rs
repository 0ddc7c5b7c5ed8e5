//! Relay connections out of pages.

use std::borrow::Cow;

use async_graphql::connection::EmptyFields;
use async_graphql::{Object, ObjectType, OutputType, SimpleObject, TypeName};

use crate::page::Page;

/// Entries of a page where nobody asks for a number.
pub(super) const USUAL: u32 = 20;

/// A page of a list, with `F` as further fields.
pub(super) struct Connection<N, F = EmptyFields> {
    edges: Vec<Edge<N>>,
    page: PageInfo,
    fields: F,
}

struct Edge<N> {
    cursor: String,
    node: N,
}

/// What there is before and after a page of a list, as Relay's cursor connections have it.
#[derive(Debug, Clone, SimpleObject)]
struct PageInfo {
    /// Whether the list goes on after this page. To read on, ask with `after: endCursor`.
    has_next_page: bool,
    /// Whether the list has entries before this page. To read back, where the list can be, ask with `before: startCursor`.
    has_previous_page: bool,
    /// Cursor of the page's first entry; null where the page is empty.
    start_cursor: Option<String>,
    /// Cursor of the page's last entry; null where the page is empty.
    end_cursor: Option<String>,
}

/// A connection of a page's rows; `edge` gives each its cursor and node.
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

/// One page of a list, as Relay's cursor connections have it: read it by `nodes`, or by `edges` where the cursor of each
/// entry is wanted.
#[Object(name_type)]
impl<N: OutputType, F: ObjectType> Connection<N, F> {
    /// The entries of the page, each with its cursor.
    async fn edges(&self) -> &[Edge<N>] {
        &self.edges
    }

    /// The entries of the page by themselves.
    async fn nodes(&self) -> Vec<&N> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Whether there is more, and the cursors to go on from.
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

/// An entry of a page, and where in the list it stands.
#[Object(name_type)]
impl<N: OutputType> Edge<N> {
    /// The entry's place in the list, to be given back as `after` or `before`. It says nothing else, and counts for this
    /// list in this order only.
    async fn cursor(&self) -> &str {
        &self.cursor
    }

    /// The entry itself.
    async fn node(&self) -> &N {
        &self.node
    }
}
