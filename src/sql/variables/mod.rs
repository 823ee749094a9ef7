//! Session variables: what SET changes and SHOW prints.
//!
//! # Semantics
//! A session starts with the defaults and what the client sent at startup; RESET goes back to
//! these. SET holds until the session's end, SET LOCAL until the transaction's; a transaction that
//! rolls back takes its SETs with it.
//!
//! Variables of Postgres that tools set but that mean nothing here are accepted and kept, so that
//! SHOW answers what was SET. A name with a dot is an application's own and holds any text.
//!
//! # Invariants
//! 1. Every stored value has passed its variable's check and has its canonical spelling.

use std::collections::BTreeMap;

use super::error::{Error, Result};
use super::output::style::Style;
use crate::size;

pub use check::millis;

mod check;
mod table;

#[cfg(test)]
mod tests;

pub use check::Check;
pub use table::VARIABLES;

/// Whether the transaction may only read.
const READ_ONLY: &str = "transaction_read_only";

/// What is a transaction's own: it is as it was told, or as all are (`default_..`).
const OF_TRANSACTION: [&str; 2] = [READ_ONLY, "transaction_deferrable"];

/// A session variable.
#[derive(Debug)]
pub struct Variable {
    /// Name as SHOW and ParameterStatus print it.
    pub name: &'static str,
    /// Value at the start of a session.
    pub default: &'static str,
    /// Which values it can have.
    pub check: Check,
    /// Whether clients are told of it at startup and at every change.
    pub reported: bool,
    /// What it does, as a full sentence.
    pub doc: &'static str,
}

/// What the planner does with a query whose state grows without bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnboundedState {
    /// Runs it.
    Allow,
    /// Runs it and sends a warning.
    Warn,
    /// Refuses it.
    Refuse,
}

/// The variables of one session. Values are keyed by name in lower case.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    /// What the client sent at startup.
    startup: BTreeMap<String, String>,
    /// What SET has changed.
    session: BTreeMap<String, String>,
    /// What SET LOCAL has changed.
    local: BTreeMap<String, String>,
    /// `session` as it was when the transaction began.
    before: Option<BTreeMap<String, String>>,
}

/// What is said of a transaction. All have the same isolation, so that a level is read and
/// forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// READ ONLY or READ WRITE.
    pub read_only: Option<bool>,
    /// DEFERRABLE or NOT DEFERRABLE.
    pub deferrable: Option<bool>,
}

/// What was set at a savepoint.
#[derive(Debug)]
pub struct Mark {
    session: BTreeMap<String, String>,
    local: BTreeMap<String, String>,
}

