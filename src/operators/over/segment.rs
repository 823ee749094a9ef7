//! Consecutive rows of partitions, and the values of calls over those that changes affect.
//!
//! # Semantics
//! ```text
//!   a segment:   head anchors   |   body   [ affected ]   |   tail anchors
//! ```
//! The body holds what the frames of the affected rows look at, and a row more on either side.
//! Anchors are the first and last rows of the partition where functions look at them. A frame that
//! is open at an end of the partition begins with the first or ends with the last row of the
//! segment.
//!
//! # Cost
//! All segments of an instant are decoded and evaluated together. Frames move forward with the
//! rows. An aggregate that slides takes in and gives back each row of a segment at most once; one
//! that is open at an end starts from the aggregate of the whole partition and gives back what lies
//! beyond the frame. Other aggregates look at every row of every frame.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, UInt32Array};
use arrow::compute::{self, cast, filter, take};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::scalar::ScalarValue;

use super::call::{Edge, OverFunction};
use super::frame::Frame;
use super::sequence::Sequence;
use super::{Call, Position};
use crate::operators::Result;
use crate::operators::aggregate::fold::{Changes, Fold, Rows};
use crate::operators::evaluate::truths;

/// Segments of one instant, of any partitions: their rows stand one after the other.
#[derive(Default)]
pub(super) struct Segments {
    /// The rows' slots.
    pub(super) slots: Vec<u32>,
    pub(super) list: Vec<Segment>,
}

/// Some consecutive rows of a partition, by their places in the list of all.
pub(super) struct Segment {
    partition: u32,
    all: Range<usize>,
    pub(super) body: Range<usize>,
    pub(super) affected: Range<usize>,
    /// Groups of peers of the body.
    groups: Vec<Range<usize>>,
    /// By row of the body: its group.
    group_of: Vec<usize>,
    /// The number of rows of the partition, where positions are kept.
    pub(super) rows: i64,
}

/// What the calls look at beside rows.
pub(super) struct Inputs<'a> {
    pub(super) sequence: &'a Sequence,
    /// Filters and arguments of all calls over all rows.
    pub(super) arguments: &'a [ArrayRef],
    /// By slot.
    pub(super) positions: &'a [Position],
}

impl Segments {
    /// Adds the rows `body` and around them, of which `affected` are to be computed; both name the
    /// first and the last slot.
    pub(super) fn add(
        &mut self,
        sequence: &Sequence,
        partition: u32,
        (body, affected): ([u32; 2], [u32; 2]),
        anchors: [usize; 2],
    ) {
        let entries = &sequence.entries;
        let bytes = |slot: u32| entries.get(slot);
        let before = |slot: &u32| bytes(*slot) < bytes(body[0]);
        let after = |slot: &u32| bytes(*slot) > bytes(body[1]);
        let slots = &mut self.slots;
        let first = slots.len();
        slots.extend(entries.of(partition).take(anchors[0]).take_while(before));
        let start = slots.len();
        let rest = entries.of_from(partition, bytes(body[0]));
        slots.extend(rest.take_while(|slot| !after(slot)));
        let end = slots.len();
        slots.extend(entries.reversed(partition).take(anchors[1]).take_while(after));
        slots[end..].reverse();
        let place =
            |slot: u32| start + slots[start..end].partition_point(|s| bytes(*s) < bytes(slot));
        let affected = place(affected[0])..place(affected[1]) + 1;
        let (mut groups, mut group_of) = (Vec::<Range<usize>>::new(), Vec::new());
        for i in start..end {
            let peer = i > start && sequence.key(slots[i]) == sequence.key(slots[i - 1]);
            match groups.last_mut() {
                Some(last) if peer => last.end = i + 1,
                _ => groups.push(i..i + 1),
            }
            group_of.push(groups.len() - 1);
        }
        let (all, body) = (first..slots.len(), start..end);
        self.list.push(Segment { partition, all, body, affected, groups, group_of, rows: 0 });
    }

    /// The slots of the affected rows.
    pub(super) fn affected(&self) -> impl Iterator<Item = u32> {
        self.list.iter().flat_map(|segment| segment.affected.clone()).map(|i| self.slots[i])
    }

