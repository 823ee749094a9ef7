//! Drives operators in unit tests: drawn deltas in, one consolidated table out.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, UInt32Array};
use arrow::datatypes::SchemaRef;
use datafusion::common::DFSchema;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::prelude::SessionContext;
use expect_test::Expect;

use super::aggregate::Call;
use super::evaluate::row_text;
use super::{Operator, Output, Port};
use crate::delta::{Delta, pretty};
use crate::storage::{StateReader, StateWriter, load_all, save_all};
use crate::time::{Timestamp, Watermark};

pub(crate) use crate::delta::pretty::schema;

/// Compiles an SQL expression over a row type.
pub(crate) fn expr(schema: &SchemaRef, sql: &str) -> Arc<dyn PhysicalExpr> {
    let context = SessionContext::new();
    let schema = DFSchema::try_from(schema.as_ref().clone()).unwrap();
    let parsed = context.parse_sql_expr(sql, &schema).unwrap();
    context.create_physical_expr(parsed, &schema).unwrap()
}

/// Compiles aggregate calls such as `sum(v) FILTER (WHERE v > 1)` over a row type.
pub(crate) fn calls(schema: &SchemaRef, sql: &str) -> Vec<Call> {
    let mut state = SessionContext::new().state();
    crate::functions::register(&mut state).unwrap();
    let context = SessionContext::new_with_state(state);
    let table = datafusion::datasource::MemTable::try_new(schema.clone(), vec![vec![]]).unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    let state = context.state();
    let query = format!("SELECT {sql} FROM t");
    let plan = state.create_logical_plan(&query);
    let plan = futures::executor::block_on(plan).unwrap();
    let options = state.config_options();
    let plan = state.analyzer().execute_and_check(plan, options, |_, _| {}).unwrap();
    let mut node = &plan;
    let aggregate = loop {
        match node {
            LogicalPlan::Aggregate(aggregate) => break aggregate,
            other => node = other.inputs()[0],
        }
    };
    let (logical, props) = (aggregate.input.schema(), state.execution_props());
    let context = PhysicalPlanningContext::default();
    let compile = |e| {
        let physical = logical.as_arrow();
        let built = LoweredAggregateBuilder::new(e, logical, physical, props, &context).build();
        let built = built.unwrap();
        Call { function: built.aggregate, filter: built.filter }
    };
    aggregate.aggr_expr.iter().map(compile).collect()
}

/// Everything an operator emitted.
#[derive(Default)]
pub(crate) struct Emitted(pub(crate) Output);

impl Emitted {
    /// Shows the net changes sorted by instant and content, then the errors.
    pub(crate) fn text(&self) -> String {
        let mut text = match self.0.deltas.first() {
            None => String::new(),
            Some(first) => {
                let all = Delta::concat(&first.schema(), &self.0.deltas).unwrap();
                pretty::print(&canonical(&all.consolidate().unwrap()))
            }
        };
        for e in &self.0.errors {
            text += &format!("{} {:+} {}: {}\n", e.sqlstate, e.weight, e.row, e.message);
        }
        text
    }

    pub(crate) fn delta(&mut self, op: &mut dyn Operator, port: usize, table: &str) -> &mut Self {
        op.on_delta(Port(port), pretty::parse(table), &mut self.0).unwrap();
        self
    }

    pub(crate) fn instant(&mut self, op: &mut dyn Operator, at: i64) -> &mut Self {
        op.on_instant(Timestamp(at), &mut self.0).unwrap();
        self
    }

    pub(crate) fn watermark(&mut self, op: &mut dyn Operator, at: i64) -> &mut Self {
        op.on_watermark(Watermark(Timestamp(at)), &mut self.0).unwrap();
        self
    }
}

/// Sorts rows by instant and content, retractions first: what batching cannot change.
fn canonical(delta: &Delta) -> Delta {
    let mut order: Vec<u32> = (0..u32::try_from(delta.len()).unwrap()).collect();
    let key = |i: usize| (delta.ts_at(i), row_text(delta.rows().columns(), i), delta.weight(i));
    order.sort_by_cached_key(|i| key(*i as usize));
    delta.take(&UInt32Array::from(order)).unwrap()
}

/// Splits deltas into instants, ascending.
pub(crate) fn instants(deltas: &[Delta]) -> BTreeMap<Timestamp, Vec<Delta>> {
    let mut times: Vec<Timestamp> =
        deltas.iter().flat_map(|d| (0..d.len()).map(|i| d.ts_at(i))).collect();
    times.sort();
    times.dedup();
    let part = |delta: &Delta, at| {
        let keep: BooleanArray = (0..delta.len()).map(|i| Some(delta.ts_at(i) == at)).collect();
        delta.filter(&keep).unwrap().at(at)
    };
    times.iter().map(|at| (*at, deltas.iter().map(|d| part(d, *at)).collect())).collect()
}

/// Delivers each port's table instant by instant, then the watermark.
pub(crate) fn run(op: &mut dyn Operator, ports: &[&str], watermark: Option<i64>) -> Emitted {
    let deltas: Vec<Delta> = ports.iter().map(|table| pretty::parse(table)).collect();
    let mut emitted = Emitted::default();
    for (at, parts) in instants(&deltas) {
        for (port, part) in parts.into_iter().enumerate().filter(|(_, part)| !part.is_empty()) {
            op.on_delta(Port(port), part, &mut emitted.0).unwrap();
        }
        op.on_instant(at, &mut emitted.0).unwrap();
    }
    if let Some(watermark) = watermark {
        emitted.watermark(op, watermark);
    }
    emitted
}

/// Delivers each port's table whole, as one round of calls, then the watermark.
pub(crate) fn run_whole(op: &mut dyn Operator, ports: &[&str], watermark: Option<i64>) -> Emitted {
    let mut emitted = Emitted::default();
    for (port, table) in ports.iter().enumerate() {
        emitted.delta(op, port, table);
    }
    emitted.instant(op, i64::MAX);
    if let Some(watermark) = watermark {
        emitted.watermark(op, watermark);
    }
    emitted
}

/// Delivers a table instant by instant and compares what comes out.
pub(crate) fn check(op: &mut dyn Operator, table: &str, expected: Expect) {
    expected.assert_eq(&run(op, &[table], None).text());
}

/// Saves `from` and loads it into `to`.
pub(crate) fn hand_over(from: &mut dyn Operator, to: &mut dyn Operator) {
    let mut saved = StateWriter::default();
    save_all(|visit| from.stores(visit), &mut saved).unwrap();
    let mut reader = StateReader::of(saved);
    load_all(|visit| to.stores(visit), &mut reader).unwrap();
    reader.finish().unwrap();
    to.loaded();
}
