//! Real clients against a real server: a Rust driver, psql, and psycopg 3.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

mod outside;
mod psql;
mod psycopg;
mod tokio_postgres;
