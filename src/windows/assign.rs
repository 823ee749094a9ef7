//! Window functions TUMBLE, HOP and CUMULATE: each row gets the windows it falls in as columns.
//!
//! # Semantics
//! A window is `[window_start, window_end)`, and `window_time = window_end - 1` microsecond. A row
//! is emitted once for each window it falls in, earliest first, with these three columns appended.
//! Nothing expires. A row of which the time is NULL, or so extreme that a bound would not fit,
//! falls in none.
//!
//! ```text
//!   TUMBLE(size 5)            0----5----10
//!   HOP(slide 2, size 4)      0----4         every row in size / slide windows
//!                               2----6
//!   HOP(slide 5, size 2)      0--2    5--7   rows between windows in none
//!   CUMULATE(step 2, size 6)  0--2
//!                             0----4
//!                             0------6
//! ```
//!
//! # Cost
//! Arithmetic per row and window; a tumbling window copies no column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit};
use datafusion::physical_expr::PhysicalExpr;

use crate::delta::{Delta, batch};
use crate::operators::evaluate::Expressions;
use crate::operators::{Instantwise, Operator, Output, Port, Result};

/// Which windows there are. Lengths are in microseconds, or in units of a BIGINT time, and
/// positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigner {
    /// Adjacent windows.
    Tumble {
        /// Length of a window.
        size: i64,
        /// By how much the starts are shifted.
        offset: i64,
    },
    /// Windows that start every `slide`.
    Hop {
        /// Distance of the starts.
        slide: i64,
        /// Length of a window.
        size: i64,
        /// By how much the starts are shifted.
        offset: i64,
    },
    /// Windows that grow by `step` until they have `size`.
    Cumulate {
        /// Difference of the ends.
        step: i64,
        /// Length of the longest window.
        size: i64,
        /// By how much the starts are shifted.
        offset: i64,
    },
}

impl Assigner {
    /// In how many windows a row is, at most.
    pub fn most(self) -> usize {
        let most = match self {
            Assigner::Tumble { .. } => 1,
            Assigner::Hop { slide: step, size, .. } | Assigner::Cumulate { step, size, .. } => {
                (size - 1) / step + 1
            }
        };
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// Calls `f(start, end)` for each window that `time` falls in, earliest first.
    pub fn windows(self, time: i64, mut f: impl FnMut(i64, i64)) -> Option<()> {
        match self {
            Assigner::Tumble { size, offset } => {
                let start = at_or_before(time, size, offset)?;
                f(start, start.checked_add(size)?);
            }
            Assigner::Hop { slide, size, offset } => {
                let last = at_or_before(time, slide, offset)?;
                // The first start is the least one for which start + size > time.
                let count = (size - (time - last) + slide - 1).div_euclid(slide).max(0);
                let first = last.checked_sub((count - 1).max(0).checked_mul(slide)?)?;
                last.checked_add(size)?;
                (0..count).for_each(|i| f(first + i * slide, first + i * slide + size));
            }
            Assigner::Cumulate { step, size, offset } => {
                let start = at_or_before(time, size, offset)?;
                start.checked_add(size)?;
                let first = (time - start) / step + 1;
                (first..=size / step).for_each(|i| f(start, start + i * step));
            }
        }
        Some(())
    }
}

/// Returns the last multiple of `step`, shifted by `offset`, that is not after `time`.
fn at_or_before(time: i64, step: i64, offset: i64) -> Option<i64> {
    time.checked_sub(time.checked_sub(offset)?.rem_euclid(step))
}

/// Appends the windows of each row.
pub struct AssignWindows {
    assigner: Assigner,
    time: Expressions,
    output: SchemaRef,
}

impl AssignWindows {
    /// Stateless.
    pub const INSTANTS: Instantwise = Instantwise::Any;

