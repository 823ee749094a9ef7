//! OVER by hand: what a change reaches, what the watermark frees, values out of range.

use datafusion::logical_expr::WindowFrameUnits::{Range, Rows};
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::scalar::ScalarValue;
use expect_test::{Expect, expect};

use super::*;
use crate::operators::testing::{Emitted, calls, expr, hand_over, run, run_whole, schema};

/// `sql OVER (ORDER BY key units BETWEEN start PRECEDING AND CURRENT ROW)`; no start is unbounded.
fn over(input: &str, sql: &str, key: &str, frame: (WindowFrameUnits, Option<i64>)) -> OverOptions {
    let schema_of = schema(input);
    let (units, start) = frame;
    let start = match units {
        Range => ScalarValue::Int64(start),
        _ => ScalarValue::UInt64(start.map(|start| u64::try_from(start).unwrap())),
    };
    let start = WindowFrameBound::Preceding(start);
    let frame = WindowFrame::new_bounds(units, start, WindowFrameBound::CurrentRow);
    let function = OverFunction::Aggregate(calls(&schema_of, sql).swap_remove(0));
    OverOptions {
        partition: vec![],
        keys: vec![(expr(&schema_of, key), SortOptions { descending: false, nulls_first: false })],
        ties: vec![],
        calls: vec![OverCall { function, frame, exclude: Exclude::NoOthers }],
        closes: None,
        trims: None,
        output: schema(&format!("{input} | r:int8")),
        input: schema_of,
    }
}

fn check(options: &OverOptions, table: &str, expected: Expect) {
    let one_by_one = run(&mut Over::new(options.clone()).unwrap(), &[table], None).text();
    expected.assert_eq(&one_by_one);
    let together = run_whole(&mut Over::new(options.clone()).unwrap(), &[table], None);
    assert_eq!(together.text(), one_by_one);
}

#[test]
fn change_reaches_the_rows_whose_frame_it_is_in() {
    check(
        &over("k:text | v:int8", "sum(v)", "k", (Rows, Some(1))),
        " w | ts | k:text | v:int8
         +1 | 1  | a      | 1
         +1 | 2  | c      | 5
         +1 | 3  | b      | 2
         -1 | 4  | a      | 1",
        expect![[r#"
             w | ts | k | v | r
            +1 | 1  | a | 1 | 1
            +1 | 2  | c | 5 | 6
            +1 | 3  | b | 2 | 3
            -1 | 3  | c | 5 | 6
            +1 | 3  | c | 5 | 7
            -1 | 4  | a | 1 | 1
            +1 | 4  | b | 2 | 2
            -1 | 4  | b | 2 | 3
        "#]],
    );
}

#[test]
fn peers_change_together_and_copies_are_rows() {
    check(
        &over("k:text | v:int8", "sum(v)", "k", (Range, None)),
        " w | ts | k:text | v:int8
         +2 | 1  | a      | 1
         +1 | 2  | a      | 5
         -1 | 3  | a      | 1",
        expect![[r#"
             w | ts | k | v | r
            +2 | 1  | a | 1 | 2
            -2 | 2  | a | 1 | 2
            +2 | 2  | a | 1 | 7
            +1 | 2  | a | 5 | 7
            +1 | 3  | a | 1 | 6
            -2 | 3  | a | 1 | 7
            +1 | 3  | a | 5 | 6
            -1 | 3  | a | 5 | 7
        "#]],
    );
}

#[test]
fn row_whose_value_is_out_of_range_is_reported_until_it_is_not() {
    check(
        &over("k:text | v:int8", "sum(v)", "k", (Rows, Some(1))),
        " w | ts | k:text | v:int8
         +1 | 1  | a      | 9223372036854775807
         +1 | 1  | b      | 1
         -1 | 2  | a      | 9223372036854775807",
        expect![[r#"
             w | ts | k | v                   | r
            +1 | 1  | a | 9223372036854775807 | 9223372036854775807
            -1 | 2  | a | 9223372036854775807 | 9223372036854775807
            +1 | 2  | b | 1                   | 1
            22003 +1 (b, 1): the value of a window function is out of range
            22003 -1 (b, 1): the value of a window function is out of range
        "#]],
    );
}

const TIMES: &str = " w | ts | at:int8 | v:int8
                     +1 | 1  | 1       | 1
                     +1 | 1  | 3       | 2
                     +1 | 1  | 6       | 4";

fn by_time(frame: (WindowFrameUnits, Option<i64>)) -> Over {
    let trims = Some(Frees { column: 0, after: 1 });
    let options = over("at:int8 | v:int8", "sum(v)", "at", frame);
    Over::new(OverOptions { trims, ..options }).unwrap()
}

#[test]
fn rows_that_no_frame_looks_at_are_freed() {
    // The number of rows held once the watermark has passed the first two rows, and all.
    for (frame, some, none) in
        [((Range, Some(2)), 2, 0), ((Rows, Some(1)), 2, 1), ((Rows, None), 1, 0)]
    {
        let mut op = by_time(frame);
        let mut emitted = Emitted::default();
        emitted.delta(&mut op, 0, TIMES).instant(&mut op, 1).watermark(&mut op, 5);
        assert_eq!(op.sequence.entries.len(), some, "{frame:?}");
        emitted.watermark(&mut op, 100);
        assert_eq!(op.sequence.entries.len(), none, "{frame:?}");
        assert_eq!(op.outputs.len(), none, "{frame:?}");
    }
}

#[test]
fn what_was_freed_still_counts() {
    for frame in [(Rows, None), (Range, None), (Rows, Some(1)), (Range, Some(2))] {
        let (mut freed, mut kept) = (by_time(frame), by_time(frame));
        let mut before = Emitted::default();
        before.delta(&mut freed, 0, TIMES).instant(&mut freed, 1).watermark(&mut freed, 5);
        before.delta(&mut kept, 0, TIMES).instant(&mut kept, 1);
        let mut loaded = by_time(frame);
        hand_over(&mut freed, &mut loaded);
        let later = " w | ts | at:int8 | v:int8\n+1 | 2 | 5 | 8\n+1 | 2 | 9 | 16";
        let texts = [&mut freed, &mut loaded, &mut kept].map(|op| {
            let mut emitted = Emitted::default();
            emitted.delta(op, 0, later).instant(op, 2);
            emitted.text()
        });
        assert_eq!(texts[0], texts[2], "{frame:?}");
        assert_eq!(texts[1], texts[2], "{frame:?}");
    }
}
