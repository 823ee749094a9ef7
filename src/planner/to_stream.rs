//! ISTREAM, DSTREAM, RSTREAM and CHANGELOG in the logical plan, with the instants they fire at.
//!
//! # Semantics
//! `Istream(R)` at τ is `R(τ) - R(τ-1)`, `Dstream(R)` is `R(τ-1) - R(τ)`, as bags, with `R(-1) =
//! {}`; `Changelog(R)` is both, with a last column [`DIFF`] that is 1 and -1. These fire at every
//! instant. `Rstream(R)` is `R(τ)`, and fires at the ticks of `R` (LANGUAGE 1.9):
//!
//! | relation                   | ticks                                                     |
//! |----------------------------|-----------------------------------------------------------|
//! | `s [NOW]`                  | instants at which rows of s arrive                        |
//! | `s [RANGE T SLIDE L]`      | multiples of L                                            |
//! | any other                  | every instant                                             |
//! | inner join, cross join     | arrivals win, and those of both sides must coincide; else |
//! |                            | multiples unite and win over every instant                |
//! | LEFT JOIN, EXISTS, IN      | those of the left side                                    |
//! | UNION, RIGHT and FULL JOIN | united, if both sides are of one kind; else an error      |
//! | all others                 | those of their input                                      |
//!
//! `EVERY d` overrides that with the multiples of d. An RSTREAM that would fire at every instant is
//! refused.
//!
//! # Invariants
//! The columns are those of the relation, and [`DIFF`]. Filters move below an operator, since equal
//! rows pass alike; projections do not, since they make rows equal.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, DFSchemaRef, JoinType, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, lit,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};

use super::derive;
use super::error::Error;
use super::lower::{Lowering, relaxed};
use super::plan::{self, Node, Op, ScanKind, Ticks};
use super::relation::RelationSource;
use super::window::{WindowKind, WindowNode};
use crate::error::SqlState;
use crate::sql::derived::ToStream;

/// The column of a changelog that says whether a row came or went, as in SUBSCRIBE.
pub const DIFF: &str = "hw_diff";

/// A stream made of a relation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ToStreamNode {
    /// Which operator.
    pub operator: ToStream,
    /// When it fires.
    pub ticks: Ticks,
    /// The relation.
    pub input: LogicalPlan,
    /// Streams whose arrivals are ticks; [`Ticks::Arrivals`] numbers them from 1.
    arrivals: Vec<LogicalPlan>,
    schema: DFSchemaRef,
}

impl ToStreamNode {
    /// An operator over a relation, with EVERY in microseconds.
    pub fn new(operator: ToStream, every: Option<i64>, input: LogicalPlan) -> DfResult<Self> {
        let mut arrivals = Vec::new();
        let ticks = match (operator, every) {
            (_, Some(every)) => Ticks::Every(vec![(every, 0)]),
            (ToStream::Istream | ToStream::Dstream | ToStream::Changelog, None) => Ticks::Instants,
            (ToStream::Rstream, None) => match ticks(&input, &mut arrivals)? {
                Ticks::Instants => return Err(fires_always().into()),
                ticks => ticks,
            },
        };
        Self::over((operator, ticks), input, arrivals)
    }

    fn over(
        (operator, ticks): (ToStream, Ticks),
        input: LogicalPlan,
        arrivals: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        let mut schema = Arc::clone(input.schema());
        if operator == ToStream::Changelog {
            let diff = (None, Arc::new(Field::new(DIFF, DataType::Int64, false)));
            let fields = schema.iter().map(|(of, field)| (of.cloned(), Arc::clone(field)));
            let fields = fields.chain([diff]).collect();
            schema = Arc::new(DFSchema::new_with_metadata(fields, schema.metadata().clone())?);
        }
        Ok(Self { operator, ticks, input, arrivals, schema })
    }

    /// The relation, and the streams whose arrivals are ticks.
    pub fn relations(&self) -> impl Iterator<Item = &LogicalPlan> {
        std::iter::once(&self.input).chain(&self.arrivals)
    }

    /// The node as a plan.
    pub fn plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension { node: Arc::new(self) })
    }
}

/// Returns the operator that a logical node is, if it is one.
pub fn to_stream_node(plan: &LogicalPlan) -> Option<&ToStreamNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

fn window_of(plan: &LogicalPlan) -> Option<&WindowNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

fn fires_always() -> Error {
    Error::Windowing {
        what: "RSTREAM would emit its whole relation at every instant".into(),
        hint:
            "Say when: RSTREAM .. EVERY INTERVAL '1 minute'; or use a window that does, [NOW] or \
               [RANGE .. SLIDE ..]."
                .into(),
    }
}

