//! Joins that pick one partner per row: ASOF JOIN, and a table's version at a row's time.
//!
//! # Semantics
//! The pre-pass leaves such a join as an inner or left one whose condition is wrapped into a
//! function; here it becomes a node of its own, [`AsOfNode`]. `t FOR SYSTEM_TIME AS OF e` is an
//! ASOF join on the versions of `t`: the rows that were ever written to it, each from its own time
//! on until the next of its key, and deletions among them.
//!
//! # Invariants
//! Conditions are equalities between the two sides, and one comparison of their times. Nothing is
//! pushed below the node: a row that is filtered out would let another one be picked.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DFSchemaRef, JoinType, exec_err};
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::expr::{BinaryExpr, ScalarFunction};
use datafusion::logical_expr::logical_plan::builder::build_join_schema;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Extension, Join, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, SubqueryAlias, Volatility,
};

use super::error::Error;
use super::relation::RelationSource;
use crate::error::SqlState;

/// Marks the condition of an ASOF join.
const ASOF: &str = "$asof";
/// Marks the condition of a join with versions, behind the time they are looked up at.
const AS_OF: &str = "$as_of";
/// The last column of versions: whether the row is gone from then on.
pub const DELETED: &str = "$deleted";

/// Returns the function that marks the condition of such a join.
pub(super) fn marker(name: &str) -> Option<Arc<ScalarUDF>> {
    let name = [ASOF, AS_OF].into_iter().find(|marker| *marker == name)?;
    let signature = Signature::variadic_any(Volatility::Immutable);
    Some(Arc::new(ScalarUDF::from(Marker { name, signature })))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        exec_err!("a mark of the parser is no function")
    }
}

/// A join that picks for each left row the nearest right one of its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AsOfNode {
    /// The rows that look up.
    pub left: LogicalPlan,
    /// The rows that are looked up; the last column of versions is not shown.
    pub right: LogicalPlan,
    /// Equalities, and the comparison of times.
    pub conditions: Vec<Expr>,
    /// Whether left rows that pick nothing are kept.
    pub outer: bool,
    /// Whether right rows are the versions of a table.
    pub versions: bool,
    schema: DFSchemaRef,
}

/// What the conditions of an [`AsOfNode`] say, with left expressions first.
pub struct Conditions {
    /// Left and right of each equality.
    pub keys: Vec<(Expr, Expr)>,
    /// Left and right time.
    pub times: (Expr, Expr),
    /// Whether right times come after the left one; else before it.
    pub after: bool,
    /// Whether equal times do not match.
    pub strict: bool,
}

/// Returns the node that a logical node is, if it is one.
pub fn asof_node(plan: &LogicalPlan) -> Option<&AsOfNode> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
        _ => None,
    }
}

/// Makes nodes of marked joins.
pub(super) fn place(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let placed = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) => match marked(&join) {
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
            Some((name, args)) => {
                let node = AsOfNode::of(&join, name, &args)?;
                Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(node) })))
            }
        },
        other => Ok(Transformed::no(other)),
    })?;
    Ok(placed.data)
}

fn marked(join: &Join) -> Option<(&'static str, Vec<Expr>)> {
    let Some(Expr::ScalarFunction(ScalarFunction { func, args })) = &join.filter else {
        return None;
    };
    let name = [ASOF, AS_OF].into_iter().find(|marker| *marker == func.name())?;
    Some((name, args.clone()))
}

fn unsupported(what: &str, hint: &str) -> DataFusionError {
    Error::Unsupported { what: what.to_owned(), hint: hint.to_owned() }.into()
}

