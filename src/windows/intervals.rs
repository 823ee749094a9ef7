//! Sessions as intervals of time: how they grow, merge, shrink and split.
//!
//! # Semantics
//! A session of a key is a run of times of which neighbours are less than `gap` apart: the interval
//! from its first to its last time. It is told which times come and go; nothing is known of rows.
//!
//! ```text
//!   gap 5          1   4               12          two sessions: [1, 4] [12, 12]
//!   8 comes        1   4       8       12          one: [1, 12]
//!   4 goes         1           8       12          two: [1, 1] [8, 12]
//! ```
//! A time that comes late, when the watermark had reached `met`, does not join sessions that were
//! final by then: those whose last time plus `gap` is at most `met`. Times that come together come
//! in order of `met`; then no session behind the nearest one can be in reach.
//!
//! # Cost
//! Two searches per time that comes or goes.

use std::collections::BTreeMap;

use crate::storage::{Misfit, StateReader, StateWriter, Store};

/// First times of sessions by key, and the last time of each.
pub(super) type Bounds = BTreeMap<(u32, i64), i64>;

/// The sessions of all keys, and those that changed.
pub(super) struct Intervals {
    gap: i64,
    live: Bounds,
    /// Sessions that were live when changes were last taken, and are not now.
    gone: Bounds,
    /// Sessions that are live now, and were not then.
    born: Bounds,
}

/// Returns the interval among `bounds` that holds a time of a key.
pub(super) fn around(bounds: &Bounds, key: u32, time: i64) -> Option<(i64, i64)> {
    let (&(_, first), &last) = bounds.range((key, i64::MIN)..=(key, time)).next_back()?;
    (time <= last).then_some((first, last))
}

impl Store for Intervals {
    fn memory(&self) -> usize {
        // A tree's node holds up to eleven entries and is half full or more.
        let entries = self.live.len() + self.gone.len() + self.born.len();
        entries * 2 * size_of::<((u32, i64), i64)>()
    }

