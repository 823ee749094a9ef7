//! Where `EMIT ON WINDOW CLOSE` holds results back.
//!
//! The gate goes to the highest node whose output still has a column that the watermark closes:
//! above are only filters and projections, which act on each row alone and so commute with it.
//!
//! Below the gate nobody sees what is not final. So sessions may wait until they are final, and an
//! aggregate whose result is aggregated again gets a gate of its own: panes and inner windows then
//! reach what is above them once, and are never retracted. This is exact where the finality of the
//! gate's column is strict and follows from that of the column below: then every row below is final
//! no later than the row above that is made of it. Where late rows correct what has been shown,
//! there is the one gate at the top, which lets corrections through.

use std::sync::Arc;

use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::derive;
use super::error::{Error, Result};
use super::plan::{Close, Gate, Node, Op};
use super::properties::Finality;

/// Puts the gate into the plan.
pub(super) fn place(node: Node) -> Result<Node> {
    if let Some((column, finality)) = node.properties.best_finality() {
        let once = finality.strict && finality.late == 0;
        let node = if once { hold(node, column, Above::Gate) } else { node };
        return Ok(gate(node, column, finality));
    }
    match node.op {
        Op::Filter(_) | Op::Project(_) => {
            let inputs = node.inputs.into_iter().map(place).collect::<Result<_>>()?;
            Ok(derive::node(node.op, inputs, node.schema))
        }
        _ => Err(Error::Windowing {
            what: "EMIT ON WINDOW CLOSE needs a column that the watermark closes".into(),
            hint:
                "Group or PARTITION BY window_end or window_start of TUMBLE or HOP over a stream \
                   with a watermark, group by date_trunc of its event time, or ORDER BY it in OVER \
                   with a frame that does not end behind the row by ROWS or GROUPS."
                    .into(),
        }),
    }
}

fn gate(node: Node, column: usize, finality: Finality) -> Node {
    let schema = Arc::clone(&node.schema);
    let close = Close { column, after: finality.closes() };
    derive::node(Op::OnClose(Gate { close, late: finality.late }), vec![node], schema)
}

/// What stands between a node and the gate above it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Above {
    /// Only filters and projections: another gate would do nothing.
    Gate,
    /// An operator that would see every change.
    Operator,
}

/// Lets a node, of which only final rows by `column` are wanted, and what is below it, wait for
/// those.
fn hold(node: Node, column: usize, above: Above) -> Node {
    let Some(below) = source(&node, column) else { return node };
    let Node { mut op, inputs, schema, properties } = node;
    let next = match op {
        Op::Filter(_) | Op::Project(_) | Op::Union => above,
        _ => Above::Operator,
    };
    let inputs = inputs.into_iter().map(|input| hold(input, below, next));
    let inputs: Vec<Node> = inputs.collect();
    match &mut op {
        Op::Session(session) => session.held = true,
        Op::Aggregate(aggregate) => aggregate.append_only = inputs[0].properties.append_only,
        _ => {}
    }
    let aggregates = matches!(op, Op::Aggregate(_));
    let finality = properties.finality[column].filter(|finality| finality.strict);
    let node = derive::node(op, inputs, schema);
    match finality {
        Some(finality) if aggregates && above == Above::Operator => gate(node, column, finality),
        _ => node,
    }
}

/// The column of a node's input that makes its rows final by `column`.
fn source(node: &Node, column: usize) -> Option<usize> {
    let width = node.inputs.first()?.schema.fields().len();
    match &node.op {
        Op::Filter(_) | Op::Union => Some(column),
        Op::Project(exprs) => time(exprs[column].as_ref()),
        Op::Aggregate(aggregate) => time(aggregate.group.get(column)?.as_ref()),
        Op::Assign(_) if column < width => Some(column),
        Op::Assign(assign) => time(assign.time.as_ref()),
        Op::Session(session) if column > width && session.closes.is_some() => {
            time(session.time.as_ref())
        }
        _ => None,
    }
}

/// The column that a time is made of, alone or within `date_trunc` or `date_bin`.
fn time(expr: &dyn PhysicalExpr) -> Option<usize> {
    if let Some(column) = expr.downcast_ref::<Column>() {
        return Some(column.index());
    }
    let function = expr.downcast_ref::<ScalarFunctionExpr>()?;
    let mut columns = function.args().iter().filter(|arg| !arg.is::<Literal>());
    time(columns.next()?.as_ref())
}
