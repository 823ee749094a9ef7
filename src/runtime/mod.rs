//! Makes plans move.
