//! Draws random input.

use super::source::Objects;
use super::value::Value;
use super::world::{Input, World};
use crate::support::random::Random;

/// Number of streams and of tables in every case.
pub const OBJECTS: usize = 2;

/// Something that happens to the inputs: one commit.
#[derive(Clone, Debug)]
pub enum Change {
    /// Rows arrive at a stream.
    Rows(usize, Vec<Vec<Value>>),
    /// A promise about an input.
    Heartbeat(Input, i64),
    /// A row for the table that keeps versions, in place of what its key had.
    Version(Vec<Value>),
    /// `DELETE .. WHERE id % 3 = n` from the table that keeps versions.
    DeleteVersions(i64),
    /// `INSERT .. ON CONFLICT (id) DO UPDATE SET k = EXCLUDED.k, v = EXCLUDED.v`.
    Upsert(usize, Vec<Vec<Value>>),
    /// `UPDATE .. SET v = v + n WHERE k = text`.
    Raise(usize, i64, String),
    /// `DELETE .. WHERE id % 3 = n`.
    Delete(usize, i64),
}

/// Draws a change of one of the objects; `now` is about where event time is.
pub fn change(random: &mut Random, now: &mut i64, world: &World, objects: &Objects) -> Change {
    let streams: Vec<usize> = objects.streams.iter().copied().collect();
    let tables: Vec<usize> = objects.tables.iter().copied().collect();
    let weights = [
        if streams.is_empty() { 0 } else { 7 },
        if objects.inputs().is_empty() { 0 } else { 2 },
        if tables.is_empty() { 0 } else { 3 },
        if objects.versions { 3 } else { 0 },
    ];
    let mut drawn = random.below(weights.iter().sum());
    let kind = weights.iter().position(|weight| {
        let here = drawn < *weight;
        drawn = drawn.saturating_sub(*weight);
        here
    });
    match kind {
        Some(0) => {
            let count = *random.pick(&[1, 1, 2, 3, 5, 9]);
            let rows = (0..count).map(|_| stream_row(random, now, world.unit)).collect();
            Change::Rows(*random.pick(&streams), rows)
        }
        Some(1) => {
            *now += random.between(0, 4) * world.unit;
            Change::Heartbeat(*random.pick(&objects.inputs()), *now)
        }
        Some(2) => of_table(random, &tables),
        _ if random.chance(20) => Change::DeleteVersions(random.between(0, 2)),
        _ => {
            *now += random.between(0, 1) * world.unit;
            let behind = random.between(0, 3) * world.unit;
            let since = (*now - behind).max(world.versions().watermark);
            let id = Value::Int(random.between(-1, 4));
            Change::Version(vec![id, text(random), number(random), Value::Int(since)])
        }
    }
}

fn of_table(random: &mut Random, tables: &[usize]) -> Change {
    let i = *random.pick(tables);
    match random.below(6) {
        0 => Change::Delete(i, random.between(0, 2)),
        1 => {
            let key = (*random.pick(&["a", "b", "c"])).to_owned();
            Change::Raise(i, random.between(-2, 3), key)
        }
        _ => {
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
