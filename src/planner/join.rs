//! Joins: how far apart their rows lie in time, when state is freed, and what is proven of them.
//!
//! # Semantics
//! A condition such as `s.ts BETWEEN o.ts AND o.ts + INTERVAL '5 s'` bounds the distance of two
//! times. With a watermark on both it says when a row has met all its partners:
//!
//! ```text
//!   low <= r - l <= high       partners of l = v have r <= v + high
//!                              they are final once W >= v + high + after(r)
//! ```
//!
//! Equal times, as of equal windows, are the case `low = high = 0`. A bound on one side alone frees
//! the other side's rows.
//!
//! # Why
//! A row may be forgotten when nothing can come that it matches, and when nothing that it has
//! matched is retracted. So the partner's time must be final in the strict sense, and the row's own
//! side must be final as well or never retract.

use std::sync::Arc;

use datafusion::common::{JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::{self as logical, Expr, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::asof::AsOfNode;
use super::derive::{self, column_index};
use super::error::Result;
use super::lower::{Lowering, later, relaxed};
use super::plan::{AsOf, Close, Join, Node, Op, TimeBound};
use super::properties::{Finality, Properties, TimeOf};

type Exprs = [Arc<dyn PhysicalExpr>];

impl Lowering {
    /// Lowers a join.
    pub(super) fn join(&self, join: &logical::Join) -> Result<Node> {
        use JoinType::{
            Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi,
        };
        if join.null_aware {
            return Err(later("this NOT IN", "Write it as NOT EXISTS."));
        }
        // What only shows right rows is what only shows left ones, seen from the other side.
        let (kind, swapped) = match join.join_type {
            Inner | Left | Right | Full | LeftSemi | LeftAnti | LeftMark => (join.join_type, false),
            RightSemi => (LeftSemi, true),
            RightAnti => (LeftAnti, true),
            RightMark => (LeftMark, true),
        };
        let mut sides = [&join.left, &join.right];
        let mut on: [Vec<&Expr>; 2] =
            join.on.iter().map(|(left, right)| (left, right)).unzip().into();
        if swapped {
            sides.reverse();
            on.reverse();
        }
        let [left, right] = sides;
        let keys = |side: usize| {
            let keys = on[side].iter().map(|key| self.expr(key, sides[side].schema()));
            keys.collect::<Result<Vec<_>>>()
        };
        let (left_keys, right_keys) = (keys(0)?, keys(1)?);
        let both = left.schema().join(right.schema())?;
        let residual = join.filter.as_ref().map(|f| self.expr(f, &both)).transpose()?;
        let (left, right) = (self.node(left)?, self.node(right)?);
        let width = left.schema.fields().len();
        let bounds = bounds([&left_keys, &right_keys], residual.as_ref(), width);
        let op = Op::Join(Join {
            kind,
            left_keys,
            right_keys,
            residual,
            null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
            frees: frees([&left, &right], &bounds),
            bounds,
        });
        Ok(derive::node(op, vec![left, right], relaxed(&join.schema)))
    }

    /// Lowers an ASOF join.
    pub(super) fn asof(&self, join: &AsOfNode) -> Result<Node> {
        let conditions = join.conditions()?;
        let (left, right) = (self.node(&join.left)?, self.node(&join.right)?);
        let (of_left, of_right): (Vec<_>, Vec<_>) = conditions.keys.into_iter().unzip();
        let (left_time, right_time) = conditions.times;
        let left_time = self.expr(&left_time, join.left.schema())?;
        let time = left_time.data_type(join.left.schema().as_arrow())?;
        if !time.is_numeric() && !time.is_temporal() {
            let hint = "Compare timestamps or numbers.";
            return Err(later("an ASOF join on values that are no times", hint));
        }
        let mut asof = AsOf {
            left_keys: self.exprs(&of_left, join.left.schema())?,
            right_keys: self.exprs(&of_right, join.right.schema())?,
            left_time,
            right_time: self.expr(&right_time, join.right.schema())?,
            after: conditions.after,
            strict: conditions.strict,
            outer: join.outer,
            versions: join.versions,
            settled: false,
            frees: [None, None],
        };
        asof_times(&mut asof, &left, &right);
        use datafusion::logical_expr::UserDefinedLogicalNodeCore;
        Ok(derive::node(Op::AsOf(asof), vec![left, right], relaxed(join.schema())))
    }
}

/// Reads what keys and residual say of the distance between columns; `width` is the number of left
/// columns.
pub(super) fn bounds(
    keys: [&Exprs; 2],
    residual: Option<&Arc<dyn PhysicalExpr>>,
    width: usize,
) -> Vec<TimeBound> {
    let mut bounds = Vec::new();
    for (left, right) in keys[0].iter().zip(keys[1]) {
        if let (Some(left), Some(right)) =
            (column_index(left.as_ref()), column_index(right.as_ref()))
        {
            tighten(&mut bounds, TimeBound { left, right, low: Some(0), high: Some(0) });
        }
    }
    if let Some(residual) = residual {
        conjuncts(residual, &mut |comparison| {
            if let Some(bound) = compared(comparison, width) {
                tighten(&mut bounds, bound);
            }
        });
    }
    bounds
}

/// Adds a bound to what is known of the same two columns.
fn tighten(bounds: &mut Vec<TimeBound>, new: TimeBound) {
    let known = bounds.iter_mut().find(|b| (b.left, b.right) == (new.left, new.right));
    let Some(known) = known else { return bounds.push(new) };
    known.low = known.low.max(new.low);
    known.high = known.high.into_iter().chain(new.high).min();
}

fn conjuncts(expr: &Arc<dyn PhysicalExpr>, f: &mut impl FnMut(&BinaryExpr)) {
    let Some(binary) = expr.downcast_ref::<BinaryExpr>() else { return };
    if *binary.op() == Operator::And {
        conjuncts(binary.left(), f);
        conjuncts(binary.right(), f);
    } else {
        f(binary);
    }
}

/// Columns that are added and taken away, and a constant.
#[derive(Default)]
struct Sum {
    plus: Vec<usize>,
    minus: Vec<usize>,
    constant: i64,
}

impl Sum {
    fn add(&mut self, expr: &dyn PhysicalExpr, negative: bool) -> Option<()> {
        if let Some(column) = expr.downcast_ref::<Column>() {
            let list = if negative { &mut self.minus } else { &mut self.plus };
            list.push(column.index());
        } else if let Some(literal) = expr.downcast_ref::<Literal>() {
            let value = units(literal.value())?;
            let value = if negative { value.checked_neg()? } else { value };
            self.constant = self.constant.checked_add(value)?;
        } else if let Some(cast) = expr.downcast_ref::<CastExpr>() {
            // The difference of two timestamps, as an interval.
            self.add(cast.expr().as_ref(), negative)?;
            if self.plus.len() + self.minus.len() < 2 {
                return None;
            }
        } else {
            let ([left, right], minus) = sum(expr)?;
            self.add(left.as_ref(), negative)?;
            self.add(right.as_ref(), negative != minus)?;
        }
        Some(())
    }
}

/// The parts of a sum or difference, with whether it is a difference.
fn sum(expr: &dyn PhysicalExpr) -> Option<([&Arc<dyn PhysicalExpr>; 2], bool)> {
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        return match binary.op() {
            Operator::Plus => Some(([binary.left(), binary.right()], false)),
            Operator::Minus => Some(([binary.left(), binary.right()], true)),
            _ => None,
        };
    }
    // Integers are added by a function, which checks for overflow.
    let function = expr.downcast_ref::<ScalarFunctionExpr>()?;
    let [left, right] = function.args() else { return None };
    match function.name() {
        "plus" => Some(([left, right], false)),
        "minus" => Some(([left, right], true)),
        _ => None,
    }
}

/// A constant span in microseconds, or a number.
fn units(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::Int64(value) | ScalarValue::DurationMicrosecond(value) => *value,
        ScalarValue::IntervalMonthDayNano(Some(span))
            if span.months == 0 && span.nanoseconds % 1_000 == 0 =>
        {
            i64::from(span.days).checked_mul(86_400_000_000)?.checked_add(span.nanoseconds / 1_000)
        }
        _ => None,
    }
}

