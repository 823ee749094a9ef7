//! The columns of a subscription, and changes as rows of them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use sqlparser::ast;

use super::super::{Error, Result};
use super::Options;
use super::upsert::Lines;
use crate::delta::Delta;
use crate::error::SqlState;
use crate::planner::plan::{Clock, Kind, Plan};
use crate::runtime::changes::shown_time;
use crate::runtime::read::Read;
use crate::runtime::{self, publication};
use crate::sql::names::fold;
use crate::time::Timestamp;

/// How changes become rows.
pub(super) struct Shape {
    /// What is followed.
    pub result: publication::Shape,
    /// Type of `hw_time`.
    time: DataType,
    /// All columns.
    pub schema: SchemaRef,
    /// The query's own columns.
    pub columns: SchemaRef,
    progress: bool,
}

impl Shape {
    pub(super) fn of_plan(plan: &Plan, names: &[String], options: &Options) -> Self {
        let result = publication::Shape::of(plan);
        Self::new(result, plan.time_type.clone(), &plan.root.schema, names, options)
    }

    pub(super) fn new(
        result: publication::Shape,
        time: DataType,
        columns: &Schema,
        names: &[String],
        options: &Options,
    ) -> Self {
        let own = columns.fields().iter().zip(names).map(|(field, name)| {
            Field::new(name, field.data_type().clone(), true)
                .with_metadata(field.metadata().clone())
        });
        let columns = Schema::new(own.collect::<Vec<_>>());
        let mut fields = vec![Arc::new(Field::new("hw_time", time.clone(), true))];
        fields.push(Arc::new(match options.upsert_key {
            None => Field::new("hw_diff", DataType::Int64, true),
            Some(_) => Field::new("hw_state", DataType::Utf8, true),
        }));
        if options.progress {
            fields.push(Arc::new(Field::new("hw_progressed", DataType::Boolean, false)));
        }
        fields.extend(columns.fields().iter().cloned());
        let (schema, columns) = (Arc::new(Schema::new(fields)), Arc::new(columns));
        Self { result, time, schema, columns, progress: options.progress }
    }

    /// The columns of a key.
    pub(super) fn key(&self, names: &[ast::Ident]) -> Result<Vec<usize>> {
        let mut key = Vec::with_capacity(names.len());
        for ident in names {
            let name = fold(ident);
            let mut found =
                (0..self.columns.fields().len()).filter(|i| *self.columns.field(*i).name() == name);
            let error = match (found.next(), found.next()) {
                (Some(index), None) if !key.contains(&index) => {
                    key.push(index);
                    continue;
                }
                (None, _) => {
                    Error::Undefined { kind: "column", name, sqlstate: SqlState::UNDEFINED_COLUMN }
                }
                (Some(_), None) => Error::refused(
                    SqlState::DUPLICATE_COLUMN,
                    format!("column \"{name}\" appears twice in the key"),
                ),
                (Some(_), Some(_)) => Error::refused(
                    SqlState::AMBIGUOUS_COLUMN,
                    format!("column \"{name}\" is ambiguous"),
                ),
            };
            return Err(error.at(ident.span));
        }
        Ok(key)
    }

    /// The error of AS OF a time of which it is not known any more what a view was.
    pub(super) fn forgotten(&self, name: &str, at: Timestamp, oldest: Timestamp) -> runtime::Error {
        let numbers = self.time == DataType::Int64;
        let [at, oldest] = [at, oldest].map(|at| shown_time(at, numbers));
        runtime::Error::Forgotten { name: name.to_owned(), at, oldest }
    }

    fn times(&self, ts: TimestampMicrosecondArray) -> ArrayRef {
        match &self.time {
            DataType::Int64 => Arc::new(ts.reinterpret_cast::<Int64Type>()) as ArrayRef,
            DataType::Timestamp(_, Some(zone)) => Arc::new(ts.with_timezone(Arc::clone(zone))),
            _ => Arc::new(ts),
        }
    }

    fn rows(
        &self,
        ts: TimestampMicrosecondArray,
        what: ArrayRef,
        own: impl IntoIterator<Item = ArrayRef>,
    ) -> Result<RecordBatch> {
        let rows = ts.len();
        let mut columns = vec![self.times(ts), what];
        if self.progress {
            columns.push(Arc::new(BooleanArray::from(vec![false; rows])));
        }
        columns.extend(own);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Rows of ENVELOPE DIFF.
    pub(super) fn changes(&self, delta: &Delta) -> Result<RecordBatch> {
        let weights = Arc::new(delta.weight_array());
        self.rows(delta.ts_array(), weights, delta.rows().columns().iter().cloned())
    }

    /// Rows of ENVELOPE UPSERT.
    pub(super) fn upserts(&self, lines: Lines) -> Result<RecordBatch> {
        self.rows(lines.times, Arc::new(lines.states), lines.columns)
    }

    /// A progress line.
    pub(super) fn progressed(&self, at: Timestamp) -> Result<RecordBatch> {
        let what: ArrayRef = match self.schema.field(1).data_type() {
            DataType::Utf8 => Arc::new(StringArray::new_null(1)),
            _ => Arc::new(Int64Array::new_null(1)),
        };
        let mut columns = vec![
            self.times(TimestampMicrosecondArray::from_value(at.0, 1)),
            what,
            Arc::new(BooleanArray::from(vec![true])),
        ];
        let rest = &self.schema.fields()[columns.len()..];
        columns.extend(rest.iter().map(|f| new_null_array(f.data_type(), 1)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// What a view or derived stream holds as its first change, and how far it is.
    pub(super) fn first(&self, read: Read) -> Result<(Delta, Timestamp)> {
        match read {
            Read::Stream(retained, watermark) => {
                let mut deltas = Vec::new();
                for part in &retained {
                    deltas.extend(part.read()?.iter().map(|run| run.delta.clone()));
                }
                let schema = match deltas.first() {
                    None => Arc::clone(&self.columns),
                    Some(delta) => delta.schema(),
                };
                Ok((Delta::concat(&schema, &deltas)?, watermark.0))
            }
            Read::Table(snapshot) | Read::View(snapshot) => {
                let (at, progress) = match self.result.clock {
                    Clock::Event => (snapshot.watermark.last_closed(), snapshot.watermark.0),
                    Clock::Arrival => (snapshot.commit.time, snapshot.commit.time.plus(1)),
                };
                Ok((snapshot.delta(at), progress))
            }
        }
    }

    /// Whether a stream is followed, of which nothing is ever taken back.
    pub(super) fn is_stream(&self) -> bool {
        self.result.kind != Kind::Relation
    }
}
