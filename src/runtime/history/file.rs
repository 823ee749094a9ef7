//! A part of a stream's history as the rows of a file.
//!
//! # Format
//! The columns of the stream under their names, then `$late`, the watermark that a late row met,
//! where there are late rows, `$ts`, `$weight`, and `$arrived`, the time of the commit. Late rows
//! come last, in groups of their own. Intervals, which Parquet has not, are 16 bytes each.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, Int64Array, RecordBatch, make_array, new_null_array,
};
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Int64Type, IntervalUnit, Schema, SchemaRef,
};
use arrow::error::ArrowError;

use super::part::{Extent, Groups};
use super::retained::Retained;
use crate::delta::{Delta, batch, codec};
use crate::planner::relation::LATE;
use crate::runtime::Result;
use crate::runtime::runs::Run;
use crate::storage::archive::{Opened, Stored};
use crate::time::Timestamp;

/// Columns behind those of the rows: time, weight and arrival.
const OWN_COLUMNS: usize = 3;

/// Returns runs as rows of a file: those that came in time, and the late ones.
pub(super) fn encode(
    schema: &SchemaRef,
    runs: &[Retained],
) -> Result<(SchemaRef, [Vec<RecordBatch>; 2])> {
    let late: Vec<&Retained> = runs.iter().filter_map(|run| run.late.as_deref()).collect();
    let watermark = late.first().map(|late| late.delta.rows().columns().len() - 1);
    let watermark = late.first().zip(watermark).map(|(late, i)| late.delta.rows().column(i));
    let watermark = watermark.map(|column| column.data_type().clone());
    let schema = file_schema(&full_schema(schema, watermark.as_ref()));
    let in_time = runs.iter().map(|run| encode_run(&schema, run, watermark.as_ref()));
    let in_time = in_time.collect::<Result<_, ArrowError>>()?;
    let late = late.into_iter().map(|run| encode_run(&schema, run, None));
    let late = late.collect::<Result<_, ArrowError>>()?;
    Ok((schema, [in_time, late]))
}

/// The columns of rows in a file, in memory's types.
fn full_schema(schema: &SchemaRef, watermark: Option<&DataType>) -> SchemaRef {
    let late = watermark.map(|kind| Arc::new(Field::new(LATE, kind.clone(), true)));
    let fields = schema.fields().iter().cloned().chain(late).collect::<Vec<_>>();
    codec::encoded_schema(&Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// The columns of a file.
fn file_schema(full: &SchemaRef) -> SchemaRef {
    let arrived = Arc::new(Field::new("$arrived", DataType::Int64, false));
    let fields = full.fields().iter().map(stored_field).chain([arrived]);
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), full.metadata().clone()))
}

fn encode_run(
    schema: &SchemaRef,
    run: &Retained,
    no_watermark: Option<&DataType>,
) -> Result<RecordBatch, ArrowError> {
    let encoded = codec::encode(&run.delta)?;
    let mut columns = encoded.columns().to_vec();
    if let Some(kind) = no_watermark {
        columns.insert(columns.len() + 1 - OWN_COLUMNS, new_null_array(kind, run.delta.len()));
    }
    columns.push(Arc::new(Int64Array::new(run.arrival_times().values().clone(), None)));
    let columns = columns.iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| retyped(column, field.data_type()));
    batch(SchemaRef::clone(schema), columns.collect::<Result<_, _>>()?, run.delta.len())
}

/// Reads all rows of a file.
pub(super) fn read(stored: &Stored, schema: &SchemaRef, extent: &Extent) -> Result<Retained> {
    let opened = stored.open()?;
    let (groups, late) = groups(&opened, extent);
    let decode = |groups: Vec<usize>, full: &SchemaRef| -> Result<Retained> {
        let all: Vec<usize> = (0..opened.schema().fields().len()).collect();
        let batches = opened.read(&all, groups)?;
        let runs = batches.iter().map(|batch| decode_run(batch, full));
        let runs = runs.collect::<Result<Vec<_>, ArrowError>>()?;
        let empty = || Retained::new(Delta::empty(rows_schema(full)), Timestamp::MIN);
        let whole = runs.into_iter().map(Ok).reduce(|a, b| a?.followed_by(&b?));
        Ok(whole.unwrap_or_else(|| Ok(empty()))?)
    };
    let width = opened.schema().fields().len() - OWN_COLUMNS;
    if extent.late == 0 {
        return decode(groups, &full_schema(schema, None));
    }
    let watermark = opened.schema().field(width - 1).data_type().clone();
    let full = full_schema(schema, Some(&watermark));
    let late = decode(late, &full)?;
    let mut all = decode(groups, &full)?;
    let shown: Vec<usize> = (0..width - 1).collect();
    let rows = all.delta.rows().project(&shown)?.with_schema(SchemaRef::clone(schema))?;
    all.delta = all.delta.with_rows(rows);
    Ok(Retained { late: Some(Arc::new(late)), ..all })
}

