//! Gives analyzed expressions Postgres's meaning where DataFusion's is another.
//!
//! One rule of the analyzer, after types are settled: the session's time zone (`zone`), casts of
//! text (`text_time`), other casts
//! (`casts`), arithmetic (`arithmetic`) and the order of intervals (`interval_order`).

use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::{arithmetic, casts, interval_order, logarithm, text_time, zone};

/// Rewrites an expression over `schema`.
pub fn rewrite(
    expr: Expr,
    schema: &DFSchema,
    config: &ConfigOptions,
) -> DfResult<Transformed<Expr>> {
    let session = zone::of(config);
    expr.transform_up(|expr| {
        let zoned = match &session.zone {
            Some(zone) => zone::rewrite(expr, schema, zone)?,
            None => Transformed::no(expr),
        };
        zoned
            .transform_data(|expr| text_time::rewrite(expr, schema, &session))?
            .transform_data(|expr| casts::rewrite(expr, schema, &session))?
            .transform_data(|expr| arithmetic::rewrite(expr, schema))?
            .transform_data(|expr| Ok(logarithm::rewrite(expr)))?
            .transform_data(|expr| interval_order::rewrite(expr, schema))
    })
}

/// The analyzer's rule.
#[derive(Debug)]
pub struct PostgresMeaning;

impl AnalyzerRule for PostgresMeaning {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> DfResult<LogicalPlan> {
        let plan = plan.transform_up_with_subqueries(|node| {
            let mut schema = DFSchema::empty();
            for input in node.inputs() {
                schema.merge(input.schema());
            }
            // The text of an expression names its column: keep what others refer to.
            let names = NamePreserver::new(&node);
            node.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(rewrite(expr, &schema, config)?.update_data(|expr| name.restore(expr)))
            })
        })?;
        Ok(plan.data)
    }

    fn name(&self) -> &str {
        "postgres_meaning"
    }
}
