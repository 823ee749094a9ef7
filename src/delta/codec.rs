//! A delta as one record batch, with trailing columns for time and weight: for disk and network.
//!
//! # Semantics
//! [`encode`] appends the columns `$ts` (microseconds) and `$weight`; [`decode`] takes them off
//! again and finds short forms: one instant for all, every weight 1.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::{Delta, Instants, Weights, batch};
use crate::time::Timestamp;

/// Returns the delta as one batch.
pub fn encode(delta: &Delta) -> Result<RecordBatch, ArrowError> {
    let ts = Int64Array::new(delta.ts_array().values().clone(), None);
    let mut columns = delta.rows().columns().to_vec();
    columns.push(Arc::new(ts));
    columns.push(Arc::new(delta.weight_array()));
    RecordBatch::try_new(encoded_schema(&delta.schema()), columns)
}

/// Returns the row type of the batches that [`encode`] makes of deltas with this one.
pub fn encoded_schema(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("$ts", DataType::Int64, false)));
    fields.push(Arc::new(Field::new("$weight", DataType::Int64, false)));
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Returns the delta that [`encode`] has made a batch of.
pub fn decode(encoded: &RecordBatch) -> Result<Delta, ArrowError> {
    let misfit = || ArrowError::SchemaError("an encoded delta ends in time and weight".to_owned());
    let width = encoded.num_columns().checked_sub(2).ok_or_else(misfit)?;
    let number = |i: usize| encoded.column(i).as_primitive_opt::<Int64Type>().ok_or_else(misfit);
    let (ts, weights) = (number(width)?, number(width + 1)?);
    let schema = encoded.schema();
    let fields = schema.fields()[..width].to_vec();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let rows = batch(schema, encoded.columns()[..width].to_vec(), encoded.num_rows())?;
    let ts = match ts.values().first() {
        Some(first) if ts.values().iter().all(|ts| ts == first) => Instants::All(Timestamp(*first)),
        _ => Instants::Each(TimestampMicrosecondArray::new(ts.values().clone(), None)),
    };
    let weights = match weights.values().iter().all(|weight| *weight == 1) {
        true => Weights::Ones,
        false => Weights::Each(weights.clone()),
    };
    Ok(Delta::new(rows, ts, weights))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::pretty::{parse, print};

    #[test]
    fn decoding_returns_the_delta() {
        for table in
            [" w | ts | k:text\n+1 | 5 | a\n-2 | 6 | NULL", " w | ts\n+1 | 5", " w | ts | v:int8"]
        {
            let delta = parse(table);
            let back = decode(&encode(&delta).unwrap()).unwrap();
            assert_eq!(print(&back), print(&delta));
        }
    }
}
