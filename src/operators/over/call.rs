//! The functions of OVER, their frames, and how far a change reaches.
//!
//! # Semantics
//! A frame is given by two edges relative to a row: so many rows or groups of peers away, at a
//! distance in the value of the ORDER BY key, or at an end of the partition. From the edges follows
//! which rows a change at some place can affect ([`Reaches::affects`]), and which rows around those
//! their frames look at ([`Reaches::needs`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::kernels::numeric::{add, sub};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

use super::frame::Exclude;
use crate::operators::Result;
use crate::operators::aggregate::{Call, fold};

/// A function over the rows of a partition.
#[derive(Clone, Debug)]
pub enum OverFunction {
    /// The position of the row, from 1.
    RowNumber,
    /// The position of its first peer.
    Rank,
    /// The number of its group of peers, from 1.
    DenseRank,
    /// `(rank - 1) / (rows - 1)`.
    PercentRank,
    /// The position of its last peer by the number of rows.
    CumeDist,
    /// The number, from 1, of one of so many parts as equal as possible.
    Ntile(i64),
    /// lag (a positive offset) and lead.
    Shift {
        /// What is read there.
        value: Arc<dyn PhysicalExpr>,
        /// How many rows before the row.
        offset: i64,
        /// What is said where there is no such row.
        default: Option<Arc<dyn PhysicalExpr>>,
        /// Whether rows with a NULL value are not counted.
        ignore_nulls: bool,
    },
    /// first_value, last_value, nth_value.
    Pick {
        /// What is read there.
        value: Arc<dyn PhysicalExpr>,
        /// Which row of the frame: from 1, or from -1 backwards.
        place: i64,
        /// Whether rows with a NULL value are not counted.
        ignore_nulls: bool,
    },
    /// An aggregate of the frame.
    Aggregate(Call),
}

/// A call of a function with its frame.
#[derive(Clone, Debug)]
pub struct OverCall {
    /// What is called.
    pub function: OverFunction,
    /// ROWS, RANGE or GROUPS; functions that have no frame do not look at it.
    pub frame: WindowFrame,
    /// What the frame leaves out.
    pub exclude: Exclude,
}

/// One end of a frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Edge {
    /// The start of the partition.
    First,
    /// Its end.
    Last,
    /// So many rows after the row.
    Rows(i64),
    /// The end of the group so many groups after the row's.
    Groups(i64),
    /// Rows up to a value of the key.
    Range(Shift),
}

/// A distance in the value of the single ORDER BY key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shift {
    by: ScalarValue,
    /// Towards greater values.
    up: bool,
}

/// How far to go from a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reach {
    /// To the end of the partition.
    All,
    /// So many rows.
    Rows(usize),
    /// So many groups of peers, and to the end of the last one.
    Groups(usize),
    /// To a value of the key.
    Range(Shift),
}

/// How far to go in both directions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Span {
    pub(super) back: Vec<Reach>,
    pub(super) forward: Vec<Reach>,
}

/// What the calls of an operator need beside the rows of a change.
#[derive(Debug, Default)]
pub(super) struct Reaches {
    /// Rows that a change affects.
    pub(super) affects: Span,
    /// Rows that the frames of these look at.
    pub(super) needs: Span,
    /// So many rows at the start and the end of the partition.
    pub(super) anchors: [usize; 2],
    /// Whether positions are kept with the rows.
    pub(super) positions: bool,
    /// Whether the last row before a frame may matter, however far it is.
    pub(super) predecessor: bool,
}

impl Shift {
    /// Returns the values at that distance; those that are out of range are at its end.
    pub(super) fn apply(&self, keys: &ArrayRef) -> Result<ArrayRef> {
        let shifted = self.calculate(keys);
        let shifted = match shifted {
            Ok(shifted) => shifted,
            Err(_) if keys.len() > 1 => {
                let parts = (0..keys.len()).map(|i| self.apply(&keys.slice(i, 1)));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
                arrow::compute::concat(&parts)?
            }
            Err(error) => {
                let end = if self.up { ScalarValue::max } else { ScalarValue::min };
                end(keys.data_type()).ok_or(error)?.to_array()?
            }
        };
        Ok(cast(&shifted, keys.data_type())?)
    }

    fn calculate(&self, keys: &ArrayRef) -> Result<ArrayRef> {
        let by = self.by.to_scalar()?;
        Ok(if self.up { add(keys, &by)? } else { sub(keys, &by)? })
    }

