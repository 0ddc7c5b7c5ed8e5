//! Words to segments and rows: the units that zones are made of.

use std::ops::Range;

use crate::document::{BBox, Page, Word};

/// A gap wider than this, in ems, ends a segment.
const SEGMENT_GAP: f32 = 1.0;
/// A box of a word is this many ems high (see `layout`: ascent and descent).
const BOX_EMS: f32 = 0.97;

/// A rectangle in points, y downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) x0: f32,
    pub(super) y0: f32,
    pub(super) x1: f32,
    pub(super) y1: f32,
}

impl Area {
    pub(super) fn of(bbox: BBox, page: &Page) -> Self {
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

    /// The share of this area's surface that lies in the other.
    pub(super) fn share_in(self, other: Self) -> f32 {
        let width = self.x1.min(other.x1) - self.x0.max(other.x0);
        let height = self.y1.min(other.y1) - self.y0.max(other.y0);
        let surface = self.width() * self.height();
        if width <= 0.0 || height <= 0.0 || surface <= 0.0 { 0.0 } else { width * height / surface }
    }

    /// The smallest area around all; nothing around none.
    pub(super) fn around(areas: impl IntoIterator<Item = Self>) -> Option<Self> {
        areas.into_iter().reduce(Self::union)
    }
}

/// Words of one line without a wide gap between them.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) text: String,
    pub(super) words: usize,
    pub(super) area: Area,
    /// Of the type, in points.
    pub(super) size: f32,
    /// All of it is bold.
    pub(super) bold: bool,
}

/// Segments at the same height, from the left.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) segments: Vec<Segment>,
    pub(super) area: Area,
}

impl Row {
    /// Size of the type of the longest segment.
    pub(super) fn size(&self) -> f32 {
        self.segments.iter().max_by_key(|segment| segment.text.len()).map_or(0.0, |segment| segment.size)
    }

    pub(super) fn bold(&self) -> bool {
        self.segments.iter().all(|segment| segment.bold)
    }

    /// Its text; two spaces between segments.
    pub(super) fn text(&self) -> String {
        self.segments.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>().join("  ")
    }
}

/// The words of a page, by their indices, that run along its lines, and those that run across them.
pub(super) fn sideways(page: &Page) -> (Vec<usize>, Vec<usize>) {
    let mut before: Option<Area> = None;
    let (across, along): (Vec<usize>, Vec<usize>) = (0..page.words.len()).partition(|i| {
        let area = Area::of(page.words[*i].bbox, page);
        let tall = is_tall(&page.words[*i], area);
        // A short word tells nothing by its shape; it goes with the one before if that one runs through it.
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

/// Whether most of what is written stands in words that are higher than wide.
pub(super) fn is_mostly_tall(page: &Page) -> bool {
    let length = |pick: fn(&Word, Area) -> bool| {
        let words = page.words.iter().filter(|word| pick(word, Area::of(word.bbox, page)));
        words.map(|word| word.text.len()).sum::<usize>()
    };
    length(is_tall) * 2 > length(|_, _| true)
}

/// Whether a word of three characters or more is higher than wide.
fn is_tall(word: &Word, area: Area) -> bool {
    area.height() > 1.5 * area.width() && word.text.chars().nth(2).is_some()
}

/// The segments of a page's words, which come in reading order, line by line.
pub(super) fn segments(page: &Page, words: &[usize], bold: &[Range<u32>]) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    let is_bold = |i: usize| {
        let found = bold.partition_point(|run| run.end as usize <= i);
        bold.get(found).is_some_and(|run| run.start as usize <= i)
    };
    for (i, word) in words.iter().filter_map(|i| Some((*i, page.words.get(*i)?))) {
        let area = Area::of(word.bbox, page);
        match segments.last_mut().filter(|segment| goes_on(segment, area)) {
            Some(segment) => {
                segment.text.push(' ');
                segment.text.push_str(&word.text);
                segment.area = segment.area.union(area);
                segment.size = segment.size.max(size(word, area));
                segment.bold &= is_bold(i);
                segment.words += 1;
            }
            None => segments.push(Segment {
                text: word.text.clone(),
                words: 1,
                area,
                size: size(word, area),
                bold: is_bold(i),
            }),
        }
    }
    segments
}

/// Size of type of a word, in points.
fn size(word: &Word, area: Area) -> f32 {
    (if is_tall(word, area) { area.width() } else { area.height() }) / BOX_EMS
}

fn goes_on(segment: &Segment, area: Area) -> bool {
    let em = segment.size.min(area.height());
    let gap = area.x0 - segment.area.x1;
    let overlap = segment.area.y1.min(area.y1) - segment.area.y0.max(area.y0);
    overlap > 0.4 * em && gap < SEGMENT_GAP * em && gap > -0.5 * em
}

/// Rows of segments, from the top.
pub(super) fn rows(mut segments: Vec<Segment>) -> Vec<Row> {
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
