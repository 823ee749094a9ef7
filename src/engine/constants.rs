//! Rows of constants, for which no plan has to be made.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::Alias;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, Values};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::physical_expr::create_physical_expr;

use super::Result;
use crate::delta::batch;
use crate::planner::bind::settled;

/// Returns the rows of a plan, if it does nothing but compute with the constants of VALUES: what
/// INSERT mostly runs. `now` has the present time.
pub(super) fn rows(
    plan: &LogicalPlan,
    functions: &SessionState,
    now: impl FnOnce() -> SessionState,
) -> Result<Option<RecordBatch>> {
    let (mut of_values, mut constant) = (true, true);
    plan.apply(|node| {
        of_values &= matches!(node, LogicalPlan::Values(_) | LogicalPlan::Projection(_));
        constant &= node.expressions().iter().all(is_constant);
        Ok(if of_values { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    match (of_values, constant) {
        (false, _) => Ok(None),
        (true, true) => computed(&settled(plan.clone(), functions)?, functions),
        (true, false) => {
            let now = now();
            computed(&settled(plan.clone(), &now)?, &now)
        }
    }
}

/// Computes a plan node by node, if that needs no more than each row.
fn computed(plan: &LogicalPlan, state: &SessionState) -> Result<Option<RecordBatch>> {
    let simple = match plan.expressions().iter().all(is_constant) {
        true => plan.clone(),
        false => SimplifyExpressions::new().rewrite(plan.clone(), state)?.data,
    };
    if !simple.expressions().iter().all(is_constant) {
        return Ok(None);
    }
    match &simple {
        LogicalPlan::Values(values) => constants(values, state).map(Some),
        LogicalPlan::Projection(projection) => {
            let Some(input) = computed(&projection.input, state)? else { return Ok(None) };
            let context = PhysicalPlanningContext::default();
            let columns = projection.expr.iter().map(|expr| {
                let schema = projection.input.schema();
                let expr = create_physical_expr(expr, schema, state.execution_props(), &context)?;
                Ok(expr.evaluate(&input)?.into_array(input.num_rows())?)
            });
            let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
            let schema = Arc::clone(projection.schema.inner());
            Ok(Some(batch(schema, columns, input.num_rows())?))
        }
        _ => Ok(None),
    }
}

/// Whether an expression is made of constants, columns and casts.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) | Expr::Column(_) => true,
        Expr::Alias(Alias { expr, .. }) | Expr::Negative(expr) => is_constant(expr),
        Expr::Cast(Cast { expr, .. }) => is_constant(expr),
        _ => false,
    }
}

fn constants(values: &Values, state: &SessionState) -> Result<RecordBatch> {
    let (nothing, context) = (DFSchema::empty(), PhysicalPlanningContext::default());
    let row = RecordBatch::new_empty(Arc::clone(nothing.inner()));
    let value = |expr: &Expr| match expr {
        Expr::Literal(value, _) => Ok(value.clone()),
        expr => {
            let expr = create_physical_expr(expr, &nothing, state.execution_props(), &context)?;
            let value = expr.evaluate(&row)?.into_array(1)?;
            Ok(ScalarValue::try_from_array(&value, 0)?)
        }
    };
    let columns = values.schema.fields().iter().enumerate().map(|(column, field)| {
        let cells = values.values.iter().map(|row| value(&row[column]));
        let cells = cells.collect::<Result<Vec<_>>>()?;
        let cast = cells.into_iter().map(|cell| cell.cast_to(field.data_type()));
        let cells = cast.collect::<Result<Vec<_>, _>>()?;
        Ok(ScalarValue::iter_to_array(cells)?)
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    Ok(batch(Arc::clone(values.schema.inner()), columns, values.values.len())?)
}
