//! A query over streams by the times at which their rows arrived.
//!
//! # Semantics
//! Rows of a stream that no window touches take effect when they arrive. What a stream retains, it
//! retains with those times; so a query that handles each row alone can be told from any time on.

use super::plan::{Clock, Kind, Node, Op, Plan, Scan, ScanKind};
use super::relation::system_time_type;

/// Returns the plan as one whose elements have the times at which rows arrived; `None` of one that
/// does more than to handle each row of streams alone.
pub fn by_arrival(plan: &Plan) -> Option<Plan> {
    if plan.is_stream() || plan.clock != Clock::Arrival || !plan.stateless() {
        return None;
    }
    let root = arrivals(&plan.root)?;
    Some(Plan {
        root,
        // On the ARRIVAL clock scans would give all rows the time of the commit that reads them.
        clock: Clock::Event,
        kind: Kind::Stream { closed: false },
        result_clock: Clock::Event,
        time_type: system_time_type(),
        ..plan.clone()
    })
}

fn arrivals(node: &Node) -> Option<Node> {
    let mut node = node.clone();
    if let Op::Scan(scan) = &mut node.op {
        if !matches!(scan.kind, ScanKind::Stream | ScanKind::Arrivals) {
            return None;
        }
        *scan = Scan { kind: ScanKind::Arrivals, ..scan.clone() };
    }
    node.inputs = node.inputs.iter().map(arrivals).collect::<Option<_>>()?;
    Some(node)
}
