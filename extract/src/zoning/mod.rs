//! Zones: what on a page belongs together, what it is, and in which order it is read.
//!
//! Judged by geometry: rows and gaps, sizes of type, alignment, what repeats from page to page. Where the format itself
//! names its blocks (HTML, ePub), these are taken. The confidence says how much of the evidence agrees; it is a
//! ranking, not a probability: 0.9 and more for what the format says or what repeats on several pages, about 0.6 where
//! one sign alone speaks for the kind.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::document::{Page, TextDocument, Zone, ZoneKind, Zones};
use crate::layout::{Hints, PageHints};

mod blocks;
mod columns;
mod markers;
mod rows;
mod running;
mod stacks;
#[cfg(test)]
mod tests;
mod turn;

use blocks::{Block, Context};
use rows::{Area, Row, Segment};
use running::Running;
use turn::Turn;

/// Confidence in blocks that the format names.
const NAMED: f32 = 0.97;
/// A picture is a figure from this width and height on, in points; smaller ones are ornaments.
const LEAST_FIGURE: f32 = 24.0;
/// A picture that covers more of the page is its background: the paper of a scan.
const BACKGROUND: f32 = 0.7;
/// A word belongs to a figure when this share of it lies inside.
const INSIDE: f32 = 0.8;

/// The zones of a document, page by page in reading order. `hints` may lack pages, or be empty.
pub fn zones(document: &TextDocument, hints: &Hints) -> Zones {
    let none = PageHints::default();
    let sheets: Vec<Sheet<'_>> = document
        .pages
        .iter()
        .enumerate()
        .map(|(i, page)| Sheet::new(page, hints.pages.get(i).unwrap_or(&none)))
        .collect();
    let running = running::find(&sheets);
    let body = body_size(sheets.iter().flat_map(|sheet| &sheet.rows));
    let mut zones = Vec::new();
    for (sheet, running) in sheets.into_iter().zip(running) {
        let (page, turn) = (sheet.page.clone(), sheet.turn);
        let found = if sheet.hints.blocks.is_empty() { judged(sheet, &running, body) } else { named(&sheet) };
        zones.extend(found.into_iter().enumerate().map(|(i, found)| Zone {
            id: format!("p{}-z{}", page.number, i + 1),
            page: page.number,
            bbox: turn.leave(found.area.to_box(&page)),
            kind: found.kind,
            text: found.text,
            confidence: found.confidence,
        }));
    }
    Zones { zones }
}

/// A page turned so that most of its text runs left to right.
struct Sheet<'d> {
    page: Cow<'d, Page>,
    hints: Cow<'d, PageHints>,
    turn: Turn,
    /// From the top; none where the format names the blocks.
    rows: Vec<Row>,
    /// What is written along the edges, across the rest.
    aside: Vec<Found>,
}

impl<'d> Sheet<'d> {
    fn new(page: &'d Page, hints: &'d PageHints) -> Self {
        let turn = Turn::of(page);
        let (page, hints) = if turn == Turn::None {
            (Cow::Borrowed(page), Cow::Borrowed(hints))
        } else {
            let (page, hints) = turn.page(page, hints);
            (Cow::Owned(page), Cow::Owned(hints))
        };
        let mut sheet = Self { page, hints, turn, rows: Vec::new(), aside: Vec::new() };
        if sheet.hints.blocks.is_empty() {
            let (along, across) = rows::sideways(&sheet.page);
            sheet.rows = rows::rows(rows::segments(&sheet.page, &along, &sheet.hints.bold));
            sheet.aside = along_the_edge(&sheet.page, &across);
        }
        sheet
    }
}

/// The zones of a page of which only places are known; `body` is the size of running text in points.
fn judged(sheet: Sheet<'_>, running: &HashMap<usize, Running>, body: f32) -> Vec<Found> {
    let mut top = Vec::new();
    let mut bottom = Vec::new();
    let mut rest = Vec::new();
    for (i, row) in sheet.rows.into_iter().enumerate() {
        match running.get(&i) {
            Some(Running { kind, confidence }) => {
                let block = Block { kind: *kind, rows: vec![row], confidence: *confidence };
                if *kind == ZoneKind::Header { top.push(block) } else { bottom.push(block) }
            }
            None => rest.push(row),
        }
    }
    let (figures, rest) = figures(&sheet.page, &sheet.hints, rest);
    let rules: Vec<Area> = sheet.hints.rules.iter().map(|rule| Area::of(*rule, &sheet.page)).collect();
    let context = Context { body, rules: &rules };
    let mut found = joined(top);
    for stretch in columns::stretches(rest) {
        found.extend(blocks::blocks(stretch, context).iter().filter_map(Found::of));
    }
    for figure in figures {
        insert(&mut found, figure);
    }
    found.extend(sheet.aside);
    found.extend(joined(bottom));
    found
}

/// A zone that has no name yet.
#[derive(Debug, Clone)]
struct Found {
    area: Area,
    kind: ZoneKind,
    text: String,
    confidence: f32,
}

impl Found {
    fn of(block: &Block) -> Option<Self> {
        let text = block.rows.iter().map(Row::text).collect::<Vec<_>>().join("\n");
        Some(Self { area: block.area()?, kind: block.kind, text, confidence: block.confidence })
    }
}

