//! COPY, as the parser hands it on.

use sqlparser::ast;

use super::statement::Statement;

/// How COPY data are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOptions {
    /// Text, CSV or binary.
    pub format: CopyFormat,
    /// Column separator; text: tab, CSV: comma.
    pub delimiter: char,
    /// How NULL is written; text: `\N`, CSV: the empty string without quotes.
    pub null: String,
    /// Whether the first line names the columns.
    pub header: bool,
    /// CSV quote.
    pub quote: char,
    /// CSV escape within quotes.
    pub escape: char,
}

/// Format of COPY data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// Postgres's text format.
    Text,
    /// CSV as Postgres writes it.
    Csv,
    /// Postgres's binary format (out only).
    Binary,
}

/// `COPY name [(columns)] FROM STDIN`.
#[derive(Clone, Debug)]
pub struct CopyFrom {
    /// Stream or table.
    pub name: ast::ObjectName,
    /// Columns in the data's order; empty means all.
    pub columns: Vec<ast::Ident>,
    /// Format.
    pub options: CopyOptions,
}

/// `COPY .. TO STDOUT`.
#[derive(Clone, Debug)]
pub struct CopyTo {
    /// A `Query` or a `Subscribe`; `COPY t (a, b)` is `SELECT a, b FROM t`.
    pub source: Box<Statement>,
    /// Format.
    pub options: CopyOptions,
}
