//! Statements that make streams of queries, and write their results.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast;

use super::statement::Query;

/// What makes a stream of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub enum ToStream {
    /// What comes into the relation.
    Istream,
    /// What goes out of it.
    Dstream,
    /// All that is in it, at its ticks.
    Rstream,
    /// What comes and what goes, each with its sign.
    Changelog,
}

impl ToStream {
    /// All of them.
    pub const ALL: [ToStream; 4] =
        [ToStream::Istream, ToStream::Dstream, ToStream::Rstream, ToStream::Changelog];

    /// The word of the language.
    pub fn as_str(self) -> &'static str {
        match self {
            ToStream::Istream => "ISTREAM",
            ToStream::Dstream => "DSTREAM",
            ToStream::Rstream => "RSTREAM",
            ToStream::Changelog => "CHANGELOG",
        }
    }
}

/// `CREATE STREAM name AS query`.
#[derive(Clone, Debug)]
pub struct CreateStreamAs {
    /// Name, possibly with a schema.
    pub name: ast::ObjectName,
    /// Whether an existing one is fine.
    pub if_not_exists: bool,
    /// The query.
    pub query: Query,
    /// The query's own text.
    pub query_text: Arc<str>,
    /// `WITH (k = v, ..)`; keys in lower case.
    pub options: BTreeMap<String, String>,
}

/// `CREATE SINK name INTO relation [(columns)] [KEY (columns)] AS query`, or `TO connector`.
#[derive(Clone, Debug)]
pub struct CreateSink {
    /// Name, possibly with a schema.
    pub name: ast::ObjectName,
    /// Whether an existing one is fine.
    pub if_not_exists: bool,
    /// The stream or table that it writes into; none if a connector writes, which is among the
    /// options.
    pub into: Option<ast::ObjectName>,
    /// `PARTITION BY (..)` of files.
    pub partition: Vec<ast::Ident>,
    /// Columns that the query's are written into; empty means the first ones. The others get their
    /// defaults.
    pub columns: Vec<ast::ObjectName>,
    /// `KEY (..)`; empty is the table's primary key.
    pub key: Vec<ast::Ident>,
    /// The query.
    pub query: Query,
    /// The query's own text.
    pub query_text: Arc<str>,
    /// `WITH (k = v, ..)`; keys in lower case.
    pub options: BTreeMap<String, String>,
}
