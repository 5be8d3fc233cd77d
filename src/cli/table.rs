//! Aligned columns of plain ASCII.

/// A table: a heading, then rows, each with a mark before it.
pub(super) struct Table {
    rows: Vec<(char, Vec<String>)>,
}

impl Table {
    /// A table with these column headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![(' ', headings.iter().map(|text| (*text).to_owned()).collect())] }
    }

    /// Adds a row; `mark` stands before it: `!` for trouble, `*` for this node, or a space.
    pub(super) fn row(&mut self, mark: char, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| {
            let cell = plain(&cell);
            if cell.is_empty() { "-".to_owned() } else { cell }
        });
        self.rows.push((mark, cells.collect()));
    }

    /// The lines, each column as wide as its widest cell; nothing if there is no row.
    pub(super) fn render(&self) -> String {
        if self.rows.len() < 2 {
            return String::new();
        }
        let columns = self.rows.iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|(_, cells)| cells.get(column));
            cells.map(String::len).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::from("\n");
        for (mark, cells) in &self.rows {
            let mut line = format!("{mark} ");
            for (cell, width) in cells.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The text with everything but printable ASCII replaced: no name or reason from elsewhere can
/// move the cursor or colour the terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_cells_are_shown() {
        let mut table = Table::new(&["NAME", "STATE"]);
        assert_eq!(table.render(), "");
        table.row('*', ["a".to_owned(), "active".to_owned()]);
        table.row('!', ["longer".to_owned(), String::new()]);
        assert_eq!(table.render(), "\n  NAME    STATE\n* a       active\n! longer  -\n");
    }

    #[test]
    fn nothing_but_plain_text_reaches_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\n\u{e9}"), "a?[2Jb??");
    }
}
