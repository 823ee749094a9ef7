//! What was acknowledged is there after the process is killed, once.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "every test program uses its own part of the support")]
mod support;

mod clocks;
mod disks;
mod faults;
mod files;
mod history;
mod images;
mod kills;
mod objects;
mod past;
mod postgres;
mod refusals;
mod sources;
