//! Which tables a query needs a single row of: a filter fixes their primary key.
//!
//! # Semantics
//! No row with another key can pass a filter `key = constant`, so reading the row of that key alone
//! gives the same result. A table that the query names twice is read as a whole.
//!
//! # Cost
//! SELECT, UPDATE and DELETE by primary key cost as much as the row, whatever the size of the
//! table.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use super::query::scanned;
use super::{Error, Result};
use crate::planner::relation::RelationSource;
use crate::runtime::read::Keys;
use crate::sql::catalog::{ObjectKind, Oid};

/// Returns the keys of the tables that an analyzed plan needs a single row of.
pub(super) fn fixed(plan: &LogicalPlan) -> Result<BTreeMap<Oid, Keys>> {
    let (mut scans, mut keys) = (BTreeMap::<Oid, usize>::new(), BTreeMap::new());
    plan.apply_with_subqueries(|node| {
        if let Some(source) = scanned(node) {
            *scans.entry(source.object.oid).or_default() += 1;
        }
        if let LogicalPlan::Filter(filter) = node
            && let Some(source) = table_below(&filter.input)
            && let Some(key) = key(source, &filter.predicate)
        {
            keys.insert(source.object.oid, key);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    keys.retain(|oid, _| scans.get(oid) == Some(&1));
    let arrays = |key: Vec<ScalarValue>| -> Result<Keys> {
        let columns = key.iter().map(ScalarValue::to_array).collect::<Result<_, _>>();
        Ok(Keys { key: 0, columns: columns.map_err(Error::from)?, len: 1 })
    };
    keys.into_iter().map(|(oid, key)| Ok((oid, arrays(key)?))).collect()
}

/// The object whose scan a filter is directly above of.
fn table_below(plan: &LogicalPlan) -> Option<&RelationSource> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => table_below(&alias.input),
        other => scanned(other),
    }
}

/// The primary key that a predicate fixes.
fn key(source: &RelationSource, predicate: &Expr) -> Option<Vec<ScalarValue>> {
    let ObjectKind::Table(def) = &source.object.kind else { return None };
    let terms = split_conjunction(predicate);
    let value = |index: &usize| {
        let column = &source.object.columns[*index];
        terms.iter().find_map(|term| constant(term, &column.name, &column.data_type))
    };
    let key: Option<Vec<_>> = def.primary_key.iter().map(value).collect();
    key.filter(|key| !key.is_empty())
}

/// The constant, in the column's type, that a term says the column equals.
fn constant(term: &Expr, name: &str, data_type: &DataType) -> Option<ScalarValue> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = term else { return None };
    let (column, literal) = match (left.as_ref(), right.as_ref()) {
        (column, Expr::Literal(literal, _)) | (Expr::Literal(literal, _), column) => {
            (column, literal)
        }
        _ => return None,
    };
    let is_column = match column {
        Expr::Column(Column { name: found, .. }) => found == name,
        Expr::Cast(cast) => matches!(&*cast.expr, Expr::Column(found) if found.name == name),
        _ => false,
    };
    // Types whose values are equal if and only if their casts are: neither floating-point nor
    // numeric, where two keys may have one cast, or one key two encodings.
    let like = |of: fn(&DataType) -> bool| of(data_type) && of(&literal.data_type());
    let comparable = literal.data_type() == *data_type && !data_type.is_floating()
        || like(DataType::is_integer)
        || like(DataType::is_string);
    let value = literal.cast_to(data_type).ok().filter(|_| is_column && comparable)?;
    (value.cast_to(&literal.data_type()).ok()? == *literal).then_some(value)
}
