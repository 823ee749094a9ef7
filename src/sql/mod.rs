//! Everything a user can name: statements, types, settings, the catalog.

pub mod alter_table;
mod copy;
pub mod derived;
pub mod function;
pub mod key;
pub mod statement;
pub mod subscribe;
pub mod transaction;

mod changes;

mod parser;

pub mod array;
pub mod catalog;
pub mod datetime;
mod dialect;
pub mod error;
pub mod interval;
pub mod names;
pub mod output;
pub mod types;
pub mod variables;

pub use dialect::StreamSql;
pub use error::{Error, Result};
pub use parser::{
    DISTINCT_MARK, EXTRACT, Exclude, IN_ARRAY, LOOKUP_FUNCTION, NOT_IN_ARRAY, PAST_FUNCTION,
    ROWS_FROM, USING_ALIAS, VARIADIC, VERSIONS_FUNCTION, parse, parse_expression, parse_query_text,
};
