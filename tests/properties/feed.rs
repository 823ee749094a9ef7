//! The changes of a view as a subscriber sees them.

use std::collections::BTreeSet;

use super::value::{Bag, Row, Type, instant, typed};
use crate::support::subscription::{Line, Subscription};

/// The changes of a view, as they come.
pub struct Feed {
    subscription: Subscription,
    types: Vec<Type>,
    /// Whether these are the elements of a stream: equal ones have lines of their own.
    stream: bool,
    /// Times at which something changed, and what all changes up to then add up to.
    history: Vec<(String, Bag)>,
    /// Rows of the last time.
    seen: BTreeSet<Row>,
}

impl Feed {
    /// Reads from the beginning.
    pub fn new(subscription: Subscription, types: &[Type], stream: bool) -> Self {
        let (history, seen) = (Vec::new(), BTreeSet::new());
        Self { subscription, types: types.to_vec(), stream, history, seen }
    }

    /// Reads until it is promised that nothing before an instant follows; returns the instants at
    /// which something changed, and what the changes up to then add up to.
    pub fn instants(mut self, end: i64) -> Vec<(i64, Bag)> {
        let mut promised = None;
        while promised.is_none_or(|at| at < end) {
            promised = self.line().or(promised);
        }
        let time = |text: &str| instant(text).unwrap_or_else(|| panic!("{text} is no time"));
        self.history.into_iter().map(|(at, content)| (time(&at), content)).collect()
    }

    /// Reads commits, of which each but the first is known by what all changes up to it add up to.
    pub fn commits(mut self, expected: &[Bag]) {
        while self.history.len() < expected.len() || self.content() != expected.last() {
            let known = self.history.len();
            self.line();
            // What comes later shows that the commit before is complete.
            if known > 0 && self.history.len() > known {
                let seen = &self.history[known - 1].1;
                assert_eq!(
                    Some(seen),
                    expected.get(known - 1),
                    "the changes up to a commit (left) and the definition (right)"
                );
            }
        }
    }

    fn content(&self) -> Option<&Bag> {
        self.history.last().map(|(_, content)| content)
    }

    /// Reads a line; returns the time of a promise.
    fn line(&mut self) -> Option<i64> {
        match self.subscription.next() {
            Ok(Line::Progress(time)) => return instant(&time),
            Ok(Line::Change { time, diff, row }) => {
                self.take(&time, diff, typed(&row, &self.types))
            }
            Err(e) => panic!("{e}\nwhile the changes add up to {:?}", self.history.last()),
        }
        None
    }

    fn take(&mut self, time: &str, diff: i64, row: Row) {
        if self.history.last().is_none_or(|(last, _)| last != time) {
            self.begin(time);
        }
        assert_ne!(diff, 0, "hw_diff of {row:?} at {time}");
        assert!(!self.stream || diff == 1, "hw_diff {diff} of an element");
        let first = self.seen.insert(row.clone());
        assert!(first || self.stream, "two changes of {row:?} at {time}");
        let (_, content) = self.history.last_mut().expect("just begun");
        let count = content.entry(row).or_default();
        *count += diff;
        assert!(*count >= 0 || diff < 0, "counts go below zero at {time}");
        content.retain(|_, count| *count != 0);
    }

    /// Begins another time.
    fn begin(&mut self, time: &str) {
        let (last, content) = self.history.last().cloned().unwrap_or_default();
        match (instant(&last), instant(time)) {
            (Some(last), Some(now)) => assert!(last < now, "hw_time goes back to {time}"),
            _ => assert!(*last < *time, "hw_time goes back to {time}"),
        }
        self.seen.clear();
        self.history.push((time.to_owned(), content));
    }
}
