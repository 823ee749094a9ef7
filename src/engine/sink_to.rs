//! CREATE SINK .. TO FILE and TO POSTGRES: queries whose rows go outside.
//!
//! # Semantics
//! Into files go the rows of a query that only appends. Into a table of PostgreSQL go the same
//! without a KEY; with one, the row of a key becomes that of the query, and goes when the query has
//! none. How that is done once, whatever happens, is in [`super::outbox`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlparser::ast;

use super::derived::QueryOptions;
use super::outbox::Outbox;
use super::session::Session;
use super::sink::Started;
use super::{Error, Result};
use crate::connectors::Sink;
use crate::connectors::file::FileFormat;
use crate::connectors::file::sink::{FileSink, check_partition, make_directory};
use crate::connectors::postgres::PostgresSink;
use crate::error::SqlState;
use crate::sql::catalog::{Catalog, SinkDef};
use crate::sql::derived::CreateSink;
use crate::sql::names::fold;
use crate::sql::variables;
use crate::storage::Bag;

/// How often something is written unless told otherwise.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where the rows go.
enum Place {
    Files { dir: PathBuf, format: FileFormat },
    Postgres { address: String, table: String },
}

/// What the options say.
struct Outside {
    place: Place,
    interval: Duration,
}

fn invalid(message: impl Into<String>, hint: &str) -> Error {
    Error::hinted(SqlState::INVALID_PARAMETER_VALUE, message, hint)
}

impl Outside {
    /// Takes what concerns the outside out of the options of the sink.
    fn take(create: &CreateSink) -> Result<(Self, QueryOptions)> {
        let mut options = create.options.clone();
        let connector = options.remove("connector").unwrap_or_default();
        let path = options.remove("path").filter(|path| !path.is_empty());
        let place = match connector.as_str() {
            "file" => {
                let hint = "Write TO FILE 'directory'.";
                let dir = path.ok_or_else(|| invalid("a sink to files needs a directory", hint))?;
                let format = options.remove("format").unwrap_or_else(|| "json".to_owned());
                let format = FileFormat::parse(&format).ok_or_else(|| {
                    let message = format!("unknown format \"{format}\"");
                    invalid(message, "Formats are json, csv and parquet.")
                })?;
                Place::Files { dir: dir.into(), format }
            }
            "postgres" => {
                let hint = "Write TO POSTGRES 'host=.. user=.. dbname=..' (table = 'name').";
                let what = "a sink to PostgreSQL needs an address and a table";
                let table = options.remove("table").filter(|table| !table.is_empty());
                let (address, table) = path.zip(table).ok_or_else(|| invalid(what, hint))?;
                Place::Postgres { address, table }
            }
            _ => {
                return Err(Error::hinted(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("CREATE SINK .. TO {} is not supported yet", connector.to_uppercase()),
                    "Write TO FILE or TO POSTGRES, or INTO a stream or table.",
                ));
            }
        };
        let interval = options.remove("interval").map(|text| {
            let millis = variables::millis(&text).filter(|millis| *millis > 0);
            millis.map(Duration::from_millis).ok_or_else(|| {
                let hint = "Write e.g. '500 ms', '10 s' or '1 min'.";
                invalid(format!("invalid value for option \"interval\": \"{text}\""), hint)
            })
        });
        let interval = interval.transpose()?.unwrap_or(INTERVAL);
        Ok((Self { place, interval }, QueryOptions::new(&options)?))
    }

    /// Refuses clauses that mean nothing there.
    fn check(&self, create: &CreateSink) -> Result<()> {
        let refused = |message: &str, hint: &str| {
            Err(Error::hinted(SqlState::INVALID_OBJECT_DEFINITION, message, hint))
        };
        match &self.place {
            Place::Files { .. } if !create.key.is_empty() => refused(
                "files have no key",
                "Leave KEY out; changes can be written by WITH c AS CHANGELOG FROM v.",
            ),
            Place::Postgres { .. } if !create.partition.is_empty() => {
                refused("only files are partitioned", "Leave PARTITION BY out.")
            }
            Place::Files { .. } | Place::Postgres { .. } => Ok(()),
        }
    }

