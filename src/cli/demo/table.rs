//! Values in columns, for people.

use std::fmt;

use crate::client::error::printable;

/// Characters that a cell shows.
const WIDEST: usize = 40;
/// Between two columns.
const GAP: &str = "  ";
const COLUMNS: usize = 4;

/// Rows of cells, the first being the heads of the columns. A width is counted in characters.
pub(super) struct Table {
    rows: Vec<[String; COLUMNS]>,
}

impl Table {
    pub(super) fn new(heads: [&str; COLUMNS]) -> Self {
        Self { rows: vec![heads.map(cell)] }
    }

    pub(super) fn row(&mut self, cells: [&str; COLUMNS]) {
        self.rows.push(cells.map(cell));
    }
}

/// A text on one line, cut to the widest that a cell may be.
fn cell(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= WIDEST {
        return text.into_owned();
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
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
        let place = |line: &str, c: char| line.chars().position(|d| d == c);
        assert_eq!(place(head, 'd'), place(row, '1'));
    }
}
