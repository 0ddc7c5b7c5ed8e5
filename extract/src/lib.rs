//! Reads documents: text, zones, values and keywords.
//!
//! This crate knows no jobs, databases, users or networks. It turns bytes into the JSON contents of the built-in job
//! types. Parsers of untrusted files abort, loop and exhaust memory. To protect the server, every parser runs in a child
//! process of the same binary.
//!
//! | module | responsibility |
//! |---|---|
//! | [`child`] | the sandboxed child process that runs a step |
//! | [`operation`] | the operations of the built-in steps, with their inputs and results |
//! | [`failure`] | why a document cannot be read: a code and a message for the user |
//! | [`limits`] | memory and output of one document |
//! | [`document`] | the shapes of `text-json` and `zoning-json`: pages, words, boxes, zones |
//! | [`taxonomy`] | parses and checks taxonomies |
//! | [`sniff`] | detects the media type of a file |
//! | [`pdf`] | reads the positioned text of PDFs and renders their pages |
//! | [`epub`], [`html`], [`plain`] | lay out flowing text on virtual pages |
//! | [`layout`] | combines positioned characters into words, lines and text |
//! | `ocr` | recognizes the text of page images with `tesseract` |
//! | [`zoning`] | groups words into headings, paragraphs, tables, … in reading order |
//! | [`mapping`] | finds the values of a taxonomy |
//! | [`keywords`] | finds the keywords of a document |
//! | [`review`] | selects the items of a content that need a review |
//! | `xml` | writes the XML output of a job |
//! | `normalize` | turns printed dates, numbers and words into comparable values |
//! | `charset` | decodes text |

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
mod normalize;
mod ocr;
pub mod operation;
pub mod pdf;
pub mod plain;
pub mod review;
pub mod sniff;
pub mod taxonomy;
mod xml;
pub mod zoning;

pub use failure::Failure;
