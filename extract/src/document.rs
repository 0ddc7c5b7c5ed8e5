//! The shapes of `text-json` and `zoning-json`.

use serde::{Deserialize, Serialize};

/// A box as fractions of the page's width and height, from the top left corner of the page as shown (after rotation).
/// In JSON it is an array of four numbers: x, y, width, height.
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

/// `text-json`: the text of each page with its positions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TextDocument {
    /// In page order.
    pub pages: Vec<Page>,
}

/// One page. Formats without pages (HTML, plain text, chapters of an ePub) are laid out on virtual pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// From 1.
    pub number: u32,
    /// In points (1/72 inch), as shown.
    pub width: f32,
    /// In points (1/72 inch), as shown.
    pub height: f32,
    /// The text in reading order. Lines end with `\n`, and spaces separate the columns of a line.
    pub text: String,
    /// Every word with its box, in reading order.
    pub words: Vec<Word>,
}

/// A run of characters without white space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The text as printed.
    pub text: String,
    /// Position on the page.
    #[serde(rename = "box")]
    pub bbox: BBox,
}

/// `zoning-json`: the zones of all pages in reading order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zones {
    /// In reading order.
    pub zones: Vec<Zone>,
}

/// A block of a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// Unique within the document, e.g. `p1-z3`.
    pub id: String,
    /// From 1.
    pub page: u32,
    /// Position on the page.
    #[serde(rename = "box")]
    pub bbox: BBox,
    /// Kind of the zone.
    pub kind: ZoneKind,
    /// The text, with lines separated by `\n`.
    pub text: String,
    /// Confidence in kind and borders, 0 to 1.
    pub confidence: f32,
}

/// The kind of a zone.
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

/// `zoning-pagesmeta-json`: facts about the pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PagesMeta {
    /// Whether the pages of a PDF have text, images of text, or both; null for other formats.
    #[serde(rename = "PDF_type")]
    pub pdf_type: Option<PdfType>,
    /// Number of pages.
    pub total_pages: u32,
}

/// The source of a PDF's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PdfType {
    /// Every page that is not blank has text.
    Text,
    /// No page has text.
    Scan,
    /// Some pages have text, others only images.
    Mixed,
}
