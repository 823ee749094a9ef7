//! What a plan may not be meant to do: warnings of CREATE and EXPLAIN.
//!
//! Those about state that only grows stand with the state of each operator, in
//! [`super::explain`].

use super::plan::{Clock, Node, Op, Plan, ScanKind, Ticks, ToStream, Window};
use super::properties::Size;
use super::verdict::streams_of;
use super::window::span_text;

/// What may not be what is meant, with hints.
pub fn doubts(plan: &Plan) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    plan.root.visit(&mut |node| found.extend(doubt(node, plan.clock)));
    found
}

fn doubt(node: &Node, clock: Clock) -> Option<(String, String)> {
    match &node.op {
        Op::Window(Window::Range { size, slide: Some((slide, _)), .. }) if slide > size => Some((
            "the window samples: its slide is longer than its range, so that some rows are in none"
                .into(),
            format!("Use a slide of at most {}.", span_text(*size)),
        )),
        Op::ToStream(ToStream { operator, ticks: Ticks::Instants }) if has_now(&node.inputs[0]) => {
            let operator = operator.as_str();
            Some((
                format!(
                    "{operator} of a [NOW] window loses rows that are equal in adjacent instants"
                ),
                "Use RSTREAM, which gives all rows of each instant.".into(),
            ))
        }
        Op::Window(Window::Rows { .. } | Window::Partitioned { .. }) => ties(node),
        Op::Join(_) => history(node),
        Op::Scan(scan)
            if scan.kind == ScanKind::Stream && clock == Clock::Event && scan.untimed =>
        {
            Some((
                format!(
                    "stream \"{}\" has no watermark: its windows go by the time at which rows come",
                    scan.name
                ),
                "Declare its event time: WATERMARK FOR ts AS ts - INTERVAL '5 seconds'.".into(),
            ))
        }
        Op::Scan(scan) if scan.kind == ScanKind::Arrivals => Some((
            "windows by arrival time depend on when rows came, not only on which".into(),
            "Use the stream's event time, if it has one.".into(),
        )),
        _ => None,
    }
}

/// A window of rows over a stream whose rows of one time have no order but that of arrival.
fn ties(node: &Node) -> Option<(String, String)> {
    let mut stream = None;
    node.visit(&mut |n| {
        if let Op::Scan(scan) = &n.op
            && scan.kind == ScanKind::Stream
            && !scan.partitioned
            && !scan.untimed
        {
            stream = Some(scan.name.clone());
        }
    });
    stream.map(|name| {
        (
            format!(
                "which rows of \"{name}\" are the last of equal times is told by arrival alone"
            ),
            "Give the stream a PARTITION KEY, within which rows come in order, or times that \
             differ."
                .into(),
        )
    })
}

/// A stream without a window, joined with a table.
fn history(node: &Node) -> Option<(String, String)> {
    let [left, right] = node.inputs.as_slice() else { return None };
    let unbounded = |n: &Node| n.properties.size == Size::Unbounded && !n.properties.timeless;
    let (stream, table) = match (unbounded(left), unbounded(right)) {
        (true, false) if right.properties.timeless => (left, right),
        (false, true) if left.properties.timeless => (right, left),
        _ => return None,
    };
    let (stream, table) = (streams_of(stream), streams_of(table));
    // Constants do not change.
    (!table.is_empty()).then(|| {
        (
            format!("a change of {table} changes the join with all rows that {stream} ever had"),
            "If each row is to be joined once, with what is there when it comes, use [NOW]: \
             RSTREAM .. FROM s [NOW] JOIN t .."
                .into(),
        )
    })
}

/// Whether rows of a `[NOW]` window reach a node as a relation.
fn has_now(node: &Node) -> bool {
    match &node.op {
        Op::Window(Window::Range { size, inclusive, slide: None }) => {
            size + i64::from(*inclusive) == 1
        }
        Op::ToStream(_) => false,
        _ => node.inputs.iter().any(has_now),
    }
}
