//! The shapes of `text-json` and `zoning-json`.

use serde::{Deserialize, Serialize};

/// A box on a page as fractions of its width and height: x, y, width, height, from the top left corner of the page as
/// it is shown (after rotation). In JSON an array of four numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f32; 4]", into = "[f32; 4]")]
pub struct BBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl From<[f32; 4]> for BBox {
    fn from([x, y, width, height]: [f32; 4]) -> Self {
        Self { x, y, width, height }
    }
}

impl From<BBox> for [f32; 4] {
    fn from(b: BBox) -> Self {
        [b.x, b.y, b.width, b.height]
    }
}

/// `text-json`: what is written on each page, and where.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TextDocument {
    /// In page order.
    pub pages: Vec<Page>,
}

/// One page. A document without pages of its own (HTML, plain text, a chapter of an ePub) is laid out on virtual ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// From 1.
    pub number: u32,
    /// In points (1/72 inch), as shown.
    pub width: f32,
    /// In points (1/72 inch), as shown.
    pub height: f32,
    /// The page's text in reading order, lines separated by `\n`, columns of a line kept apart by spaces.
    pub text: String,
    /// Every word with its box, in reading order.
    pub words: Vec<Word>,
}

/// A run of characters without white space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// As printed.
    pub text: String,
    /// Where.
    #[serde(rename = "box")]
    pub bbox: BBox,
}

/// `zoning-json`: the zones of all pages in reading order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zones {
    /// In reading order.
    pub zones: Vec<Zone>,
}

/// A block of the page that belongs together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// Unique within the document, e.g. `p1-z3`.
    pub id: String,
    /// From 1.
    pub page: u32,
    /// Where.
    #[serde(rename = "box")]
    pub bbox: BBox,
    /// What it is.
    pub kind: ZoneKind,
    /// Its text, lines separated by `\n`.
    pub text: String,
    /// How sure the machine is of the kind and the borders, 0 to 1.
    pub confidence: f32,
}

/// What a zone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoneKind {
    /// A title or section heading.
    Heading,
    /// Running text.
    Paragraph,
    /// Rows and columns.
    Table,
    /// Bulleted or numbered items.
    List,
    /// An image or drawing.
    Figure,
    /// Repeated at the top of pages.
    Header,
    /// Repeated at the bottom of pages.
    Footer,
}

/// `zoning-pagesmeta-json`: what kind of document this is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PagesMeta {
    /// Whether the pages of a PDF carry text, pictures of text, or both; null for other formats.
    #[serde(rename = "PDF_type")]
    pub pdf_type: Option<PdfType>,
    /// Number of pages.
    pub total_pages: u32,
}

/// Where the text of a PDF comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PdfType {
    /// Every page that has anything on it has text.
    Text,
    /// No page has text.
    Scan,
    /// Some pages have text, others only pictures.
    Mixed,
}
