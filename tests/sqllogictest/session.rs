//! A connection as the scripts see it.
//!
//! # Statements that do not go to the server
//! * `SUBSCRIBE ..` (with PROGRESS) starts a feed on this connection and waits for its first
//!   progress
//!   line, so it sees every later commit. The lines up to there are kept for `READ`.
//! * `READ n` returns the next n changes without their times: `hw_diff` and the columns. It waits.
//! * `READ UNTIL 'time'` returns the changes, with their times, until a progress line of that time.
//! * `CANCEL` cancels the feed, which must end with 57014 and without further changes.
//! * `NOTICES` returns severity and message of the notices of the statement before.
//! * `HINTS` returns message and hint of these notices.
//! * `TAG` returns the command tag of the statement before.
//! * `COLUMNS` returns the names of the columns of the query before.
//! * `FILE name;` writes the lines below it to a file of the scratch directory, without a last line
//!   end; `\xff` stands for a byte.
//! * `EXTENDED stmt` runs the statement with the extended protocol.

use std::collections::VecDeque;
use std::sync::Arc;

use sqllogictest::{DB, DBOutput};

use crate::support::client::{Answer, Client, Failure, Row};
use crate::support::server::Server;
use crate::support::subscription::{Line, Subscription};

/// The type of a column, as one character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnType(pub char);

impl sqllogictest::ColumnType for ColumnType {
    fn from_char(value: char) -> Option<Self> {
        "IRNTBPZDVX?".contains(value).then_some(Self(value))
    }

    fn to_char(&self) -> char {
        self.0
    }
}

impl ColumnType {
    /// Tells it from the type's oid in `pg_type`.
    fn of(oid: u32) -> Self {
        Self(match oid {
            16 => 'B',
            20 | 21 | 23 => 'I',
            18 | 19 | 25 | 1042 | 1043 => 'T',
            700 | 701 => 'R',
            1082 => 'D',
            1114 => 'P',
            1184 => 'Z',
            1186 => 'V',
            1700 => 'N',
            _ => 'X',
        })
    }
}

/// A connection as the scripts see it.
pub struct Session {
    server: Arc<Server>,
    client: Option<Client>,
    feed: Option<Subscription>,
    /// Changes that came before the first progress line.
    early: VecDeque<Line>,
    notices: Vec<(String, String, String)>,
    tag: String,
    columns: Vec<String>,
}

impl Session {
    /// Connects.
    pub fn new(server: &Arc<Server>) -> Self {
        Self {
            server: Arc::clone(server),
            client: Some(server.connect()),
            feed: None,
            early: VecDeque::new(),
            notices: Vec::new(),
            tag: String::new(),
            columns: Vec::new(),
        }
    }

    fn subscribe(&mut self, sql: &str) -> Result<(), Failure> {
        let client = self.client.take().unwrap_or_else(|| self.server.connect());
        let mut feed = match Subscription::start(client, sql) {
            Ok(feed) => feed,
            Err(failure) => {
                self.client = Some(self.server.connect());
                return Err(failure);
            }
        };
        while let line @ Line::Change { .. } = feed.next()? {
            self.early.push_back(line);
        }
        self.feed = Some(feed);
        Ok(())
    }

    /// The feed's next line.
    fn line(&mut self) -> Result<Line, Failure> {
        match self.early.pop_front() {
            Some(line) => Ok(line),
            None => self.feed.as_mut().expect("SUBSCRIBE comes before READ").next(),
        }
    }

    fn read(&mut self, count: usize) -> Result<Vec<Row>, Failure> {
        let mut rows = Vec::new();
        while rows.len() < count {
            if let Line::Change { diff, row, .. } = self.line()? {
                rows.push([vec![Some(diff.to_string())], row].concat());
            }
        }
        Ok(rows)
    }

    fn read_until(&mut self, until: &str) -> Result<Vec<Row>, Failure> {
        let mut rows = Vec::new();
        loop {
            match self.line()? {
                Line::Change { time, diff, row } => {
                    rows.push([vec![Some(time), Some(diff.to_string())], row].concat());
                }
                Line::Progress(time) if time == until => return Ok(rows),
                Line::Progress(_) => {}
            }
        }
    }

    fn cancel(&mut self) -> u64 {
        let (lines, client) = self.feed.take().expect("SUBSCRIBE comes before CANCEL").cancel();
        let changes: Vec<_> = lines.iter().filter(|l| matches!(l, Line::Change { .. })).collect();
        assert!(changes.is_empty(), "changes that were not read: {changes:?}");
        self.client = Some(client);
        0
    }

