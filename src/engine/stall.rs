//! EXPLAIN STALL: why nothing comes out of a view.
//!
//! # Semantics
//! A view shows nothing new because it, or one that it reads, is suspended, because it has work to
//! do, or because rows wait for a watermark. Then the streams it reads are named with their
//! watermarks, the least one first, and of a stream that holds the view back the partitions, with
//! the time since when it has not moved, and what would move it.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlparser::ast;

use super::derived::QueryOptions;
use super::explain::{schema, text_rows};
use super::outcome::Rows;
use super::session::Session;
use super::system::event_time;
use super::{Engine, Error, Result};
use crate::error::SqlState;
use crate::runtime::job::{Fault, Job};
use crate::runtime::status::StreamStatus;
use crate::sql::catalog::{Catalog, Object, ObjectKind, Oid, StreamDef};
use crate::time::{Timestamp, Watermark};

/// Partitions named per stream.
const PARTITIONS_SHOWN: usize = 10;

/// Explains why nothing comes out of a view.
pub(super) async fn explain_stall(session: &Session, name: &ast::ObjectName) -> Result<Rows> {
    let view = session.find(name)?;
    let engine = &session.engine;
    engine.hub().settled(view.oid).await;
    let Some(job) = engine.hub().view(view.oid) else {
        return Err(Error::hinted(
            SqlState::WRONG_OBJECT_TYPE,
            format!("\"{}\" is not a maintained view", view.name),
            "Nothing waits in streams, tables and inlined views. For a query, create a view.",
        ));
    };
    let text = match job.publication.fault() {
        Some(fault) => suspended(engine, &view, &fault)?,
        None => report(engine, &engine.catalog(), &view, &job)?,
    };
    Ok(text_rows(schema(), &text))
}

/// Why a view is suspended, and what lets it go on: that is to be done to the lowest view below it
/// that is suspended, as the others are so because of it.
fn suspended(engine: &Engine, view: &Arc<Object>, fault: &Fault) -> Result<String> {
    let catalog = engine.catalog();
    let is_suspended = |object: &Object| {
        engine.hub().view(object.oid).is_some_and(|job| job.publication.fault().is_some())
    };
    let below = |view: &Object| {
        let reads = |o: &&Arc<Object>| catalog.dependents(o.oid).iter().any(|d| d.oid == view.oid);
        catalog.objects().find(|o| is_suspended(o) && reads(o)).map(Arc::clone)
    };
    let mut lowest = Arc::clone(view);
    while let Some(next) = below(&lowest) {
        lowest = next;
    }
    let name = &lowest.name;
    let fails = match &lowest.kind {
        ObjectKind::View(def) => QueryOptions::new(&def.options)?.fail_on_error,
        ObjectKind::Stream(_) | ObjectKind::Table(_) | ObjectKind::Sink(_) => false,
    };
    let by_user = fault.sqlstate == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE;
    let hint = match fails && !by_user {
        true => format!(
            "It would meet the row again. Give it a query that computes it with CREATE OR REPLACE \
             VIEW {name}, or one WITH (on_error = 'skip')."
        ),
        false => format!("Resume it with ALTER VIEW {name} RESUME."),
    };
    let because = match lowest.oid == view.oid {
        true => String::new(),
        false => format!("\n  it reads view \"{name}\", which is suspended"),
    };
    let (name, Fault { message, sqlstate }) = (&view.name, fault);
    Ok(format!("View \"{name}\" is suspended: {message} ({sqlstate}){because}\nHINT: {hint}"))
}

/// A stream that a view reads, directly or through other views.
struct Input<'a> {
    object: &'a Arc<Object>,
    def: Arc<StreamDef>,
    status: StreamStatus,
}

impl Input<'_> {
    fn show(&self, at: Watermark) -> String {
        let text = event_time(&self.def, &self.object.columns, at.0);
        text.unwrap_or_else(|| "none".to_owned())
    }
}