    /// The distance back to the rows for which this one leads here. Months have no inverse: the
    /// days by which they differ are added.
    fn inverse(&self) -> Self {
        const DAYS: i32 = 3;
        let by = match &self.by {
            ScalarValue::IntervalMonthDayNano(Some(i)) if i.months != 0 => {
                let wide = IntervalMonthDayNano::new(i.months, i.days + DAYS, i.nanoseconds);
                ScalarValue::IntervalMonthDayNano(Some(wide))
            }
            by => by.clone(),
        };
        Self { by, up: !self.up }
    }

    /// At most so far, in microseconds, or units of an integer key.
    pub(super) fn extent(&self) -> i64 {
        match &self.by {
            ScalarValue::IntervalMonthDayNano(Some(i)) => {
                let days = i64::from(i.months) * 31 + i64::from(i.days);
                days.saturating_mul(86_400_000_000).saturating_add(i.nanoseconds / 1_000 + 1)
            }
            by => match by.cast_to(&DataType::Int64) {
                Ok(ScalarValue::Int64(Some(extent))) => extent,
                _ => i64::MAX,
            },
        }
    }
}

impl Edge {
    fn new(bound: &WindowFrameBound, units: WindowFrameUnits, order: Option<SortOptions>) -> Self {
        let (by, after) = match bound {
            WindowFrameBound::Preceding(by) if by.is_null() => return Edge::First,
            WindowFrameBound::Following(by) if by.is_null() => return Edge::Last,
            WindowFrameBound::CurrentRow => (None, false),
            WindowFrameBound::Preceding(by) => (Some(by), false),
            WindowFrameBound::Following(by) => (Some(by), true),
        };
        let count = |by: &ScalarValue| match by.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(Some(count))) => count,
            _ => i64::MAX,
        };
        let signed = by.map_or(0, |by| if after { count(by) } else { -count(by) });
        match (units, by) {
            (WindowFrameUnits::Rows, _) => Edge::Rows(signed),
            (WindowFrameUnits::Groups, _) | (WindowFrameUnits::Range, None) => Edge::Groups(signed),
            (WindowFrameUnits::Range, Some(by)) => {
                let descending = order.is_some_and(|order| order.descending);
                Edge::Range(Shift { by: by.clone(), up: after != descending })
            }
        }
    }

    /// How far back from a change the rows lie whose frame ends there, if this is the end.
    fn back(&self) -> Reach {
        match self {
            Edge::First => Reach::Rows(0),
            Edge::Last => Reach::All,
            Edge::Rows(n) => Reach::Rows(positive(*n)),
            Edge::Groups(n) => Reach::Groups(positive(*n)),
            Edge::Range(shift) => Reach::Range(shift.inverse()),
        }
    }

    /// How far after a change the rows lie whose frame starts there, if this is the start.
    fn forward(&self) -> Reach {
        match self {
            Edge::First => Reach::All,
            Edge::Last => Reach::Rows(0),
            Edge::Rows(n) => Reach::Rows(positive(n.saturating_neg())),
            Edge::Groups(n) => Reach::Groups(positive(n.saturating_neg())),
            Edge::Range(shift) => Reach::Range(shift.inverse()),
        }
    }

    /// Adds how far around a row its frame's edge lies.
    fn needs(&self, span: &mut Span) {
        match self {
            Edge::First | Edge::Last => {}
            Edge::Rows(n) => {
                span.back.push(Reach::Rows(positive(n.saturating_neg())));
                span.forward.push(Reach::Rows(positive(*n)));
            }
            Edge::Groups(n) => {
                span.back.push(Reach::Groups(positive(n.saturating_neg())));
                span.forward.push(Reach::Groups(positive(*n)));
            }
            Edge::Range(shift) => {
                span.back.extend([Reach::Groups(0), Reach::Range(shift.clone())]);
                span.forward.extend([Reach::Groups(0), Reach::Range(shift.clone())]);
            }
        }
    }
}

fn positive(n: i64) -> usize {
    usize::try_from(n).unwrap_or(0)
}

type Expr = Arc<dyn PhysicalExpr>;

impl OverFunction {
    /// What it reads of rows: its filter, if it has one, then its arguments.
    pub(super) fn reads(&self) -> (Option<Expr>, Vec<Expr>) {
        match self {
            OverFunction::Shift { value, default, .. } => {
                (None, std::iter::once(value).chain(default).cloned().collect())
            }
            OverFunction::Pick { value, .. } => (None, vec![Arc::clone(value)]),
            OverFunction::Aggregate(call) => (call.filter.clone(), call.arguments()),
            _ => (None, Vec::new()),
        }
    }

    /// Whether it is an aggregate from whose value rows can be taken back, exactly and in any
    /// order. Others are computed from all rows of each frame.
    pub(super) fn slides(&self) -> bool {
        matches!(self, OverFunction::Aggregate(call) if fold::slides(&call.function))
    }
}

