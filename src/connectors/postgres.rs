//! Changes into a table of a PostgreSQL server, each range of commits once.
//!
//! # Semantics
//! A range of commits is one transaction, which also writes its end into the row of this sink in
//! the table `highwater_sinks`. What that row says has been written is never written again,
//! whatever became of the answer to a COMMIT. With a key, the row of a key becomes that of the
//! query, and goes when the query has none; without one, rows are inserted.
//!
//! Values are written as text, which the server reads in the types of its columns.
//!
//! # Errors
//! The server cannot be reached, or refuses what it is given. What failed may be tried again; it is
//! done by a new connection.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray};
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls};

use super::{Changes, Error, Result, Sink};

/// Rows of a statement.
const STATEMENT_ROWS: usize = 1_000;

/// Where the password is, if the address has none.
const PASSWORD: &str = "PGPASSWORD";

/// A table of a PostgreSQL server.
pub struct PostgresSink {
    config: Config,
    table: String,
    columns: Vec<String>,
    /// Places of the key among the columns; empty if rows are only inserted.
    key: Vec<usize>,
    /// Which row of `highwater_sinks` is this sink's.
    id: String,
    client: Mutex<Option<Client>>,
}

impl PostgresSink {
    /// A table by the address of its server (`host=.. user=.. dbname=..`) and its name.
    pub fn new(
        address: &str,
        table: &str,
        columns: Vec<String>,
        key: Vec<usize>,
        id: String,
    ) -> Result<Self> {
        let mut config: Config = address.parse().map_err(|error: tokio_postgres::Error| {
            let hint = "Write e.g. 'host=127.0.0.1 user=me dbname=shop'.".to_owned();
            let message = format!("the address of the PostgreSQL server: {}", cause(&error));
            Error::Option { message, hint: Some(hint) }
        })?;
        if config.get_password().is_none()
            && let Ok(password) = std::env::var(PASSWORD)
        {
            config.password(password);
        }
        let table = table.split('.').map(identifier).collect::<Vec<_>>().join(".");
        let columns = columns.iter().map(|column| identifier(column)).collect();
        Ok(Self { config, table, columns, key, id, client: Mutex::new(None) })
    }

    /// Fails if the server, the table or a column is not there.
    pub async fn check(&self) -> Result<()> {
        let client = self.connect().await?;
        let query = format!("SELECT {} FROM {} LIMIT 0", self.columns.join(", "), self.table);
        client.batch_execute(&query).await.map_err(refused)
    }

    async fn connect(&self) -> Result<Client> {
        let (client, connection) = self.config.connect(NoTls).await.map_err(unreachable)?;
        tokio::spawn(async move {
            // Whoever uses the client is told.
            let _ = connection.await;
        });
        let settings = "SET client_min_messages = warning; SET DateStyle = 'ISO, MDY'; \
                        SET TimeZone = 'UTC'; CREATE TABLE IF NOT EXISTS highwater_sinks \
                        (sink TEXT PRIMARY KEY, position BIGINT NOT NULL)";
        client.batch_execute(settings).await.map_err(refused)?;
        Ok(client)
    }

    /// Up to which commit everything has been written; other servers wait for this transaction.
    async fn position(&self, client: &Client) -> Result<Option<u64>> {
        let query = "SELECT position FROM highwater_sinks WHERE sink = $1 FOR UPDATE";
        let row = client.query_opt(query, &[&self.id]).await.map_err(refused)?;
        let position = row.map(|row| row.try_get::<_, i64>(0)).transpose().map_err(refused)?;
        Ok(position.and_then(|position| u64::try_from(position).ok()))
    }

    async fn write_with(
        &self,
        client: &Client,
        (_, to): (u64, u64),
        changes: &Changes,
    ) -> Result<()> {
        client.batch_execute("BEGIN").await.map_err(refused)?;
        if self.position(client).await?.is_some_and(|position| position >= to) {
            return client.batch_execute("ROLLBACK").await.map_err(refused);
        }
        for statement in self.statements(changes) {
            client.batch_execute(&statement).await.map_err(refused)?;
        }
        let to = i64::try_from(to).unwrap_or(i64::MAX);
        let marker = "INSERT INTO highwater_sinks VALUES ($1, $2) \
                      ON CONFLICT (sink) DO UPDATE SET position = EXCLUDED.position";
        client.execute(marker, &[&self.id, &to]).await.map_err(refused)?;
        client.batch_execute("COMMIT").await.map_err(refused)
    }

