//! Computes new columns for every row.
//!
//! # Semantics
//! `π_e(R)` over bags: no duplicate is removed. Linear, so it acts on each change alone and keeps
//! no state.
//!
//! # Cost
//! One evaluation per expression and batch; plain columns are shared, not copied.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::evaluate::Expressions;
use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::{Delta, batch};

/// Replaces each row by the values of a list of expressions.
pub struct Project {
    expressions: Expressions,
    output: SchemaRef,
}

impl Project {
    /// Stateless.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// Computes `expressions`, which have the types of the columns of `output`.
    pub fn new(expressions: Vec<Arc<dyn PhysicalExpr>>, output: SchemaRef) -> Self {
        Self { expressions: Expressions::new(expressions), output }
    }
}

impl Operator for Project {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let (delta, columns) = self.expressions.evaluate(delta, out)?;
        let rows = batch(self.output.clone(), columns, delta.len())?;
        out.push(delta.with_rows(rows));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::operators::testing::{check, expr, schema};

    #[test]
    fn rows_keep_weight_and_instant() {
        let input = schema("k:text | v:int8");
        let list = vec![expr(&input, "v + 1"), expr(&input, "k"), expr(&input, "7::bigint")];
        check(
            &mut Project::new(list, schema("a:int8 | k:text | c:int8")),
            " w | ts | k:text | v:int8
             +1 | 1  | a      | 1
             -2 | 2  | b      | NULL",
            expect![[r#"
                 w | ts | a    | k | c
                +1 | 1  | 2    | a | 7
                -2 | 2  | NULL | b | 7
            "#]],
        );
    }

    #[test]
    fn projection_to_nothing_keeps_the_number_of_rows() {
        check(
            &mut Project::new(Vec::new(), schema("")),
            " w | ts | k:text
             +2 | 1  | a
             +1 | 1  | b",
            expect![[r#"
                 w | ts
                +3 | 1
            "#]],
        );
    }
}
