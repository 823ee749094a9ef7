//! What Postgres clients ask about the server: `pg_catalog` and `information_schema`.
//!
//! Every relation of PostgreSQL 15's two system schemas exists, with its columns (`relation`). What
//! is the same on every server comes from `datafusion-pg-catalog`'s dump (`dump`); what tells of
//! this one is computed from a snapshot of our own catalog when a query names it (`objects`,
//! `keys`, `server`, `information_schema`); the rest is empty. `functions` holds what clients call,
//! and `rewrite` turns their SQL into SQL that DataFusion plans.
//!
//! # Why
//! `datafusion-pg-catalog` computes its dynamic tables from DataFusion's schemas: no keys,
//! defaults, comments or stable oids, and arrays are text. So its tables are data to us, not
//! providers.

mod dump;
mod functions;
mod information_schema;
mod keys;
mod objects;
mod pg_type;
mod procedures;
mod relation;
mod rewrite;
mod schema;
mod server;
#[cfg(test)]
mod tests;
mod view;

pub use rewrite::{is_catalog_statement, rewrite};
pub use schema::{install, parameter_types, plan};
pub use view::{Activity, CatalogView, Identity, Setting, SystemRelation};
