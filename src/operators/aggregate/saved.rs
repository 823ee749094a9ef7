//! Writes and reads sections of an aggregate's saved state.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Field, Int64Type, Schema};

use crate::operators::{Error, Result, StateReader, StateWriter};

/// Adds a section of named columns.
pub(in crate::operators) fn put(
    to: &mut StateWriter,
    name: &str,
    columns: Vec<(&str, ArrayRef)>,
) -> Result<()> {
    let fields = columns.iter().map(|(name, c)| Field::new(*name, c.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    to.put(name, RecordBatch::try_new(schema, columns)?);
    Ok(())
}

/// Takes a section of at least `width` columns.
pub(in crate::operators) fn take(
    from: &mut StateReader,
    name: &str,
    width: usize,
) -> Result<Vec<ArrayRef>> {
    match from.take(name) {
        Some(batch) if batch.num_columns() >= width => Ok(batch.columns().to_vec()),
        Some(_) => Err(misfit(format!("section {name} has fewer than {width} columns"))),
        None => Err(misfit(format!("section {name} is missing"))),
    }
}

/// Returns the numbers of some groups.
pub(in crate::operators) fn numbers(groups: &[u32], of: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| of[*group as usize])))
}

/// Returns the numbers of a saved column.
pub(in crate::operators) fn read(column: &ArrayRef) -> Result<&Int64Array> {
    let numbers = column.as_primitive_opt::<Int64Type>();
    numbers.ok_or_else(|| misfit(format!("a column is {} and not Int64", column.data_type())))
}

/// Sets the numbers of the groups from 0.
pub(in crate::operators) fn fill(column: &ArrayRef, to: &mut Vec<i64>) -> Result<()> {
    let numbers = read(column)?;
    to.resize(to.len().max(numbers.len()), 0);
    to[..numbers.len()].copy_from_slice(numbers.values());
    Ok(())
}

/// Saved state that does not fit an aggregate.
pub(in crate::operators) fn misfit(reason: String) -> Error {
    Error::State { operator: "Aggregate", reason }
}
