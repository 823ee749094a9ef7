//! TUMBLE, HOP and CUMULATE in queries that run once: rows get their windows as they are asked for.
//!
//! # Cost
//! A row may be in a million windows: no more than some thousand rows are made at a time.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::Result;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::UserDefinedLogicalNodeCore;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream, execute_stream};
use futures::{StreamExt, TryStreamExt, stream};

use super::nodes::{numbered, window_expr};
use crate::delta::batch;
use crate::planner::window::{WindowKind, WindowNode};
use crate::windows::{Assigner, snapshot};

/// Rows made at a time, if not all are of one.
const ROWS: usize = 8192;

/// Whether this is the window of one of them.
pub(super) fn assigns(window: &WindowNode) -> bool {
    matches!(window.kind, WindowKind::Assign(_))
}

/// The rows of a window function as a table.
pub(super) async fn assigned(
    window: &WindowNode,
    assigner: Assigner,
    state: &SessionState,
) -> Result<Arc<dyn TableProvider>> {
    let rows = Arc::new(Assigned {
        schema: numbered(&window.schema().as_arrow().clone()),
        input: state.create_physical_plan(&window.input).await?,
        time: window_expr(&window.exprs[0], window.input.schema())?,
        assigner,
    });
    let schema = Arc::clone(&rows.schema);
    Ok(Arc::new(StreamingTable::try_new(schema, vec![rows])?))
}

/// What gives rows their windows.
struct Assigned {
    schema: SchemaRef,
    input: Arc<dyn ExecutionPlan>,
    time: Arc<dyn PhysicalExpr>,
    assigner: Assigner,
}

impl fmt::Debug for Assigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Assigned {:?}", self.assigner)
    }
}

impl PartitionStream for Assigned {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (time, schema, assigner) =
            (Arc::clone(&self.time), Arc::clone(&self.schema), self.assigner);
        let at_once = (ROWS / assigner.most().max(1)).max(1);
        let of = move |rows: RecordBatch| -> Result<RecordBatch> {
            let times = time.evaluate(&rows)?.into_array(rows.num_rows())?;
            let rows = snapshot::assign(&rows, &times, assigner)?;
            Ok(batch(Arc::clone(&schema), rows.columns().to_vec(), rows.num_rows())?)
        };
        let parts = move |rows: RecordBatch| {
            let (of, count) = (of.clone(), rows.num_rows());
            let part = move |from: usize| of(rows.slice(from, at_once.min(count - from)));
            Ok(stream::iter((0..count).step_by(at_once)).map(part))
        };
        let input = execute_stream(Arc::clone(&self.input), context);
        let rows = stream::iter([input]).try_flatten().map(move |rows| rows.and_then(&parts));
        let rows = rows.try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), rows))
    }
}
