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
//! | [`epub`], [`html`], [`plain`] | flowing text, laid out on virtual pages |
//! | [`layout`] | characters at places to words, lines and text |
//! | [`zoning`] | words to headings, paragraphs, tables, … in reading order |
//! | [`mapping`] | the values of a taxonomy in a document |
//! | [`keywords`] | what a document is about |
//! | [`review`] | what of a content a person has to look at |
//! | [`xml`] | the output of a job, and its schema |
//! | [`normalize`] | dates, numbers and words as printed to values that programs compare |
//! | [`operation`] | what a step asks for and gets |
//! | [`child`] | the sandboxed process in which it is done |
//! | [`sniff`] | what kind of document some bytes are |
//! | [`limits`] | how much of a machine one document may use |
//! | [`failure`] | why a document cannot be read: a code and a sentence for its user |

mod charset;
pub mod child;
pub mod document;
pub mod epub;
pub mod failure;
pub mod html;
pub mod keywords;
pub mod layout;
pub mod limits;
pub mod mapping;
pub mod normalize;
mod ocr;
pub mod operation;
pub mod pdf;
pub mod plain;
pub mod review;
pub mod sniff;
pub mod taxonomy;
pub mod xml;
pub mod zoning;

pub use failure::Failure;
