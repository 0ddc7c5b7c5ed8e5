//! Converts `hayro`'s glyph runs to positioned characters.

use hayro_interpret::font::{Glyph as Drawn, GlyphRun, PositionedGlyph};
use hayro_interpret::hayro_cmap::{BfString, WritingMode};
use hayro_interpret::kurbo::{Affine, Point, Vec2};

use super::unicode;
use crate::layout::{Direction, Glyph};

/// Units per em to which `hayro` scales all fonts.
const UNITS_PER_EM: f64 = 1000.0;
/// Offset in units from the origin of an upright glyph to the middle of its top edge, where a vertical line runs. This
/// is the default of `DW2` for a glyph one em wide (ISO 32000-1, 9.7.4.3).
const VERTICAL_ORIGIN: Point = Point::new(500.0, 880.0);
/// Least weight of a bold font (OpenType, `usWeightClass`: 600 is semi-bold).
const BOLD_WEIGHT: u32 = 600;

/// A part of a line that characters are to fill.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    origin: (f32, f32),
    /// Length along the line, in points.
    length: f32,
    size: f32,
    direction: Direction,
    bold: bool,
}

/// The geometry of a drawn glyph, in points.
struct Placement {
    origin: Point,
    /// Unit vector along the line.
    along: Vec2,
    /// Size of the em along the line, which includes horizontal scaling and the stretch of a substitute font.
    em_along_line: f64,
    /// Size of the em across the line.
    em: f64,
    /// Advance in ems.
    advance: f64,
}

/// Adds the characters of a run, except those outside the page.
pub(super) fn push_run(
    glyphs: &mut Vec<Glyph>,
    text_buffer: &mut String,
    run: &GlyphRun<'_, '_>,
    transform: Affine,
    page: (f64, f64),
) {
    let vertical = run.writing_mode() == WritingMode::Vertical;
    let placements: Vec<Placement> =
        run.glyphs().iter().map(|glyph| placement(glyph, transform * glyph.transform(), vertical)).collect();
    let scale = scale_along(&placements);
    let bold = run.glyphs().first().is_some_and(|glyph| is_bold(glyph));
    for (glyph, placement) in run.glyphs().iter().zip(&placements) {
        text_buffer.clear();
        match glyph.as_unicode() {
            Some(BfString::Char(c)) => unicode::push_readable(text_buffer, c.encode_utf8(&mut [0; 4])),
            Some(BfString::String(text)) => unicode::push_readable(text_buffer, &text),
            None => {}
        }
        let em_along_line = scale.unwrap_or(placement.em_along_line / placement.em) * placement.em;
        let Placement { origin, along, em, advance, .. } = *placement;
        let length = advance * em_along_line;
        if !on_page(origin, along * length, em, page) {
            continue;
        }
        let line = Line {
            origin: (origin.x as f32, origin.y as f32),
            length: length as f32,
            size: em as f32,
            direction: Direction::from_vector(along.x, along.y, vertical),
            bold,
        };
        push_spread(glyphs, text_buffer, line);
    }
}

/// Spreads the characters of a text evenly over a line.
pub(super) fn push_spread(glyphs: &mut Vec<Glyph>, text: &str, line: Line) {
    let count = text.chars().count() as f32;
    let radians = f32::from(line.direction.degrees).to_radians();
    let (sin, cos) = radians.sin_cos();
    let advance = line.length / count;
    glyphs.extend(text.chars().enumerate().map(|(i, ch)| {
        let offset = advance * i as f32;
        Glyph {
            ch,
            origin: (line.origin.0 + cos * offset, line.origin.1 + sin * offset),
            advance,
            size: line.size,
            direction: line.direction,
            bold: line.bold,
        }
    }));
}

