//! The first rows of an order as a node of the logical plan: DISTINCT ON and WITH TIES.
//!
//! # Semantics
//! Of each partition the rows from the `skip`-th on, `fetch` of them, and with ties also the peers
//! of the last one. Ties are broken as by OVER.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::{DFSchemaRef, plan_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    self as logical, Expr, Extension, FetchType, LogicalPlan, SkipType, SortExpr,
    UserDefinedLogicalNodeCore,
};

use super::arrival::with_arrival;
use super::error::Error;
use super::over::needed;

/// The function that marks the number of `FETCH FIRST n ROWS WITH TIES` on its way through the
/// planner.
pub(super) const WITH_TIES: &str = "$with_ties";

/// The first rows of each partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FirstRowsNode {
    /// DISTINCT ON; none makes one partition.
    pub partition: Vec<Expr>,
    /// ORDER BY.
    pub keys: Vec<SortExpr>,
    /// What orders peers, before the whole row.
    pub ties: Vec<Expr>,
    /// OFFSET.
    pub skip: usize,
    /// LIMIT.
    pub fetch: usize,
    /// Whether peers of the last row stay.
    pub with_ties: bool,
    /// The rows.
    pub input: LogicalPlan,
}

impl PartialOrd for FirstRowsNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let key = |n: &Self| (n.partition.clone(), n.ties.clone(), n.skip, n.fetch, n.with_ties);
        (key(self), &self.input).partial_cmp(&(key(other), &other.input))
    }
}

impl UserDefinedLogicalNodeCore for FirstRowsNode {
    fn name(&self) -> &str {
        "FirstRows"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        let keys = self.keys.iter().map(|key| &key.expr);
        self.partition.iter().chain(keys).chain(&self.ties).cloned().collect()
    }

    #[expect(clippy::disallowed_types, reason = "the trait's own signature")]
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        let keys: Vec<_> = self.partition.iter().filter_map(Expr::try_as_col).collect();
        let names = self.input.schema().fields().iter().map(|field| field.name().clone());
        names.filter(|name| !keys.iter().any(|key| key.name == *name)).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirstRows {:?} of {:?}", self.fetch, self.keys)
    }

    fn with_exprs_and_inputs(
        &self,
        mut exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        let ties = exprs.split_off(self.partition.len() + self.keys.len());
        let keys = exprs.split_off(self.partition.len()).into_iter().zip(&self.keys);
        let keys = keys.map(|(expr, key)| SortExpr { expr, ..key.clone() }).collect();
        Ok(Self { partition: exprs, keys, ties, input: inputs.swap_remove(0), ..self.clone() })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        if self.ties.is_empty() && !(self.with_ties && self.skip == 0) {
            return None;
        }
        let schema = self.input.schema();
        needed(output_columns, &self.expressions(), schema).map(|needed| vec![needed])
    }
}

/// Makes our nodes of DataFusion's DISTINCT ON.
pub(super) fn distinct_on(distinct: logical::DistinctOn) -> DfResult<LogicalPlan> {
    let logical::DistinctOn { on_expr, select_expr, sort_expr, input, .. } = distinct;
    let keys = sort_expr.unwrap_or_default();
    let first = first_rows(on_expr, keys.clone(), (0, 1, false), Arc::unwrap_or_clone(input))?;
    let first = if keys.is_empty() { first } else { sorted(keys, first) };
    let projection = logical::Projection::try_new(select_expr, Arc::new(first))?;
    Ok(LogicalPlan::Projection(projection))
}

fn sorted(expr: Vec<SortExpr>, input: LogicalPlan) -> LogicalPlan {
    LogicalPlan::Sort(logical::Sort { expr, input: Arc::new(input), fetch: None })
}

/// The first rows of each partition: from the `skip`-th on `fetch` of them, with the peers of the
/// last one or not. Hidden columns may come behind those of the input.
pub(super) fn first_rows(
    partition: Vec<Expr>,
    keys: Vec<SortExpr>,
    (skip, fetch, with_ties): (usize, usize, bool),
    input: LogicalPlan,
) -> DfResult<LogicalPlan> {
    let (input, ties) = with_arrival(&input)?.unwrap_or((input, vec![]));
    let node = FirstRowsNode { partition, keys, ties, skip, fetch, with_ties, input };
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// Makes our nodes of a LIMIT that is marked; of others nothing.
pub(super) fn with_ties(limit: &logical::Limit) -> DfResult<Option<LogicalPlan>> {
    let Some(Expr::ScalarFunction(call)) = limit.fetch.as_deref() else { return Ok(None) };
    if call.func.name() != WITH_TIES {
        return Ok(None);
    }
    let count = call.args.first().cloned().map(Box::new);
    let counts = logical::Limit { fetch: count, ..limit.clone() };
    let (FetchType::Literal(Some(fetch)), SkipType::Literal(skip)) =
        (counts.get_fetch_type()?, counts.get_skip_type()?)
    else {
        return Err(Error::Unsupported {
            what: "FETCH FIRST .. WITH TIES with a number that is not a constant is not supported"
                .into(),
            hint: "Write the number.".into(),
        }
        .into());
    };
    let peers = |sort: &logical::Sort| -> DfResult<LogicalPlan> {
        let input = Arc::unwrap_or_clone(Arc::clone(&sort.input));
        let columns = input.schema().columns();
        let first = first_rows(vec![], sort.expr.clone(), (skip, fetch, fetch > 0), input)?;
        let shown = logical::Projection::try_new(
            columns.into_iter().map(Expr::Column).collect(),
            Arc::new(first),
        )?;
        Ok(sorted(sort.expr.clone(), LogicalPlan::Projection(shown)))
    };
    match limit.input.as_ref() {
        LogicalPlan::Sort(sort) => peers(sort).map(Some),
        // ORDER BY a column that is not selected: the projection stands above the sort.
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Sort(sort) => {
                let input = Arc::new(peers(sort)?);
                let above = logical::Projection::try_new(projection.expr.clone(), input)?;
                Ok(Some(LogicalPlan::Projection(above)))
            }
            _ => no_order(),
        },
        _ => no_order(),
    }
}

fn no_order() -> DfResult<Option<LogicalPlan>> {
    plan_err!("WITH TIES cannot be specified without ORDER BY clause")
}
