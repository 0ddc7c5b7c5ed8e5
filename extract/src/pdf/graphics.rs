//! Records images, drawings and lines of a page, for zoning.

use hayro_interpret::DrawMode;
use hayro_interpret::kurbo::{Affine, BezPath, PathSeg, Rect, Shape};

use crate::document::BBox;
use crate::layout::page_fractions;

/// Most lines and drawings that are kept for a page. Maps and charts have more, but those do not help zoning.
const MAX_MARKS: usize = 2_000;
/// Segments that are examined in one path.
const MAX_SEGMENTS: usize = 400;
/// Paths narrower than this, in points, are lines.
const MAX_LINE_WIDTH: f64 = 2.5;
/// Shorter lines, in points, are ignored.
const MIN_LINE_LENGTH: f64 = 8.0;
/// Drawings closer than this, in points, are merged.
const MAX_CLUSTER_GAP: f64 = 6.0;
/// Least width and height of a figure, in points.
const MIN_FIGURE_SIDE: f64 = 30.0;

/// The graphics of one page, in points of the page as shown.
#[derive(Debug, Default)]
pub(super) struct PageGraphics {
    images: Vec<Rect>,
    drawings: Vec<Rect>,
    rules: Vec<Rect>,
}

impl PageGraphics {
    /// Adds an image.
    pub(super) fn add_image(&mut self, area: Rect) {
        if self.images.len() < MAX_MARKS && area.is_finite() {
            self.images.push(area);
        }
    }

    /// Adds a path. Its horizontal and vertical lines are rules; a path with curves or slopes is a drawing.
    pub(super) fn add_path(&mut self, path: &BezPath, transform: Affine, mode: &DrawMode) {
        if self.rules.len() + self.drawings.len() >= 2 * MAX_MARKS {
            return;
        }
        let bounds = transform.transform_rect_bbox(path.bounding_box());
        if !bounds.is_finite() {
            return;
        }
        if bounds.width() < MAX_LINE_WIDTH || bounds.height() < MAX_LINE_WIDTH {
            self.add_rule(bounds);
            return;
        }
        let mut sloping = false;
        for segment in path.segments().take(MAX_SEGMENTS) {
            match segment {
                PathSeg::Line(line) => {
                    let line = transform * line;
                    let (width, height) = ((line.p1.x - line.p0.x).abs(), (line.p1.y - line.p0.y).abs());
                    if width < MAX_LINE_WIDTH || height < MAX_LINE_WIDTH {
                        // The edges of a filled area are not lines.
                        if matches!(mode, DrawMode::Stroke(_)) {
                            self.add_rule(Rect::from_points(line.p0, line.p1));
                        }
                    } else {
                        sloping = true;
                    }
                }
                PathSeg::Quad(_) | PathSeg::Cubic(_) => sloping = true,
            }
        }
        if sloping && self.drawings.len() < MAX_MARKS {
            self.drawings.push(bounds);
        }
    }

    fn add_rule(&mut self, area: Rect) {
        if self.rules.len() < MAX_MARKS && area.width().max(area.height()) >= MIN_LINE_LENGTH {
            self.rules.push(area);
        }
    }

    /// Returns the boxes of images and drawings, and those of rules, as fractions of a page of this size.
    pub(super) fn boxes(&self, width: f32, height: f32) -> (Vec<BBox>, Vec<BBox>) {
        let page = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
        let to_box = |area: &Rect| {
            page_fractions((area.x0 as f32, area.y0 as f32, area.x1 as f32, area.y1 as f32), width, height)
        };
        let figures = merge_drawings(&self.drawings);
        let images = self.images.iter().chain(&figures).filter(|area| area.overlaps(page)).map(to_box);
        let rules = self.rules.iter().filter(|area| area.inflate(0.5, 0.5).overlaps(page)).map(to_box);
        (images.collect(), rules.collect())
    }
}

/// Merges drawings that are close to each other, and drops small ones.
fn merge_drawings(drawings: &[Rect]) -> Vec<Rect> {
    let mut drawings = drawings.to_vec();
    drawings.sort_by(|a, b| a.y0.total_cmp(&b.y0));
    let mut clusters: Vec<Rect> = Vec::new();
    for drawing in drawings {
        let mut merged = drawing;
        // A drawing may join several clusters, and their union may reach further ones.
        while let Some(i) =
            clusters.iter().position(|c| c.inflate(MAX_CLUSTER_GAP, MAX_CLUSTER_GAP).overlaps(merged))
        {
            merged = merged.union(clusters.swap_remove(i));
        }
        clusters.push(merged);
    }
    clusters.retain(|area| area.width() >= MIN_FIGURE_SIDE && area.height() >= MIN_FIGURE_SIDE);
    clusters
}