impl OverCall {
    /// Start and end of the frame, for rows in this order.
    pub(super) fn edges(&self, order: Option<SortOptions>) -> [Edge; 2] {
        let WindowFrame { units, start_bound, end_bound, .. } = &self.frame;
        [Edge::new(start_bound, *units, order), Edge::new(end_bound, *units, order)]
    }

    fn reach(&self, order: Option<SortOptions>, reaches: &mut Reaches) {
        let Reaches { affects, needs, anchors, positions, predecessor } = reaches;
        match &self.function {
            OverFunction::RowNumber | OverFunction::Rank | OverFunction::DenseRank => {
                affects.forward.push(Reach::All);
                *positions = true;
            }
            OverFunction::PercentRank | OverFunction::CumeDist | OverFunction::Ntile(_) => {
                affects.back.push(Reach::All);
                affects.forward.push(Reach::All);
                *positions = true;
            }
            OverFunction::Shift { ignore_nulls: true, offset, .. } => {
                let (toward, away) = match *offset >= 0 {
                    true => (&mut affects.forward, &mut needs.back),
                    false => (&mut affects.back, &mut needs.forward),
                };
                toward.push(Reach::All);
                away.push(Reach::All);
            }
            OverFunction::Shift { offset, .. } => {
                let edge = Edge::Rows(offset.saturating_neg());
                affects.back.push(edge.back());
                affects.forward.push(edge.forward());
                edge.needs(needs);
            }
            OverFunction::Pick { .. } | OverFunction::Aggregate(_) => {
                let [start, end] = self.edges(order);
                affects.back.push(end.back());
                affects.forward.push(start.forward());
                start.needs(needs);
                end.needs(needs);
                if self.exclude != Exclude::NoOthers {
                    Edge::Groups(0).needs(needs);
                }
                *predecessor |= start == Edge::First && !self.function.slides();
                self.ends(&start, &end, needs, anchors);
            }
        }
    }

    /// Adds what a frame that is open at an end needs of that end.
    fn ends(&self, start: &Edge, end: &Edge, needs: &mut Span, anchors: &mut [usize; 2]) {
        let mut whole = [*start == Edge::First, *end == Edge::Last];
        match self.function {
            // A row at an end of the partition is found there.
            OverFunction::Pick { place, ignore_nulls: false, .. }
                if self.exclude == Exclude::NoOthers =>
            {
                let count = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX);
                if whole[0] && place > 0 {
                    anchors[0] = anchors[0].max(count);
                }
                if whole[1] && place < 0 {
                    anchors[1] = anchors[1].max(count);
                }
                whole = [false, whole[1] && !whole[0] && place > 1];
            }
            _ if self.function.slides() => return,
            _ => {}
        }
        if whole[0] {
            needs.back.push(Reach::All);
        }
        if whole[1] {
            needs.forward.push(Reach::All);
        }
    }
}

impl Reaches {
    /// What these calls need, for rows ordered so.
    pub(super) fn new(calls: &[OverCall], order: Option<SortOptions>) -> Self {
        let mut reaches = Self::default();
        // A row that comes is itself affected.
        reaches.affects.back.push(Reach::Rows(0));
        reaches.affects.forward.push(Reach::Rows(0));
        calls.iter().for_each(|call| call.reach(order, &mut reaches));
        for list in [
            &mut reaches.affects.back,
            &mut reaches.affects.forward,
            &mut reaches.needs.back,
            &mut reaches.needs.forward,
        ] {
            simplify(list);
        }
        reaches
    }

    /// How far frames reach in the value of the key.
    pub(super) fn extent(&self) -> i64 {
        let Reaches { affects, needs, .. } = self;
        let all = [&affects.back, &affects.forward, &needs.back, &needs.forward];
        let extents = all.into_iter().flatten().map(|reach| match reach {
            Reach::Range(shift) => shift.extent(),
            _ => 0,
        });
        extents.fold(0, i64::saturating_add)
    }
}

/// Leaves out reaches that others of the list cover.
fn simplify(list: &mut Vec<Reach>) {
    if list.contains(&Reach::All) {
        *list = vec![Reach::All];
        return;
    }
    let rows = list.iter().filter_map(|r| if let Reach::Rows(n) = r { Some(*n) } else { None });
    let rows = rows.max();
    let groups = list.iter().filter_map(|r| if let Reach::Groups(n) = r { Some(*n) } else { None });
    let groups = groups.max();
    let mut kept: Vec<Reach> = rows.map(Reach::Rows).into_iter().collect();
    kept.extend(groups.map(Reach::Groups));
    for reach in list.drain(..).filter(|reach| matches!(reach, Reach::Range(_))) {
        if !kept.contains(&reach) {
            kept.push(reach);
        }
    }
    *list = kept;
}
