//! EMIT EVERY and EMIT AFTER DELAY: when a query's changes are shown.
//!
//! # Semantics
//! The delay runs per key (LANGUAGE 3.1). A result's key is that of its grouping, or of the table
//! that it is made of. Where none is known it is the window that a row belongs to, and where there
//! is no window, the whole result is one key.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::physical_expr::expressions::Column;

use super::derive;
use super::error::{Error, Result};
use super::lower::{Request, Wanted};
use super::plan::{Clock, Node, Op, Pace, Shows};
use super::properties::TimeOf;
use crate::error::SqlState;

/// Lets a result be shown as the request says.
pub(super) fn place(root: Node, clock: Clock, request: Request) -> Result<Node> {
    let Some(shows) = request.shows else { return Ok(root) };
    if request.wanted != Wanted::Changes {
        return Err(Error::Invalid {
            what: "EMIT EVERY and EMIT AFTER DELAY hold changes back, and a stream has none".into(),
            sqlstate: SqlState::WINDOWING_ERROR,
            hint: Some(
                "Use RSTREAM .. EVERY, or make a view and write its changes where you need them."
                    .into(),
            ),
        });
    }
    let key = match shows {
        Shows::Every(_) => Vec::new(),
        Shows::After(_) => key(&root).unwrap_or_else(|| windows(&root)),
    };
    let schema = Arc::clone(&root.schema);
    Ok(derive::node(Op::Pace(Pace { shows, key, clock }), vec![root], schema))
}

/// Columns of which no two rows of a node's relation have the same values, if such are known.
pub(super) fn key(node: &Node) -> Option<Vec<usize>> {
    let below = |i: usize| key(&node.inputs[i]);
    match &node.op {
        Op::Scan(scan) => scan.key.clone(),
        Op::Filter(_) | Op::Exchange(_) | Op::OnClose(_) | Op::Pace(_) | Op::Arrange => below(0),
        Op::TopN(_) => below(0),
        Op::Project(exprs) => {
            let is = |expr: usize, column: usize| {
                exprs[expr].downcast_ref::<Column>().is_some_and(|c| c.index() == column)
            };
            let place = |column: usize| (0..exprs.len()).find(|expr| is(*expr, column));
            below(0)?.into_iter().map(place).collect()
        }
        Op::Aggregate(aggregate) => Some((0..aggregate.group.len()).collect()),
        Op::Join(join) => match join.kind {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => below(0),
            JoinType::Inner | JoinType::Left => {
                let width = node.inputs[0].schema.fields().len();
                let right = below(1)?.into_iter().map(|column| width + column);
                Some(below(0)?.into_iter().chain(right).collect())
            }
            _ => None,
        },
        _ => None,
    }
}

/// The columns that say to which window a row belongs.
fn windows(node: &Node) -> Vec<usize> {
    let finality = node.properties.finality.iter().enumerate();
    let of_window = finality
        .filter(|(_, finality)| finality.is_some_and(|f| matches!(f.of, TimeOf::Window(_))));
    of_window.map(|(column, _)| column).collect()
}
