//! Queries over streams that take late rows.
//!
//! # Semantics
//! A late row within ALLOWED LATENESS corrects what has been said of its window: `-old +new`. A
//! relation can say so, a stream cannot (LANGUAGE 4.2).
//!
//! A block on the EVENT clock evaluates each instant once, when the watermark has passed it.
//! There a late row is in the relation from the first open instant on, for as long as it would
//! have been had it come in time: `[RANGE 5]` of a row of 3 that comes when W = 6 is `[6, 8)`. So
//! all instants that are still to come are exact. Only windows know when a row ends; a stream
//! without one gets the window `[UNBOUNDED]`, which does the same for it.

use std::sync::Arc;

use arrow::datatypes::DataType;

use super::derive;
use super::error::{Error, Result};
use super::lower::{Request, Wanted};
use super::plan::{Clock, Node, Op, ScanKind, Window};
use super::relation::RelationSource;
use super::window::span_text;
use crate::error::SqlState;
use crate::sql::catalog::{ObjectKind, StreamDef};

impl RelationSource {
    /// Says how a stream gets its watermark and what becomes of refused rows.
    pub fn progress(&self) -> Option<String> {
        match &self.object.kind {
            ObjectKind::Stream(_) if self.kind() == ScanKind::Arrivals => {
                Some("watermark=system time".to_owned())
            }
            ObjectKind::Stream(def) if def.query.is_some() => None,
            ObjectKind::Stream(def) => {
                let of_none = if def.by_rows { "row number" } else { "commit time" };
                let watermark = def.watermark.as_deref().unwrap_or(of_none);
                let lateness = match def.lateness {
                    0 => String::new(),
                    units if self.time_type() == DataType::Int64 => format!(" lateness={units}"),
                    micros => format!(" lateness={}", span_text(micros)),
                };
                Some(format!("watermark={watermark}{lateness} late={}", def.late))
            }
            ObjectKind::Table(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => None,
        }
    }

    /// What makes a stream that takes rows; `None` of anything else.
    pub fn stream_def(&self) -> Option<&StreamDef> {
        match &self.object.kind {
            ObjectKind::Stream(def) if self.kind() != ScanKind::Arrivals && def.query.is_none() => {
                Some(def)
            }
            _ => None,
        }
    }

    /// How late rows of a stream may be that are taken all the same.
    pub fn lateness(&self) -> i64 {
        self.stream_def().map_or(0, |def| def.lateness)
    }
}

/// Returns whether a query reads a stream that takes late rows; refuses it if it cannot correct
/// what it has said.
pub(super) fn refuse(root: &Node, clock: Clock, request: Request) -> Result<bool> {
    let (mut late, mut to_windows, mut batches) = (None, None, false);
    let mut elements = request.wanted != Wanted::Changes;
    root.visit(&mut |node| match &node.op {
        Op::Scan(scan) if scan.lateness > 0 => late = Some(scan.name.clone()),
        Op::Scan(scan) if scan.late.is_some() => to_windows = Some(scan.name.clone()),
        Op::ToStream(_) => elements = true,
        Op::Window(Window::Rows { slide: 2.., .. }) => batches |= reads_late(node),
        _ => {}
    });
    if let Some(stream) = to_windows.filter(|_| clock == Clock::Event) {
        return Err(Error::Unsupported {
            what: format!(
                "window functions over stream \"{stream}\", whose late rows go to open windows, \
                 are not supported on the EVENT clock yet"
            ),
            hint: "Close them first, with EMIT ON WINDOW CLOSE, in a view or stream of their own; \
                   or create the stream with LATE DROP."
                .into(),
        });
    }
    let Some(stream) = late else { return Ok(false) };
    if elements {
        return Err(Error::Invalid {
            what: format!(
                "late rows of stream \"{stream}\" correct results, and what a stream says is final"
            ),
            sqlstate: SqlState::WINDOWING_ERROR,
            hint: Some(
                "Keep the result a relation, such as a view with EMIT CHANGES or EMIT ON WINDOW \
                 CLOSE; or create the stream without ALLOWED LATENESS, with a watermark that lags \
                 further behind."
                    .into(),
            ),
        });
    }
    if clock == Clock::Event && batches {
        return Err(Error::Unsupported {
            what: format!(
                "[ROWS n SLIDE m] over stream \"{stream}\", which takes late rows, is not \
                 supported: a late row would change what the batches before it are"
            ),
            hint: "Use ROWS without SLIDE, or RANGE; or create the stream without ALLOWED \
                   LATENESS, with a watermark that lags further behind."
                .into(),
        });
    }
    Ok(true)
}

fn reads_late(node: &Node) -> bool {
    let mut late = false;
    node.visit(&mut |node| late |= matches!(&node.op, Op::Scan(scan) if scan.lateness > 0));
    late
}

/// Puts a window on every stream of an EVENT block that takes late rows and has none.
pub(super) fn windowed(node: Node) -> Node {
    in_window(node, false)
}

fn in_window(node: Node, windowed: bool) -> Node {
    let Node { op, inputs, schema, properties } = node;
    let passes = match &op {
        Op::Scan(scan) => {
            let late = scan.lateness > 0 && !windowed;
            let scan = Node { op, inputs, schema: Arc::clone(&schema), properties };
            return match late {
                true => derive::node(Op::Window(Window::Unbounded), vec![scan], schema),
                false => scan,
            };
        }
        Op::Window(_) => true,
        Op::Filter(_) | Op::Project(_) | Op::Union | Op::Unnest(_) => windowed,
        _ => false,
    };
    let inputs = inputs.into_iter().map(|input| in_window(input, passes)).collect();
    derive::node(op, inputs, schema)
}