/// Reads a comparison of a left with a right column.
fn compared(comparison: &BinaryExpr, width: usize) -> Option<TimeBound> {
    let mut sum = Sum::default();
    sum.add(comparison.left().as_ref(), false)?;
    sum.add(comparison.right().as_ref(), true)?;
    let ([plus], [minus]) = (sum.plus.as_slice(), sum.minus.as_slice()) else { return None };
    let (plus, minus) = (*plus, *minus);
    // plus - minus + constant op 0, with right - left as the unknown.
    let (left, right, op, distance) = match (plus < width, minus < width) {
        (false, true) => (minus, plus, *comparison.op(), sum.constant.checked_neg()?),
        (true, false) => (plus, minus, comparison.op().swap()?, sum.constant),
        _ => return None,
    };
    let (low, high) = match op {
        Operator::Eq => (Some(distance), Some(distance)),
        Operator::Lt => (None, Some(distance.checked_sub(1)?)),
        Operator::LtEq => (None, Some(distance)),
        Operator::Gt => (Some(distance.checked_add(1)?), None),
        Operator::GtEq => (Some(distance), None),
        _ => return None,
    };
    Some(TimeBound { left, right: right - width, low, high })
}

impl TimeBound {
    /// The columns of one side and of the other, and how much later the other's time may be.
    fn from(&self, side: usize) -> Option<(usize, usize, i64)> {
        match side {
            0 => Some((self.left, self.right, self.high?)),
            _ => Some((self.right, self.left, self.low?.checked_neg()?)),
        }
    }
}

