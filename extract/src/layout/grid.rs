//! Formats rows as lines of text, with spaces that keep the columns aligned.

use super::lines::Row;

/// Most characters of a line. Beyond it columns are no longer aligned, because tiny print would produce huge lines.
const MAX_COLUMNS: f32 = 240.0;
/// A gap between rows wider than this, in ems, becomes one empty line.
const BLANK_LINE_EMS: f32 = 2.2;

/// Formats rows as text; each line ends in `\n`.
pub(super) fn format_rows(rows: &[Row]) -> String {
    let left = rows.iter().filter_map(|row| row.segments.first()).map(|s| s.x0).fold(f32::INFINITY, f32::min);
    let right = rows.iter().filter_map(|row| row.segments.last()).map(|s| s.x1).fold(0.0, f32::max);
    let unit = character_width(rows).max((right - left) / MAX_COLUMNS);
    let mut text = String::new();
    let mut above: Option<&Row> = None;
    for row in rows {
        if above
            .is_some_and(|above| row.baseline - above.baseline > BLANK_LINE_EMS * above.size.max(row.size))
        {
            text.push('\n');
        }
        above = Some(row);
        let mut column = 0;
        for (i, segment) in row.segments.iter().enumerate() {
            let place = ((segment.x0 - left) / unit).round() as usize;
            // Two spaces distinguish a gap between columns from one between words.
            let place = if i == 0 { place } else { place.max(column + 2) };
            text.extend(std::iter::repeat_n(' ', place - column));
            column = place;
            for (j, token) in segment.tokens.iter().enumerate() {
                if j > 0 {
                    text.push(' ');
                    column += 1;
                }
                text.push_str(&token.text);
                column += token.text.chars().count();
            }
        }
        text.push('\n');
    }
    text
}

/// Returns the width of a character, in points, at which most segments fit.
fn character_width(rows: &[Row]) -> f32 {
    const LEAST_CHARS: usize = 4;
    const SHARE_THAT_FITS: f32 = 0.85;
    let mut widths: Vec<f32> = rows
        .iter()
        .flat_map(|row| &row.segments)
        .filter_map(|segment| {
            let chars = segment.tokens.iter().map(|token| token.text.chars().count() + 1).sum::<usize>();
            (chars >= LEAST_CHARS).then(|| (segment.x1 - segment.x0) / chars as f32)
        })
        .filter(|width| width.is_finite() && *width > 0.0)
        .collect();
    widths.sort_by(f32::total_cmp);
    let index = ((1.0 - SHARE_THAT_FITS) * widths.len() as f32) as usize;
    widths.get(index).copied().unwrap_or(5.0).max(0.5)
}
