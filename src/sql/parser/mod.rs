//! Text to statements: StreamSQL on top of sqlparser.
//!
//! 1. [`script`]: the text becomes tokens, and is split at semicolons.
//! 2. [`statement`]: the first words say what a statement is. StreamSQL's own statements are read
//!    by hand with a [`reader`], over the same tokens.
//! 3. [`query`]: queries go through the [`prepass`], which takes out window brackets and EMIT and
//!    leaves what sqlparser can parse.
//! 4. [`normalize`]: types in expressions are brought into the form in which DataFusion plans them.
//!
//! # Invariants
//! 1. Locations of errors are within the whole string that was given to [`parse`].
//! 2. The text of a statement parses to the same statement again; trees are never printed to be
//!    stored, since what the pre-pass took out is not in them.

mod depth;
mod script;

mod reader;

mod statement;

mod alter;
mod alter_table;
mod columns;
mod copy;
mod create;
mod cursor;
mod function;
mod options;
mod query;
mod session;
mod stream;

mod asof;
mod changelog;
mod emit;
mod exclude;
mod frame;
mod group_by;
mod normalize;
mod precedence;
mod prepass;
mod span;
mod spelling;
mod to_stream;
mod window_clause;

#[cfg(test)]
mod tests;

pub use asof::{LOOKUP_FUNCTION, PAST_FUNCTION, VERSIONS_FUNCTION};
pub use exclude::Exclude;
pub use group_by::DISTINCT_MARK;
pub use normalize::{EXTRACT, IN_ARRAY, NOT_IN_ARRAY};
pub use query::{parse_expression, parse_query_text};
pub use spelling::{ROWS_FROM, USING_ALIAS, VARIADIC};
pub use statement::parse;
