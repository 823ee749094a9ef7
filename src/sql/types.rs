//! SQL types and their Arrow counterparts.

/// A column's type as declared: what Arrow alone cannot say (varchar(n), json, uuid).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlType {
    /// Name as Postgres's `format_type` prints it, e.g. `character varying(20)`, `timestamp with time zone`.
    pub name: String,
}

impl SqlType {
    /// Field metadata that carries the declared type through plans to the wire.
    pub fn metadata(&self) -> [(String, String); 1] {
        [("pg_type".to_owned(), self.name.clone())]
    }
}
/// x
pub fn column_type(
    _: &sqlparser::ast::DataType,
) -> super::Result<(SqlType, arrow::datatypes::DataType)> {
    Err(super::Error)
}