/// Running rows next to each other as one zone each.
fn joined(blocks: Vec<Block>) -> Vec<Found> {
    let mut joined: Vec<Block> = Vec::new();
    for block in blocks {
        let near = joined.last_mut().filter(|last| {
            let gap = block.area().zip(last.area()).map_or(f32::MAX, |(below, above)| below.y0 - above.y1);
            gap < 1.5 * last.rows.last().map_or(0.0, Row::size)
        });
        match near {
            Some(last) => {
                last.confidence = last.confidence.min(block.confidence);
                last.rows.extend(block.rows);
            }
            None => joined.push(block),
        }
    }
    joined.iter().filter_map(Found::of).collect()
}

/// The size in which running text is set, in points: that of most characters in lines of several words, so that the small
/// print of drawings and tables does not count where there is any other.
fn body_size<'r>(rows: impl Iterator<Item = &'r Row>) -> f32 {
    const RUNNING_WORDS: usize = 5;
    const USUAL: f32 = 10.0;
    let segments: Vec<&Segment> = rows.flat_map(|row| &row.segments).collect();
    let median = |least_words: usize| {
        let mut sizes: Vec<(f32, usize)> = segments
            .iter()
            .filter(|segment| segment.words >= least_words)
            .map(|segment| (segment.size, segment.text.len()))
            .collect();
        sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = sizes.iter().map(|(_, length)| length).sum::<usize>() / 2;
        let mut passed = 0;
        sizes.into_iter().find_map(|(size, length)| {
            passed += length;
            (passed > half).then_some(size)
        })
    };
    median(RUNNING_WORDS).or_else(|| median(1)).unwrap_or(USUAL)
}

/// Words that run down or up the page, as one zone for each stretch of them.
fn along_the_edge(page: &Page, words: &[usize]) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for word in words.iter().filter_map(|i| page.words.get(*i)) {
        let area = Area::of(word.bbox, page);
        let em = area.width().min(area.height());
        let near = |last: &&mut Found| {
            let (a, b) = (last.area, area);
            let reach = 1.5 * em;
            a.x0 - reach < b.x1 && b.x0 - reach < a.x1 && a.y0 - reach < b.y1 && b.y0 - reach < a.y1
        };
        match found.last_mut().filter(near) {
            Some(last) => {
                last.area = last.area.union(area);
                last.text.push(' ');
                last.text.push_str(&word.text);
            }
            None => found.push(Found {
                area,
                kind: ZoneKind::Paragraph,
                text: word.text.clone(),
                confidence: 0.5,
            }),
        }
    }
    found
}

/// The blocks that the format names.
fn named(sheet: &Sheet<'_>) -> Vec<Found> {
    let page = &sheet.page;
    sheet
        .hints
        .blocks
        .iter()
        .filter_map(|block| {
            let range: Vec<usize> = (block.words.start as usize..block.words.end as usize).collect();
            let rows = rows::rows(rows::segments(page, &range, &[]));
            let area = Area::around(rows.iter().map(|row| row.area))?;
            let text = rows.iter().map(Row::text).collect::<Vec<_>>().join("\n");
            Some(Found { area, kind: block.kind, text, confidence: NAMED })
        })
        .collect()
}

/// Figures, with what is written in them, and the rows that are left.
fn figures(page: &Page, hints: &PageHints, mut rows: Vec<Row>) -> (Vec<Found>, Vec<Row>) {
    let surface = page.width * page.height;
    let has_text = !rows.is_empty();
    let mut areas: Vec<Area> = hints.images.iter().map(|image| Area::of(*image, page)).collect();
    areas.retain(|area| {
        area.width() >= LEAST_FIGURE
            && area.height() >= LEAST_FIGURE
            && !(has_text && area.width() * area.height() > BACKGROUND * surface)
    });
    areas.sort_by(|a, b| (b.width() * b.height()).total_cmp(&(a.width() * a.height())));
    let mut figures: Vec<Found> = Vec::new();
    for area in areas {
        if figures.iter().any(|figure| area.share_in(figure.area) > 0.5) {
            continue;
        }
        let mut labels = Vec::new();
        for row in &mut rows {
            let (inside, outside): (Vec<_>, Vec<_>) =
                row.segments.drain(..).partition(|segment| segment.area.share_in(area) > INSIDE);
            if !inside.is_empty() {
                labels
                    .push(inside.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>().join("  "));
            }
            row.segments = outside;
        }
        rows.retain(|row| !row.segments.is_empty());
        for row in &mut rows {
            if let Some(area) = Area::around(row.segments.iter().map(|segment| segment.area)) {
                row.area = area;
            }
        }
        // Much text on a picture is a page with a coloured background rather than a figure with labels.
        let confidence = if labels.len() > 10 { 0.6 } else { 0.9 };
        figures.push(Found { area, kind: ZoneKind::Figure, text: labels.join("\n"), confidence });
    }
    (figures, rows)
}

/// Puts a figure before the first zone that stands below its top and beside or under it.
fn insert(zones: &mut Vec<Found>, figure: Found) {
    let place = zones.iter().position(|zone| {
        let beside = zone.area.x1 > figure.area.x0 && zone.area.x0 < figure.area.x1;
        zone.kind != ZoneKind::Header && beside && zone.area.y0 >= figure.area.y0
    });
    zones.insert(place.unwrap_or(zones.len()), figure);
}
