//! Positioned characters, the input of every layout.

/// One character as drawn, in points of the page as shown (y downward).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Glyph {
    /// The character. A ligature becomes several glyphs that share its advance.
    pub(crate) ch: char,
    /// Start of the baseline.
    pub(crate) origin: (f32, f32),
    /// Movement of the pen along the baseline.
    pub(crate) advance: f32,
    /// Height of the font's em.
    pub(crate) size: f32,
    /// Direction of the line.
    pub(crate) direction: Direction,
    /// Whether the font declares itself bold.
    pub(crate) bold: bool,
}

/// The direction of a line of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Direction {
    /// Degrees clockwise from left-to-right, 0 to 355 in steps of five.
    pub(crate) degrees: u16,
    /// Whether the characters stand upright one below the other (CJK). `degrees` is then 90 on an upright page.
    pub(crate) vertical: bool,
}

impl Direction {
    /// Left to right.
    pub(crate) const HORIZONTAL: Self = Self { degrees: 0, vertical: false };

    /// Returns the direction of a vector on the page (y downward). Directions less than five degrees from a quarter
    /// turn become that quarter turn, because scans are skewed. Others, such as watermarks, become the nearest multiple
    /// of five degrees.
    pub(crate) fn from_vector(x: f64, y: f64, vertical: bool) -> Self {
        let degrees = y.atan2(x).to_degrees();
        let quarter = (degrees / 90.0).round() * 90.0;
        let snapped = if (degrees - quarter).abs() < 5.0 { quarter } else { (degrees / 5.0).round() * 5.0 };
        Self { degrees: snapped.rem_euclid(360.0) as u16, vertical }
    }

    /// Returns cosine and sine, exactly for quarter turns, so that their boxes have no rounding errors.
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

/// Height of a glyph above its baseline in ems, as most Latin fonts declare it.
pub(super) const ASCENT: f32 = 0.75;
/// Depth of a glyph below its baseline in ems, as most Latin fonts declare it.
pub(super) const DESCENT: f32 = 0.22;
