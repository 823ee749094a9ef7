//! Which clock a query block is on, and when its results come.
//!
//! # Semantics
//! LANGUAGE 7.3, rule 1: a block is on the EVENT clock if it has a bracket window, joins by
//! an interval or as of a time so that rows without a partner are shown, compares a row that has
//! event time with `now()`, or makes a stream
//! of a relation that does more than grow. So is every stream that is to be made of elements with
//! event times: an element's time is that of its instant. A block over tables alone has no event
//! time; its instants are the commits. `WITH (clock = ..)` chooses otherwise, where that has a
//! meaning: windows and ticks are made of event time.

use super::error::{Error, Result};
use super::join;
use super::lower::{Request, Wanted};
use super::plan::{Clock, Node, Op, Ticks};

/// The clock of the block that ends in `root`.
pub(super) fn of_block(root: &Node, request: Request) -> Result<Clock> {
    let timeless = root.properties.timeless;
    let (mut windows, mut ticks, mut differences, mut in_time) = (false, false, false, false);
    root.visit(&mut |node| match &node.op {
        Op::Window(_) => windows = true,
        Op::ToStream(to_stream) if to_stream.ticks == Ticks::Instants => differences = true,
        Op::ToStream(_) => ticks = true,
        Op::Join(join) => {
            in_time |= join::is_interval(join, &node.inputs) && !node.properties.append_only;
        }
        Op::AsOf(_) | Op::Temporal(_) => in_time |= !node.properties.timeless,
        _ => {}
    });
    if timeless && ticks {
        return Err(Error::Unsupported {
            what: "RSTREAM and EVERY over tables alone are not supported yet".into(),
            hint: "Ticks are instants of event time; join a stream, such as s [NOW].".into(),
        });
    }
    let elements = request.wanted != Wanted::Changes && !request.on_close;
    match request.clock {
        None if timeless => Ok(Clock::Arrival),
        None if windows || ticks || differences || in_time || elements => Ok(Clock::Event),
        None => Ok(Clock::Arrival),
        Some(Clock::Event) if timeless => Err(refused(
            "the clock cannot be 'event': nothing that the query reads has an event time",
            "Leave the option out.",
        )),
        Some(Clock::Arrival) if windows || ticks => Err(refused(
            "the clock cannot be 'arrival': windows in brackets and EVERY are made of event time",
            "Leave the option out, or use TUMBLE or HOP.",
        )),
        Some(clock) => Ok(clock),
    }
}

fn refused(what: &str, hint: &str) -> Error {
    Error::Windowing { what: what.into(), hint: hint.into() }
}

/// Whether what a node of an EVENT block gives comes in the order of its times: it does from every
/// operator that waits for instants to close, and not from a scan, whose rows come as they arrive.
pub fn in_order(node: &Node) -> bool {
    match &node.op {
        _ if node.properties.timeless => true,
        Op::Scan(_) => false,
        Op::Filter(_)
        | Op::Project(_)
        | Op::Expand(_)
        | Op::Unnest(_)
        | Op::Assign(_)
        | Op::Stamp
        | Op::Exchange(_) => node.inputs.iter().all(in_order),
        // What comes as it arrives waits for the rest.
        Op::Union => node.inputs.iter().any(in_order),
        _ => true,
    }
}