/// Reads some columns of the rows that came in time, with their times.
pub(super) fn scan(
    stored: &Stored,
    schema: &SchemaRef,
    extent: &Extent,
    columns: &[usize],
    wanted: Groups<'_>,
) -> Result<Vec<Delta>> {
    let opened = stored.open()?;
    let (mut groups, _) = groups(&opened, extent);
    if let Some(wanted) = wanted(opened.metadata(), opened.schema()) {
        groups.retain(|group| wanted.get(*group).copied().unwrap_or(true));
    }
    let projected = Arc::new(schema.project(columns)?);
    let width = opened.schema().fields().len() - OWN_COLUMNS;
    let mut order: Vec<usize> = columns.to_vec();
    order.sort_unstable();
    order.dedup();
    // A file gives columns in its own order, once each.
    let place = |column: &usize| order.binary_search(column).expect("it is among them");
    let places: Vec<usize> = columns.iter().map(place).collect();
    let read: Vec<usize> = order.iter().copied().chain([width, width + 1]).collect();
    let full = codec::encoded_schema(&projected);
    let batches = opened.read(&read, groups)?;
    let delta = |batch: &RecordBatch| {
        let own = [order.len(), order.len() + 1];
        let batch = batch.project(&[places.as_slice(), &own].concat())?;
        Ok(codec::decode(&in_memory(&batch, &full)?)?)
    };
    batches.iter().map(delta).collect()
}

/// The groups of rows that came in time, and those of late ones.
fn groups(opened: &Opened<'_>, extent: &Extent) -> (Vec<usize>, Vec<usize>) {
    let mut before = 0;
    let in_time = |group: &usize| {
        let rows = opened.metadata().row_group(*group).num_rows();
        before += usize::try_from(rows).unwrap_or(0);
        before <= extent.rows
    };
    (0..opened.metadata().num_row_groups()).partition(in_time)
}

fn decode_run(stored: &RecordBatch, full: &SchemaRef) -> Result<Retained, ArrowError> {
    let last = stored.num_columns() - 1;
    let arrived = stored.column(last).as_primitive::<Int64Type>();
    let shown: Vec<usize> = (0..last).collect();
    let delta = codec::decode(&in_memory(&stored.project(&shown)?, full)?)?;
    let mut arrivals: Vec<(usize, Timestamp)> = Vec::new();
    for at in arrived.values() {
        match arrivals.last_mut() {
            Some((rows, last)) if last.0 == *at => *rows += 1,
            _ => arrivals.push((1, Timestamp(*at))),
        }
    }
    Ok(Retained { delta, arrivals, late: None })
}

/// The rows of a file in the types that they have in memory.
fn in_memory(stored: &RecordBatch, full: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = stored.columns().iter().zip(full.fields());
    let columns = columns.map(|(column, field)| retyped(column, field.data_type()));
    batch(SchemaRef::clone(full), columns.collect::<Result<_, _>>()?, stored.num_rows())
}

/// The columns without time and weight.
fn rows_schema(full: &SchemaRef) -> SchemaRef {
    let fields = full.fields()[..full.fields().len() + 1 - OWN_COLUMNS].to_vec();
    Arc::new(Schema::new_with_metadata(fields, full.metadata().clone()))
}

fn stored_field(field: &FieldRef) -> FieldRef {
    let kind = stored_type(field.data_type());
    match kind == *field.data_type() {
        true => Arc::clone(field),
        false => Arc::new(field.as_ref().clone().with_data_type(kind)),
    }
}

/// The type that a column has in a file.
fn stored_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Interval(IntervalUnit::MonthDayNano) => DataType::FixedSizeBinary(16),
        DataType::List(item) => DataType::List(stored_field(item)),
        DataType::LargeList(item) => DataType::LargeList(stored_field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(stored_field(item), *size),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(stored_field).collect::<Fields>())
        }
        other => other.clone(),
    }
}

/// The same bytes as a column of another type, which differs in how they are read only.
fn retyped(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == kind {
        return Ok(Arc::clone(column));
    }
    Ok(make_array(retyped_data(column.to_data(), kind)?))
}

fn retyped_data(data: ArrayData, kind: &DataType) -> Result<ArrayData, ArrowError> {
    let children: Vec<&DataType> = match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            vec![item.data_type()]
        }
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        _ => Vec::new(),
    };
    let children = data.child_data().iter().cloned().zip(children);
    let children = children.map(|(child, kind)| retyped_data(child, kind));
    let children = children.collect::<Result<Vec<_>, _>>()?;
    let builder = data.into_builder().data_type(kind.clone()).child_data(children);
    builder.align_buffers(true).build()
}
