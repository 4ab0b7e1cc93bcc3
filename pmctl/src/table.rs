//! Tables in aligned columns, printed while their rows come.

use unicode_width::UnicodeWidthStr;

use crate::failure::Result;
use crate::output::{Output, Paint, Style};

/// The widths of the columns are those of so many rows; a later cell that is wider moves the rest
/// of its row.
const ROWS_MEASURED: usize = 256;

/// On which side of its column a text is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A text in a table.
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn new(text: impl Into<String>, style: Style) -> Cell {
        let text = text.into();
        Cell { text, style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::new(text, Style::Plain)
    }
}

/// A table that is being printed.
pub struct Table {
    columns: Vec<Align>,
    widths: Option<Vec<usize>>,
    waiting: Vec<Vec<Cell>>,
    paint: Paint,
}

impl Table {
    /// A table with a row of titles, if there are any.
    pub fn new(columns: Vec<Align>, titles: Option<Vec<&str>>, paint: Paint) -> Table {
        let bold = |title| Cell::new(title, Style::Bold);
        Table {
            columns,
            widths: None,
            waiting: titles
                .into_iter()
                .map(|titles| titles.into_iter().map(bold).collect())
                .collect(),
            paint,
        }
    }

    pub fn row(&mut self, cells: Vec<Cell>, out: &mut Output) -> Result<()> {
        if let Some(widths) = &self.widths {
            return out.line(&self.format(&cells, widths));
        }
        self.waiting.push(cells);
        if self.waiting.len() >= ROWS_MEASURED {
            self.print_waiting(out)?;
        }
        Ok(())
    }

    pub fn finish(mut self, out: &mut Output) -> Result<()> {
        self.print_waiting(out)
    }

    fn print_waiting(&mut self, out: &mut Output) -> Result<()> {
        if self.widths.is_some() {
            return Ok(());
        }
        let mut widths = vec![0; self.columns.len()];
        for row in &self.waiting {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.text.width().max(*width);
            }
        }
        for row in std::mem::take(&mut self.waiting) {
            out.line(&self.format(&row, &widths))?;
        }
        self.widths = Some(widths);
        out.flush()
    }

    fn format(&self, row: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let blanks = " ".repeat(widths[at].saturating_sub(cell.text.width()));
            let text = self.paint.paint(cell.style, &cell.text);
            let last = at + 1 == row.len();
            if at > 0 {
                line.push_str("  ");
            }
            match self.columns[at] {
                Align::Right => line.extend([&*blanks, &*text]),
                Align::Left if last => line.push_str(&text),
                Align::Left => line.extend([&*text, &*blanks]),
            }
        }
        line
    }
}
