//! Aggregates over sorted rows, for queries that run once.
//!
//! # Semantics
//! A call with ORDER BY or DISTINCT inside of a function that sees the order of its rows
//! (`array_agg`, `string_agg`, `first_value`, ..) becomes a call of `InOrder`: its arguments are
//! the function's, then what they are ordered by. So does one with DISTINCT of a function for which
//! DataFusion does not know it (`stddev`, `corr`, ..). The rows of a group are collected, sorted,
//! rid of equal arguments if they are to be distinct, and given to the function.
//!
//! # Why
//! DataFusion sorts the whole input once for all calls, so it refuses two orders that contradict
//! each other; and DISTINCT of one call changes how the others are planned. A call that sorts for
//! itself asks nothing of the plan around it. (Continuous queries keep rows sorted.)
//!
//! # Cost
//! All arguments of a group are kept, and sorted once.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray, UInt32Array, new_empty_array};
use arrow::compute::{SortOptions, concat, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Expr, LogicalPlan, Signature,
    Volatility,
};

/// Functions that see the order of their rows.
const ORDERED: [&str; 5] = ["array_agg", "string_agg", "first_value", "last_value", "nth_value"];

/// Beginnings of the names of functions for which DataFusion refuses DISTINCT, or overlooks it.
const NEVER_DISTINCT: [&str; 4] = ["stddev", "covar_", "corr", "regr_"];

/// Lets the calls of a settled plan sort their rows themselves.
pub fn sorting_calls(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Aggregate(mut aggregate) = node else { return Ok(Transformed::no(node)) };
        let old = Arc::clone(&aggregate.schema);
        let groups = old.fields().len() - aggregate.aggr_expr.len();
        let mut changed = false;
        for (i, call) in aggregate.aggr_expr.iter_mut().enumerate() {
            let sorted = call.clone().unalias().transform_up(sorting)?;
            if sorted.transformed {
                *call = sorted.data.alias(old.field(groups + i).name());
                changed = true;
            }
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
        }
        let Aggregate { input, group_expr, aggr_expr, .. } = aggregate;
        let aggregate = Aggregate::try_new(input, group_expr, aggr_expr)?;
        Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
    })?;
    Ok(plan.data)
}

/// The call that sorts for itself, in place of one that wants its rows sorted.
fn sorting(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::AggregateFunction(AggregateFunction { func, mut params }) = expr else {
        return Ok(Transformed::no(expr));
    };
    let named = |beginning: &&str| func.name().starts_with(beginning);
    let sorts = ORDERED.contains(&func.name()) && (params.distinct || !params.order_by.is_empty());
    if !(sorts || params.distinct && NEVER_DISTINCT.iter().any(named)) {
        return Ok(Transformed::no(Expr::AggregateFunction(AggregateFunction { func, params })));
    }
    let arguments = params.args.len();
    if params.distinct && !params.order_by.iter().all(|by| names(&params.args, &by.expr)) {
        return exec_err!(
            "In an aggregate with DISTINCT, ORDER BY expressions must appear in argument list"
        );
    }
    let options = |asc: bool, nulls_first| SortOptions { descending: !asc, nulls_first };
    let order = params.order_by.iter().map(|by| options(by.asc, by.nulls_first)).collect();
    params.args.extend(std::mem::take(&mut params.order_by).into_iter().map(|by| by.expr));
    let distinct = std::mem::take(&mut params.distinct);
    let signature = Signature::user_defined(Volatility::Immutable);
    let name = format!("{}_in_order", func.name());
    let func = AggregateUDF::from(InOrder { name, func, arguments, order, distinct, signature });
    let call = AggregateFunction { func: Arc::new(func), params };
    Ok(Transformed::yes(Expr::AggregateFunction(call)))
}

/// Whether an expression is one of the arguments, which may have been given another type.
fn names(arguments: &[Expr], expr: &Expr) -> bool {
    let plain = |expr: &Expr| match expr {
        Expr::Cast(cast) => cast.expr.as_ref().clone(),
        other => other.clone(),
    };
    arguments.iter().any(|argument| plain(argument) == plain(expr))
}

