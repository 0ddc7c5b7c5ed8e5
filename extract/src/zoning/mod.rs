//! Finds zones: the blocks of a page, their kinds and their reading order.
//!
//! Zones follow from geometry: rows and gaps, type sizes, alignment, and text that repeats on several pages. If the
//! format marks its blocks (HTML, ePub), they become the zones. The confidence tells how much of the evidence agrees.
//! It is a ranking, not a probability: 0.9 and more for marked blocks and for repeated text, about 0.6 if a single sign
//! indicates the kind.

use std::collections::HashMap;

use crate::document::{Page, TextDocument, Zone, ZoneKind, Zones};
use crate::layout::{Hints, PageHints};

mod blocks;
mod columns;
mod draft;
mod markers;
mod rotation;
mod rows;
mod running;
mod stacks;
#[cfg(test)]
mod tests;
mod upright;

use blocks::{Block, ColumnContext};
use draft::ZoneDraft;
use rows::{Rect, Row, Segment};
use running::Running;
use upright::UprightPage;

/// Confidence of blocks that the format marks.
const FORMAT_CONFIDENCE: f32 = 0.97;
/// Least width and height of a figure, in points; smaller images are ornaments.
const MIN_FIGURE_SIDE: f32 = 24.0;
/// An image that covers a larger share of the page is its background, such as the paper of a scan.
const MAX_FIGURE_SHARE: f32 = 0.7;
/// A segment belongs to a figure if this share of its area is inside.
const MIN_SHARE_INSIDE: f32 = 0.8;

/// Finds the zones of a document, page by page in reading order. `hints` may lack pages or be empty.
pub fn find_zones(document: &TextDocument, hints: &Hints) -> Zones {
    let none = PageHints::default();
    let pages: Vec<UprightPage<'_>> = document
        .pages
        .iter()
        .enumerate()
        .map(|(i, page)| UprightPage::new(page, hints.pages.get(i).unwrap_or(&none)))
        .collect();
    let running = running::find_running(&pages);
    let body = body_size(pages.iter().flat_map(|page| &page.rows));
    let mut zones = Vec::new();
    for (upright, running) in pages.into_iter().zip(running) {
        let (page, rotation) = (upright.page.clone(), upright.rotation);
        let drafts = if upright.hints.blocks.is_empty() {
            detect_zones(upright, &running, body)
        } else {
            format_zones(&upright)
        };
        zones.extend(drafts.into_iter().enumerate().map(|(i, draft)| Zone {
            id: format!("p{}-z{}", page.number, i + 1),
            page: page.number,
            bbox: rotation.to_page(draft.area.to_box(&page)),
            kind: draft.kind,
            text: draft.text,
            confidence: draft.confidence,
        }));
    }
    Zones { zones }
}

/// Finds the zones of a page by geometry. `body` is the size of running text in points.
fn detect_zones(page: UprightPage<'_>, running: &HashMap<usize, Running>, body: f32) -> Vec<ZoneDraft> {
    let mut top = Vec::new();
    let mut bottom = Vec::new();
    let mut rest = Vec::new();
    for (i, row) in page.rows.into_iter().enumerate() {
        match running.get(&i) {
            Some(Running { kind, confidence }) => {
                let block = Block { kind: *kind, rows: vec![row], confidence: *confidence };
                if *kind == ZoneKind::Header { top.push(block) } else { bottom.push(block) }
            }
            None => rest.push(row),
        }
    }
    let (figures, rest) = find_figures(&page.page, &page.hints, rest);
    let rules: Vec<Rect> = page.hints.rules.iter().map(|rule| Rect::from_box(*rule, &page.page)).collect();
    let context = ColumnContext { body, rules: &rules };
    let mut found = merge_running(top);
    for group in columns::split_columns(rest) {
        found.extend(blocks::find_blocks(group, context).iter().filter_map(ZoneDraft::from_block));
    }
    for figure in figures {
        insert_figure(&mut found, figure);
    }
    found.extend(page.margin_texts);
    found.extend(merge_running(bottom));
    found
}

/// Merges adjacent running rows into zones.
fn merge_running(blocks: Vec<Block>) -> Vec<ZoneDraft> {
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
    joined.iter().filter_map(ZoneDraft::from_block).collect()
}

/// Returns the size of running text in points: the size of most characters in lines of several words. Small print in
/// drawings and tables counts only if there are no such lines.
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

/// Returns the zones that the format marks.
fn format_zones(upright: &UprightPage<'_>) -> Vec<ZoneDraft> {
    let page = &upright.page;
    upright
        .hints
        .blocks
        .iter()
        .filter_map(|block| {
            let range: Vec<usize> = (block.words.start as usize..block.words.end as usize).collect();
            let rows = rows::build_rows(rows::build_segments(page, &range, &[]));
            let area = Rect::bounding(rows.iter().map(|row| row.area))?;
            let text = rows.iter().map(Row::text).collect::<Vec<_>>().join("\n");
            Some(ZoneDraft { area, kind: block.kind, text, confidence: FORMAT_CONFIDENCE })
        })
        .collect()
}

/// Returns the figures with their labels, and the remaining rows.
fn find_figures(page: &Page, hints: &PageHints, mut rows: Vec<Row>) -> (Vec<ZoneDraft>, Vec<Row>) {
    let surface = page.width * page.height;
    let has_text = !rows.is_empty();
    let mut areas: Vec<Rect> = hints.images.iter().map(|image| Rect::from_box(*image, page)).collect();
    areas.retain(|area| {
        area.width() >= MIN_FIGURE_SIDE
            && area.height() >= MIN_FIGURE_SIDE
            && !(has_text && area.width() * area.height() > MAX_FIGURE_SHARE * surface)
    });
    areas.sort_by(|a, b| (b.width() * b.height()).total_cmp(&(a.width() * a.height())));
    let mut figures: Vec<ZoneDraft> = Vec::new();
    for area in areas {
        if figures.iter().any(|figure| area.share_in(figure.area) > 0.5) {
            continue;
        }
        let mut labels = Vec::new();
        for row in &mut rows {
            let (inside, outside): (Vec<_>, Vec<_>) =
                row.segments.drain(..).partition(|segment| segment.area.share_in(area) > MIN_SHARE_INSIDE);
            if !inside.is_empty() {
                labels
                    .push(inside.iter().map(|segment| segment.text.as_str()).collect::<Vec<_>>().join("  "));
            }
            row.segments = outside;
        }
        rows.retain(|row| !row.segments.is_empty());
        for row in &mut rows {
            if let Some(area) = Rect::bounding(row.segments.iter().map(|segment| segment.area)) {
                row.area = area;
            }
        }
        // An image with much text is a colored background rather than a figure with labels.
        let confidence = if labels.len() > 10 { 0.6 } else { 0.9 };
        figures.push(ZoneDraft { area, kind: ZoneKind::Figure, text: labels.join("\n"), confidence });
    }
    (figures, rows)
}

/// Inserts a figure before the first zone that begins below its top edge and overlaps its width.
fn insert_figure(zones: &mut Vec<ZoneDraft>, figure: ZoneDraft) {
    let place = zones.iter().position(|zone| {
        let beside = zone.area.x1 > figure.area.x0 && zone.area.x0 < figure.area.x1;
        zone.kind != ZoneKind::Header && beside && zone.area.y0 >= figure.area.y0
    });
    zones.insert(place.unwrap_or(zones.len()), figure);
}
