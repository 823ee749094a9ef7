//! Repeats every row under several lists of expressions: the grouping sets of one aggregate.
//!
//! # Semantics
//! `π_1(R) ⊎ π_2(R) ⊎ ..`, a bag union of projections. Linear, so it acts on each change alone and
//! keeps no state. A row for which an expression fails is left out of that projection only.
//!
//! # Example
//! ```text
//!  SELECT a, b, count(*) .. GROUP BY ROLLUP (a, b)
//!  row        a b        comes out as        a    b    set
//!                                            a    b    0
//!                                            a    NULL 1
//! ```
//!
//! # Cost
//! As so many projections.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::physical_expr::PhysicalExpr;

use super::{Instantwise, Operator, Output, Port, Project, Result};
use crate::delta::Delta;

/// Replaces each row by several, one per list of expressions.
pub struct Expand {
    projections: Vec<Project>,
}

impl Expand {
    /// Stateless.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// Computes each of `lists`, which have the types of the columns of `output`.
    pub fn new(lists: Vec<Vec<Arc<dyn PhysicalExpr>>>, output: &SchemaRef) -> Self {
        let projections = lists.into_iter().map(|list| Project::new(list, Arc::clone(output)));
        Self { projections: projections.collect() }
    }
}

impl Operator for Expand {
    fn on_delta(&mut self, port: Port, delta: Delta, out: &mut Output) -> Result<()> {
        self.projections.iter_mut().try_for_each(|p| p.on_delta(port, delta.clone(), out))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::operators::testing::{check, expr, schema};

    #[test]
    fn every_list_of_expressions_gives_a_row() {
        let input = schema("a:text | v:int8");
        let list = |sql: [&str; 2]| sql.map(|sql| expr(&input, sql)).to_vec();
        let lists = vec![list(["a", "v"]), list(["nullif(a, a)", "v + 1"])];
        check(
            &mut Expand::new(lists, &schema("a:text | v:int8")),
            " w | ts | a:text | v:int8
             +1 | 1  | a      | 1
             -2 | 2  | b      | NULL",
            expect![[r#"
                 w | ts | a    | v
                +1 | 1  | NULL | 2
                +1 | 1  | a    | 1
                -2 | 2  | NULL | NULL
                -2 | 2  | b    | NULL
            "#]],
        );
    }
}
