//! The elements of ISTREAM, DSTREAM and RSTREAM.

use super::oracle::{Moment, evaluate};
use super::query::{Query, StreamOf};
use super::value::{Bag, Row, bag, rows};

/// Nothing changes when so many units have passed since the last row: no window is that long.
const SETTLED: i64 = 40;

/// The elements up to an instant, each with its time: the relation at each instant, or at each
/// multiple of `every`, is compared with the one before; before the first there is nothing.
pub fn elements(
    (of, query, every): (StreamOf, &Query, Option<i64>),
    moment: Moment<'_>,
    at: i64,
) -> Vec<(i64, Row)> {
    let world = moment.world;
    let settled = world.last_time() + SETTLED * world.unit;
    let ticks: Vec<i64> = match every {
        Some(every) => (0..=at / every).map(|n| n * every).collect(),
        // Windows begin and end with a unit of time, or one tick after.
        None => {
            let units = 0..=at.min(settled) / world.unit;
            let both = units.flat_map(|n| [n * world.unit, n * world.unit + 1]);
            let mut ticks: Vec<i64> = both.filter(|tick| *tick <= at).collect();
            ticks.dedup();
            ticks
        }
    };
    let (mut result, mut before, mut steady) = (Vec::new(), Bag::new(), false);
    for tick in ticks {
        let now = match steady {
            true => before.clone(),
            false => evaluate(query, Moment { instant: Some(tick), ..moment }),
        };
        steady |= tick > settled;
        let made = rows(&made(of, &now, &before));
        result.extend(made.into_iter().map(|row| (tick, row)));
        before = now;
    }
    result
}

/// The elements of an instant: what the relation is, and was at the one before.
pub fn made(of: StreamOf, now: &Bag, before: &Bag) -> Bag {
    match of {
        StreamOf::Istream => monus(now, before),
        StreamOf::Dstream => monus(before, now),
        StreamOf::Rstream => now.clone(),
    }
}

/// What is in the first bag and not in the second.
fn monus(a: &Bag, b: &Bag) -> Bag {
    let rest = a.iter().map(|(row, n)| (row.clone(), n - b.get(row).copied().unwrap_or(0)));
    rest.filter(|(_, n)| *n > 0).collect()
}

/// All elements up to an instant, as a relation.
pub fn so_far(elements: Vec<(i64, Row)>) -> Bag {
    bag(elements.into_iter().map(|(_, row)| row))
}