    /// The sink. `special` columns are those of a partition, or of the key.
    fn open(&self, id: String, columns: &[String], special: Vec<usize>) -> Result<Arc<dyn Sink>> {
        Ok(match &self.place {
            Place::Files { dir, format } => Arc::new(FileSink::new(dir, id, *format, special)),
            Place::Postgres { .. } => Arc::new(self.postgres(id, columns, special)?),
        })
    }

    fn postgres(&self, id: String, columns: &[String], key: Vec<usize>) -> Result<PostgresSink> {
        let Place::Postgres { address, table } = &self.place else {
            unreachable!("only asked for a table")
        };
        Ok(PostgresSink::new(address, table, columns.to_vec(), key, id)?)
    }

    /// Fails if what is written into is not there, and cannot be made.
    async fn find(&self, columns: &[String]) -> Result<()> {
        match &self.place {
            Place::Files { dir, .. } => Ok(make_directory(dir)?),
            Place::Postgres { .. } => {
                Ok(self.postgres(String::new(), columns, Vec::new())?.check().await?)
            }
        }
    }

    /// Where it writes, as text.
    fn name(&self) -> String {
        match &self.place {
            Place::Files { dir, .. } => dir.to_string_lossy().into_owned(),
            Place::Postgres { table, .. } => table.clone(),
        }
    }
}

impl Session {
    /// Creates a sink whose rows go outside.
    pub(super) async fn create_sink_to(
        &mut self,
        create: &CreateSink,
        text: Arc<str>,
    ) -> Result<()> {
        let (outside, options) = Outside::take(create)?;
        let (schema, name) = self.new_name(&create.name)?;
        if self.taken(&schema, &name, create.if_not_exists)? {
            return Ok(());
        }
        outside.check(create)?;
        let (plan, columns, reads) =
            self.sink_plan(create, !create.key.is_empty(), &options, |query, _| Ok(query))?;
        let row = &plan.root.schema;
        let partition = places(&create.partition, &columns, "PARTITION BY")?;
        check_partition(row, &partition)?;
        let key = places(&create.key, &columns, "KEY")?;
        let keys = match key.is_empty() {
            true => None,
            false => Some(Bag::new(Arc::new(row.project(&key)?))?),
        };
        self.verdict("sink", &name, &plan)?;
        // A sink that has been there before finds what it needs when it is there.
        if !self.engine.hub().is_recovering() {
            outside.find(&columns).await?;
        }
        let oid = self.engine.change_catalog(Catalog::fresh_oid);
        let Started { progress, status } =
            self.start_sink(&plan, &options, (oid, &name, oid), keys)?;
        // No other server, and no other sink of this one, has begun at this moment with this oid.
        let id = format!("{oid}-{:x}", self.engine.hub().defined_at().0);
        let special = if key.is_empty() { partition } else { key.clone() };
        let (sink, place) = (outside.open(id, &columns, special)?, outside.name());
        let outbox = Outbox {
            oid,
            hub: Arc::clone(self.engine.hub()),
            sink,
            columns,
            key,
            as_text: matches!(outside.place, Place::Postgres { .. }),
            interval: outside.interval,
            progress,
            status,
        };
        tokio::spawn(outbox.run());
        let query = Arc::clone(&create.query_text);
        self.add_sink((oid, schema, name), SinkDef { into: None, place, query }, text, reads);
        Ok(())
    }
}

/// The places of columns of the query.
fn places(names: &[ast::Ident], columns: &[String], clause: &str) -> Result<Vec<usize>> {
    let place = |column: &ast::Ident| {
        let name = fold(column);
        columns.iter().position(|other| *other == name).ok_or_else(|| {
            let message = format!("column \"{name}\" does not exist");
            let hint = format!("{clause} names columns of the query.");
            Error::hinted(SqlState::UNDEFINED_COLUMN, message, hint)
        })
    };
    names.iter().map(place).collect()
}
