//! Rows as byte strings, in Arrow's row encoding.
//!
//! # Semantics
//! Equal rows have equal bytes, NULL equals NULL, and byte order is the order of the columns with
//! their sort options. A row of no columns is the empty string.
//!
//! # Cost
//! One pass per column in both directions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, PrimitiveArray, downcast_primitive_array};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{ArrowPrimitiveType, DataType};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, RowParser, Rows, SortField};

/// Encodes columns into rows and decodes them again.
#[derive(Debug)]
pub struct RowCodec {
    converter: RowConverter,
    parser: RowParser,
    types: Vec<DataType>,
}

/// Rows of one batch, encoded.
#[derive(Debug)]
pub struct Encoded {
    /// `None` for rows without columns.
    rows: Option<Rows>,
    len: usize,
}

impl RowCodec {
    /// A codec for columns of these types, ascending with NULLs first.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self, ArrowError> {
        Self::sorted(types.into_iter().map(|t| (t, SortOptions::default())).collect())
    }

    /// A codec whose byte order is that of the columns with their options, first column first.
    pub fn sorted(columns: Vec<(DataType, SortOptions)>) -> Result<Self, ArrowError> {
        let types = columns.iter().map(|(t, _)| t.clone()).collect();
        let fields = columns.into_iter().map(|(t, by)| SortField::new_with_options(t, by));
        let converter = RowConverter::new(fields.collect())?;
        let parser = converter.parser();
        Ok(Self { converter, parser, types })
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.types.len()
    }

    /// Encodes `len` rows.
    pub fn encode(&self, columns: &[ArrayRef], len: usize) -> Result<Encoded, ArrowError> {
        let rows = match columns {
            [] => None,
            _ => Some(self.converter.convert_columns(columns)?),
        };
        Ok(Encoded { rows, len })
    }

    /// Decodes rows that this codec, or one of the same types, has encoded.
    pub fn decode<'a>(
        &'a self,
        rows: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        if self.types.is_empty() {
            return Ok(Vec::new());
        }
        let columns = self.converter.convert_rows(rows.map(|row| self.parser.parse(row)))?;
        let typed = columns.into_iter().zip(&self.types).map(|(column, to)| {
            let column = zeroed(column);
            if column.data_type() == to { Ok(column) } else { cast(&column, to) }
        });
        typed.collect()
    }
}

/// Puts zero where there is NULL: kernels may look there, and the row encoding leaves the least
/// number, with which few computations are possible.
fn zeroed(column: ArrayRef) -> ArrayRef {
    fn zeroed<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>) -> ArrayRef {
        let values = column.iter().map(Option::unwrap_or_default);
        let zeroed = PrimitiveArray::<T>::new(values.collect(), column.nulls().cloned());
        Arc::new(zeroed.with_data_type(column.data_type().clone()))
    }
    if column.null_count() == 0 {
        return column;
    }
    let array: &dyn Array = &column;
    downcast_primitive_array!(
        array => zeroed(array),
        _ => Arc::clone(&column)
    )
}

impl Encoded {
    /// Returns the bytes of row `i`.
    #[inline]
    pub fn get(&self, i: usize) -> &[u8] {
        self.rows.as_ref().map_or(&[], |rows| rows.row(i).data())
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
        ListArray, StringArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::Int32Type;

    use super::*;

    /// Images have rows in this form: where it changes, the format of the data directory does.
    #[test]
    fn rows_have_these_bytes() {
        let decimals = Decimal128Array::from(vec![Some(-125), None]);
        let columns: [(&str, ArrayRef); 9] = [
            ("bigint", Arc::new(Int64Array::from(vec![Some(-2), None]))),
            ("text", Arc::new(StringArray::from(vec![Some("twelve bytes"), None]))),
            ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("float8", Arc::new(Float64Array::from(vec![Some(-1.5), None]))),
            ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]))),
            ("numeric", Arc::new(decimals.with_precision_and_scale(10, 2).unwrap())),
            ("date", Arc::new(Date32Array::from(vec![Some(20_000), None]))),
            ("bytea", Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None]))),
            (
                "int4[]",
                Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([
                    Some(vec![Some(7), None]),
                    None,
                ])),
            ),
        ];
        let mut found = String::new();
        for (name, column) in columns {
            let rows = RowCodec::new([column.data_type().clone()]).unwrap();
            let encoded = rows.encode(&[Arc::clone(&column)], 2).unwrap();
            for row in 0..2 {
                let hex: String =
                    encoded.get(row).iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(found, "{name:9} {hex}").unwrap();
            }
            let back = rows.decode((0..2).map(|row| encoded.get(row))).unwrap();
            assert_eq!(&back[0], &column);
        }
        expect_test::expect![[r#"
            bigint    017ffffffffffffffe
            bigint    000000000000000000
            text      027477656c76652062ff797465730000000004
            text      00
            boolean   0101
            boolean   0000
            float8    014007ffffffffffff
            float8    000000000000000000
            timestamp 018000000000000001
            timestamp 000000000000000000
            numeric   017fffffffffffffffffffffffffffff83
            numeric   0000000000000000000000000000000000
            date      0180004e20
            date      0000000000
            bytea     0200ff00000000000002
            bytea     00
            int4[]    020180000007000000050200000000000000000501
            int4[]    00
        "#]]
        .assert_eq(&found);
    }
}
