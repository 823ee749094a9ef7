//! Tables that keep versions, in queries on the EVENT clock.

use std::sync::Arc;

use datafusion::logical_expr as logical;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, NotExpr};

use super::derive;
use super::lower::relaxed;
use super::plan::{Node, Op, Scan, ScanKind, Window};
use super::relation::RelationSource;

/// A table that keeps versions, as it is at each instant: the last version of each key, unless it
/// says that the row is gone.
pub(super) fn current(versions: &RelationSource, scan: &logical::TableScan) -> Node {
    let all = versions.object.arrow_schema();
    let shown = all.fields().len() - 1;
    let column = |i: usize| Arc::new(Column::new(all.field(i).name(), i)) as Arc<dyn PhysicalExpr>;
    let op = Op::Scan(Scan {
        object: versions.object.oid,
        name: versions.object.name.clone(),
        kind: ScanKind::Stream,
        seq: false,
        projection: (0..=shown).collect(),
        untimed: false,
        partitioned: false,
        key: None,
        lateness: 0,
        late: None,
        progress: versions.progress(),
    });
    let node = derive::scan(op, versions, Arc::clone(&all));
    let keys = versions.primary_key().iter().map(|i| column(*i)).collect();
    let last = Op::Window(Window::Partitioned { keys, count: 1, range: None });
    let node = derive::node(last, vec![node], Arc::clone(&all));
    let there = Op::Filter(Arc::new(NotExpr::new(column(shown))));
    let node = derive::node(there, vec![node], Arc::clone(&all));
    let projection = scan.projection.clone().unwrap_or_else(|| (0..shown).collect());
    let columns = projection.into_iter().map(column).collect();
    derive::node(Op::Project(columns), vec![node], relaxed(&scan.projected_schema))
}