    /// The frames of the affected rows.
    fn frames(&self, sequence: &Sequence, call: &Call) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        for segment in &self.list {
            let starts = segment.edges(&self.slots, sequence, &call.edges[0], false)?;
            let ends = segment.edges(&self.slots, sequence, &call.edges[1], true)?;
            let both = starts.into_iter().zip(ends).zip(segment.affected.clone());
            frames.extend(both.map(|((start, end), row)| {
                let group = &segment.groups[segment.group(row)];
                Frame::new(start..end.max(start), call.exclude, row, group)
            }));
        }
        Ok(frames)
    }

    /// A number of each affected row.
    fn numbers(
        &self,
        inputs: &Inputs<'_>,
        number: impl Fn(&Segment, usize, Position) -> i64,
    ) -> ArrayRef {
        let rows = self.list.iter().flat_map(|s| s.affected.clone().map(move |i| (s, i)));
        let position = |i: usize| inputs.positions[self.slots[i] as usize];
        Arc::new(Int64Array::from_iter_values(rows.map(|(s, i)| number(s, i, position(i)))))
    }

    /// A share of each affected row.
    fn shares(
        &self,
        inputs: &Inputs<'_>,
        share: impl Fn(&Segment, usize, Position) -> f64,
    ) -> ArrayRef {
        let rows = self.list.iter().flat_map(|s| s.affected.clone().map(move |i| (s, i)));
        let position = |i: usize| inputs.positions[self.slots[i] as usize];
        Arc::new(Float64Array::from_iter_values(rows.map(|(s, i)| share(s, i, position(i)))))
    }

    /// Computes a call for the affected rows; marks those for which it has no value.
    pub(super) fn evaluate(
        &self,
        call: &mut Call,
        inputs: &Inputs<'_>,
        failed: &mut [bool],
    ) -> Result<ArrayRef> {
        let arguments = || call.arguments(inputs.arguments);
        let frames = || self.frames(inputs.sequence, call);
        let values: ArrayRef = match &call.function {
            OverFunction::RowNumber => self.numbers(inputs, |_, _, at| at.row),
            OverFunction::Rank => self.numbers(inputs, |_, _, at| at.rank),
            OverFunction::DenseRank => self.numbers(inputs, |_, _, at| at.group),
            OverFunction::Ntile(parts) => {
                self.numbers(inputs, |segment, _, at| ntile(at.row, segment.rows, *parts))
            }
            OverFunction::PercentRank => self.shares(inputs, |segment, _, at| {
                as_float(at.rank - 1) / as_float((segment.rows - 1).max(1))
            }),
            OverFunction::CumeDist => self.shares(inputs, |segment, row, _| {
                let last_peer = segment.groups[segment.group(row)].end - 1;
                let last_peer = inputs.positions[self.slots[last_peer] as usize];
                as_float(last_peer.row) / as_float(segment.rows)
            }),
            OverFunction::Shift { offset, ignore_nulls, .. } => {
                self.shifted(&arguments(), *offset, *ignore_nulls)?
            }
            OverFunction::Pick { place, ignore_nulls, .. } => {
                picked(&arguments()[0], &frames()?, *place, *ignore_nulls)?
            }
            OverFunction::Aggregate(aggregate) => {
                let filter = call.filter.map(|filter| truths(&inputs.arguments[filter]));
                let (arguments, frames) = (arguments(), frames()?);
                match &mut call.fold {
                    None => direct(&aggregate.function, &arguments, filter.as_ref(), &frames)?,
                    Some(fold) => {
                        let groups = self.groups(call.total);
                        let rows = Changes::new(fold.as_ref(), &groups, None, arguments, filter)?;
                        self.slide(fold.as_mut(), &rows, &frames, (call.total, failed))?
                    }
                }
            }
        };
        match values.data_type() == &call.output {
            true => Ok(values),
            false => Ok(cast(&values, &call.output)?),
        }
    }

    /// The group that each row has in the state of an aggregate.
    fn groups(&self, total: bool) -> Vec<u32> {
        let group = |segment: &Segment| if total { segment.partition } else { 0 };
        self.list.iter().flat_map(|s| std::iter::repeat_n(group(s), s.all.len())).collect()
    }

    /// lag and lead.
    fn shifted(&self, arguments: &[ArrayRef], offset: i64, ignore_nulls: bool) -> Result<ArrayRef> {
        let values = &arguments[0];
        let there = |(segment, i): (&Segment, usize)| -> Option<usize> {
            if !ignore_nulls {
                let row = i64::try_from(i).ok()?.checked_sub(offset)?;
                return usize::try_from(row).ok().filter(|row| segment.body.contains(row));
            }
            let count = usize::try_from(offset.unsigned_abs()).ok()?;
            let valid = |row: &usize| values.is_valid(*row);
            match count.checked_sub(1) {
                None => Some(i),
                Some(nth) if offset > 0 => (segment.body.start..i).rev().filter(valid).nth(nth),
                Some(nth) => (i + 1..segment.body.end).filter(valid).nth(nth),
            }
        };
        let rows = || self.list.iter().flat_map(|s| s.affected.clone().map(move |i| (s, i)));
        let places: Vec<Option<usize>> = rows().map(there).collect();
        let found = take(values, &indices(places.iter().copied()), None)?;
        let Some(default) = arguments.get(1) else { return Ok(found) };
        let default = take(default, &indices(rows().map(|(_, i)| Some(i))), None)?;
        let default = cast(&default, found.data_type())?;
        let known: BooleanArray = places.iter().map(|place| Some(place.is_some())).collect();
        Ok(compute::kernels::zip::zip(&known, &found, &default)?)
    }

    /// An aggregate that slides from frame to frame. Before and after a segment its state is that
    /// of the whole partition if it is a `total`, or of nothing.
    fn slide(
        &self,
        fold: &mut dyn Fold,
        rows: &Changes<'_>,
        frames: &[Frame],
        (total, failed): (bool, &mut [bool]),
    ) -> Result<ArrayRef> {
        let mut row = 0;
        for segment in &self.list {
            let group = if total { segment.partition } else { 0 };
            let start = segment.all.start;
            let rest = if total { segment.all.clone() } else { start..start };
            let mut held = rest.clone();
            for _ in segment.affected.clone() {
                let frame = &frames[row];
                go(fold, rows, &mut held, &frame.rows)?;
                for without in frame.without.iter().filter(|run| !run.is_empty()) {
                    fold.apply(rows, &Rows::Removed(without.clone()))?;
                }
                let mut failure = [None];
                fold.record(&[group], &mut failure)?;
                failed[row] |= failure[0].is_some();
                for without in frame.without.iter().filter(|run| !run.is_empty()) {
                    fold.apply(rows, &Rows::Range(without.clone()))?;
                }
                row += 1;
            }
            go(fold, rows, &mut held, &rest)?;
            if !total {
                fold.clear(group);
            }
        }
        fold.recorded()
    }
}

