//! Late rows in windows that are open: streams that are declared LATE TO OPEN WINDOWS.
//!
//! # Semantics
//! A row that comes below the watermark belongs to no instant any more, and queries do not see it.
//! But a window function by event time still gives it to those of its windows whose end the
//! watermark had not reached when the row came; SESSION, if the session that the row would make
//! alone were open, and then the row leaves sessions alone that have closed. So what a window says
//! when it closes is final. This is the rule of Flink, ksqlDB and Arroyo.
//!
//! ```text
//!   W = 7, then a row at 4     TUMBLE 5   [0, 5)             closed
//!                              HOP 5, 10  [-5, 5) [0, 10)    the second is open
//!   rows at 0 and 6            SESSION 5  [0, 5) [6, 11)     it makes the second [4, 11)
//! ```
//!
//! # Why
//! The scan brings late rows with the watermark that they met, as a hidden column, and a filter, or
//! SESSION itself, compares it. So the verdict on a row is a function of the row, and depends on
//! nothing that comes with it.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::Column;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    self as logical, Expr, LogicalPlan, LogicalPlanBuilder, TableScanBuilder,
};

use super::relation::{LATE, RelationSource};

/// A relation with late rows.
pub(super) struct WithLate {
    /// Its plan, with a hidden last column.
    pub(super) plan: LogicalPlan,
    /// The event time.
    time: Expr,
    /// The watermark that a late row met; NULL for others.
    late: Expr,
}

/// Returns a relation with late rows, if `time` is the event time of a stream that has them for
/// windows.
pub(super) fn with_late(plan: &LogicalPlan, time: &Expr) -> DfResult<Option<WithLate>> {
    let found = found(plan)?;
    Ok(found.filter(|found| found.time == *time))
}

fn found(plan: &LogicalPlan) -> DfResult<Option<WithLate>> {
    match plan {
        LogicalPlan::TableScan(scan) => scanned(scan),
        LogicalPlan::SubqueryAlias(alias) => {
            let Some(input) = found(&alias.input)? else { return Ok(None) };
            let qualified = |expr: Expr| match expr {
                Expr::Column(column) => {
                    Expr::Column(Column::new(Some(alias.alias.clone()), column.name))
                }
                other => other,
            };
            let (time, late) = (qualified(input.time), qualified(input.late));
            let alias = logical::SubqueryAlias::try_new(Arc::new(input.plan), alias.alias.clone())?;
            Ok(Some(WithLate { plan: LogicalPlan::SubqueryAlias(alias), time, late }))
        }
        LogicalPlan::Filter(filter) => {
            let Some(input) = found(&filter.input)? else { return Ok(None) };
            let filter = logical::Filter::try_new(filter.predicate.clone(), Arc::new(input.plan))?;
            Ok(Some(WithLate { plan: LogicalPlan::Filter(filter), ..input }))
        }
        LogicalPlan::Projection(projection) => {
            let Some(input) = found(&projection.input)? else { return Ok(None) };
            let is_time = |expr: &Expr| expr.clone().unalias() == input.time;
            let Some(place) = projection.expr.iter().position(is_time) else { return Ok(None) };
            let time = Expr::from(projection.schema.qualified_field(place));
            let exprs = projection.expr.iter().cloned().chain([input.late.clone()]).collect();
            let projection = logical::Projection::try_new(exprs, Arc::new(input.plan))?;
            Ok(Some(WithLate { plan: LogicalPlan::Projection(projection), time, ..input }))
        }
        _ => Ok(None),
    }
}

/// A stream with its late rows.
fn scanned(scan: &logical::TableScan) -> DfResult<Option<WithLate>> {
    let source = scan.source.downcast_ref::<RelationSource>();
    let Some((source, time)) = source.and_then(RelationSource::with_late) else { return Ok(None) };
    let column = |name: &str| Expr::Column(Column::new(Some(scan.table_name.clone()), name));
    let (time, late) = (column(source.row_type().field(time).name()), column(LATE));
    let builder = TableScanBuilder::new(scan.table_name.clone(), Arc::new(source));
    let scan = builder.with_filters(scan.filters.clone()).build()?;
    Ok(Some(WithLate { plan: LogicalPlan::TableScan(scan), time, late }))
}

impl WithLate {
    /// The watermark that a late row met.
    pub(super) fn met(&self) -> Expr {
        self.late.clone()
    }

    /// Keeps rows of windows whose end the watermark had not reached.
    pub(super) fn in_open_windows(&self, windows: LogicalPlan) -> DfResult<LogicalPlan> {
        let end = Expr::Column(Column::from_name("window_end"));
        let open = self.met().is_null().or(end.gt(self.met()));
        LogicalPlanBuilder::from(windows).filter(open)?.build()
    }
}

impl RelationSource {
    /// Returns a stream that has late rows for windows with these, and with the watermark that each
    /// of them met as a last column; and the column of its event time.
    pub(super) fn with_late(&self) -> Option<(Self, usize)> {
        let to_windows = self.stream_def().is_some_and(|def| def.late_to_windows);
        let time = self.event_time().filter(|_| to_windows && !self.late && !self.has_seq())?;
        let late = Field::new(LATE, self.schema.field(time).data_type().clone(), true);
        let fields: Vec<_> = self.schema.fields().iter().cloned().chain([Arc::new(late)]).collect();
        let schema = Arc::new(Schema::new(fields));
        let mut source = self.clone();
        (source.late, source.schema) = (true, schema);
        Some((source, time))
    }

    /// The column of the event time, if late rows are read too.
    pub fn has_late(&self) -> Option<usize> {
        self.event_time().filter(|_| self.late)
    }
}
