//! Draws random input.

use super::value::Value;
use crate::support::random::Random;

/// Number of streams and of tables in every case.
pub const OBJECTS: usize = 2;

/// Something that happens to the inputs: one commit.
#[derive(Clone, Debug)]
pub enum Change {
    /// Rows arrive at a stream.
    Rows(usize, Vec<Vec<Value>>),
    /// A promise about a stream.
    Heartbeat(usize, i64),
    /// `INSERT .. ON CONFLICT (id) DO UPDATE SET k = EXCLUDED.k, v = EXCLUDED.v`.
    Upsert(usize, Vec<Vec<Value>>),
    /// `UPDATE .. SET v = v + n WHERE k = text`.
    Raise(usize, i64, String),
    /// `DELETE .. WHERE id % 3 = n`.
    Delete(usize, i64),
}

/// Draws a change; `now` is about where event time is.
pub fn change(random: &mut Random, now: &mut i64, unit: i64) -> Change {
    let i = random.below(OBJECTS);
    match random.below(12) {
        0..=6 => {
            let count = *random.pick(&[1, 1, 2, 3, 5, 9]);
            Change::Rows(i, (0..count).map(|_| stream_row(random, now, unit)).collect())
        }
        7 | 8 => {
            *now += random.between(0, 4) * unit;
            Change::Heartbeat(i, *now)
        }
        9 | 10 => {
            let mut rows: Vec<Vec<Value>> = Vec::new();
            for _ in 0..1 + random.below(3) {
                let id = Value::Int(random.between(1, 6));
                // Postgres refuses to change one row twice in a statement.
                if !rows.iter().any(|r| r[0] == id) {
                    rows.push(vec![id, text(random), number(random)]);
                }
            }
            Change::Upsert(i, rows)
        }
        _ if random.chance(50) => {
            let key = (*random.pick(&["a", "b", "c"])).to_owned();
            Change::Raise(i, random.between(-2, 3), key)
        }
        _ => Change::Delete(i, random.between(0, 2)),
    }
}

fn stream_row(random: &mut Random, now: &mut i64, unit: i64) -> Vec<Value> {
    *now += random.between(0, 2) * unit * i64::from(random.chance(50));
    let behind = *random.pick(&[0, 0, 0, 1, 1, 2, 3, 9]);
    let time = match random.below(40) {
        0 => Value::Null,
        _ => Value::Int((*now - behind * unit).max(0)),
    };
    vec![time, text(random), number(random), number(random)]
}

fn text(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        _ => Value::Text((*random.pick(&["a", "a", "b", "c"])).to_owned()),
    }
}

fn number(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        _ => Value::Int(random.between(-2, 5)),
    }
}