impl AsOfNode {
    fn of(join: &Join, name: &str, args: &[Expr]) -> DfResult<Self> {
        let (left, mut right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
        let outer = match join.join_type {
            JoinType::Inner => false,
            JoinType::Left => true,
            other => {
                let hint = "Write ASOF JOIN or ASOF LEFT JOIN.";
                return Err(unsupported(
                    &format!("an ASOF join that is {other} is not supported"),
                    hint,
                ));
            }
        };
        let (condition, before) = args.split_last().expect("the parser gives a condition");
        let mut conditions: Vec<Expr> = split_conjunction(condition).into_iter().cloned().collect();
        let versions = name == AS_OF;
        if versions {
            let (table, time) = versions_of(&mut right)?;
            let at = before.first().expect("the parser gives the time").clone();
            conditions.push(at.gt_eq(time));
            require_key(&table, &conditions, &right)?;
        } else {
            let matches = before.iter().flat_map(split_conjunction).cloned();
            conditions.extend(matches);
        }
        conditions.retain(|e| !matches!(e, Expr::Literal(value, _) if *value == true.into()));
        let node = Self::new(left, right, conditions, outer, versions)?;
        node.conditions()?;
        Ok(node)
    }

    fn new(
        left: LogicalPlan,
        right: LogicalPlan,
        conditions: Vec<Expr>,
        outer: bool,
        versions: bool,
    ) -> DfResult<Self> {
        let kind = if outer { JoinType::Left } else { JoinType::Inner };
        let schema = build_join_schema(left.schema(), right.schema(), &kind)?;
        let shown = schema.fields().len() - usize::from(versions);
        let fields = schema.iter().take(shown).map(|(q, f)| (q.cloned(), Arc::clone(f))).collect();
        let schema = DFSchema::new_with_metadata(fields, schema.metadata().clone())?;
        Ok(Self { left, right, conditions, outer, versions, schema: Arc::new(schema) })
    }

    /// Tells equalities from the comparison of times.
    pub fn conditions(&self) -> DfResult<Conditions> {
        let usage = |what: &str| {
            let hint =
                "Write ON a.k = b.k AND a.ts >= b.ts: equalities and one comparison of times.";
            unsupported(what, hint)
        };
        let (mut keys, mut times) = (Vec::new(), None);
        for condition in &self.conditions {
            let (left, op, right) = self.sides(condition).ok_or_else(|| {
                usage(&format!(
                    "ASOF JOIN on \"{condition}\", which does not compare its two sides, is not \
                     supported"
                ))
            })?;
            match op {
                Operator::Eq => keys.push((left, right)),
                _ if times.is_some() => {
                    return Err(usage("ASOF JOIN on two comparisons is not supported"));
                }
                _ => times = Some((left, op, right)),
            }
        }
        let (left, op, right) = times
            .ok_or_else(|| usage("ASOF JOIN without a comparison of times is not supported"))?;
        let after = matches!(op, Operator::Lt | Operator::LtEq);
        let strict = matches!(op, Operator::Lt | Operator::Gt);
        Ok(Conditions { keys, times: (left, right), after, strict })
    }

    /// Splits a comparison into its left and its right side.
    fn sides(&self, condition: &Expr) -> Option<(Expr, Operator, Expr)> {
        // Rewritten conditions keep their names as aliases.
        let condition = condition.clone().unalias_nested().data;
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
        use Operator::{Eq, Gt, GtEq, Lt, LtEq};
        if !matches!(op, Eq | Gt | GtEq | Lt | LtEq) {
            return None;
        }
        let of = |expr: &Expr, plan: &LogicalPlan| {
            let columns = expr.column_refs();
            !columns.is_empty() && columns.iter().all(|column| plan.schema().has_column(column))
        };
        if of(&left, &self.left) && of(&right, &self.right) {
            Some((*left, op, *right))
        } else if of(&right, &self.left) && of(&left, &self.right) {
            Some((*right, op.swap()?, *left))
        } else {
            None
        }
    }
}

/// Lets a relation show its versions whole; returns the table and the time of its versions.
fn versions_of(plan: &mut LogicalPlan) -> DfResult<(RelationSource, Expr)> {
    let renamed = || {
        unsupported(
            "a list of columns behind FOR SYSTEM_TIME AS OF is not supported",
            "Leave it out.",
        )
    };
    let LogicalPlan::SubqueryAlias(alias) = &*plan else { return Err(renamed()) };
    let LogicalPlan::Projection(projection) = alias.input.as_ref() else { return Err(renamed()) };
    let LogicalPlan::TableScan(scan) = projection.input.as_ref() else { return Err(renamed()) };
    let source = scan.source.downcast_ref::<RelationSource>().ok_or_else(renamed)?.clone();
    let name = alias.alias.clone();
    let all = SubqueryAlias::try_new(Arc::clone(&projection.input), name)?;
    let time = source.event_time().expect("versions have a time");
    let time = Expr::Column(all.schema.qualified_field(time).into());
    *plan = LogicalPlan::SubqueryAlias(all);
    Ok((source, time))
}

/// A version is one row of one key, so the key must be given.
fn require_key(
    versions: &RelationSource,
    conditions: &[Expr],
    right: &LogicalPlan,
) -> DfResult<()> {
    let given = |index: usize| {
        let column = Expr::Column(right.schema().qualified_field(index).into());
        conditions.iter().any(|condition| match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                **left == column || **right == column
            }
            _ => false,
        })
    };
    let missing = versions.primary_key().iter().find(|index| !given(**index));
    match missing {
        None => Ok(()),
        Some(index) => Err(Error::Invalid {
            what: format!(
                "the join does not say which \"{}\" of table \"{}\"",
                versions.object.columns[*index].name, versions.object.name
            ),
            sqlstate: SqlState::FEATURE_NOT_SUPPORTED,
            hint: Some("Compare every column of its primary key in ON.".into()),
        }
        .into()),
    }
}

impl PartialOrd for AsOfNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let all = |node: &Self| (node.conditions.clone(), node.outer, node.versions);
        (&self.left, &self.right, all(self)).partial_cmp(&(&other.left, &other.right, all(other)))
    }
}

impl datafusion::logical_expr::UserDefinedLogicalNodeCore for AsOfNode {
    fn name(&self) -> &str {
        "AsOf"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.conditions.clone()
    }

    #[expect(clippy::disallowed_types, reason = "the trait's own signature")]
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsOf {:?}", self.conditions)
    }

    fn with_exprs_and_inputs(
        &self,
        conditions: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        let right = inputs.pop().expect("an ASOF join has two inputs");
        let left = inputs.pop().expect("an ASOF join has two inputs");
        Self::new(left, right, conditions, self.outer, self.versions)
    }
}