    fn save(&self, to: &mut StateWriter) -> Result<(), Misfit> {
        for bounds in [&self.live, &self.gone, &self.born] {
            to.put_numbers(&bounds.iter().map(|(of, last)| (*of, *last)).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    fn load(&mut self, from: &mut StateReader) -> Result<(), Misfit> {
        for bounds in [&mut self.live, &mut self.gone, &mut self.born] {
            *bounds = from.take_numbers()?.into_iter().collect();
        }
        Ok(())
    }
}

impl Intervals {
    /// No session.
    pub(super) fn new(gap: i64) -> Self {
        let (live, gone, born) = (Bounds::new(), Bounds::new(), Bounds::new());
        Self { gap, live, gone, born }
    }

    /// The session that holds a time of a key.
    pub(super) fn around(&self, key: u32, time: i64) -> Option<(i64, i64)> {
        around(&self.live, key, time)
    }

    /// The earliest session of a key.
    pub(super) fn first(&self, key: u32) -> Option<(i64, i64)> {
        let mut of_key = self.live.range((key, i64::MIN)..=(key, i64::MAX));
        of_key.next().map(|(&(_, first), &last)| (first, last))
    }

    /// The last times of all sessions.
    pub(super) fn lasts(&self) -> impl Iterator<Item = i64> + '_ {
        self.live.values().copied()
    }

    /// A time comes that its key did not have, when the watermark had reached `met`; of a time that
    /// is not late that is any time before it.
    pub(super) fn come(&mut self, key: u32, time: i64, met: i64) {
        if self.around(key, time).is_some() {
            return;
        }
        let joins =
            |last: i64| time.saturating_sub(last) < self.gap && last.saturating_add(self.gap) > met;
        let before = self.live.range((key, i64::MIN)..(key, time)).next_back();
        let before = before.filter(|(_, last)| joins(**last));
        let after = self.live.range((key, time)..=(key, i64::MAX)).next();
        let after = after.filter(|((_, first), _)| first.saturating_sub(time) < self.gap);
        let first = before.map_or(time, |((_, first), _)| *first);
        let (next, last) = after.map_or((None, time), |((_, first), last)| (Some(*first), *last));
        if first < time {
            self.remove(key, first);
        }
        if let Some(next) = next {
            self.remove(key, next);
        }
        self.add(key, first, last);
    }

    /// The only rows of a time of its key go; `before` and `after` are the nearest times that the
    /// key has.
    pub(super) fn go(&mut self, key: u32, time: i64, before: Option<i64>, after: Option<i64>) {
        let Some((first, last)) = self.around(key, time) else { return };
        self.remove(key, first);
        match (before.filter(|b| *b >= first), after.filter(|a| *a <= last)) {
            (Some(b), Some(a)) if a.saturating_sub(b) < self.gap => self.add(key, first, last),
            (before, after) => {
                before.into_iter().for_each(|before| self.add(key, first, before));
                after.into_iter().for_each(|after| self.add(key, after, last));
            }
        }
    }

    /// Forgets a session that is final.
    pub(super) fn close(&mut self, key: u32, first: i64) {
        self.live.remove(&(key, first));
    }

    /// Returns the sessions that are no more and those that are new, since it was last asked.
    pub(super) fn changes(&mut self) -> (Bounds, Bounds) {
        (std::mem::take(&mut self.gone), std::mem::take(&mut self.born))
    }

    fn add(&mut self, key: u32, first: i64, last: i64) {
        self.live.insert((key, first), last);
        if self.gone.get(&(key, first)) == Some(&last) {
            self.gone.remove(&(key, first));
        } else {
            self.born.insert((key, first), last);
        }
    }

    fn remove(&mut self, key: u32, first: i64) {
        let Some(last) = self.live.remove(&(key, first)) else { return };
        if self.born.remove(&(key, first)).is_none() {
            self.gone.insert((key, first), last);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The runs of times less than `gap` apart.
    fn runs(times: &BTreeSet<i64>, gap: i64) -> Bounds {
        let mut runs = Bounds::new();
        let mut first = None;
        let mut last = i64::MIN;
        for time in times {
            if first.is_none() || time - last >= gap {
                first = Some(*time);
            }
            last = *time;
            runs.insert((0, first.unwrap()), last);
        }
        runs
    }

    proptest! {
        #[test]
        fn sessions_are_the_runs_of_times(
            rounds in prop::collection::vec(prop::collection::btree_set(0i64..40, 0..8), 1..12),
            gap in 1i64..7,
        ) {
            let (mut intervals, mut times) = (Intervals::new(gap), BTreeSet::new());
            let mut known = Bounds::new();
            for round in rounds {
                let next: BTreeSet<i64> = times.symmetric_difference(&round).copied().collect();
                for time in round {
                    if next.contains(&time) {
                        intervals.come(0, time, i64::MIN);
                    } else {
                        let before = next.range(..time).next_back().copied();
                        intervals.go(0, time, before, next.range(time..).next().copied());
                    }
                }
                times = next;
                prop_assert_eq!(&intervals.live, &runs(&times, gap));
                let (gone, born) = intervals.changes();
                for ((key, first), last) in gone {
                    prop_assert_eq!(known.remove(&(key, first)), Some(last));
                }
                for (session, last) in born {
                    prop_assert_eq!(known.insert(session, last), None);
                }
                prop_assert_eq!(&known, &intervals.live);
            }
        }

        /// Late times find what had closed, whether they come one by one or together.
        #[test]
        fn final_sessions_stay_as_they_are(
            commits in prop::collection::vec(
                prop::collection::vec((0i64..40, 0i64..6), 1..5),
                1..8,
            ),
            gap in 1i64..7,
        ) {
            let (mut alone, mut together) = (Intervals::new(gap), Intervals::new(gap));
            let (mut watermark, mut closed) = (i64::MIN, Bounds::new());
            for commit in commits {
                let mut came = Vec::new();
                for (time, ahead) in commit {
                    let late = time < watermark;
                    if late && time + gap <= watermark {
                        continue;
                    }
                    let met = if late { watermark } else { i64::MIN };
                    alone.come(0, time, met);
                    came.push((met, time));
                    watermark = watermark.max(time - ahead);
                    closed.extend(alone.live.iter().filter(|(_, last)| **last + gap <= watermark));
                }
                came.sort_unstable();
                came.into_iter().for_each(|(met, time)| together.come(0, time, met));
                prop_assert_eq!(&alone.live, &together.live);
                for session in &closed {
                    prop_assert_eq!(alone.live.get(session.0), Some(session.1));
                }
            }
        }
    }
}
