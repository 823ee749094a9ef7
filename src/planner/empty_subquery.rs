//! The value of a subquery without rows: NULL, also where its rows could not be.
//!
//! # Why
//! DataFusion takes `(SELECT 1 FROM t WHERE false)` for something that is never NULL, since 1 is
//! not, and simplifies what asks for it.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Subquery, Volatility,
};

/// The function that gives a value which may be NULL.
pub(super) const VALUE: &str = "value_or_null";

/// Lets the values of subqueries be NULL.
pub(super) fn nullable(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let nullable = plan.transform_up_with_subqueries(|node| {
        let preserver = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = preserver.save(&expr);
            let changed = expr.transform_up(|e| match e {
                Expr::ScalarSubquery(subquery) if may_be_empty(&subquery) => {
                    let value = Expr::from(subquery.subquery.schema().qualified_field(0));
                    let named = value.schema_name().to_string();
                    let value = ScalarUDF::from(Value::default()).call(vec![value]).alias(named);
                    let plan = subquery.subquery.as_ref().clone();
                    let plan = LogicalPlanBuilder::from(plan).project([value])?.build()?;
                    let subquery = Subquery { subquery: Arc::new(plan), ..subquery };
                    Ok(Transformed::yes(Expr::ScalarSubquery(subquery)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(nullable.data)
}

/// Whether a subquery that names no outer column may have no row, although its rows have a value.
fn may_be_empty(subquery: &Subquery) -> bool {
    let plan = subquery.subquery.as_ref();
    let value = plan.schema().field(0);
    subquery.outer_ref_columns.is_empty() && !value.is_nullable() && !one_row(plan)
}

fn one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

/// A value that may be NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Value {
    signature: Signature,
}

impl Default for Value {
    fn default() -> Self {
        // Of a constant it would be computed beforehand, and a constant again.
        Self { signature: Signature::any(1, Volatility::Volatile) }
    }
}

impl ScalarUDFImpl for Value {
    fn name(&self) -> &str {
        VALUE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(types[0].clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(Arc::new(args.arg_fields[0].as_ref().clone().with_nullable(true)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(args.args.swap_remove(0))
    }
}
