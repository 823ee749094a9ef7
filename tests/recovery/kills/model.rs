//! What is to be in the database, computed from what was acknowledged.
//!
//! The code shares nothing with the server's.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::support::random::Random;

/// Seconds by which the watermark of `events` is behind its rows.
const PATIENCE: i64 = 300;

/// Rows of clients, acknowledged or found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Ids sent to the stream, late or not. They are given in growing order, and so are rows.
    pub events: BTreeSet<u64>,
    /// The table by key.
    pub accounts: BTreeMap<u64, i64>,
}

/// A statement and what it makes of the model.
pub struct Step {
    pub sql: String,
    pub after: Model,
}

/// The key of a row of the stream.
pub fn key(id: u64) -> u64 {
    id % 5
}

/// Its time in seconds from the beginning: every tenth second; some an hour late.
fn time(id: u64) -> i64 {
    let late = if id % 7 == 3 { 3_600 } else { 0 };
    i64::try_from(id * 10).expect("few rows") - late
}

impl Step {
    /// A statement that changes something; `next` is the last id that was given.
    pub fn draw(random: &mut Random, model: &Model, next: &mut u64) -> Self {
        let mut after = model.clone();
        let mut fresh = |after: &mut Model| {
            *next += 1;
            after.events.insert(*next);
            let (key, time) = (key(*next), time(*next));
            format!("({next}, {key}, TIMESTAMP '2026-01-01 12:00:00' + INTERVAL '{time} seconds')")
        };
        let account = random.below(20) as u64;
        let sql = match random.below(6) {
            0 | 1 => format!("INSERT INTO events VALUES {}", fresh(&mut after)),
            2 => {
                let rows: Vec<String> = (0..50).map(|_| fresh(&mut after)).collect();
                format!("INSERT INTO events VALUES {}", rows.join(", "))
            }
            3 => {
                *after.accounts.entry(account).or_default() += 1;
                format!(
                    "INSERT INTO accounts VALUES ({account}, 1) \
                     ON CONFLICT (id) DO UPDATE SET balance = accounts.balance + 1"
                )
            }
            4 => {
                after.accounts.remove(&account);
                format!("DELETE FROM accounts WHERE id = {account}")
            }
            _ => {
                let row = fresh(&mut after);
                after.accounts.insert(account, 100);
                format!(
                    "BEGIN; INSERT INTO events VALUES {row}; \
                     DELETE FROM accounts WHERE id = {account}; \
                     INSERT INTO accounts VALUES ({account}, 100); COMMIT"
                )
            }
        };
        Self { sql, after }
    }
}

impl Model {
    /// The rows that came in time, in their order, and the late ones.
    fn judged(&self) -> (Vec<u64>, Vec<u64>) {
        let mut watermark = i64::MIN;
        self.events.iter().partition(|id| {
            let in_time = time(**id) >= watermark;
            watermark = watermark.max(time(**id) - PATIENCE);
            in_time
        })
    }

    /// The rows of `events`, in their order.
    pub fn in_time(&self) -> Vec<u64> {
        self.judged().0
    }

    fn per_key(&self) -> BTreeMap<u64, (u64, u64)> {
        let mut groups: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for id in self.in_time() {
            let group = groups.entry(key(id)).or_default();
            *group = (group.0 + 1, group.1 + id);
        }
        groups
    }

    /// What a view, a stream or what a sink writes holds: rows as text, sorted.
    pub fn content(&self, name: &str) -> Vec<String> {
        let mut rows: Vec<String> = match name {
            "events" => self.in_time().iter().map(|id| format!("{id}|{}", key(*id))).collect(),
            "late_again" => self.judged().1.iter().map(u64::to_string).collect(),
            "per_key" => {
                let groups = self.per_key().into_iter();
                groups.map(|(key, (count, sum))| format!("{key}|{count}|{sum}")).collect()
            }
            "copied" => {
                let groups = self.per_key().into_iter();
                groups.map(|(key, (count, _))| format!("{key}|{count}")).collect()
            }
            "per_hour" => self.per_hour(),
            "accounts" => self.accounts.iter().map(|(id, b)| format!("{id}|{b}")).collect(),
            "rich" => {
                let rich = self.accounts.iter().filter(|(_, balance)| **balance > 1);
                rich.map(|(id, balance)| format!("{id}|{balance}")).collect()
            }
            "joined" => {
                let joined = |id: u64| Some(format!("{id}|{}", self.accounts.get(&key(id))?));
                self.in_time().into_iter().filter_map(joined).collect()
            }
            _ => panic!("nothing is known of {name}"),
        };
        rows.sort();
        rows
    }

    fn per_hour(&self) -> Vec<String> {
        let noon: DateTime<Utc> = "2026-01-01T12:00:00Z".parse().expect("it is a time");
        let mut hours: BTreeMap<i64, u64> = BTreeMap::new();
        for id in self.in_time() {
            *hours.entry(time(id).div_euclid(3_600)).or_default() += 1;
        }
        let row = |(hour, count): (i64, u64)| {
            let begin = noon + TimeDelta::hours(hour);
            format!("{}|{count}", begin.format("%F %T"))
        };
        hours.into_iter().map(row).collect()
    }
}
