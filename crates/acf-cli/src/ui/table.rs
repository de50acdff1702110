//! Tables without borders: aligned columns, readable in 80 columns and through a pipe.

use anstyle::Style;
use comfy_table::{CellAlignment, ContentArrangement, presets};

const HEADING: Style = Style::new().dimmed();

/// A table with a heading.
pub struct Table {
    table: comfy_table::Table,
}

impl Table {
    /// Makes an empty table with those columns.
    #[must_use]
    pub fn new<const N: usize>(columns: [&str; N]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self { table }
    }

    /// Aligns a column to the right, as numbers want it.
    #[must_use]
    pub fn right<const N: usize>(mut self, columns: [usize; N]) -> Self {
        for column in columns {
            if let Some(column) = self.table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.table.add_row(cells);
    }

    /// Returns the table's lines, each indented by two spaces.
    #[must_use]
    pub fn render(&self) -> String {
        let mut lines = self.table.lines().map(|line| format!("  {}", line.trim_end()));
        let heading = lines.next().unwrap_or_default();
        let rows: String = lines.map(|line| line + "\n").collect();
        format!("{HEADING}{heading}{HEADING:#}\n{rows}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let mut table = Table::new(["pool", "size", "note"]).right([1]);
        table.row(["workers".into(), "12".into(), "ünïcode ✔".into()]);
        table.row(["planners".into(), "1".into(), String::new()]);
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "  pool      size  note\n  workers     12  ünïcode ✔\n  planners     1\n");
    }
}
