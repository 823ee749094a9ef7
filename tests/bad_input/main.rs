//! Bad input and rough clients: mistakes are told with code and place, and harm nobody else.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

mod clients;
mod rows;
mod sizes;
mod statements;
mod writers;
