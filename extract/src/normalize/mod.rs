//! From text as printed to values that programs compare: dates, numbers, yes and no, folded words.
//!
//! Nothing here knows of pages or taxonomies' data points: each reader takes a text and says what stands where in it.

mod boolean;
mod date;
mod month;
mod number;
mod text;

pub use boolean::boolean;
pub use date::{DateFormat, DateReader, FoundDate};
pub use number::{Currency, FoundNumber, NumberReader};
pub use text::{compact, fold};

/// A range of bytes in a text.
pub type Span = std::ops::Range<usize>;
