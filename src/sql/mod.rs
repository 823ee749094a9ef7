//! Everything a user can name: statements, types, the catalog.

pub mod catalog;
pub mod error;
pub mod parser;
pub mod statement;
pub mod types;

pub use error::{Error, Result};