/// The instants at which a relation is sampled; the streams whose arrivals they are go to
/// `arrivals`.
fn ticks(plan: &LogicalPlan, arrivals: &mut Vec<LogicalPlan>) -> DfResult<Ticks> {
    if let Some(window) = window_of(plan) {
        return match window.kind {
            WindowKind::Range { size, inclusive, slide: None }
                if size + i64::from(inclusive) == 1 =>
            {
                let instants = LogicalPlanBuilder::from(window.input.clone());
                arrivals.push(instants.project([lit(true).alias("arrival")])?.build()?);
                Ok(Ticks::Arrivals(vec![vec![arrivals.len()]]))
            }
            WindowKind::Range { slide: Some(slide), .. } => Ok(Ticks::Every(vec![slide])),
            WindowKind::Assign(_) => ticks(&window.input, arrivals),
            _ => Ok(Ticks::Instants),
        };
    }
    match plan {
        LogicalPlan::Join(join) => {
            let left = |arrivals: &mut _| ticks(&join.left, arrivals);
            let right = |arrivals: &mut _| ticks(&join.right, arrivals);
            match join.join_type {
                JoinType::Inner => Ok(joined(left(arrivals)?, right(arrivals)?)),
                JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                    left(arrivals)
                }
                JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right(arrivals),
                JoinType::Right | JoinType::Full => united(left(arrivals)?, right(arrivals)?),
            }
        }
        LogicalPlan::Union(union) => {
            let mut all = union.inputs.iter().map(|input| ticks(input, arrivals));
            let first = all.next().unwrap_or(Ok(Ticks::Instants))?;
            all.try_fold(first, |sum, next| united(sum, next?))
        }
        LogicalPlan::Extension(_) => Ok(Ticks::Instants),
        other => match other.inputs().as_slice() {
            [input] => ticks(input, arrivals),
            _ => Ok(Ticks::Instants),
        },
    }
}

fn joined(left: Ticks, right: Ticks) -> Ticks {
    match (left, right) {
        (Ticks::Arrivals(left), Ticks::Arrivals(right)) => {
            let both = |l: &Vec<usize>, r: &Vec<usize>| l.iter().chain(r).copied().collect();
            let pairs = left.iter().flat_map(|l| right.iter().map(move |r| both(l, r)));
            Ticks::Arrivals(pairs.collect())
        }
        (arrivals @ Ticks::Arrivals(_), _) | (_, arrivals @ Ticks::Arrivals(_)) => arrivals,
        (Ticks::Every(left), Ticks::Every(right)) => Ticks::Every(merged(left, right)),
        (every @ Ticks::Every(_), _) | (_, every @ Ticks::Every(_)) => every,
        (Ticks::Instants, Ticks::Instants) => Ticks::Instants,
    }
}

fn united(left: Ticks, right: Ticks) -> DfResult<Ticks> {
    match (left, right) {
        (Ticks::Arrivals(left), Ticks::Arrivals(right)) => {
            Ok(Ticks::Arrivals([left, right].concat()))
        }
        (Ticks::Every(left), Ticks::Every(right)) => Ok(Ticks::Every(merged(left, right))),
        (Ticks::Instants, Ticks::Instants) => Ok(Ticks::Instants),
        _ => Err(Error::Windowing {
            what: "the sides of a UNION, RIGHT JOIN or FULL JOIN tick differently".into(),
            hint: "Use windows of one kind on both sides, [NOW] or [RANGE .. SLIDE ..], or say \
                   when: RSTREAM .. EVERY INTERVAL '1 minute'."
                .into(),
        }
        .into()),
    }
}

fn merged(mut left: Vec<(i64, i64)>, right: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    left.extend(right);
    left.sort_unstable();
    left.dedup();
    left
}

/// Returns whether a plan is a stream, and not a relation.
fn is_stream(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => {
            scan.source.downcast_ref::<RelationSource>().is_some_and(RelationSource::is_stream)
        }
        LogicalPlan::SubqueryAlias(alias) => is_stream(&alias.input),
        other => to_stream_node(other).is_some(),
    }
}

/// Returns whether a relation only grows (LANGUAGE 1.5): filters, projections, joins and UNION ALL
/// of streams.
pub fn monotonic(plan: &LogicalPlan) -> bool {
    let inputs = || plan.inputs().into_iter().all(monotonic);
    match plan {
        LogicalPlan::TableScan(_) => is_stream(plan),
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Union(_) => inputs(),
        LogicalPlan::Join(join) => join.join_type == JoinType::Inner && inputs(),
        LogicalPlan::Extension(_) => {
            let assigns = |w: &WindowNode| matches!(w.kind, WindowKind::Assign(_));
            to_stream_node(plan).is_some() || (window_of(plan).is_some_and(assigns) && inputs())
        }
        _ => false,
    }
}

