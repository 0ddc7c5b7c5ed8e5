//! Pictures, drawings and lines on a page: what zoning needs to know of graphics.

use hayro_interpret::DrawMode;
use hayro_interpret::kurbo::{Affine, BezPath, PathSeg, Rect, Shape};

use crate::document::BBox;
use crate::layout::fractions;

/// Lines and drawings kept per page; maps and charts have a great many, and more of them say nothing new.
const MAX_KEPT: usize = 2_000;
/// Segments looked at in one path.
const MAX_SEGMENTS: usize = 400;
/// Thinner than this, in points, is a line.
const THIN: f64 = 2.5;
/// Shorter than this, in points, is no line.
const SHORT: f64 = 8.0;
/// Drawings nearer to each other than this, in points, are one.
const NEAR: f64 = 6.0;
/// A drawing is a figure from this width and height on, in points.
const LEAST_FIGURE: f64 = 30.0;

/// The graphics of one page, in points of the page as shown.
#[derive(Debug, Default)]
pub(super) struct Marks {
    pictures: Vec<Rect>,
    drawings: Vec<Rect>,
    rules: Vec<Rect>,
}

impl Marks {
    /// Takes note of a picture.
    pub(super) fn picture(&mut self, area: Rect) {
        if self.pictures.len() < MAX_KEPT && area.is_finite() {
            self.pictures.push(area);
        }
    }

    /// Takes note of a path: straight lines along the page's edges are rules, anything with curves or slopes a drawing.
    pub(super) fn path(&mut self, path: &BezPath, transform: Affine, mode: &DrawMode) {
        if self.rules.len() + self.drawings.len() >= 2 * MAX_KEPT {
            return;
        }
        let bounds = transform.transform_rect_bbox(path.bounding_box());
        if !bounds.is_finite() {
            return;
        }
        if bounds.width() < THIN || bounds.height() < THIN {
            self.rule(bounds);
            return;
        }
        let mut sloping = false;
        for segment in path.segments().take(MAX_SEGMENTS) {
            match segment {
                PathSeg::Line(line) => {
                    let line = transform * line;
                    let (width, height) = ((line.p1.x - line.p0.x).abs(), (line.p1.y - line.p0.y).abs());
                    if width < THIN || height < THIN {
                        // The edges of a filled area are no lines.
                        if matches!(mode, DrawMode::Stroke(_)) {
                            self.rule(Rect::from_points(line.p0, line.p1));
                        }
                    } else {
                        sloping = true;
                    }
                }
                PathSeg::Quad(_) | PathSeg::Cubic(_) => sloping = true,
            }
        }
        if sloping && self.drawings.len() < MAX_KEPT {
            self.drawings.push(bounds);
        }
    }

    fn rule(&mut self, area: Rect) {
        if self.rules.len() < MAX_KEPT && area.width().max(area.height()) >= SHORT {
            self.rules.push(area);
        }
    }

    /// Pictures with drawings, and rules, as fractions of a page of this size.
    pub(super) fn boxes(&self, width: f32, height: f32) -> (Vec<BBox>, Vec<BBox>) {
        let page = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
        let to_box = |area: &Rect| {
            fractions((area.x0 as f32, area.y0 as f32, area.x1 as f32, area.y1 as f32), width, height)
        };
        let figures = clusters(&self.drawings);
        let pictures = self.pictures.iter().chain(&figures).filter(|area| area.overlaps(page)).map(to_box);
        let rules = self.rules.iter().filter(|area| area.inflate(0.5, 0.5).overlaps(page)).map(to_box);
        (pictures.collect(), rules.collect())
    }
}

/// Drawings that are near each other, as one box each; small ones left out.
fn clusters(drawings: &[Rect]) -> Vec<Rect> {
    let mut drawings = drawings.to_vec();
    drawings.sort_by(|a, b| a.y0.total_cmp(&b.y0));
    let mut clusters: Vec<Rect> = Vec::new();
    for drawing in drawings {
        let mut merged = drawing;
        // A drawing may join several clusters, whose union may reach further ones.
        while let Some(i) = clusters.iter().position(|c| c.inflate(NEAR, NEAR).overlaps(merged)) {
            merged = merged.union(clusters.swap_remove(i));
        }
        clusters.push(merged);
    }
    clusters.retain(|area| area.width() >= LEAST_FIGURE && area.height() >= LEAST_FIGURE);
    clusters
}
