//! OVER: functions of the rows around each row of a partition.
//!
//! # Semantics
//! Every input row gets a value of each call: `f(..) OVER (PARTITION BY p ORDER BY k frame)`. Rows
//! of equal `k` are peers, as in Postgres; where their order matters it is that of the tie
//! expressions (a stream's rows: event time, then arrival), then of the whole row. NULL equals NULL
//! in `p` and `k`. All calls of one operator have the same partition and order.
//!
//! A row whose value is out of range has no result while that is so, and is reported (22003) when
//! it becomes so.
//!
//! # Example
//! ```text
//!   sum(v) OVER (ORDER BY k ROWS 1 PRECEDING)      in             out
//!                                                  1 +(a,1)       1 +(a,1,1)
//!                                                  2 +(c,5)       2 +(c,5,6)
//!                                                  3 +(b,2)       3 +(b,2,3)  3 -(c,5,6) +(c,5,7)
//! ```
//!
//! # State
//! All rows in order with the values last emitted; positions, if functions ask for them; for
//! aggregates whose frame is open at an end, the aggregate of the whole partition. Where the
//! watermark makes partitions final (`closes`) they are freed; where it makes rows final by the
//! first ORDER BY key (`trims`) those are freed that no frame can look at any more.
//!
//! # Cost
//! Per changed row a search in the order. Then only the rows that the change can affect are
//! computed again: neighbors for lag and lead, the rows whose frame includes the place for bounded
//! frames, the rows behind it for numbers, ranks and frames that begin with the partition. Of these
//! only rows whose values differ are emitted.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;

use super::aggregate::fold::{self, Changes, Fold};
use super::evaluate::{Expressions, truths};
use super::finality::{Finality, Frees};
use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::Delta;
use crate::storage::{Deltas, NONE, Plain, RowCodec, RowSet, Slab, Visit};
use crate::time::{Timestamp, Watermark};
use call::{Edge, Reaches};
pub use call::{OverCall, OverFunction};
pub use frame::Exclude;
use sequence::Sequence;

mod call;
mod frame;
mod free;
mod round;
mod segment;
mod sequence;
#[cfg(test)]
mod tests;

/// What an [`Over`] is to compute.
#[derive(Clone, Debug)]
pub struct OverOptions {
    /// The row type of the input.
    pub input: SchemaRef,
    /// PARTITION BY; none makes one partition.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// ORDER BY.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
    /// What orders peers.
    pub ties: Vec<Arc<dyn PhysicalExpr>>,
    /// The calls.
    pub calls: Vec<OverCall>,
    /// When a partition's result is final, by one of the partition's columns.
    pub closes: Option<Frees>,
    /// When rows are final, by the first key, which ascends with NULLs last. The column is 0.
    pub trims: Option<Frees>,
    /// The row type of the output: the input's, then the calls.
    pub output: SchemaRef,
}

/// Functions of the rows around each row of a partition.
pub struct Over {
    options: OverOptions,
    reads: Reads,
    calls: Vec<Call>,
    reaches: Reaches,
    partitions: RowSet,
    sequence: Sequence,
    /// By slot of an entry.
    shown: Vec<Shown>,
    /// By slot of an entry, if positions are kept.
    positions: Vec<Position>,
    outputs: Slab,
    codec: RowCodec,
    /// Rows of this round.
    pending: Vec<Delta>,
    /// When partitions are final.
    closes: Option<Finality>,
    /// When the first row of a partition is final, and when no frame looks at it.
    trims: Vec<Finality>,
}

/// A call and its state.
struct Call {
    function: OverFunction,
    edges: [Edge; 2],
    exclude: Exclude,
    /// Where in `Reads::own` its filter and arguments stand.
    filter: Option<usize>,
    reads: Vec<usize>,
    output: DataType,
    /// The state of an aggregate that slides.
    fold: Option<Box<dyn Fold>>,
    /// Whether that holds all rows of each partition.
    total: bool,
}

/// What is computed of rows.
struct Reads {
    /// Partition, keys, ties, then filters and arguments of the calls.
    all: Expressions,
    /// The calls' alone.
    own: Expressions,
    /// By expression of `own`: its place in `all`.
    places: Vec<usize>,
}

impl Reads {
    /// Adds a filter, or an argument where that filter is true; returns its place in `own`.
    fn add(&mut self, expression: &Arc<dyn PhysicalExpr>, filter: Option<usize>) -> usize {
        let place = self.all.add(expression, filter.map(|filter| self.places[filter]));
        let own = self.own.add(expression, filter);
        if own == self.places.len() {
            self.places.push(place);
        }
        own
    }

    /// The columns of `own` among those of `all`.
    fn own_of(&self, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        self.places.iter().map(|place| Arc::clone(&columns[*place])).collect()
    }
}

/// What was emitted for an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shown {
    /// Nothing yet.
    #[default]
    New,
    /// An error.
    Failed,
    /// The values under this slot of the outputs.
    Values(u32),
}

impl Plain for Shown {
    const WIDTH: usize = <Option<u32>>::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        match self {
            Shown::New => None,
            Shown::Failed => Some(NONE),
            Shown::Values(slot) => Some(slot),
        }
        .put(to);
    }

    fn get(from: &[u8]) -> Self {
        match Plain::get(from) {
            None => Shown::New,
            Some(NONE) => Shown::Failed,
            Some(slot) => Shown::Values(slot),
        }
    }
}

impl Plain for Position {
    const WIDTH: usize = <[i64; 3]>::WIDTH;

    fn put(self, to: &mut Vec<u8>) {
        [self.row, self.rank, self.group].put(to);
    }