/// Checks that a window may stand on a plan: it is a stream, or ISTREAM makes it one.
pub(super) fn windowed(plan: &LogicalPlan) -> Result<(), Error> {
    if is_stream(plan) || monotonic(plan) {
        return Ok(());
    }
    if base(plan) {
        return Err(Error::Windowing {
            what: "a window needs a stream, and this is a relation".into(),
            hint: "Remove the bracket: a table or view already is a relation.".into(),
        });
    }
    Err(Error::Windowing {
        what: "a window needs a stream, and the rows of this query can change".into(),
        hint: "Make it a stream: add ISTREAM, DSTREAM or RSTREAM before its select list.".into(),
    })
}

/// A table, or a view that is kept as a relation.
fn base(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(_) => true,
        LogicalPlan::SubqueryAlias(alias) => base(&alias.input),
        _ => false,
    }
}

/// The error of a query that is to be a stream and is none.
pub(super) fn not_monotonic() -> Error {
    Error::Invalid {
        what: "the rows of this query can change, so it is no stream".into(),
        sqlstate: SqlState::WINDOWING_ERROR,
        hint: Some(
            "Make it one: add ISTREAM, DSTREAM or RSTREAM before its select list, or EMIT ON \
             WINDOW CLOSE behind it."
                .into(),
        ),
    }
}

/// Returns what a plan scans, if that is all it does.
pub fn scanned_stream(plan: &LogicalPlan) -> Option<&RelationSource> {
    match plan {
        LogicalPlan::TableScan(scan) => scan
            .source
            .downcast_ref::<RelationSource>()
            .filter(|source| source.is_stream() && source.kind() != ScanKind::Table),
        LogicalPlan::SubqueryAlias(alias) => scanned_stream(&alias.input),
        _ => None,
    }
}

impl PartialOrd for ToStreamNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self.operator, &self.ticks, &self.input).partial_cmp(&(
            other.operator,
            &other.ticks,
            &other.input,
        ))
    }
}

impl UserDefinedLogicalNodeCore for ToStreamNode {
    fn name(&self) -> &str {
        "ToStream"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.relations().collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    #[expect(clippy::disallowed_types, reason = "the trait's own signature")]
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        // A predicate would move below every input; arrivals count whatever it says.
        let stay = !self.arrivals.is_empty();
        let made = self.input.schema().fields().len();
        let fields = self.schema.fields().iter().enumerate();
        let fields = fields.filter(|(column, _)| stay || *column >= made);
        fields.map(|(_, field)| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToStream {} {:?}", self.operator.as_str(), self.ticks)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DfResult<Self> {
        let mut inputs = inputs.into_iter();
        let input = inputs.next().expect("an operator has a relation");
        Self::over((self.operator, self.ticks.clone()), input, inputs.collect())
    }
}

impl Lowering {
    /// ISTREAM and DSTREAM of what only grows are the elements themselves, and nothing.
    pub(super) fn to_stream(&self, node: &ToStreamNode) -> Result<Node, Error> {
        let mut inputs = node.relations().map(|input| self.node(input));
        let input = inputs.next().expect("an operator has a relation")?;
        let schema = relaxed(&node.schema);
        if input.properties.append_only && node.ticks == Ticks::Instants {
            return Ok(match node.operator {
                ToStream::Dstream => {
                    let none = Arc::new(Literal::new(ScalarValue::Boolean(Some(false))));
                    derive::node(Op::Filter(none), vec![input], schema)
                }
                ToStream::Istream | ToStream::Rstream => input,
                ToStream::Changelog => {
                    let columns = input.schema.fields().iter().enumerate();
                    let columns = columns.map(|(i, field)| Arc::new(Column::new(field.name(), i)));
                    let mut exprs: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
                    exprs.extend(columns.map(|column| column as _));
                    exprs.push(Arc::new(Literal::new(ScalarValue::Int64(Some(1)))));
                    derive::node(Op::Project(exprs), vec![input], schema)
                }
            });
        }
        let (operator, ticks) = (node.operator, node.ticks.clone());
        let op = Op::ToStream(plan::ToStream { operator, ticks });
        let inputs = std::iter::once(Ok(input)).chain(inputs).collect::<Result<_, Error>>()?;
        Ok(derive::node(op, inputs, schema))
    }
}