impl Segment {
    fn group(&self, row: usize) -> usize {
        self.group_of[row - self.body.start]
    }

    /// Where the frames of the affected rows begin, or before which row they end.
    fn edges(
        &self,
        slots: &[u32],
        sequence: &Sequence,
        edge: &Edge,
        end: bool,
    ) -> Result<Vec<usize>> {
        let Range { start: first, end: last } = self.body;
        let moved =
            |from: usize, by: i64| i64::try_from(from).unwrap_or(i64::MAX).saturating_add(by);
        let row = |row: i64| usize::try_from(row).unwrap_or(0).clamp(first, last);
        let affected = self.affected.clone();
        Ok(match edge {
            Edge::First => vec![self.all.start; affected.len()],
            Edge::Last => vec![self.all.end; affected.len()],
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
                let body = &slots[self.body.clone()];
                let slots = &slots[affected];
                let keys = sequence.keys.decode(slots.iter().map(|slot| sequence.key(*slot)))?;
                let bounds = sequence.keys.encode(&[shift.apply(&keys[0])?], slots.len())?;
                let before = |bound: &[u8]| match end {
                    true => body.partition_point(|slot| sequence.key(*slot) <= bound),
                    false => body.partition_point(|slot| sequence.key(*slot) < bound),
                };
                (0..slots.len()).map(|i| first + before(bounds.get(i))).collect()
            }
        })
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
    frames: &[Frame],
) -> Result<ArrayRef> {
    let mut values: Vec<ScalarValue> = Vec::with_capacity(frames.len());
    for (i, frame) in frames.iter().enumerate() {
        if i > 0 && frames[i - 1] == *frame {
            values.push(values[i - 1].clone());
            continue;
        }
        let mut accumulator = function.create_accumulator()?;
        for run in frame.runs() {
            let mut rows: Vec<ArrayRef> =
                arguments.iter().map(|a| a.slice(run.start, run.len())).collect();
            if let Some(mask) = mask {
                let mask = mask.slice(run.start, run.len());
                let kept = rows.iter().map(|rows| filter(rows, &mask));
                rows = kept.collect::<std::result::Result<_, _>>()?;
            }
            if rows.first().is_some_and(|rows| !rows.is_empty()) {
                accumulator.update_batch(&rows)?;
            }
        }
        values.push(accumulator.evaluate()?);
    }
    match values.is_empty() {
        true => Ok(arrow::array::new_empty_array(function.field().data_type())),
        false => Ok(ScalarValue::iter_to_array(values)?),
    }
}

/// The value of one row of each frame: counted from 1, or from -1 backwards.
fn picked(values: &ArrayRef, frames: &[Frame], place: i64, ignore_nulls: bool) -> Result<ArrayRef> {
    let nth = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX).saturating_sub(1);
    let row = |frame: &Frame| {
        let counts = |row: &usize| !ignore_nulls || values.is_valid(*row);
        match (place > 0, ignore_nulls) {
            (true, false) => frame.iter().nth(nth),
            (false, false) => frame.iter().nth_back(nth),
            (true, true) => frame.iter().filter(counts).nth(nth),
            (false, true) => frame.iter().rev().filter(counts).nth(nth),
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