    fn get(from: &[u8]) -> Self {
        let [row, rank, group] = Plain::get(from);
        Self { row, rank, group }
    }
}

/// The place of an entry in its partition, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    row: i64,
    /// Of the first peer.
    rank: i64,
    /// Number of the group of peers.
    group: i64,
}

impl Call {
    fn new(call: &OverCall, options: &OverOptions, column: usize, all: &mut Reads) -> Result<Self> {
        let order = options.keys.first().map(|(_, order)| *order);
        let (filter, reads) = call.function.reads();
        let filter = filter.map(|filter| all.add(&filter, None));
        let reads = reads.iter().map(|read| all.add(read, filter)).collect();
        let edges = call.edges(order);
        let (mut fold, mut total) = (None, false);
        if let OverFunction::Aggregate(aggregate) = &call.function
            && call.function.slides()
        {
            fold = Some(fold::choose(aggregate, &options.input, false)?);
            total = edges[0] == Edge::First || edges[1] == Edge::Last;
        }
        let output = options.output.field(column).data_type().clone();
        let function = call.function.clone();
        let exclude = call.exclude;
        Ok(Self { function, edges, exclude, filter, reads, output, fold, total })
    }

    fn arguments(&self, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        self.reads.iter().map(|read| Arc::clone(&columns[*read])).collect()
    }

    /// Adds rows to the aggregates of their partitions.
    fn prepare<'a>(
        &self,
        partitions: &'a [u32],
        weights: Option<&'a [i64]>,
        columns: &[ArrayRef],
    ) -> Result<Option<Changes<'a>>> {
        let Some(fold) = self.fold.as_ref().filter(|_| self.total) else { return Ok(None) };
        let filter = self.filter.map(|filter| truths(&columns[filter]));
        let arguments = self.arguments(columns);
        Changes::new(fold.as_ref(), partitions, weights, arguments, filter).map(Some)
    }
}

impl Over {
    /// Instants of a round are told apart by their rows.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// Partitions of no rows.
    pub fn new(options: OverOptions) -> Result<Self> {
        let schema = &options.input;
        let types = |list: &[Arc<dyn PhysicalExpr>]| {
            let types = list.iter().map(|expression| expression.data_type(schema));
            types.collect::<std::result::Result<Vec<_>, _>>()
        };
        let keys: Vec<_> = options.keys.iter().map(|(key, _)| Arc::clone(key)).collect();
        let all = options.partition.iter().chain(&keys).chain(&options.ties).cloned();
        let (all, own) = (Expressions::new(all), Expressions::default());
        let mut reads = Reads { all, own, places: Vec::new() };
        let mut calls = Vec::with_capacity(options.calls.len());
        for (i, call) in options.calls.iter().enumerate() {
            let column = schema.fields().len() + i;
            calls.push(Call::new(call, &options, column, &mut reads)?);
        }
        let order = options.keys.first().map(|(_, order)| *order);
        let reaches = Reaches::new(&options.calls, order);
        let sorted = types(&keys)?.into_iter().zip(&options.keys).map(|(t, (_, by))| (t, *by));
        let rows = schema.fields().iter().map(|field| field.data_type().clone());
        let trims = options.trims.map(|trims| {
            let after = trims.after.saturating_add(reaches.extent());
            let both = [trims, Frees { after, ..trims }];
            both.map(Finality::new).into_iter().collect::<Vec<_>>()
        });
        Ok(Self {
            sequence: Sequence::new(sorted.collect(), types(&options.ties)?, rows.collect())?,
            partitions: RowSet::new(types(&options.partition)?)?,
            codec: RowCodec::new(calls.iter().map(|call| call.output.clone()))?,
            closes: options.closes.map(Finality::new),
            trims: trims.unwrap_or_default(),
            shown: Vec::new(),
            positions: Vec::new(),
            outputs: Slab::default(),
            pending: Vec::new(),
            reads,
            calls,
            reaches,
            options,
        })
    }

    fn grow(&mut self) {
        let bound = self.partitions.bound();
        for call in &mut self.calls {
            let bound = if call.total { bound } else { 1 };
            call.fold.iter_mut().for_each(|fold| fold.grow(bound));
        }
    }
}

impl Operator for Over {
    fn on_delta(&mut self, _: Port, delta: Delta, _: &mut Output) -> Result<()> {
        self.pending.push(delta);
        Ok(())
    }

    fn on_instant(&mut self, _: Timestamp, out: &mut Output) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let emitted = self.round(out)?;
        self.report(&emitted, out)?;
        out.push(self.delta(&emitted)?);
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut Output) -> Result<()> {
        if let Some(closes) = &mut self.closes {
            for (_, partition) in closes.close(watermark) {
                self.free(partition);
            }
        }
        let mut due = Vec::new();
        for trims in &mut self.trims {
            due.extend(trims.close(watermark).into_iter().map(|(_, partition)| partition));
        }
        due.sort_unstable();
        due.dedup();
        for partition in
            due.into_iter().filter(|p| self.partitions.contains(*p)).collect::<Vec<_>>()
        {
            self.trim(partition, watermark)?;
            self.watch_last(partition)?;
            self.free_if_empty(partition);
        }
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        self.sequence.stores(visit);
        visit(&mut self.shown);
        visit(&mut self.positions);
        visit(&mut self.outputs);
        visit(&mut Deltas(&mut self.pending));
        self.calls
            .iter_mut()
            .filter_map(|call| call.fold.as_mut())
            .for_each(|fold| fold.stores(visit));
        self.closes.iter_mut().chain(&mut self.trims).for_each(|finality| finality.stores(visit));
        visit(&mut self.partitions);
    }

    fn loaded(&mut self) {
        self.grow();
    }
}