    fn server_runs(&mut self, sql: &str) -> Result<Answer, Failure> {
        let client = self.client.as_mut().expect("the connection has no feed, or it was canceled");
        client.notices.clear();
        let upper = sql.to_uppercase();
        let answer = match sql.split_once(";\n") {
            Some((statement, data)) if upper.starts_with("COPY") && upper.contains("STDIN") => {
                client.copy_in(statement, format!("{data}\n").as_bytes())
            }
            _ if upper.starts_with("COPY") && upper.contains("STDIN") => client.copy_in(sql, b""),
            _ => match sql.strip_prefix("EXTENDED ") {
                Some(sql) => client.extended(sql, &[]),
                None => client.query(sql),
            },
        };
        let notices = client.notices.drain(..);
        self.notices = notices
            .map(|n| (n.severity, n.message, n.hint.unwrap_or_else(|| "NULL".to_owned())))
            .collect();
        let answer = answer?;
        self.tag.clone_from(&answer.tag);
        self.columns = answer.columns.iter().map(|c| c.name.clone()).collect();
        Ok(answer)
    }

    fn answer(&mut self, sql: &str) -> Result<DBOutput<ColumnType>, Failure> {
        let own = sql.trim().trim_end_matches(';').trim();
        if own == "NOTICES" {
            return Ok(texts(
                self.notices.iter().map(|n| vec![n.0.clone(), n.1.clone()]).collect(),
            ));
        }
        if own == "HINTS" {
            return Ok(texts(
                self.notices.iter().map(|n| vec![n.1.clone(), n.2.clone()]).collect(),
            ));
        }
        if own == "TAG" {
            return Ok(texts(vec![vec![self.tag.clone()]]));
        }
        if own == "COLUMNS" {
            return Ok(texts(self.columns.iter().map(|c| vec![c.clone()]).collect()));
        }
        if let Some((name, text)) = own.strip_prefix("FILE ").and_then(|o| o.split_once(";\n")) {
            std::fs::write(self.server.scratch().join(name), bytes(text)).expect("scratch");
            return Ok(DBOutput::StatementComplete(0));
        }
        if own == "CANCEL" {
            return Ok(DBOutput::StatementComplete(self.cancel()));
        }
        if own.starts_with("SUBSCRIBE") && own.contains("PROGRESS") {
            return self.subscribe(sql).map(|()| DBOutput::StatementComplete(0));
        }
        if let Some(until) = own.strip_prefix("READ UNTIL ") {
            return Ok(untyped(self.read_until(until.trim_matches('\''))?));
        }
        if let Some(count) = own.strip_prefix("READ ") {
            return Ok(untyped(self.read(count.parse().expect("READ n"))?));
        }
        let answer = self.server_runs(sql)?;
        if !answer.copied.is_empty() {
            let text = String::from_utf8_lossy(&answer.copied).into_owned();
            return Ok(texts(text.lines().map(|l| vec![l.to_owned()]).collect()));
        }
        if answer.columns.is_empty() {
            return Ok(DBOutput::StatementComplete(answer.count()));
        }
        let types = answer.columns.iter().map(|c| ColumnType::of(c.oid)).collect();
        let rows = answer.rows.into_iter().map(shown).collect();
        Ok(DBOutput::Rows { types, rows })
    }
}

impl DB for Session {
    type Error = Failure;
    type ColumnType = ColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<ColumnType>, Failure> {
        self.answer(sql)
    }

    fn engine_name(&self) -> &'static str {
        "highwater"
    }

    fn error_sql_state(failure: &Failure) -> Option<String> {
        Some(failure.code().to_owned())
    }
}

/// A row as the scripts write it.
fn shown(row: Row) -> Vec<String> {
    let value = |v: Option<String>| match v {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() => "(empty)".to_owned(),
        Some(text) => text,
    };
    row.into_iter().map(value).collect()
}

/// Text with its `\xff` made bytes.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two hexadecimal digits"));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

fn untyped(rows: Vec<Row>) -> DBOutput<ColumnType> {
    let types = vec![ColumnType('?'); rows.first().map_or(0, Vec::len)];
    DBOutput::Rows { types, rows: rows.into_iter().map(shown).collect() }
}

fn texts(rows: Vec<Vec<String>>) -> DBOutput<ColumnType> {
    let types = vec![ColumnType('T'); rows.first().map_or(0, Vec::len)];
    DBOutput::Rows { types, rows }
}
