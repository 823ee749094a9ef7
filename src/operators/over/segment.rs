//! Some consecutive rows of a partition, and the values of calls over those that a change affects.
//!
//! # Semantics
//! ```text
//!   head anchors   |     body      [ affected ]      |   tail anchors
//! ```
//! The body holds what the frames of the affected rows look at, and a row more on either side.
//! Anchors are the first and last rows of the partition where functions look at them. Positions of
//! rows here are places in that list; a frame that is open at an end of the partition begins with
//! the first or ends with the last of it.
//!
//! # Cost
//! Frames move forward with the rows. An aggregate that slides takes in and gives back each row of
//! the segment at most once; one that is open at an end starts from the aggregate of the whole
//! partition and gives back what lies beyond the frame. Other aggregates look at every row of every
//! frame.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, UInt32Array};
use arrow::compute::{self, cast, filter, take};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::scalar::ScalarValue;

use super::call::{Edge, OverFunction};
use super::sequence::Sequence;
use super::{Call, Position};
use crate::operators::Result;
use crate::operators::aggregate::fold::{Changes, Fold, Rows};
use crate::operators::evaluate::truths;

/// Some consecutive rows of a partition.
pub(super) struct Segment {
    /// The rows' slots.
    pub(super) slots: Vec<u32>,
    pub(super) body: Range<usize>,
    pub(super) affected: Range<usize>,
    /// Groups of peers of the body.
    groups: Vec<Range<usize>>,
    /// By row of the body: its group.
    group_of: Vec<usize>,
}

/// What the calls look at beside rows.
pub(super) struct Inputs<'a> {
    /// Filters and arguments of all calls over the rows of the segment.
    pub(super) arguments: &'a [ArrayRef],
    /// By slot.
    pub(super) positions: &'a [Position],
    /// The number of rows of the partition, where positions are kept.
    pub(super) rows: i64,
    pub(super) partition: u32,
}

impl Segment {
    /// Takes the rows `body` and around them, of which `affected` are to be computed; both name the
    /// first and the last slot.
    pub(super) fn new(
        sequence: &Sequence,
        partition: u32,
        (body, affected): ([u32; 2], [u32; 2]),
        anchors: [usize; 2],
    ) -> Self {
        let entries = &sequence.entries;
        let bytes = |slot: u32| entries.get(slot);
        let before = |slot: &u32| bytes(*slot) < bytes(body[0]);
        let after = |slot: &u32| bytes(*slot) > bytes(body[1]);
        let mut slots: Vec<u32> =
            entries.of(partition).take(anchors[0]).take_while(before).collect();
        let start = slots.len();
        slots
            .extend(entries.starting_at(partition, bytes(body[0])).take_while(|slot| !after(slot)));
        let end = slots.len();
        slots.extend(entries.reversed(partition).take(anchors[1]).take_while(after));
        slots[end..].reverse();
        let place =
            |slot: u32| start + slots[start..end].partition_point(|s| bytes(*s) < bytes(slot));
        let affected = place(affected[0])..place(affected[1]) + 1;
        let mut segment = Self {
            slots,
            body: start..end,
            affected,
            groups: Vec::new(),
            group_of: Vec::with_capacity(end - start),
        };
        for i in segment.body.clone() {
            let peer =
                i > start && sequence.key(segment.slots[i]) == sequence.key(segment.slots[i - 1]);
            match segment.groups.last_mut() {
                Some(last) if peer => last.end = i + 1,
                _ => segment.groups.push(i..i + 1),
            }
            segment.group_of.push(segment.groups.len() - 1);
        }
        segment
    }

    fn group(&self, row: usize) -> usize {
        self.group_of[row - self.body.start]
    }

    /// The frames of the affected rows.
    fn frames(&self, sequence: &Sequence, edges: &[Edge; 2]) -> Result<Vec<Range<usize>>> {
        let starts = self.edges(sequence, &edges[0], false)?;
        let ends = self.edges(sequence, &edges[1], true)?;
        Ok(starts.into_iter().zip(ends).map(|(start, end)| start..end.max(start)).collect())
    }

