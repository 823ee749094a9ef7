//! Standard output: lines that stay, and on a terminal a block below them that is redrawn.

use std::io::{self, IsTerminal, Write};

/// Standard output.
pub struct Screen {
    out: io::Stdout,
    /// Whether someone looks at it.
    pub terminal: bool,
    /// Lines of the block that stands below.
    drawn: usize,
}

impl Screen {
    /// Standard output as it is.
    pub fn new() -> Self {
        let out = io::stdout();
        let terminal = out.is_terminal();
        Self { out, terminal, drawn: 0 }
    }

    /// Prints text that stays.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        let erase = self.erase();
        writeln!(self.out, "{erase}{text}")?;
        self.out.flush()
    }

    /// Replaces the block; only on a terminal.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let erase = self.erase();
        writeln!(self.out, "{erase}{}", lines.join("\n"))?;
        self.drawn = lines.len();
        self.out.flush()
    }

    /// Leaves the block where it is.
    pub fn keep(&mut self) {
        self.drawn = 0;
    }

    /// Moves to the block's first line and clears from there on.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }
}

/// Writes a result as psql does.
pub fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let values = rows.iter().map(|row| row[i].chars().count());
            values.chain([name.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let numeric = |i: usize| rows.iter().all(|row| row[i].parse::<f64>().is_ok());
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(i, (cell, width))| {
            if numeric(i) { format!(" {cell:>width$} ") } else { format!(" {cell:<width$} ") }
        });
        cells.collect::<Vec<_>>().join("|").trim_end().to_owned()
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    let mut lines = vec![line(columns), rule.join("+")];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}

/// Writes a number with commas.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_numbers_to_the_right() {
        let text = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let rows = [text(&["EWR", "355"]), text(&["LaGuardia", "-1.5"])];
        let expected =
            " origin    | late\n-----------+------\n EWR       |  355\n LaGuardia | -1.5";
        assert_eq!(table(&text(&["origin", "late"]), &rows), expected);
    }

    #[test]
    fn numbers_have_commas() {
        assert_eq!([7, 6063, 1_234_567].map(grouped), ["7", "6,063", "1,234,567"]);
    }
}
