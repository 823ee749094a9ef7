//! What a query's result holds: rows with weights, elements with their times, or nothing.

use std::io;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::Result;
use super::history::keeper::Keeper;
use super::history::{History, Part, Retained, Retention, Size};
use super::runs::Runs;
use crate::delta::{Delta, batch};
use crate::fault;
use crate::sql::catalog::Oid;
use crate::storage::{Bag, Misfit, Scratch, StateReader, StateWriter, Store, Visit};
use crate::time::Timestamp;

/// What a query's result holds.
pub enum Content {
    /// Nothing: the query only feeds a subscription.
    None(SchemaRef),
    /// The rows of a query that never retracts, as they came.
    Log {
        /// Row type.
        schema: SchemaRef,
        /// The rows.
        rows: Runs<RecordBatch>,
    },
    /// The elements of a stream.
    Stream(SchemaRef, History),
    /// Distinct rows with weights, and the last snapshot of them.
    Bag(Box<Bag>, Cached),
}

/// The last snapshot, as long as nothing has changed and there is room for it.
#[derive(Default)]
pub struct Cached(Option<(RecordBatch, Int64Array)>);

impl Store for Cached {
    fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |(rows, _)| rows.get_array_memory_size())
    }

    fn spill(&mut self, _: &Arc<Scratch>, _: usize) -> io::Result<usize> {
        let bytes = self.memory();
        self.0 = None;
        Ok(bytes)
    }

    fn save(&self, _: &mut StateWriter) -> Result<(), Misfit> {
        Ok(())
    }

    fn load(&mut self, _: &mut StateReader) -> Result<(), Misfit> {
        self.0 = None;
        Ok(())
    }
}

impl Content {
    /// The empty content of a stream.
    pub fn stream(schema: SchemaRef, retention: Retention) -> Self {
        let history = History::new(Arc::clone(&schema), retention);
        Content::Stream(schema, history)
    }

    /// Lets the elements of a stream go to files.
    pub fn keep_in_files(&mut self, keeper: &Arc<Keeper>, oid: Oid) {
        match self {
            Content::Stream(_, history) => history.keep_in_files(keeper, oid),
            Content::None(_) | Content::Log { .. } | Content::Bag(..) => {}
        }
    }

    /// The empty content of a relation.
    pub fn relation(schema: SchemaRef, append_only: bool) -> Result<Self, ArrowError> {
        Ok(if append_only {
            Content::Log { schema, rows: Runs::default() }
        } else {
            Content::Bag(Box::new(Bag::new(schema)?), Cached::default())
        })
    }

    /// The row type.
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Content::None(schema) | Content::Log { schema, .. } | Content::Stream(schema, _) => {
                schema
            }
            Content::Bag(bag, _) => bag.schema(),
        }
    }

    /// Adds a change that came at a time.
    pub fn apply(&mut self, delta: &Delta, at: Timestamp) -> Result<(), ArrowError> {
        if delta.is_empty() {
            return Ok(());
        }
        fault::point("content.apply");
        match self {
            Content::None(_) => {}
            Content::Log { rows, .. } => rows.push(delta.repeated()?.rows().clone())?,
            Content::Stream(_, history) => history.push(Retained::new(delta.clone(), at))?,
            Content::Bag(bag, snapshot) => {
                snapshot.0 = None;
                bag.apply(delta)?;
            }
        }
        fault::point("content.applied");
        Ok(())
    }

    /// Returns the rows with their weights.
    pub fn snapshot(&mut self) -> Result<(RecordBatch, Int64Array)> {
        match self {
            Content::None(schema) => {
                Ok((RecordBatch::new_empty(schema.clone()), Int64Array::from(Vec::<i64>::new())))
            }
            Content::Log { schema, rows } => {
                let all = concat_batches(schema, rows.iter())?;
                rows.replace(all.clone());
                let ones = Int64Array::from_value(1, all.num_rows());
                Ok((all, ones))
            }
            Content::Stream(schema, history) => {
                let mut runs = Vec::new();
                for part in history.parts() {
                    runs.extend(part.read()?.iter().map(|run| run.delta.rows().clone()));
                }
                let all = concat_batches(schema, &runs)?;
                let ones = Int64Array::from_value(1, all.num_rows());
                Ok((all, ones))
            }
            Content::Bag(bag, snapshot) => match &mut snapshot.0 {
                Some(snapshot) => Ok(snapshot.clone()),
                none => Ok(none.insert(bag.snapshot()?).clone()),
            },
        }
    }

    /// Writes the rows.
    pub fn save(&self, to: &mut StateWriter) -> Result<()> {
        match self {
            Content::None(_) => {}
            Content::Log { rows, .. } => {
                to.put_value(&rows.iter().count())?;
                rows.iter().try_for_each(|run| to.put_rows(run))?;
            }
            Content::Stream(_, history) => history.save(to)?,
            Content::Bag(bag, _) => bag.save(to)?,
        }
        Ok(())
    }

    /// Takes what [`Content::save`] wrote, into an empty content.
    pub fn load(&mut self, from: &mut StateReader) -> Result<()> {
        match self {
            Content::None(_) => {}
            Content::Log { schema, rows } => {
                for _ in 0..from.take_value::<usize>()? {
                    let run = from.take_rows()?;
                    let columns = run.columns().to_vec();
                    rows.keep(batch(schema.clone(), columns, run.num_rows())?);
                }
            }
            Content::Stream(_, history) => history.load(from)?,
            Content::Bag(bag, snapshot) => {
                snapshot.0 = None;
                bag.load(from)?;
            }
        }
        Ok(())
    }

    /// The elements of a stream, with their times; none of a relation.
    pub fn retained(&self) -> Vec<Part> {
        match self {
            Content::Stream(_, history) => history.parts(),
            Content::None(_) | Content::Log { .. } | Content::Bag(..) => vec![],
        }
    }

    /// Shows what is kept. (Rows that were retained as they came are not looked at.)
    pub fn stores(&mut self, visit: &mut Visit<'_>) {
        if let Content::Bag(bag, snapshot) = self {
            visit(snapshot);
            visit(bag.as_mut());
        }
    }

    /// Number of rows held.
    pub fn row_count(&self) -> usize {
        match self {
            Content::None(_) => 0,
            Content::Log { rows, .. } => rows.row_count(),
            Content::Stream(_, history) => history.row_count(),
            Content::Bag(bag, _) => bag.len(),
        }
    }

    /// How much of a stream is held, and where.
    pub fn size(&self) -> Size {
        match self {
            Content::Stream(_, history) => history.size(),
            Content::None(_) | Content::Log { .. } | Content::Bag(..) => Size::default(),
        }
    }
}