/// When state rows of a join's sides can match no longer.
pub(super) fn frees(inputs: [&Node; 2], bounds: &[TimeBound]) -> [Option<Close>; 2] {
    [0, 1].map(|side| {
        let (own, other) = (&inputs[side].properties, &inputs[1 - side].properties);
        let strict = |p: &Properties, column: usize| p.finality[column].filter(|f| f.strict);
        let closes = bounds.iter().filter_map(|bound| {
            let (column, partner, reach) = bound.from(side)?;
            let after = reach.checked_add(strict(other, partner)?.after)?;
            match strict(own, column) {
                Some(finality) => Some((false, Close { column, after: after.max(finality.after) })),
                // Rows of other times never come late, but rows like these may: they come, meet
                // what is there, and go with the next watermark.
                None => own.append_only.then_some((true, Close { column, after })),
            }
        });
        closes.min_by_key(|(open, close)| (*open, close.after)).map(|(_, close)| close)
    })
}

/// Whether a join bounds the distance of two event times on both sides.
pub(super) fn is_interval(join: &Join, inputs: &[Node]) -> bool {
    let instant = |node: &Node, column: usize| {
        node.properties.finality[column].is_some_and(|f| f.strict && f.of == TimeOf::Instant)
    };
    join.bounds.iter().any(|bound| {
        let apart = bound.low.zip(bound.high).is_some_and(|(low, high)| low < high);
        apart && instant(&inputs[0], bound.left) && instant(&inputs[1], bound.right)
    })
}

/// What is proven of a join's output.
pub(super) fn properties(join: &Join, inputs: &[Node]) -> Properties {
    let (left, right) = (&inputs[0].properties, &inputs[1].properties);
    let (pads_left, pads_right) = match join.kind {
        JoinType::Left => (false, true),
        JoinType::Right => (true, false),
        JoinType::Full => (true, true),
        _ => (false, false),
    };
    let mut finality = finality_of(join, inputs, 0, pads_left);
    let shows_right =
        !matches!(join.kind, JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark);
    if shows_right {
        finality.extend(finality_of(join, inputs, 1, pads_right));
    }
    let both_append = left.append_only && right.append_only;
    Properties {
        append_only: both_append && matches!(join.kind, JoinType::Inner | JoinType::LeftSemi),
        finality,
        size: left.size.max(right.size),
        ..Properties::default()
    }
}

/// How the watermark makes joined rows final by the columns of one side.
fn finality_of(join: &Join, inputs: &[Node], side: usize, pads: bool) -> Vec<Option<Finality>> {
    let (own, other) = (&inputs[side].properties, &inputs[1 - side].properties);
    let joined = |column: usize| {
        let finality = own.finality[column]?;
        if pads {
            // A padded row has NULL instead of the value, so the value says nothing of it.
            return None;
        }
        if other.timeless {
            return Some(Finality { strict: false, ..finality });
        }
        let closes = join.bounds.iter().filter_map(|bound| {
            let (bounded, partner, reach) = bound.from(side)?;
            let (of_bounded, of_partner) = (own.finality[bounded]?, other.finality[partner]?);
            let alike = bounded == column
                || matches!(finality.of, TimeOf::Window(_)) && finality.of == of_bounded.of;
            let wait = reach.checked_add(of_partner.after)?.checked_sub(of_bounded.after)?.max(0);
            let strict = finality.strict && of_bounded.strict && of_partner.strict;
            let after = finality.after.checked_add(wait)?;
            alike.then_some(Finality { after, strict, ..finality })
        });
        closes.min_by_key(|finality| (!finality.strict, finality.after))
    };
    (0..own.finality.len()).map(joined).collect()
}

/// Completes what an ASOF join of these inputs may rely on: when rows are final, and whether a pick
/// is final at once.
pub(super) fn asof_times(join: &mut AsOf, left: &Node, right: &Node) {
    let time = |node: &Node, time: &Arc<dyn PhysicalExpr>| {
        let column = column_index(time.as_ref())?;
        let finality = node.properties.finality[column].filter(|f| f.strict)?;
        Some((column, finality))
    };
    // Which row is the least of those to come is never known.
    if join.after {
        return;
    }
    let times = (time(left, &join.left_time), time(right, &join.right_time));
    let (Some((left_time, of_left)), Some((right_time, of_right))) = times else { return };
    let after = of_left.after.max(of_right.after);
    join.frees = [left_time, right_time].map(|column| Some(Close { column, after }));
    let event = |node: &Node, f: Finality| {
        node.properties.append_only && f.after == 1 && f.of == TimeOf::Instant
    };
    join.settled = event(left, of_left) && event(right, of_right);
}

/// What is proven of an ASOF join's output.
pub(super) fn asof_properties(join: &AsOf, inputs: &[Node]) -> Properties {
    let (left, right) = (&inputs[0].properties, &inputs[1].properties);
    let of = |column: usize| {
        let finality = left.finality[column]?;
        match join.frees[0] {
            _ if join.settled => Some(finality),
            _ if right.timeless => Some(Finality { strict: false, ..finality }),
            Some(close) if close.column == column => {
                Some(Finality { after: close.after, ..finality })
            }
            _ => None,
        }
    };
    Properties {
        append_only: join.settled,
        finality: (0..left.finality.len()).map(of).collect(),
        size: left.size,
        ..Properties::default()
    }
}
