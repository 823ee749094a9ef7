//! Real clients against a real server: a Rust driver, psql, psycopg 3 and asyncpg.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

mod outside;
mod psql;
mod python;
mod tokio_postgres;
