//! The Postgres protocol, and nothing else.