/// An aggregate of sorted rows.
#[derive(Debug, PartialEq, Eq, Hash)]
struct InOrder {
    name: String,
    /// What gets the rows.
    func: Arc<AggregateUDF>,
    /// Number of its arguments; what they are ordered by stands behind them.
    arguments: usize,
    order: Vec<SortOptions>,
    /// Whether of rows with equal arguments the first one counts.
    distinct: bool,
    signature: Signature,
}

impl AggregateUDFImpl for InOrder {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.func.return_type(&arguments[..self.arguments])
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        self.func.return_field(&arguments[..self.arguments])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_null_handling_clause(&self) -> bool {
        true
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let types = args.input_fields.iter().map(|field| field.data_type().clone());
        let rows = Field::new_list_field(DataType::Struct(fields(types)), true);
        let rows = Field::new_list(format_state_name(args.name, "rows"), rows, true);
        Ok(vec![Arc::new(rows)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let types = args.expr_fields.iter().map(|field| field.data_type().clone());
        let fields = fields(types);
        let function = self.func.accumulator(AccumulatorArgs {
            exprs: &args.exprs[..self.arguments],
            expr_fields: &args.expr_fields[..self.arguments],
            order_bys: &[],
            is_distinct: false,
            ..args
        })?;
        let (order, distinct) = (self.order.clone(), self.distinct);
        Ok(Box::new(Collected { function, fields, order, distinct, parts: Vec::new() }))
    }
}

fn fields(types: impl Iterator<Item = DataType>) -> Fields {
    types.enumerate().map(|(i, of)| Field::new(i.to_string(), of, true)).collect()
}

/// The rows of a group.
#[derive(Debug)]
struct Collected {
    function: Box<dyn Accumulator>,
    /// Columns: arguments, then what they are ordered by.
    fields: Fields,
    order: Vec<SortOptions>,
    distinct: bool,
    parts: Vec<StructArray>,
}

impl Collected {
    fn together(&self) -> Result<StructArray> {
        let parts: Vec<&dyn Array> = self.parts.iter().map(|part| part as &dyn Array).collect();
        match parts.is_empty() {
            true => Ok(new_empty_array(&DataType::Struct(self.fields.clone())).as_struct().clone()),
            false => Ok(concat(&parts)?.as_struct().clone()),
        }
    }

    /// The arguments in order.
    fn sorted(&self) -> Result<Vec<ArrayRef>> {
        let rows = self.together()?;
        let (arguments, keys) = rows.columns().split_at(self.fields.len() - self.order.len());
        let mut order: Vec<u32> = (0..).take(rows.len()).collect();
        if !keys.is_empty() {
            let encoded = encoded(keys, self.order.iter().copied())?;
            order.sort_by_key(|row| encoded.row(*row as usize));
        }
        if self.distinct {
            let encoded = encoded(arguments, std::iter::repeat(SortOptions::default()))?;
            let mut seen = BTreeSet::new();
            order.retain(|row| seen.insert(encoded.row(*row as usize)));
        }
        let order = UInt32Array::from(order);
        let sorted = arguments.iter().map(|argument| take(argument, &order, None));
        Ok(sorted.collect::<std::result::Result<_, _>>()?)
    }
}

/// Rows as bytes that compare as they do.
fn encoded(columns: &[ArrayRef], order: impl Iterator<Item = SortOptions>) -> Result<Rows> {
    let fields = columns
        .iter()
        .zip(order)
        .map(|(column, options)| SortField::new_with_options(column.data_type().clone(), options));
    Ok(RowConverter::new(fields.collect())?.convert_columns(columns)?)
}

impl Accumulator for Collected {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.parts.push(StructArray::try_new(self.fields.clone(), values.to_vec(), None)?);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let lists = states[0].as_list::<i32>();
        self.parts.extend(lists.iter().flatten().map(|rows| rows.as_struct().clone()));
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let rows = SingleRowListArrayBuilder::new(Arc::new(self.together()?));
        Ok(vec![rows.build_list_scalar()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sorted = self.sorted()?;
        self.function.update_batch(&sorted)?;
        self.function.evaluate()
    }

    fn size(&self) -> usize {
        let parts = self.parts.iter().map(|part| part.get_array_memory_size());
        size_of_val(self) + self.function.size() + parts.sum::<usize>()
    }
}