    /// Where the frames of the affected rows begin, or before which row they end.
    fn edges(&self, sequence: &Sequence, edge: &Edge, end: bool) -> Result<Vec<usize>> {
        let Range { start: first, end: last } = self.body;
        let moved =
            |from: usize, by: i64| i64::try_from(from).unwrap_or(i64::MAX).saturating_add(by);
        let row = |row: i64| usize::try_from(row).unwrap_or(0).clamp(first, last);
        let affected = self.affected.clone();
        Ok(match edge {
            Edge::First => vec![0; affected.len()],
            Edge::Last => vec![self.slots.len(); affected.len()],
            Edge::Rows(by) => {
                affected.map(|i| row(moved(i, *by).saturating_add(i64::from(end)))).collect()
            }
            Edge::Groups(by) => affected
                .map(|i| match usize::try_from(moved(self.group(i), *by)) {
                    Err(_) => first,
                    Ok(group) => match self.groups.get(group) {
                        None => last,
                        Some(group) if end => group.end,
                        Some(group) => group.start,
                    },
                })
                .collect(),
            Edge::Range(shift) => {
                let slots = &self.slots[affected];
                let keys = sequence.keys.decode(slots.iter().map(|slot| sequence.key(*slot)))?;
                let bounds = sequence.keys.encode(&[shift.apply(&keys[0])?], slots.len())?;
                let body = &self.slots[self.body.clone()];
                let before = |bound: &[u8]| match end {
                    true => body.partition_point(|slot| sequence.key(*slot) <= bound),
                    false => body.partition_point(|slot| sequence.key(*slot) < bound),
                };
                (0..slots.len()).map(|i| first + before(bounds.get(i))).collect()
            }
        })
    }

    /// Computes a call for the affected rows; marks those for which it has no value.
    pub(super) fn evaluate(
        &self,
        call: &mut Call,
        sequence: &Sequence,
        inputs: &Inputs<'_>,
        failed: &mut [bool],
    ) -> Result<ArrayRef> {
        let slots = &self.slots[self.affected.clone()];
        let position = |slot: &u32| inputs.positions[*slot as usize];
        let values: ArrayRef = match &call.function {
            OverFunction::RowNumber => {
                Arc::new(slots.iter().map(|s| Some(position(s).row)).collect::<Int64Array>())
            }
            OverFunction::Rank => {
                Arc::new(slots.iter().map(|s| Some(position(s).rank)).collect::<Int64Array>())
            }
            OverFunction::DenseRank => {
                Arc::new(slots.iter().map(|s| Some(position(s).group)).collect::<Int64Array>())
            }
            OverFunction::Ntile(parts) => {
                let part = |s| Some(ntile(position(s).row, inputs.rows, *parts));
                Arc::new(slots.iter().map(part).collect::<Int64Array>())
            }
            OverFunction::PercentRank => {
                let others = as_float((inputs.rows - 1).max(1));
                let rank = |s| Some(as_float(position(s).rank - 1) / others);
                Arc::new(slots.iter().map(rank).collect::<Float64Array>())
            }
            OverFunction::CumeDist => {
                let last_peer = |i: usize| self.groups[self.group(i)].end - 1;
                let share = |i: usize| {
                    as_float(position(&self.slots[last_peer(i)]).row) / as_float(inputs.rows)
                };
                Arc::new(self.affected.clone().map(|i| Some(share(i))).collect::<Float64Array>())
            }
            OverFunction::Shift { offset, ignore_nulls, .. } => {
                let arguments = call.arguments(inputs.arguments);
                self.shifted(&arguments, *offset, *ignore_nulls)?
            }
            OverFunction::Pick { place, ignore_nulls, .. } => {
                let frames = self.frames(sequence, &call.edges)?;
                picked(&call.arguments(inputs.arguments)[0], &frames, *place, *ignore_nulls)?
            }
            OverFunction::Aggregate(aggregate) => {
                let function = Arc::clone(&aggregate.function);
                let frames = self.frames(sequence, &call.edges)?;
                let arguments = call.arguments(inputs.arguments);
                let filter = call.filter.map(|filter| truths(&inputs.arguments[filter]));
                match &mut call.fold {
                    Some(fold) => {
                        let group = if call.total { inputs.partition } else { 0 };
                        let groups = vec![group; self.slots.len()];
                        let all = Changes::new(fold.as_ref(), &groups, None, arguments, filter)?;
                        self.slide(fold.as_mut(), &all, (group, call.total), &frames, failed)?
                    }
                    None => direct(&function, &arguments, filter.as_ref(), &frames)?,
                }
            }
        };
        match values.data_type() == &call.output {
            true => Ok(values),
            false => Ok(cast(&values, &call.output)?),
        }
    }

    /// lag and lead.
    fn shifted(&self, arguments: &[ArrayRef], offset: i64, ignore_nulls: bool) -> Result<ArrayRef> {
        let values = &arguments[0];
        let there = |i: usize| -> Option<usize> {
            if !ignore_nulls {
                let row = i64::try_from(i).ok()?.checked_sub(offset)?;
                return usize::try_from(row).ok().filter(|row| self.body.contains(row));
            }
            let count = usize::try_from(offset.unsigned_abs()).ok()?;
            let valid = |row: &usize| values.is_valid(*row);
            match count.checked_sub(1) {
                None => Some(i),
                Some(nth) if offset > 0 => (self.body.start..i).rev().filter(valid).nth(nth),
                Some(nth) => (i + 1..self.body.end).filter(valid).nth(nth),
            }
        };
        let places: Vec<Option<usize>> = self.affected.clone().map(there).collect();
        let found = take(values, &indices(places.iter().copied()), None)?;
        let Some(default) = arguments.get(1) else { return Ok(found) };
        let default = default.slice(self.affected.start, self.affected.len());
        let default = cast(&default, found.data_type())?;
        let known: BooleanArray = places.iter().map(|place| Some(place.is_some())).collect();
        Ok(compute::kernels::zip::zip(&known, &found, &default)?)
    }

