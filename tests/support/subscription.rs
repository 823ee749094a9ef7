//! A running SUBSCRIBE, read line by line.

use super::client::{Client, Event, Failure, Row};

/// A line of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A change: `hw_time`, `hw_diff` and the columns.
    Change {
        /// The instant or commit time, as text.
        time: String,
        /// How often the row appears (> 0) or disappears (< 0).
        diff: i64,
        /// The row.
        row: Row,
    },
    /// Nothing before this time follows.
    Progress(String),
}

/// A running SUBSCRIBE; it ends with its connection.
pub struct Subscription {
    client: Client,
    progress: bool,
    /// Names of the columns after the `hw_` ones.
    pub columns: Vec<String>,
}

impl Subscription {
    /// Starts `sql`, a SUBSCRIBE, and waits until its result begins.
    pub fn start(mut client: Client, sql: &str) -> Result<Self, Failure> {
        client.send(sql)?;
        loop {
            match client.next()? {
                Event::Columns(columns) => {
                    let names: Vec<String> = columns.into_iter().map(|c| c.name).collect();
                    let progress = names.get(2).is_some_and(|n| n == "hw_progressed");
                    let own = if progress { 3 } else { 2 };
                    assert_eq!(names[..2], ["hw_time", "hw_diff"], "columns of {sql}");
                    return Ok(Self { client, progress, columns: names[own..].to_vec() });
                }
                Event::Failed(said) => {
                    client.finish()?;
                    return Err(Failure::Said(said));
                }
                Event::Ready(_) => panic!("no result: {sql}"),
                _ => {}
            }
        }
    }

    /// Waits for the next line; an error if the server ends the result.
    pub fn next(&mut self) -> Result<Line, Failure> {
        loop {
            match self.client.next()? {
                Event::Row(row) => return Ok(self.line(row)),
                Event::Failed(said) => {
                    self.client.finish()?;
                    return Err(Failure::Said(said));
                }
                Event::Done(tag) => panic!("SUBSCRIBE ended by itself: {tag}"),
                _ => {}
            }
        }
    }

    /// Cancels it; returns the lines that were still under way and the connection.
    pub fn cancel(mut self) -> (Vec<Line>, Client) {
        self.client.cancel();
        let mut lines = Vec::new();
        loop {
            match self.next() {
                Ok(line) => lines.push(line),
                Err(failure) => {
                    assert_eq!(failure.code(), "57014", "{failure}");
                    return (lines, self.client);
                }
            }
        }
    }

    fn line(&self, mut row: Row) -> Line {
        let rest = row.split_off(if self.progress { 3 } else { 2 });
        let time = row[0].clone().expect("hw_time is not null");
        if self.progress && row[2].as_deref() == Some("t") {
            return Line::Progress(time);
        }
        let diff = row[1].as_ref().expect("hw_diff of a change is not null");
        Line::Change { time, diff: diff.parse().expect("hw_diff is a number"), row: rest }
    }
}
