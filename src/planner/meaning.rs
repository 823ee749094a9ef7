//! Gives analyzed expressions Postgres's meaning where DataFusion's is another.
//!
//! One rule of the analyzer, after types are settled: casts of text (`text_time`), other casts
//! (`casts`) and arithmetic (`arithmetic`).

use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::{arithmetic, casts, text_time};

/// Rewrites an expression over `schema`.
pub fn rewrite(expr: Expr, schema: &DFSchema) -> DfResult<Transformed<Expr>> {
    expr.transform_up(|expr| {
        text_time::rewrite(expr, schema)?
            .transform_data(|expr| casts::rewrite(expr, schema))?
            .transform_data(|expr| arithmetic::rewrite(expr, schema))
    })
}

/// The analyzer's rule.
#[derive(Debug)]
pub struct PostgresMeaning;

impl AnalyzerRule for PostgresMeaning {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> DfResult<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| {
            let mut schema = DFSchema::empty();
            for input in node.inputs() {
                schema.merge(input.schema());
            }
            // The text of an expression names its column: keep what others refer to.
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(rewrite(expr, &schema)?.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(plan.data)
    }

    fn name(&self) -> &str {
        "postgres_meaning"
    }
}
