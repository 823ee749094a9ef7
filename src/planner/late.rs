//! Queries over streams that take late rows.
//!
//! # Semantics
//! A late row within ALLOWED LATENESS corrects what has been said of its window: `-old +new`. A
//! relation can say so, a stream cannot (LANGUAGE 4.2). A block on the EVENT clock evaluates each
//! instant once, when the watermark has passed it, and would have to go back.

use super::error::{Error, Result};
use super::lower::{Request, Wanted};
use super::plan::{Clock, Node, Op};
use crate::error::SqlState;

/// Returns whether a query reads a stream that takes late rows; refuses it if it cannot correct
/// what it has said.
pub(super) fn refuse(root: &Node, clock: Clock, request: Request) -> Result<bool> {
    let mut late = None;
    let mut elements = request.wanted != Wanted::Changes;
    root.visit(&mut |node| match &node.op {
        Op::Scan(scan) if scan.lateness > 0 => late = Some(scan.name.clone()),
        Op::ToStream(_) => elements = true,
        _ => {}
    });
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
    if clock == Clock::Event {
        return Err(Error::Unsupported {
            what: format!(
                "event-time windows over stream \"{stream}\", which takes late rows, are not \
                 supported yet"
            ),
            hint: "Use TUMBLE, HOP or SESSION; or create the stream without ALLOWED LATENESS, \
                   with a watermark that lags further behind."
                .into(),
        });
    }
    Ok(true)
}