fn report(engine: &Engine, catalog: &Catalog, view: &Object, job: &Arc<Job>) -> Result<String> {
    let now = engine.hub().clock().now();
    let inputs = inputs(engine, catalog, job);
    let watermark = job.publication.status().watermark;
    let waiting = job.waiting();
    let mut lines = Vec::new();
    let shown = |at: Watermark| match inputs.first() {
        Some(input) => input.show(at),
        None => at.to_string(),
    };
    lines.push(format!("View \"{}\" is running, watermark {}", view.name, shown(watermark)));
    if waiting.rows == 0 {
        lines.push("  nothing waits in it: every change is shown with its commit".into());
    } else {
        let until = waiting.until.map(|at| shown(Watermark(at)));
        let until = until.map_or("moves on".to_owned(), |at| format!("reaches {at}"));
        lines.push(format!("  {} rows wait until the watermark {until}", waiting.rows));
    }
    let least = inputs.iter().map(|input| input.status.watermark).min();
    for input in &inputs {
        let holds = Some(input.status.watermark) == least && waiting.rows > 0;
        stream(engine, input, holds, now, &mut lines)?;
    }
    if inputs.iter().all(|input| input.status.admitted == 0) && !inputs.is_empty() {
        lines
            .push("HINT: No row has been accepted yet: see SHOW WATERMARKS and hw.sources.".into());
    } else if let Some(input) = inputs.first().filter(|_| waiting.rows > 0) {
        lines.push(format!(
            "HINT: The watermark moves with the next rows of \"{0}\", with IDLE TIMEOUT for \
             partitions that are silent, or with ALTER STREAM {0} HEARTBEAT.",
            input.object.name
        ));
    }
    Ok(lines.join("\n"))
}

/// The streams below a query, the one that is least far first.
fn inputs<'a>(engine: &Engine, catalog: &'a Catalog, job: &Arc<Job>) -> Vec<Input<'a>> {
    let mut open: Vec<Oid> = job.inputs.clone();
    let mut oids = BTreeSet::new();
    while let Some(oid) = open.pop() {
        if oids.insert(oid)
            && let Some(below) = engine.hub().view(oid)
        {
            open.extend(&below.inputs);
        }
    }
    let status = engine.hub().stream_status().into_iter();
    let mut inputs: Vec<Input<'a>> = status
        .filter(|status| oids.contains(&status.oid))
        .filter_map(|status| {
            let (object, def) = catalog.stream(status.oid)?;
            Some(Input { object, def, status })
        })
        .collect();
    inputs.sort_by_key(|input| input.status.watermark);
    inputs
}

fn stream(
    engine: &Engine,
    input: &Input<'_>,
    holds: bool,
    now: Timestamp,
    lines: &mut Vec<String>,
) -> Result<()> {
    let Input { object, def, status } = input;
    let since = match status.moved_at {
        Timestamp::MIN => "never moved".to_owned(),
        at => format!("unmoved for {}", duration(now, at)),
    };
    let late: u64 = status.refused.values().sum();
    lines.push(format!(
        "  stream \"{}\"{}: watermark {} ({}), {since}; {} rows taken, {late} refused",
        object.name,
        if holds { " holds it back" } else { "" },
        input.show(status.watermark),
        def.watermark.as_deref().unwrap_or("commit time"),
        status.admitted,
    ));
    let partitions = engine.hub().partitions(status.oid)?;
    if !holds || partitions.iter().all(|p| p.key.is_empty()) {
        return Ok(());
    }
    for partition in partitions.iter().take(PARTITIONS_SHOWN) {
        lines.push(format!(
            "    partition {}: watermark {}, last row {} ago{}",
            partition.key,
            input.show(partition.watermark),
            duration(now, partition.last_row),
            if partition.idle { ", idle" } else { "" }
        ));
    }
    let more = partitions.len().saturating_sub(PARTITIONS_SHOWN);
    if more > 0 {
        lines.push(format!("    and {more} partitions that are farther or idle"));
    }
    Ok(())
}

/// The time from `then` to `now`, in the largest unit that fits.
fn duration(now: Timestamp, then: Timestamp) -> String {
    let seconds = now.0.saturating_sub(then.0).max(0) / 1_000_000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}
