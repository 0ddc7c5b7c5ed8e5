//! Characters where a page draws them: what every layout starts from.

/// One character as drawn, in points of the page as shown (y downwards).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glyph {
    /// What it says. A ligature is several glyphs that share its advance.
    pub ch: char,
    /// Where its baseline starts.
    pub origin: (f32, f32),
    /// How far the pen moves along the baseline.
    pub advance: f32,
    /// Height of its font's em.
    pub size: f32,
    /// Which way its line runs.
    pub direction: Direction,
    /// Whether its font is a bold one, as far as the font says.
    pub bold: bool,
}

/// Which way a line of text runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Direction {
    /// Degrees clockwise from left-to-right, 0 to 355 in steps of five.
    pub degrees: u16,
    /// Characters stand upright one below the other (CJK); `degrees` is 90 on an upright page.
    pub vertical: bool,
}

impl Direction {
    /// Left to right.
    pub const HORIZONTAL: Self = Self { degrees: 0, vertical: false };

    /// The direction of a vector on the page, y downwards: the nearest quarter turn where it is less than five degrees
    /// away (scans are a little askew), else the nearest multiple of five degrees (watermarks).
    pub fn of(x: f64, y: f64, vertical: bool) -> Self {
        let degrees = y.atan2(x).to_degrees();
        let quarter = (degrees / 90.0).round() * 90.0;
        let snapped = if (degrees - quarter).abs() < 5.0 { quarter } else { (degrees / 5.0).round() * 5.0 };
        Self { degrees: snapped.rem_euclid(360.0) as u16, vertical }
    }

    /// Cosine and sine; exact for quarter turns, so that their boxes have no rounding noise.
    pub(super) fn cos_sin(self) -> (f32, f32) {
        match self.degrees {
            0 => (1.0, 0.0),
            90 => (0.0, 1.0),
            180 => (-1.0, 0.0),
            270 => (0.0, -1.0),
            other => {
                let radians = f32::from(other).to_radians();
                (radians.cos(), radians.sin())
            }
        }
    }
}

/// How far a glyph reaches above and below its baseline, in ems: what most Latin fonts declare.
pub(super) const ASCENT: f32 = 0.75;
/// See [`ASCENT`].
pub(super) const DESCENT: f32 = 0.22;
