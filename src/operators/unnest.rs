//! Unnests arrays: one row per element.
//!
//! # Semantics
//! Each of some list columns is replaced by its elements, side by side: a row gives as many rows as
//! its longest list has elements, shorter ones are filled up with NULL, and the other columns are
//! repeated. A row whose lists are all NULL or empty gives no row, or one with NULLs if
//! `keep_empty` is set, which is what `LEFT JOIN LATERAL unnest(..) ON true` asks for. Linear, so
//! it acts on each change alone and keeps no state.
//!
//! # Cost
//! One copy per row that comes out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, SchemaRef};

use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::{Delta, batch};

/// A column that comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnnestColumn {
    /// The input's column of that index, repeated.
    Repeated(usize),
    /// The elements of the input's list column of that index.
    Elements(usize),
}

/// Replaces lists by their elements.
pub struct Unnest {
    columns: Vec<UnnestColumn>,
    keep_empty: bool,
    output: SchemaRef,
}

impl Unnest {
    /// Stateless.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// Makes `columns`, which have the types of `output`.
    pub fn new(columns: Vec<UnnestColumn>, keep_empty: bool, output: SchemaRef) -> Self {
        Self { columns, keep_empty, output }
    }

    /// The lists of a batch, by output column.
    fn lists(&self, delta: &Delta) -> Result<Vec<Option<ListArray>>> {
        let list = |column: &UnnestColumn| {
            let UnnestColumn::Elements(index) = column else { return Ok(None) };
            let lists = delta.rows().column(*index);
            let lists = match lists.data_type() {
                DataType::LargeList(of) | DataType::FixedSizeList(of, _) => {
                    cast(lists, &DataType::List(Arc::clone(of)))?
                }
                _ => Arc::clone(lists),
            };
            Ok(Some(lists.as_list::<i32>().clone()))
        };
        self.columns.iter().map(list).collect()
    }
}

/// The number of elements of a list; of NULL, none.
fn length(list: &ListArray, row: usize) -> u32 {
    let length = if list.is_null(row) { 0 } else { list.value_length(row) };
    u32::try_from(length).expect("lengths are not negative")
}

impl Operator for Unnest {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let lists = self.lists(&delta)?;
        let mut rows: Vec<u32> = Vec::new();
        // For each row that comes out, its place within the lists of its input row.
        let mut places: Vec<u32> = Vec::new();
        for (row, number) in (0..delta.len()).zip(0u32..) {
            let longest = lists.iter().flatten().map(|list| length(list, row)).max().unwrap_or(0);
            let count = if self.keep_empty { longest.max(1) } else { longest };
            rows.extend(std::iter::repeat_n(number, count as usize));
            places.extend(0..count);
        }
        let rows = UInt32Array::from(rows);
        let columns = self.columns.iter().zip(&lists).map(|(column, list)| match (column, list) {
            (UnnestColumn::Repeated(index), _) => {
                Ok(take(delta.rows().column(*index), &rows, None)?)
            }
            (UnnestColumn::Elements(_), list) => {
                let list = list.as_ref().expect("columns of elements have lists");
                let at = rows.values().iter().zip(&places).map(|(row, place)| {
                    let row = *row as usize;
                    let first = u32::try_from(list.value_offsets()[row]).ok()?;
                    (*place < length(list, row)).then(|| first + place)
                });
                Ok(take(list.values(), &at.collect::<UInt32Array>(), None)?)
            }
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let unnested = batch(self.output.clone(), columns, rows.len())?;
        out.push(delta.take(&rows)?.with_rows(unnested));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use arrow::datatypes::{Field, Int64Type, Schema};

    use super::*;
    use crate::delta::{Instants, Weights, pretty};
    use crate::time::Timestamp;

    fn run(keep_empty: bool) -> String {
        let some = |list: &[i64]| Some(list.iter().map(|v| Some(*v)).collect::<Vec<_>>());
        let a = ListArray::from_iter_primitive::<Int64Type, _, _>([
            some(&[1, 2]),
            None,
            some(&[]),
            some(&[3]),
        ]);
        let b = ListArray::from_iter_primitive::<Int64Type, _, _>([
            some(&[7]),
            None,
            None,
            some(&[8, 9]),
        ]);
        let k = StringArray::from(vec!["w", "x", "y", "z"]);
        let columns: Vec<ArrayRef> = vec![Arc::new(a), Arc::new(k), Arc::new(b)];
        let fields = columns.iter().map(|c| Field::new("c", c.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let rows = RecordBatch::try_new(schema, columns).unwrap();
        let weights = Weights::Each(Int64Array::from(vec![1, 1, -1, -2]));
        let delta = Delta::new(rows, Instants::All(Timestamp(5)), weights);
        let columns =
            vec![UnnestColumn::Elements(0), UnnestColumn::Repeated(1), UnnestColumn::Elements(2)];
        let output = pretty::schema("a:int8 | k:text | b:int8");
        let mut out = Output::default();
        Unnest::new(columns, keep_empty, output).on_delta(Port(0), delta, &mut out).unwrap();
        pretty::print(&out.deltas[0])
    }

    #[test]
    fn lists_stand_side_by_side_and_shorter_ones_are_filled_up() {
        expect_test::expect![[r#"
             w | ts | a    | k | b
            +1 | 5  | 1    | w | 7
            +1 | 5  | 2    | w | NULL
            -2 | 5  | 3    | z | 8
            -2 | 5  | NULL | z | 9
        "#]]
        .assert_eq(&run(false));
    }

    #[test]
    fn rows_without_elements_may_be_kept() {
        expect_test::expect![[r#"
             w | ts | a    | k | b
            +1 | 5  | 1    | w | 7
            +1 | 5  | 2    | w | NULL
            +1 | 5  | NULL | x | NULL
            -1 | 5  | NULL | y | NULL
            -2 | 5  | 3    | z | 8
            -2 | 5  | NULL | z | 9
        "#]]
        .assert_eq(&run(true));
    }
}
