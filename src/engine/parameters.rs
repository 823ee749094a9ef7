//! Types of a statement's parameters.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::Result;

/// The types of `$1`, `$2`, ..: as the client declared them, as the statement casts them, or as
/// they are used, with what the column was declared as; text where nothing is known.
pub(super) fn parameter_types(
    plan: &LogicalPlan,
    declared: &[Option<DataType>],
) -> Result<Vec<Field>> {
    let found = plan.get_parameter_fields()?;
    let number = |name: &String| name.trim_start_matches('$').parse::<usize>().ok();
    let count = found.keys().filter_map(number).max().unwrap_or(0).max(declared.len());
    let casts = cast_parameters(plan)?;
    let known = |i: usize| {
        let name = format!("${}", i + 1);
        let said = declared.get(i).cloned().flatten().or_else(|| casts.get(&name).cloned());
        match (said, found.get(&name)) {
            (Some(data_type), _) => parameter(data_type),
            (None, Some(Some(used))) => used.as_ref().clone(),
            (None, _) => parameter(DataType::Utf8),
        }
    };
    Ok((0..count).map(known).collect())
}

/// A parameter of which no more is known than its type in memory.
pub(super) fn parameter(data_type: DataType) -> Field {
    Field::new("?", data_type, true)
}

/// The parameters that are cast, with the types to which they are.
fn cast_parameters(plan: &LogicalPlan) -> Result<BTreeMap<String, DataType>> {
    let mut casts = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Cast(cast) = expr
                    && let Expr::Placeholder(parameter) = cast.expr.as_ref()
                {
                    casts.insert(parameter.id.clone(), cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(casts)
}
