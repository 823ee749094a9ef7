//! Keeps the rows for which a predicate is true.
//!
//! # Semantics
//! `σ_p(R)`. Linear, so it acts on each change alone and keeps no state. NULL counts as not true,
//! as in WHERE.
//!
//! # Cost
//! One predicate evaluation and one filter kernel per batch.

use std::sync::Arc;

use datafusion::physical_expr::PhysicalExpr;

use super::evaluate::{Expressions, truths};
use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::Delta;

/// Drops every row whose predicate is not true.
pub struct Filter {
    predicate: Expressions,
}

impl Filter {
    /// Stateless.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// Keeps the rows for which `predicate` is true.
    pub fn new(predicate: Arc<dyn PhysicalExpr>) -> Self {
        Self { predicate: Expressions::new([predicate]) }
    }
}

impl Operator for Filter {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let (delta, values) = self.predicate.evaluate(delta, out)?;
        out.push(delta.filter(&truths(&values[0]))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::operators::testing::{check, expr, schema};

    #[test]
    fn null_is_not_true() {
        check(
            &mut Filter::new(expr(&schema("k:text | v:int8"), "v > 1")),
            " w | ts    | k:text | v:int8
             +1 | 09:00 | a      | 1
             -2 | 09:01 | b      | 5
             +1 | 09:02 | c      | NULL",
            expect![[r#"
                 w | ts    | k | v
                -2 | 09:01 | b | 5
            "#]],
        );
    }

    #[test]
    fn row_whose_predicate_fails_is_quarantined() {
        check(
            &mut Filter::new(expr(&schema("v:int8"), "10 / v > 1")),
            " w | ts | v:int8
             +1 | 1  | 0
             +1 | 1  | 2
             -1 | 2  | 0",
            expect![[r#"
                 w | ts | v
                +1 | 1  | 2
                22012 +1 (0): division by zero
                22012 -1 (0): division by zero
            "#]],
        );
    }
}
