//! Tables of text for the terminal.

use std::fmt;

use crate::client::error::printable;

/// Maximum width of a cell in characters.
const MAX_CELL_CHARS: usize = 40;
/// The gap between two columns.
const GAP: &str = "  ";
const COLUMNS: usize = 4;

/// Rows of cells, of which the first has the column headings. Widths are counted in characters.
pub(super) struct Table {
    rows: Vec<[String; COLUMNS]>,
}

impl Table {
    pub(super) fn new(headings: [&str; COLUMNS]) -> Self {
        Self { rows: vec![headings.map(cell)] }
    }

    pub(super) fn row(&mut self, cells: [&str; COLUMNS]) {
        self.rows.push(cells.map(cell));
    }
}

/// Formats text as a cell: on one line, cut to the maximum width.
fn cell(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= MAX_CELL_CHARS {
        return text.into_owned();
    }
    text.chars().take(MAX_CELL_CHARS - 1).chain(['…']).collect()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                if !line.is_empty() {
                    line.push_str(GAP);
                }
                line.push_str(&format!("{cell:width$}"));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_hostile_cells_stay_in_their_column() {
        let mut table = Table::new(["a", "b", "c", "d"]);
        table.row(["x\u{1b}[2J", &"ü".repeat(60), "", "1"]);
        let text = table.to_string();
        let [head, row] = text.lines().collect::<Vec<_>>()[..] else { panic!("two lines: {text}") };
        assert!(!row.contains('\u{1b}') && row.contains('…'));
        let position = |line: &str, c: char| line.chars().position(|d| d == c);
        assert_eq!(position(head, 'd'), position(row, '1'));
    }
}
