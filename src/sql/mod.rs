//! Everything a user can name: statements, types, the catalog.

pub mod catalog;
pub mod statement;
pub mod types;