    /// The statements that make the changes.
    fn statements(&self, changes: &Changes) -> Vec<String> {
        let texts: Vec<&StringArray> =
            changes.rows.columns().iter().map(|column| column.as_string::<i32>()).collect();
        let row = |columns: &[usize], row: usize| {
            let values = columns.iter().map(|column| literal(texts[*column], row));
            format!("({})", values.collect::<Vec<_>>().join(", "))
        };
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let comes = |i: &usize| changes.weights[*i] > 0;
        let mut rows: Vec<usize> = (0..changes.weights.len()).filter(comes).collect();
        let mut statements = Vec::new();
        if self.key.is_empty() {
            let weight = |i: &usize| usize::try_from(changes.weights[*i]).unwrap_or(0);
            rows = rows.iter().flat_map(|i| std::iter::repeat_n(*i, weight(i))).collect();
        } else {
            let stay: BTreeSet<String> = rows.iter().map(|i| row(&self.key, *i)).collect();
            let gone = (0..changes.weights.len()).filter(|i| changes.weights[*i] < 0);
            let gone: BTreeSet<String> =
                gone.map(|i| row(&self.key, i)).filter(|key| !stay.contains(key)).collect();
            let key = self.names(&self.key).join(", ");
            let gone: Vec<String> = gone.into_iter().collect();
            for keys in gone.chunks(STATEMENT_ROWS) {
                let keys = keys.join(", ");
                statements.push(format!("DELETE FROM {} WHERE ({key}) IN ({keys})", self.table));
            }
        }
        let columns = self.columns.join(", ");
        for rows in rows.chunks(STATEMENT_ROWS) {
            let values: Vec<String> = rows.iter().map(|i| row(&all, *i)).collect();
            let mut statement =
                format!("INSERT INTO {} ({columns}) VALUES {}", self.table, values.join(", "));
            if !self.key.is_empty() {
                let key = self.names(&self.key).join(", ");
                let others: Vec<usize> =
                    all.iter().copied().filter(|column| !self.key.contains(column)).collect();
                let set = self.names(&others);
                let set: Vec<String> =
                    set.iter().map(|name| format!("{name} = EXCLUDED.{name}")).collect();
                let action = match set.is_empty() {
                    true => "NOTHING".to_owned(),
                    false => format!("UPDATE SET {}", set.join(", ")),
                };
                let _ = write!(statement, " ON CONFLICT ({key}) DO {action}");
            }
            statements.push(statement);
        }
        statements
    }

    fn names(&self, columns: &[usize]) -> Vec<String> {
        columns.iter().map(|column| self.columns[*column].clone()).collect()
    }
}

#[async_trait]
impl Sink for PostgresSink {
    async fn resume(&self, delivered: u64) -> Result<u64> {
        let client = self.connect().await?;
        let position = self.position(&client).await?;
        *self.client.lock().await = Some(client);
        Ok(position.map_or(delivered, |position| position.max(delivered)))
    }

    async fn write(&self, range: (u64, u64), changes: Arc<Changes>) -> Result<()> {
        let mut held = self.client.lock().await;
        let client = match held.take() {
            Some(client) if !client.is_closed() => client,
            _ => self.connect().await?,
        };
        self.write_with(&client, range, &changes).await?;
        *held = Some(client);
        Ok(())
    }

    async fn forget(&self, _: u64) -> Result<()> {
        Ok(())
    }

    /// The row of this sink stays: a server may be out of reach, and nobody takes it for another's.
    async fn end(&self) -> Result<()> {
        Ok(())
    }
}

/// A name in double quotes.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A value as a literal without a type, which takes the type of its column.
fn literal(texts: &StringArray, row: usize) -> String {
    match texts.is_null(row) {
        true => "NULL".to_owned(),
        false => {
            let text = texts.value(row);
            let quoted = text.replace('\'', "''").replace('\\', "\\\\");
            // A backslash means something in one form only, so that form is always taken.
            if text.contains('\\') { format!("E'{quoted}'") } else { format!("'{quoted}'") }
        }
    }
}

fn cause(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => match std::error::Error::source(error) {
            Some(source) => source.to_string(),
            None => error.to_string(),
        },
    }
}

fn unreachable(error: tokio_postgres::Error) -> Error {
    let source = std::io::Error::other(cause(&error));
    Error::Io { what: "could not connect to the PostgreSQL server".to_owned(), source }
}

fn refused(error: tokio_postgres::Error) -> Error {
    let source = std::io::Error::other(cause(&error));
    Error::Io { what: "the PostgreSQL server".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, RecordBatch};

    use super::*;

    fn changes(rows: &[(&str, Option<&str>, i64)]) -> Changes {
        let k: ArrayRef = Arc::new(rows.iter().map(|r| Some(r.0)).collect::<StringArray>());
        let v: ArrayRef = Arc::new(rows.iter().map(|r| r.1).collect::<StringArray>());
        let weights = rows.iter().map(|row| row.2).collect();
        Changes { rows: RecordBatch::try_from_iter([("k", k), ("v", v)]).unwrap(), weights }
    }

    fn sink(key: Vec<usize>) -> PostgresSink {
        let columns = vec!["k".to_owned(), "a\"b".to_owned()];
        PostgresSink::new("host=127.0.0.1", "x.t", columns, key, "1".to_owned()).unwrap()
    }

    #[test]
    fn rows_of_keys_are_replaced_or_deleted() {
        let changes = changes(&[("a", Some("1"), -1), ("a", Some("it's"), 1), ("b\\", None, -1)]);
        let expected = [
            r#"DELETE FROM "x"."t" WHERE ("k") IN ((E'b\\'))"#.to_owned(),
            [
                r#"INSERT INTO "x"."t" ("k", "a""b") VALUES ('a', 'it''s') "#,
                r#"ON CONFLICT ("k") DO UPDATE SET "a""b" = EXCLUDED."a""b""#,
            ]
            .concat(),
        ];
        assert_eq!(sink(vec![0]).statements(&changes), expected);
    }

    #[test]
    fn without_a_key_rows_are_inserted_as_often_as_they_come() {
        let expected = [r#"INSERT INTO "x"."t" ("k", "a""b") VALUES ('a', NULL), ('a', NULL)"#];
        assert_eq!(sink(vec![]).statements(&changes(&[("a", None, 2)])), expected);
    }
}
