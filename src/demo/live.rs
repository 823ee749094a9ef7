//! A live view as its reader holds it: the changes of SUBSCRIBE, added up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Columns of a live view, in order: what a row of the table is, what a column is, and two values.
pub const COLUMNS: [&str; 4] = ["hour", "origin", "flights", "avg_delay"];

/// The rows of a view with their weights. Rows begin with the hour, so they stand in its order.
#[derive(Default)]
pub struct Live {
    rows: BTreeMap<[String; 4], i64>,
}

impl Live {
    /// Adds a change: `diff` copies of `row`.
    pub fn change(&mut self, row: [String; 4], diff: i64) {
        match self.rows.entry(row) {
            Entry::Occupied(mut entry) if *entry.get() + diff != 0 => *entry.get_mut() += diff,
            Entry::Occupied(entry) => {
                entry.remove();
            }
            Entry::Vacant(entry) => {
                entry.insert(diff);
            }
        }
    }

    /// Returns the newest `hours`, oldest first, as lines: a column per origin, each with flights and delay.
    pub fn lines(&self, hours: usize) -> Vec<String> {
        let mut table: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for [hour, origin, flights, delay] in self.rows.keys() {
            let cell = format!("{flights:>6} {:>7}", signed(delay));
            table.entry(hour).or_default().insert(origin, cell);
        }
        let skip = table.len().saturating_sub(hours);
        let line = |(hour, cells): (&&str, &BTreeMap<&str, String>)| {
            let cells: Vec<String> = ORIGINS
                .iter()
                .map(|origin| format!("{:>16}", cells.get(origin).map_or("", String::as_str)))
                .collect();
            format!("{:<18}{}", hour.get(..16).unwrap_or(hour), cells.concat())
        };
        table.iter().skip(skip).map(line).collect()
    }

    /// Returns the lines above the table.
    pub fn head() -> Vec<String> {
        let origins: Vec<String> = ORIGINS.iter().map(|origin| format!("{origin:>16}")).collect();
        let values = "  flights  delay".repeat(ORIGINS.len());
        vec![format!("{:<18}{}", "hour", origins.concat()), format!("{:<18}{values}", "")]
    }
}

/// The airports of New York.
const ORIGINS: [&str; 3] = ["EWR", "JFK", "LGA"];

/// Minutes of delay with a sign, so that early and late can be told at a glance.
fn signed(delay: &str) -> String {
    delay.parse::<f64>().map_or_else(|_| delay.to_owned(), |minutes| format!("{minutes:+.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(hour: &str, origin: &str, flights: &str, delay: &str) -> [String; 4] {
        [hour, origin, flights, delay].map(str::to_owned)
    }

    #[test]
    fn a_retraction_takes_back_the_row_it_replaces() {
        let mut live = Live::default();
        live.change(row("2013-01-01 05:00:00", "EWR", "1", "2"), 1);
        live.change(row("2013-01-01 05:00:00", "EWR", "2", "-1.5"), 1);
        live.change(row("2013-01-01 05:00:00", "EWR", "1", "2"), -1);
        live.change(row("2013-01-01 06:00:00", "LGA", "7", "0"), 1);
        let expected = [
            "2013-01-01 05:00       2    -1.5                                ",
            "2013-01-01 06:00                                       7    +0.0",
        ];
        assert_eq!(live.lines(9), expected);
        assert_eq!(live.lines(1), expected[1..]);
    }

    #[test]
    fn head_and_lines_are_equally_wide() {
        let mut live = Live::default();
        live.change(row("2013-01-01 05:00:00", "EWR", "1", "2"), 1);
        let lines = [Live::head(), live.lines(1)].concat();
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{lines:#?}");
    }
}