impl Variables {
    /// Finds the description of a variable, by its name in any case.
    pub fn find(name: &str) -> Option<&'static Variable> {
        VARIABLES.iter().find(|variable| variable.name.eq_ignore_ascii_case(name))
    }

    /// Returns a variable's value.
    pub fn get(&self, name: &str) -> Result<String> {
        let key = match name.to_ascii_lowercase() {
            key if OF_TRANSACTION.contains(&&*key) && !self.local.contains_key(&key) => {
                format!("default_{key}")
            }
            key => key,
        };
        let set = [&self.local, &self.session, &self.startup].into_iter().find_map(|v| v.get(&key));
        match (set, Self::find(&key)) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(variable)) => Ok(variable.default.to_owned()),
            (None, None) => Err(undefined(name)),
        }
    }

    /// Sets a variable until the end of the session; `None` is its default.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let (key, value) = self.checked(name, value)?;
        if OF_TRANSACTION.contains(&&*key) {
            // Outside a block the transaction ends at once.
            if self.before.is_some() {
                self.local.insert(key, value);
            }
            return Ok(());
        }
        self.local.remove(&key);
        self.session.insert(key, value);
        Ok(())
    }

    /// Sets a variable until the end of the transaction; `None` is its default.
    pub fn set_local(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let (key, value) = self.checked(name, value)?;
        self.local.insert(key, value);
        Ok(())
    }

    /// Sets what the client sent at startup. Facts and unknown names are passed over: a client is
    /// not turned away for them.
    pub fn set_startup(&mut self, name: &str, value: &str) -> Result<()> {
        match self.checked(name, Some(value)) {
            Ok((key, value)) => {
                self.startup.insert(key, value);
                Ok(())
            }
            Err(Error::UndefinedVariable { .. } | Error::FixedVariable { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// States a fact that only the server may change, e.g. `session_authorization`.
    pub fn set_fact(&mut self, name: &'static str, value: &str) {
        self.startup.insert(name.to_ascii_lowercase(), value.to_owned());
    }

    /// Takes a variable back to its value at startup.
    pub fn reset(&mut self, name: &str) -> Result<()> {
        let key = name.to_ascii_lowercase();
        if Self::find(&key).is_some_and(|variable| variable.check == Check::Fixed) {
            return self.checked(name, None).map(|_| ());
        }
        if Self::find(&key).is_none() && !key.contains('.') {
            return Err(undefined(name));
        }
        self.local.remove(&key);
        self.session.remove(&key);
        Ok(())
    }

    /// Takes all variables back to their values at startup.
    pub fn reset_all(&mut self) {
        self.local.clear();
        self.session.clear();
    }

    /// Marks the beginning of a transaction.
    pub fn begin(&mut self) {
        self.before.get_or_insert_with(|| self.session.clone());
    }

    /// Ends a transaction: what was LOCAL is undone.
    pub fn commit(&mut self) {
        self.local.clear();
        self.before = None;
    }

    /// Ends a transaction: all that it set is undone.
    pub fn rollback(&mut self) {
        self.local.clear();
        if let Some(before) = self.before.take() {
            self.session = before;
        }
    }

    /// What is set now, for [`Self::go_back`].
    pub fn mark(&self) -> Mark {
        Mark { session: self.session.clone(), local: self.local.clone() }
    }

    /// Undoes what has been set since a mark.
    pub fn go_back(&mut self, mark: &Mark) {
        self.session.clone_from(&mark.session);
        self.local.clone_from(&mark.local);
    }

    /// What is set, by name.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let set = [&self.startup, &self.session, &self.local].into_iter().flatten();
        set.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// All variables with their values and descriptions, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Variable, String)> {
        let value = |variable: &Variable| {
            self.get(variable.name).unwrap_or_else(|_| variable.default.to_owned())
        };
        VARIABLES.iter().map(move |variable| (variable, value(variable)))
    }

    /// The variables that clients are told of.
    pub fn reported(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.iter()
            .filter(|(variable, _)| variable.reported)
            .map(|(variable, value)| (variable.name, value))
    }

    fn checked(&self, name: &str, value: Option<&str>) -> Result<(String, String)> {
        let key = name.to_ascii_lowercase();
        let Some(variable) = Self::find(&key) else {
            if key.contains('.') {
                return Ok((key, value.unwrap_or_default().to_owned()));
            }
            return Err(undefined(name));
        };
        let value = match (value, variable.check) {
            (_, Check::Fixed) => return Err(Error::FixedVariable { name: variable.name }),
            // What it does not say of style and order stays as it is.
            (Some(value), Check::DateStyle) => {
                let whole = format!("{}, {value}", self.value("datestyle"));
                Check::DateStyle.canonical(variable, &whole)?
            }
            (Some(value), check) => check.canonical(variable, value)?,
            (None, _) => match self.startup.get(&key) {
                Some(value) => value.clone(),
                None => variable.default.to_owned(),
            },
        };
        Ok((key, value))
    }

    /// Says how the transaction that has begun is, or with `every` how those are that follow.
    pub fn set_modes(&mut self, modes: TransactionModes, every: bool) {
        let TransactionModes { read_only, deferrable } = modes;
        for (name, on) in OF_TRANSACTION.into_iter().zip([read_only, deferrable]) {
            let Some(on) = on else { continue };
            let value = if on { "on" } else { "off" }.to_owned();
            match every {
                true => self.session.insert(format!("default_{name}"), value),
                false => self.local.insert(name.to_owned(), value),
            };
        }
    }

    /// How the transaction is.
    pub fn modes(&self) -> TransactionModes {
        let [read_only, deferrable] = OF_TRANSACTION.map(|name| Some(self.value(name) == "on"));
        TransactionModes { read_only, deferrable }
    }

    /// Goes back to what a transaction was at a savepoint that it releases: what else was set
    /// since then stays.
    pub fn release(&mut self, mark: &Mark) {
        for name in OF_TRANSACTION {
            match mark.local.get(name) {
                Some(value) => self.local.insert(name.to_owned(), value.clone()),
                None => self.local.remove(name),
            };
        }
    }

    /// Whether the transaction may only read.
    pub fn read_only(&self) -> bool {
        self.value(READ_ONLY) == "on"
    }

    /// `statement_timeout` in milliseconds; 0 is none.
    pub fn statement_timeout_ms(&self) -> u64 {
        self.number("statement_timeout")
    }

    /// `subscribe_buffer`: how many bytes may wait for a subscriber.
    pub fn subscribe_buffer_bytes(&self) -> u64 {
        size::parse(&self.value("subscribe_buffer")).unwrap_or(u64::MAX)
    }

    /// `synchronous_commit`: whether a commit waits for the disk.
    pub fn synchronous_commit(&self) -> bool {
        self.value("synchronous_commit") != "off"
    }

    /// `unbounded_state`.
    pub fn unbounded_state(&self) -> UnboundedState {
        match self.value("unbounded_state").as_str() {
            "allow" => UnboundedState::Allow,
            "refuse" => UnboundedState::Refuse,
            _ => UnboundedState::Warn,
        }
    }

    /// The time zone's name.
    pub fn time_zone(&self) -> String {
        self.value("timezone")
    }

    /// How dates and intervals are printed and read.
    pub fn style(&self) -> Style {
        Style::of(&self.value("datestyle"), &self.value("intervalstyle"))
    }

    /// The schemas in which unqualified names are sought, in order; `"$user"` is left as it is.
    pub fn search_path(&self) -> Vec<String> {
        check::split_names(&self.value("search_path"))
    }

    fn number(&self, name: &'static str) -> u64 {
        check::base_units(&self.value(name)).unwrap_or(0)
    }

    fn value(&self, name: &'static str) -> String {
        self.get(name).unwrap_or_default()
    }
}

fn undefined(name: &str) -> Error {
    Error::UndefinedVariable { name: name.to_owned() }
}