/// Returns the line that glyphs fill, if they are on one line.
pub(super) fn as_one_line(glyphs: &[Glyph]) -> Option<Line> {
    let first = glyphs.first()?;
    let (sin, cos) = f32::from(first.direction.degrees).to_radians().sin_cos();
    let mut end: f32 = 0.0;
    for glyph in glyphs {
        let (x, y) = (glyph.origin.0 - first.origin.0, glyph.origin.1 - first.origin.1);
        let (along, across) = (x * cos + y * sin, y * cos - x * sin);
        if glyph.direction != first.direction || across.abs() > first.size {
            return None;
        }
        end = end.max(along + glyph.advance);
    }
    Some(Line {
        origin: first.origin,
        length: end,
        size: first.size,
        direction: first.direction,
        bold: first.bold,
    })
}

fn placement(glyph: &PositionedGlyph<'_>, transform: Affine, vertical: bool) -> Placement {
    let [a, b, c, d, _, _] = transform.as_coeffs();
    let (x_axis, y_axis) = (Vec2::new(a, b), Vec2::new(c, d));
    let (axis, other) = if vertical { (-y_axis, x_axis) } else { (x_axis, y_axis) };
    let em_along_line = axis.hypot() * UNITS_PER_EM;
    let mut em = other.hypot() * UNITS_PER_EM;
    let width = match &**glyph {
        Drawn::Outline(glyph) => glyph.advance_width(),
        Drawn::Type3(glyph) => glyph.advance_width(),
    };
    let mut advance = if vertical { 1.0 } else { f64::from(width.unwrap_or(0.0)) / UNITS_PER_EM };
    let mut em_along_line = em_along_line;
    if let Drawn::Type3(_) = &**glyph {
        // A Type 3 font chooses its own units. If its em is implausible, assume that a letter is half an em wide.
        const PLAUSIBLE_EMS: std::ops::RangeInclusive<f64> = 0.1..=2.0;
        if advance > 0.0 && !PLAUSIBLE_EMS.contains(&advance) {
            let factor = advance / 0.5;
            em *= factor;
            em_along_line *= factor;
            advance = 0.5;
        }
    }
    let origin = transform * if vertical { VERTICAL_ORIGIN } else { Point::ORIGIN };
    Placement { origin, along: axis / axis.hypot().max(f64::MIN_POSITIVE), em_along_line, em, advance }
}

/// Returns the scale of a run's advances along the line, relative to the em; `None` if each glyph has its own.
///
/// A glyph's transform contains the horizontal scaling (`Tz`), which also scales advances, and the stretch of a
/// substitute font, which does not. The horizontal scaling is the same for the whole run. If all stretches are equal
/// too, the distances between the glyphs distinguish the two.
fn scale_along(placements: &[Placement]) -> Option<f64> {
    const SAME: f64 = 0.01;
    let ratios = || placements.iter().filter(|p| p.em > 0.0).map(|p| p.em_along_line / p.em);
    let first = ratios().next()?;
    if !ratios().all(|ratio| (ratio - first).abs() < SAME * first) {
        return Some(1.0);
    }
    if (first - 1.0).abs() < SAME {
        return None;
    }
    let mut seen: Vec<f64> = placements
        .windows(2)
        .filter(|pair| pair[0].advance > 0.0 && pair[0].em > 0.0)
        .map(|pair| (pair[1].origin - pair[0].origin).dot(pair[0].along) / (pair[0].advance * pair[0].em))
        .collect();
    seen.sort_by(f64::total_cmp);
    let median = seen.get(seen.len() / 2)?;
    ((median - 1.0).abs() < (median - first).abs()).then_some(1.0)
}

fn is_bold(glyph: &PositionedGlyph<'_>) -> bool {
    let Drawn::Outline(outline) = &**glyph else { return false };
    outline.font_data().is_some_and(|font| {
        font.weight.is_some_and(|weight| weight >= BOLD_WEIGHT)
            || font.postscript_name.is_some_and(|name| name.contains("Bold") || name.contains("Black"))
    })
}

fn on_page(origin: Point, advance: Vec2, em: f64, (width, height): (f64, f64)) -> bool {
    let end = origin + advance;
    let values = [origin.x, origin.y, end.x, end.y, em];
    values.iter().all(|value| value.is_finite())
        && em > 0.0
        && origin.x.max(end.x) >= 0.0
        && origin.x.min(end.x) <= width
        && origin.y.max(end.y) >= 0.0
        && origin.y.min(end.y) <= height + em
}
