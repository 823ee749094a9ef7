//! ISTREAM, DSTREAM and RSTREAM: relations to streams.
//!
//! # Semantics
//! ```text
//!   R        τ   0    1    2    3          what came, what went, what was there
//!                {}   {a}  {b}  {b}
//!   ISTREAM          1:a  2:b              R(τ) - R(τ-1)
//!   DSTREAM               2:a              R(τ-1) - R(τ)
//!   RSTREAM          1:a  2:b  3:b         R(τ), at ticks
//! ```
//! Bags are meant: a row that comes twice is two elements. With `R(-1) = {}`, what is there at the
//! first instant came in it.

mod difference;
mod samples;

pub use difference::{Differences, Side};
pub use samples::{Samples, Ticks};

use crate::time::Timestamp;

/// Instants at regular distances: the multiples of a period plus an offset, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every {
    /// The distance; > 0.
    pub period: i64,
    /// The shift of all.
    pub offset: i64,
}

impl Every {
    /// The first tick at or after an instant; `MIN` and `MAX` stay what they are.
    fn at_or_after(self, at: Timestamp) -> Timestamp {
        let distance = (i128::from(self.offset) - i128::from(at.0)).rem_euclid(self.period.into());
        at.plus(i64::try_from(distance).expect("a remainder is less than the period"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_multiples_also_before_the_epoch() {
        let every = Every { period: 5, offset: 2 };
        let next = |at| every.at_or_after(Timestamp(at)).0;
        assert_eq!([next(-4), next(-3), next(-2), next(2), next(3)], [-3, -3, 2, 2, 7]);
        assert_eq!(next(i64::MIN), i64::MIN);
    }
}
