//! Writes and reads sections of an aggregate's saved state.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::datatypes::{Field, Int64Type, Schema, UInt32Type};

use crate::operators::{Error, Result, StateReader, StateWriter};
use crate::storage::{OrderedRows, RowCodec};

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

/// Writes the ordered rows of `groups`, numbered from 0.
pub(super) fn save_ordered(
    rows: &OrderedRows,
    codec: &RowCodec,
    groups: &[u32],
    name: &str,
    to: &mut StateWriter,
) -> Result<()> {
    let numbered = groups.iter().zip(0u32..);
    let slots = numbered.flat_map(|(group, number)| rows.of(*group).map(move |s| (number, s)));
    let (owners, slots): (Vec<u32>, Vec<u32>) = slots.unzip();
    let weights = slots.iter().map(|slot| rows.weight(*slot));
    let weights: ArrayRef = Arc::new(Int64Array::from_iter_values(weights));
    let owners: ArrayRef = Arc::new(UInt32Array::from(owners));
    let values = codec.decode(slots.iter().map(|slot| rows.get(*slot)))?;
    let mut columns = vec![("group", owners), ("weight", weights)];
    columns.extend(values.into_iter().map(|column| ("value", column)));
    put(to, name, columns)
}

/// Hands on the rows that `save_ordered` wrote: group, encoded row and weight.
pub(super) fn load_ordered(
    codec: &RowCodec,
    name: &str,
    from: &mut StateReader,
    mut add: impl FnMut(u32, &[u8], i64),
) -> Result<()> {
    let columns = take(from, name, 2)?;
    let owners = columns[0].as_primitive_opt::<UInt32Type>();
    let owners = owners.ok_or_else(|| misfit("a group is not a number".to_owned()))?;
    let weights = read(&columns[1])?;
    let encoded = codec.encode(&columns[2..], owners.len())?;
    for (i, owner) in owners.values().iter().enumerate() {
        add(*owner, encoded.get(i), weights.value(i));
    }
    Ok(())
}

/// Saved state that does not fit an aggregate.
pub(in crate::operators) fn misfit(reason: String) -> Error {
    Error::State { operator: "Aggregate", reason }
}
