//! The demo as a client of its server, and what may go wrong.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use futures::{Stream, StreamExt};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::server::StartError;

/// A client's connection, and the task that drives it.
pub struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

/// Column names, and rows as text; NULL is empty.
pub type Rows = (Vec<String>, Vec<Vec<String>>);

/// A result as it comes.
pub type Messages =
    Pin<Box<dyn Stream<Item = Result<SimpleQueryMessage, tokio_postgres::Error>> + Send>>;

impl Connection {
    /// Connects to a server.
    pub async fn open(address: SocketAddr) -> Result<Self, Error> {
        let mut config = tokio_postgres::Config::new();
        config.host(address.ip().to_string()).port(address.port());
        config.user("highwater").dbname("highwater").application_name("highwater demo");
        let (client, connection) = config.connect(NoTls).await?;
        // Its errors reach the client's calls.
        let driver = tokio::spawn(async { drop(connection.await) });
        Ok(Self { client, driver })
    }

    /// Runs a statement.
    pub async fn query(&self, sql: &str) -> Result<Rows, Error> {
        let failed = |source| Error::Statement {
            statement: sql.lines().next().unwrap_or_default().to_owned(),
            source,
        };
        let (mut columns, mut rows) = (Vec::new(), Vec::new());
        for message in self.client.simple_query(sql).await.map_err(failed)? {
            match message {
                SimpleQueryMessage::RowDescription(description) => {
                    columns = description.iter().map(|c| c.name().to_owned()).collect();
                }
                SimpleQueryMessage::Row(row) => {
                    let cells = (0..row.len()).map(|i| row.get(i).unwrap_or_default().to_owned());
                    rows.push(cells.collect());
                }
                _ => {}
            }
        }
        Ok((columns, rows))
    }

    /// Runs a statement whose result may have no end.
    pub async fn subscribe(&self, sql: &str) -> Result<Messages, Error> {
        Ok(self.client.simple_query_raw(sql).await?.boxed())
    }
}

impl Drop for Connection {
    /// Closes the socket, which is how a client leaves a subscription.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Why the demo ends early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Files, output or signals.
    #[error("the demo has no input or output")]
    Io(#[from] io::Error),
    /// The server cannot be reached.
    #[error("the demo cannot talk to its server")]
    Connection(#[from] tokio_postgres::Error),
    /// A statement failed.
    #[error("the server refused \"{statement}\"")]
    Statement {
        /// Its first line.
        statement: String,
        /// The cause.
        source: tokio_postgres::Error,
    },
    /// The connector failed.
    #[error("the departures cannot be read: {0}")]
    Source(String),
    /// The server's answer is not what it should be.
    #[error("the server's answer has no {0}")]
    Answer(&'static str),
}
