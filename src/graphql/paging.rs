//! Relay connections out of pages.

use async_graphql::ObjectType;
use async_graphql::OutputType;
use async_graphql::connection::{Connection, Edge, EmptyFields};

use crate::page::Page;

/// Entries of a page where nobody asks for a number.
pub(super) const USUAL: u32 = 20;

/// A connection of a page's rows; `edge` gives each its cursor and node.
pub(super) fn connection<T, N: OutputType, F: ObjectType>(
    page: Page<T>,
    fields: F,
    edge: impl Fn(T) -> (String, N),
) -> Connection<String, N, F, EmptyFields> {
    let mut connection = Connection::with_additional_fields(page.has_previous, page.has_next, fields);
    connection.edges.extend(page.rows.into_iter().map(edge).map(|(cursor, node)| Edge::new(cursor, node)));
    connection
}
