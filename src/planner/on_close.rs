//! Where `EMIT ON WINDOW CLOSE` holds results back.
//!
//! The gate goes to the highest node whose output still has a column that the watermark closes:
//! above are
//! only filters and projections, which act on each row alone and so commute with it.

use super::derive;
use super::error::{Error, Result};
use super::plan::{Close, Node, Op};

/// Puts the gate into the plan.
pub(super) fn place(node: Node) -> Result<Node> {
    if let Some((column, finality)) = node.properties.best_finality() {
        let schema = node.schema.clone();
        let close = Close { column, after: finality.after };
        return Ok(derive::node(Op::OnClose(close), vec![node], schema));
    }
    match node.op {
        Op::Filter(_) | Op::Project(_) => {
            let inputs = node.inputs.into_iter().map(place).collect::<Result<_>>()?;
            Ok(derive::node(node.op, inputs, node.schema))
        }
        _ => Err(Error::Windowing {
            what: "EMIT ON WINDOW CLOSE needs a column that the watermark closes".into(),
            hint: "Group or PARTITION BY window_end or window_start of TUMBLE or HOP over a stream \
                   with a watermark, group by date_trunc of its event time, or ORDER BY it in OVER \
                   with a frame that does not end behind the row by ROWS or GROUPS."
                .into(),
        }),
    }
}
