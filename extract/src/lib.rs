//! Reads documents: text, zones, values and keywords.
//!
//! This crate knows nothing of jobs, databases, users or networks. It turns bytes into the JSON contents of the built-in
//! job types, and it runs every parser in a child process of the same binary, because parsers of untrusted files abort,
//! loop and exhaust memory, and none of that may reach the server.
//!
//! | module | what it owns |
//! |---|---|
//! | [`document`] | the shapes of `text-json` and `zoning-json`: pages, words, boxes, zones |
//! | [`taxonomy`] | the definition of a taxonomy, parsed and checked |
//! | [`pdf`] | PDFs to positioned text and pictures of pages |
//! | [`layout`] | characters at places to words, lines and text |
//! | [`limits`] | how much of a machine one document may use |
//! | [`failure`] | why a document cannot be read: a code and a sentence for its user |

pub mod document;
pub mod failure;
pub mod layout;
pub mod limits;
pub mod pdf;
pub mod taxonomy;

pub use failure::Failure;
