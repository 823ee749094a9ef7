//! Types of a statement's parameters.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::Result;

/// The types of `$1`, `$2`, ..: as the client declared them, as the statement casts them, or as
/// they are used; text where nothing is known.
pub(super) fn parameter_types(
    plan: &LogicalPlan,
    declared: &[Option<DataType>],
) -> Result<Vec<DataType>> {
    let found = plan.get_parameter_types()?;
    let number = |name: &String| name.trim_start_matches('$').parse::<usize>().ok();
    let count = found.keys().filter_map(number).max().unwrap_or(0).max(declared.len());
    let casts = cast_parameters(plan)?;
    let known = |i: usize| {
        let name = format!("${}", i + 1);
        let used = || found.get(&name).cloned().flatten();
        let cast = || casts.get(&name).cloned();
        declared.get(i).cloned().flatten().or_else(cast).or_else(used).unwrap_or(DataType::Utf8)
    };
    Ok((0..count).map(known).collect())
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