    /// Assigns by the time that `time` computes: a timestamp or a BIGINT. `output` is the input's
    /// row type with `window_start`, `window_end` and `window_time` of the type of `time` appended.
    pub fn new(time: Arc<dyn PhysicalExpr>, assigner: Assigner, output: SchemaRef) -> Self {
        Self { assigner, time: Expressions::new([time]), output }
    }
}

impl Operator for AssignWindows {
    fn on_delta(&mut self, _: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let (delta, times) = self.time.evaluate(delta, out)?;
        let times = ticks(&times[0])?;
        let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (row, time) in times.iter().enumerate() {
            let Some(time) = time else { continue };
            let row = u32::try_from(row).expect("a batch has fewer than 2^32 rows");
            // A time too extreme for its windows falls in none.
            let _none = self.assigner.windows(time, |start, end| {
                rows.push(row);
                starts.push(start);
                ends.push(end);
            });
        }
        let each_once = rows.iter().copied().eq((0..).take(delta.len()));
        let delta = if each_once { delta } else { delta.take(&UInt32Array::from(rows))? };
        let last: Vec<i64> = ends.iter().map(|end| end - 1).collect();
        let mut columns = delta.rows().columns().to_vec();
        for values in [starts, ends, last] {
            let field = self.output.field(columns.len());
            columns.push(of_type(values, field.data_type())?);
        }
        let rows = batch(self.output.clone(), columns, delta.len())?;
        out.push(delta.with_rows(rows));
        Ok(())
    }
}

/// Returns times as microseconds, or as the numbers they are.
pub(super) fn ticks(times: &ArrayRef) -> Result<Int64Array> {
    let times = match times.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => Arc::clone(times),
        DataType::Timestamp(_, zone) => {
            cast(times, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?
        }
        _ => Arc::clone(times),
    };
    Ok(cast(&times, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

/// Returns ticks as times of a type.
pub(super) fn of_type(values: Vec<i64>, to: &DataType) -> Result<ArrayRef> {
    match to {
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let times = TimestampMicrosecondArray::from(values);
            Ok(Arc::new(times.with_timezone_opt(zone.clone())))
        }
        _ => Ok(cast(&(Arc::new(Int64Array::from(values)) as ArrayRef), to)?),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::operators::testing::{expr, run, schema};

    fn check(assigner: Assigner, times: &[&str], expected: Expect) {
        let output = schema("t:int8 | window_start:int8 | window_end:int8 | window_time:int8");
        let mut op = AssignWindows::new(expr(&schema("t:int8"), "t"), assigner, output);
        let rows: String = times.iter().map(|time| format!("+1 | 0 | {time}\n")).collect();
        expected.assert_eq(&run(&mut op, &[&format!(" w | ts | t:int8\n{rows}")], None).text());
    }

    #[test]
    fn f1_tumble_is_half_open() {
        let tumble = Assigner::Tumble { size: 5, offset: 0 };
        let expected = expect![[r#"
             w | ts | t  | window_start | window_end | window_time
            +1 | 0  | -1 | -5           | 0          | -1
            +1 | 0  | 1  | 0            | 5          | 4
            +1 | 0  | 4  | 0            | 5          | 4
            +1 | 0  | 5  | 5            | 10         | 9
        "#]];
        check(tumble, &["1", "4", "5", "-1", "NULL", "9223372036854775807"], expected);
    }

    #[test]
    fn f2_hop_overlaps() {
        let hop = Assigner::Hop { slide: 2, size: 4, offset: 0 };
        let expected = expect![[r#"
             w | ts | t | window_start | window_end | window_time
            +1 | 0  | 0 | -2           | 2          | 1
            +1 | 0  | 0 | 0            | 4          | 3
            +1 | 0  | 3 | 0            | 4          | 3
            +1 | 0  | 3 | 2            | 6          | 5
            +1 | 0  | 5 | 2            | 6          | 5
            +1 | 0  | 5 | 4            | 8          | 7
        "#]];
        check(hop, &["0", "3", "5"], expected);
    }

    #[test]
    fn f3_hop_with_gaps_leaves_rows_in_no_window() {
        let hop = Assigner::Hop { slide: 5, size: 2, offset: 0 };
        let expected = expect![[r#"
             w | ts | t | window_start | window_end | window_time
            +1 | 0  | 5 | 5            | 7          | 6
            +1 | 0  | 6 | 5            | 7          | 6
        "#]];
        check(hop, &["3", "5", "6", "9"], expected);
    }

    #[test]
    fn hop_of_a_size_that_is_no_multiple_of_the_slide() {
        let hop = Assigner::Hop { slide: 2, size: 5, offset: 0 };
        let expected = expect![[r#"
             w | ts | t | window_start | window_end | window_time
            +1 | 0  | 3 | 0            | 5          | 4
            +1 | 0  | 3 | 2            | 7          | 6
            +1 | 0  | 4 | 0            | 5          | 4
            +1 | 0  | 4 | 2            | 7          | 6
            +1 | 0  | 4 | 4            | 9          | 8
        "#]];
        check(hop, &["3", "4"], expected);
    }

    #[test]
    fn f4_cumulate_grows() {
        let cumulate = Assigner::Cumulate { step: 2, size: 6, offset: 0 };
        let expected = expect![[r#"
             w | ts | t | window_start | window_end | window_time
            +1 | 0  | 0 | 0            | 2          | 1
            +1 | 0  | 0 | 0            | 4          | 3
            +1 | 0  | 0 | 0            | 6          | 5
            +1 | 0  | 3 | 0            | 4          | 3
            +1 | 0  | 3 | 0            | 6          | 5
        "#]];
        check(cumulate, &["0", "3"], expected);
    }

    #[test]
    fn f5_offset_and_negative_start() {
        let tumble = Assigner::Tumble { size: 5, offset: 3 };
        let expected = expect![[r#"
             w | ts | t | window_start | window_end | window_time
            +1 | 0  | 0 | -2           | 3          | 2
            +1 | 0  | 2 | -2           | 3          | 2
            +1 | 0  | 3 | 3            | 8          | 7
        "#]];
        check(tumble, &["0", "2", "3"], expected);
    }

    #[test]
    fn timestamps_keep_their_type() {
        let time = ["t", "window_start", "window_end", "window_time"];
        let output = schema(&time.map(|name| format!("{name}:timestamptz")).join(" | "));
        let hour = Assigner::Tumble { size: 3_600_000_000, offset: 0 };
        let mut op = AssignWindows::new(expr(&schema("t:timestamptz"), "t"), hour, output);
        let table = " w | ts | t:timestamptz\n-2 | 0 | 09:30";
        expect![[r#"
             w | ts | t     | window_start | window_end | window_time
            -2 | 0  | 09:30 | 09:00        | 10:00      | 09:59:59.999999
        "#]]
        .assert_eq(&run(&mut op, &[table], None).text());
    }
}
