//! ASOF joins and versions of tables from their definition, for one-shot queries.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{filter_record_batch, not, take};
use arrow::datatypes::{Field, Schema};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};

use super::nodes::window_expr;
use crate::delta::{Delta, span};
use crate::planner::asof::{AsOfNode, Conditions};
use crate::planner::relation::RelationSource;
use crate::time::Timestamp;
use crate::windows::snapshot::{Spec, relation_at};

type Result<T> = std::result::Result<T, DataFusionError>;

/// The rows of a table that keeps versions as they are at an instant: the last version of each key,
/// unless it says that the row is gone.
pub(super) fn current(
    table: &RelationSource,
    versions: &[Delta],
    instant: Timestamp,
) -> Result<RecordBatch> {
    let schema = table.object.arrow_schema();
    let Some(first) = versions.first() else { return Ok(RecordBatch::new_empty(schema)) };
    let all = Delta::concat(&first.schema(), versions)?;
    let keys = table.primary_key().iter().map(|i| Arc::clone(all.rows().column(*i)));
    let keys = span::keys(keys);
    let last = relation_at(&Spec::Rows { count: 1, keys }, &all, instant)?;
    let deleted = last.column(schema.fields().len()).as_boolean();
    let there = filter_record_batch(&last, &not(deleted)?)?;
    let shown: Vec<usize> = (0..schema.fields().len()).collect();
    Ok(there.project(&shown)?.with_schema(schema)?)
}

/// Right rows of one key: time, rank among equal times, and row number.
type Candidates = Vec<(OwnedRow, OwnedRow, u32)>;

/// Joins the rows of both inputs of an ASOF join.
pub(super) fn joined(node: &AsOfNode, inputs: [&RecordBatch; 2]) -> Result<RecordBatch> {
    let Conditions { keys, times, after, strict } = node.conditions()?;
    let [left, right] = inputs;
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = keys.into_iter().unzip();
    let left_rows = keyed(left, &node.left, left_keys, times.0)?;
    let right_rows = keyed(right, &node.right, right_keys, times.1)?;
    let shown = right.num_columns() - usize::from(node.versions);
    let ranks = ranks(node, right)?;
    let mut candidates: BTreeMap<OwnedRow, Candidates> = BTreeMap::new();
    for (number, keyed) in (0u32..).zip(right_rows) {
        if let Some((key, time)) = keyed {
            let rank = ranks[number as usize].clone();
            candidates.entry(key).or_default().push((time, rank, number));
        }
    }
    candidates.values_mut().for_each(|rows| rows.sort());
    let pick = |keyed: &Option<(OwnedRow, OwnedRow)>| {
        let (key, time) = keyed.as_ref()?;
        let rows = candidates.get(key)?;
        let beyond = match after == strict {
            true => rows.partition_point(|row| row.0 <= *time),
            false => rows.partition_point(|row| row.0 < *time),
        };
        let last = if after {
            // The last of those that share the first time behind.
            let first = &rows.get(beyond)?.0;
            rows.partition_point(|row| row.0 <= *first)
        } else {
            beyond
        };
        let picked = rows[last.checked_sub(1)?].2;
        let deleted = node.versions && right.column(shown).as_boolean().value(picked as usize);
        (!deleted).then_some(picked)
    };
    let picks: UInt32Array = left_rows.iter().map(pick).collect();
    let found: BooleanArray = picks.iter().map(|p| Some(node.outer || p.is_some())).collect();
    let mut columns = left.columns().to_vec();
    for column in &right.columns()[..shown] {
        columns.push(take(column, &picks, None)?);
    }
    // Both sides may have columns of one name.
    let fields = node.schema().fields().iter().enumerate();
    let fields = fields.map(|(i, f)| Field::new(format!("c{i}"), f.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(filter_record_batch(&RecordBatch::try_new(schema, columns)?, &found)?)
}

/// Key and time of each row; none if one of them is NULL.
fn keyed(
    rows: &RecordBatch,
    plan: &LogicalPlan,
    keys: Vec<Expr>,
    time: Expr,
) -> Result<Vec<Option<(OwnedRow, OwnedRow)>>> {
    let compute = |expr: &Expr| -> Result<ArrayRef> {
        window_expr(expr, plan.schema())?.evaluate(rows)?.into_array(rows.num_rows())
    };
    let keys = keys.iter().map(compute).collect::<Result<Vec<_>>>()?;
    let time = compute(&time)?;
    let (key_rows, times) =
        (encoded(&keys, rows.num_rows())?, encoded(std::slice::from_ref(&time), rows.num_rows())?);
    let valid = |i: usize| time.is_valid(i) && keys.iter().all(|key| key.is_valid(i));
    let pairs = key_rows.into_iter().zip(times).enumerate();
    Ok(pairs.map(|(i, pair)| valid(i).then_some(pair)).collect())
}

/// What decides among equal times: of versions the order of arrival, else the row itself.
fn ranks(node: &AsOfNode, right: &RecordBatch) -> Result<Vec<OwnedRow>> {
    let count = right.num_rows();
    if !node.versions {
        return encoded(right.columns(), count);
    }
    let order = u32::try_from(count).expect("a batch has fewer than 2^32 rows");
    encoded(&[Arc::new(UInt32Array::from_iter_values(0..order)) as ArrayRef], count)
}

fn encoded(columns: &[ArrayRef], len: usize) -> Result<Vec<OwnedRow>> {
    // Rows without keys are all of one key.
    let one: ArrayRef = Arc::new(BooleanArray::from(vec![true; len]));
    let columns = if columns.is_empty() { vec![one] } else { columns.to_vec() };
    let fields = columns.iter().map(|c| SortField::new(c.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
    Ok(rows.iter().map(|row| row.owned()).collect())
}
