//! Compression of responses.

use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

/// Returns the predicate for responses that are worth compressing.
pub(super) fn compressible() -> impl Predicate {
    SizeAbove::new(256).and(NotForContentType::const_new("application/pdf"))
}
