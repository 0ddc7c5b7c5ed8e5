//! Combines words into segments and rows.

use std::ops::Range;

use crate::document::{BBox, Page, Word};

/// A gap wider than this, in ems, ends a segment.
const MIN_SEGMENT_GAP: f32 = 1.0;
/// Height of a word's box in ems (ascent and descent in `layout`).
const BOX_EMS: f32 = 0.97;

/// A rectangle in points, y downward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rect {
    pub(super) x0: f32,
    pub(super) y0: f32,
    pub(super) x1: f32,
    pub(super) y1: f32,
}

impl Rect {
    pub(super) fn from_box(bbox: BBox, page: &Page) -> Self {
        Self {
            x0: bbox.x * page.width,
            y0: bbox.y * page.height,
            x1: (bbox.x + bbox.width) * page.width,
            y1: (bbox.y + bbox.height) * page.height,
        }
    }

    pub(super) fn to_box(self, page: &Page) -> BBox {
        BBox {
            x: self.x0 / page.width,
            y: self.y0 / page.height,
            width: self.width() / page.width,
            height: self.height() / page.height,
        }
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self {
            x0: self.x0.min(other.x0),
            y0: self.y0.min(other.y0),
            x1: self.x1.max(other.x1),
            y1: self.y1.max(other.y1),
        }
    }

    pub(super) fn width(self) -> f32 {
        self.x1 - self.x0
    }

    pub(super) fn height(self) -> f32 {
        self.y1 - self.y0
    }

    pub(super) fn middle(self) -> f32 {
        (self.y0 + self.y1) / 2.0
    }

    /// Returns the share of this rectangle that is inside the other.
    pub(super) fn share_in(self, other: Self) -> f32 {
        let width = self.x1.min(other.x1) - self.x0.max(other.x0);
        let height = self.y1.min(other.y1) - self.y0.max(other.y0);
        let surface = self.width() * self.height();
        if width <= 0.0 || height <= 0.0 || surface <= 0.0 { 0.0 } else { width * height / surface }
    }

    /// Returns the smallest rectangle around all; `None` if there are none.
    pub(super) fn bounding(areas: impl IntoIterator<Item = Self>) -> Option<Self> {
        areas.into_iter().reduce(Self::union)
    }
}

/// Words of one line without a wide gap between them.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) text: String,
    pub(super) words: usize,
    pub(super) area: Rect,
    /// Type size in points.
    pub(super) size: f32,
    /// Whether all words are bold.
    pub(super) bold: bool,
}

/// Segments at the same height, from left to right.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) segments: Vec<Segment>,
    pub(super) area: Rect,
}

impl Row {
    /// Returns the type size of the longest segment.
    pub(super) fn size(&self) -> f32 {
        self.segments.iter().max_by_key(|segment| segment.text.len()).map_or(0.0, |segment| segment.size)
    }

    pub(super) fn is_bold(&self) -> bool {
        self.segments.iter().all(|segment| segment.bold)
    }

    /// Returns the text, with two spaces between segments.
    pub(super) fn text(&self) -> String {
        self.segments.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>().join("  ")
    }
}

/// Splits the words of a page, by index, into those along its lines and those across them.
pub(super) fn split_by_direction(page: &Page) -> (Vec<usize>, Vec<usize>) {
    let mut before: Option<Rect> = None;
    let (across, along): (Vec<usize>, Vec<usize>) = (0..page.words.len()).partition(|i| {
        let area = Rect::from_box(page.words[*i].bbox, page);
        let tall = is_tall(&page.words[*i], area);
        // The shape of a short word tells nothing, so it follows the preceding word if that one overlaps its width.
        let follows = before.is_some_and(|before| {
            page.words[*i].text.chars().nth(2).is_none()
                && area.x0 >= before.x0 - 1.0
                && area.x1 <= before.x1 + 1.0
        });
        before = (tall || follows).then_some(area);
        tall || follows
    });
    if across.len() * 2 > page.words.len() {
        ((0..page.words.len()).collect(), Vec::new())
    } else {
        (along, across)
    }
}

/// Whether most text is in words that are higher than wide.
pub(super) fn is_mostly_tall(page: &Page) -> bool {
    let length = |pick: fn(&Word, Rect) -> bool| {
        let words = page.words.iter().filter(|word| pick(word, Rect::from_box(word.bbox, page)));
        words.map(|word| word.text.len()).sum::<usize>()
    };
    length(is_tall) * 2 > length(|_, _| true)
}

/// Whether a word of at least three characters is higher than wide.
fn is_tall(word: &Word, area: Rect) -> bool {
    area.height() > 1.5 * area.width() && word.text.chars().nth(2).is_some()
}

/// Combines words, which are in reading order, into segments.
pub(super) fn build_segments(page: &Page, words: &[usize], bold: &[Range<u32>]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let is_bold = |i: usize| {
        let found = bold.partition_point(|run| run.end as usize <= i);
        bold.get(found).is_some_and(|run| run.start as usize <= i)
    };
    for (i, word) in words.iter().filter_map(|i| Some((*i, page.words.get(*i)?))) {
        let area = Rect::from_box(word.bbox, page);
        match segments.last_mut().filter(|segment| continues_segment(segment, area)) {
            Some(segment) => {
                segment.text.push(' ');
                segment.text.push_str(&word.text);
                segment.area = segment.area.union(area);
                segment.size = segment.size.max(type_size(word, area));
                segment.bold &= is_bold(i);
                segment.words += 1;
            }
            None => segments.push(Segment {
                text: word.text.clone(),
                words: 1,
                area,
                size: type_size(word, area),
                bold: is_bold(i),
            }),
        }
    }
    segments
}

/// Returns the type size of a word, in points.
fn type_size(word: &Word, area: Rect) -> f32 {
    (if is_tall(word, area) { area.width() } else { area.height() }) / BOX_EMS
}

fn continues_segment(segment: &Segment, area: Rect) -> bool {
    let em = segment.size.min(area.height());
    let gap = area.x0 - segment.area.x1;
    let overlap = segment.area.y1.min(area.y1) - segment.area.y0.max(area.y0);
    overlap > 0.4 * em && gap < MIN_SEGMENT_GAP * em && gap > -0.5 * em
}

/// Combines segments into rows, from top to bottom.
pub(super) fn build_rows(mut segments: Vec<Segment>) -> Vec<Row> {
    segments.sort_by(|a, b| a.area.middle().total_cmp(&b.area.middle()));
    let mut rows: Vec<Row> = Vec::new();
    for segment in segments {
        let row = rows.last_mut().filter(|row| {
            let height = row.area.height().min(segment.area.height());
            (segment.area.middle() - row.area.middle()).abs() < 0.4 * height
                && row.segments.iter().all(|other| {
                    segment.area.x0 > other.area.x1 - 1.0 || segment.area.x1 < other.area.x0 + 1.0
                })
        });
        match row {
            Some(row) => {
                row.area = row.area.union(segment.area);
                row.segments.push(segment);
            }
            None => rows.push(Row { area: segment.area, segments: vec![segment] }),
        }
    }
    for row in &mut rows {
        row.segments.sort_by(|a, b| a.area.x0.total_cmp(&b.area.x0));
    }
    rows
}
