//! Time: timestamps, watermarks and log positions.
//!
//! A [`Timestamp`] is an instant in microseconds since 1970-01-01 00:00 UTC (one tick is one
//! microsecond). A [`Watermark`] is a promise about a stream: every admitted later row has
//! `ts >= watermark`, so an instant is closed iff it is less than the watermark (LANGUAGE 4.1). A
//! [`Position`] numbers the commits of the server's log.

use std::fmt;

use chrono::DateTime;
use serde::{Deserialize, Serialize};

/// An instant, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before every instant; Postgres's `-infinity`.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// After every instant; Postgres's `infinity`.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// Returns the instant `micros` later; `MIN` and `MAX` stay what they are.
    #[must_use]
    pub fn plus(self, micros: i64) -> Timestamp {
        if self == Self::MIN || self == Self::MAX {
            return self;
        }
        Timestamp(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("-infinity"),
            Self::MAX => f.write_str("infinity"),
            Timestamp(micros) => match DateTime::from_timestamp_micros(micros) {
                Some(time) => write!(f, "{}", time.format("%Y-%m-%d %H:%M:%S%.f")),
                None => write!(f, "{micros} us"),
            },
        }
    }
}

/// A promise: every row still to come has `ts >= self`. `MIN` promises nothing, `MAX` ends the
/// stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Watermark(pub Timestamp);

impl Watermark {
    /// Promises nothing.
    pub const MIN: Watermark = Watermark(Timestamp::MIN);
    /// No row is still to come.
    pub const MAX: Watermark = Watermark(Timestamp::MAX);

    /// Returns whether no row of instant `at` can still come.
    pub fn closes(self, at: Timestamp) -> bool {
        at < self.0 || self == Self::MAX
    }

    /// Returns the last instant that is closed.
    pub fn last_closed(self) -> Timestamp {
        self.0.plus(-1)
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a commit in the server's log, from 1; 0 is the empty server.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The least watermark over several inputs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WatermarkMeet {
    inputs: Vec<Watermark>,
    meet: Watermark,
}

impl WatermarkMeet {
    /// Starts with `inputs` inputs that promise nothing. With no input at all the meet is `MAX`.
    pub fn new(inputs: usize) -> Self {
        let meet = if inputs == 0 { Watermark::MAX } else { Watermark::MIN };
        Self { inputs: vec![Watermark::MIN; inputs], meet }
    }

    /// Records progress of one input; returns the meet if it moved. A step back is ignored.
    pub fn advance(&mut self, input: usize, watermark: Watermark) -> Option<Watermark> {
        let slot = &mut self.inputs[input];
        *slot = (*slot).max(watermark);
        let meet = self.inputs.iter().copied().min().unwrap_or(Watermark::MAX);
        (meet > self.meet).then(|| {
            self.meet = meet;
            meet
        })
    }

    /// The least watermark over all inputs.
    pub fn get(&self) -> Watermark {
        self.meet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meet_is_the_least_and_never_goes_back() {
        let mut meet = WatermarkMeet::new(2);
        assert_eq!(meet.advance(0, Watermark(Timestamp(5))), None);
        assert_eq!(meet.advance(1, Watermark(Timestamp(3))), Some(Watermark(Timestamp(3))));
        assert_eq!(meet.advance(1, Watermark(Timestamp(2))), None);
        assert_eq!(meet.advance(1, Watermark(Timestamp(9))), Some(Watermark(Timestamp(5))));
    }

    #[test]
    fn instant_at_the_watermark_is_open() {
        assert!(!Watermark(Timestamp(5)).closes(Timestamp(5)));
        assert!(Watermark(Timestamp(5)).closes(Timestamp(4)));
    }
}