    /// An aggregate that slides from frame to frame. At first and at last the state is that of the
    /// whole partition if it is a `total`, or of nothing.
    fn slide(
        &self,
        fold: &mut dyn Fold,
        rows: &Changes<'_>,
        (group, total): (u32, bool),
        frames: &[Range<usize>],
        failed: &mut [bool],
    ) -> Result<ArrayRef> {
        let rest = if total { 0..self.slots.len() } else { 0..0 };
        let mut held = rest.clone();
        for (i, frame) in frames.iter().enumerate() {
            go(fold, rows, &mut held, frame)?;
            let mut out_of_range = [false];
            fold.record(&[group], &mut out_of_range)?;
            failed[i] |= out_of_range[0];
        }
        go(fold, rows, &mut held, &rest)?;
        if !total {
            fold.clear(group);
        }
        fold.recorded()
    }
}

/// Changes the rows that an aggregate holds.
fn go(
    fold: &mut dyn Fold,
    rows: &Changes<'_>,
    held: &mut Range<usize>,
    to: &Range<usize>,
) -> Result<()> {
    if to.start >= held.end || to.end <= held.start {
        fold.apply(rows, &Rows::Removed(held.clone()))?;
        *held = to.start..to.start;
    }
    if to.start > held.start {
        fold.apply(rows, &Rows::Removed(held.start..to.start))?;
    } else if to.start < held.start {
        fold.apply(rows, &Rows::Range(to.start..held.start))?;
    }
    if to.end < held.end {
        fold.apply(rows, &Rows::Removed(to.end..held.end))?;
    } else if to.end > held.end {
        fold.apply(rows, &Rows::Range(held.end..to.end))?;
    }
    *held = to.clone();
    Ok(())
}

/// An aggregate of all rows of every frame.
fn direct(
    function: &AggregateFunctionExpr,
    arguments: &[ArrayRef],
    mask: Option<&BooleanArray>,
    frames: &[Range<usize>],
) -> Result<ArrayRef> {
    let mut values: Vec<ScalarValue> = Vec::with_capacity(frames.len());
    for (i, frame) in frames.iter().enumerate() {
        if i > 0 && frames[i - 1] == *frame {
            values.push(values[i - 1].clone());
            continue;
        }
        let mut rows: Vec<ArrayRef> =
            arguments.iter().map(|a| a.slice(frame.start, frame.len())).collect();
        if let Some(mask) = mask {
            let mask = mask.slice(frame.start, frame.len());
            let kept = rows.iter().map(|rows| filter(rows, &mask));
            rows = kept.collect::<std::result::Result<_, _>>()?;
        }
        let mut accumulator = function.create_accumulator()?;
        if rows.first().is_some_and(|rows| !rows.is_empty()) {
            accumulator.update_batch(&rows)?;
        }
        values.push(accumulator.evaluate()?);
    }
    match values.is_empty() {
        true => Ok(arrow::array::new_empty_array(function.field().data_type())),
        false => Ok(ScalarValue::iter_to_array(values)?),
    }
}

/// The value of one row of each frame: counted from 1, or from -1 backwards.
fn picked(
    values: &ArrayRef,
    frames: &[Range<usize>],
    place: i64,
    ignore_nulls: bool,
) -> Result<ArrayRef> {
    let nth = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX).saturating_sub(1);
    let row = |frame: &Range<usize>| {
        let counts = |row: &usize| !ignore_nulls || values.is_valid(*row);
        match (place > 0, ignore_nulls) {
            (true, false) => frame.clone().nth(nth),
            (false, false) => frame.clone().nth_back(nth),
            (true, true) => frame.clone().filter(counts).nth(nth),
            (false, true) => frame.clone().rev().filter(counts).nth(nth),
        }
    };
    Ok(take(values, &indices(frames.iter().map(row)), None)?)
}

fn indices(rows: impl Iterator<Item = Option<usize>>) -> UInt32Array {
    rows.map(|row| row.and_then(|row| u32::try_from(row).ok())).collect()
}

/// The part of a row, if `rows` are cut into `parts` of which the first are the larger ones.
fn ntile(row: i64, rows: i64, parts: i64) -> i64 {
    let (size, larger) = (rows / parts, rows % parts);
    let in_larger = larger * (size + 1);
    match row <= in_larger {
        true => (row - 1) / (size + 1) + 1,
        false => larger + (row - 1 - in_larger) / size + 1,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a partition has fewer than 2^53 rows")]
fn as_float(count: i64) -> f64 {
    count as f64
}
