//! Aggregates by hand: the vectors, NULLs, retractions, errors of rows, saved state.

use expect_test::{Expect, expect};

use super::*;
use crate::operators::testing::{Emitted, calls, expr, hand_over, run, run_whole, schema};

/// An aggregate over `input`, with groups and calls written in SQL.
pub(super) fn aggregate(input: &str, groups: &[&str], sql: &str) -> AggregateOptions {
    let input = schema(input);
    let calls = if sql.is_empty() { Vec::new() } else { calls(&input, sql) };
    let groups: Vec<_> = groups.iter().map(|group| expr(&input, group)).collect();
    let fields = groups.iter().zip('a'..).map(|(group, name)| {
        arrow::datatypes::Field::new(name.to_string(), group.data_type(&input).unwrap(), true)
    });
    let results = calls.iter().zip(1..).map(|(call, number)| {
        let result = call.function.field().data_type().clone();
        arrow::datatypes::Field::new(format!("r{number}"), result, true)
    });
    let output = fields.chain(results).collect::<Vec<_>>();
    let output = Arc::new(arrow::datatypes::Schema::new(output));
    AggregateOptions { input, groups, calls, output, append_only: false, frees: None }
}

fn check(options: AggregateOptions, table: &str, expected: Expect) {
    let one_by_one = run(&mut Aggregate::new(options.clone()).unwrap(), &[table], None).text();
    expected.assert_eq(&one_by_one);
    let together = run_whole(&mut Aggregate::new(options).unwrap(), &[table], None);
    assert_eq!(together.text(), one_by_one);
}

#[test]
fn a13_aggregate_without_groups_always_has_one_row() {
    let options = aggregate("v:int8", &[], "count(*), sum(v)");
    let mut op = Aggregate::new(options).unwrap();
    let mut emitted = Emitted::default();
    emitted.instant(&mut op, 0);
    emitted.delta(&mut op, 0, " w | ts | v:int8\n+1 | 1 | 5").instant(&mut op, 1);
    emitted.delta(&mut op, 0, " w | ts | v:int8\n+1 | 2 | 7").instant(&mut op, 2);
    emitted.delta(&mut op, 0, " w | ts | v:int8\n-1 | 3 | 5").instant(&mut op, 3);
    emitted.delta(&mut op, 0, " w | ts | v:int8\n-1 | 4 | 7").instant(&mut op, 4);
    expect![[r#"
         w | ts | r1 | r2
        +1 | 0  | 0  | NULL
        -1 | 1  | 0  | NULL
        +1 | 1  | 1  | 5
        -1 | 2  | 1  | 5
        +1 | 2  | 2  | 12
        +1 | 3  | 1  | 7
        -1 | 3  | 2  | 12
        +1 | 4  | 0  | NULL
        -1 | 4  | 1  | 7
    "#]]
    .assert_eq(&emitted.text());
}

#[test]
fn first_row_of_the_single_group_may_come_with_the_watermark() {
    let mut op = Aggregate::new(aggregate("v:int8", &[], "count(*)")).unwrap();
    let mut emitted = Emitted::default();
    emitted.watermark(&mut op, 9).watermark(&mut op, 10).instant(&mut op, 10);
    expect![[r#"
         w | ts | r1
        +1 | 8  | 0
    "#]]
    .assert_eq(&emitted.text());
}

#[test]
fn a14_group_disappears_with_its_last_row() {
    check(
        aggregate("k:text", &["k"], "count(*)"),
        " w | ts | k:text
         +1 | 1  | x
         +1 | 2  | x
         +1 | 2  | y
         -1 | 3  | x
         -1 | 4  | x
         -1 | 4  | y",
        expect![[r#"
             w | ts | a | r1
            +1 | 1  | x | 1
            -1 | 2  | x | 1
            +1 | 2  | x | 2
            +1 | 2  | y | 1
            +1 | 3  | x | 1
            -1 | 3  | x | 2
            -1 | 4  | x | 1
            -1 | 4  | y | 1
        "#]],
    );
}

#[test]
fn d1_smaller_value_changes_no_maximum_and_the_runner_up_returns() {
    check(
        aggregate("v:int8", &[], "max(v)"),
        " w | ts | v:int8
         +1 | 1  | 5
         +1 | 2  | 9
         -1 | 3  | 9
         +1 | 4  | 3",
        expect![[r#"
             w | ts | r1
            +1 | 1  | 5
            -1 | 2  | 5
            +1 | 2  | 9
            +1 | 3  | 5
            -1 | 3  | 9
        "#]],
    );
}

#[test]
fn d2_distinct_is_an_aggregate_without_calls() {
    check(
        aggregate("k:text", &["k"], ""),
        " w | ts | k:text
         +1 | 1  | a
         +1 | 2  | a
         +1 | 2  | NULL
         -1 | 3  | a
         -1 | 4  | a
         +1 | 5  | b
         -1 | 5  | b",
        expect![[r#"
             w | ts | a
            +1 | 1  | a
            +1 | 2  | NULL
            -1 | 4  | a
        "#]],
    );
}

#[test]
fn d7_count_distinct_under_retraction() {
    check(
        aggregate("v:text", &[], "count(distinct v)"),
        " w | ts | v:text
         +1 | 1  | a
         +1 | 2  | a
         +1 | 3  | b
         +1 | 3  | NULL
         -1 | 4  | a
         -1 | 5  | a
         -1 | 6  | b",
        expect![[r#"
             w | ts | r1
            +1 | 1  | 1
            -1 | 3  | 1
            +1 | 3  | 2
            +1 | 5  | 1
            -1 | 5  | 2
            +1 | 6  | 0
            -1 | 6  | 1
        "#]],
    );
}

#[test]
fn nulls_do_not_count_and_a_sum_of_nothing_is_null() {
    let options = aggregate(
        "k:text | v:int8",
        &["k"],
        "count(*), count(v), sum(v), avg(v), min(v), bool_and(v > 1), bool_or(v > 1)",
    );
    check(
        options,
        " w | ts | k:text | v:int8
         +1 | 1  | a      | NULL
         +1 | 2  | a      | 1
         +2 | 3  | a      | 4
         +1 | 3  | NULL   | 2
         -1 | 4  | a      | 1",
        expect![[r#"
             w | ts | a    | r1 | r2 | r3   | r4   | r5   | r6    | r7
            +1 | 1  | a    | 1  | 0  | NULL | NULL | NULL | NULL  | NULL
            -1 | 2  | a    | 1  | 0  | NULL | NULL | NULL | NULL  | NULL
            +1 | 2  | a    | 2  | 1  | 1    | 1.0  | 1    | false | false
            +1 | 3  | NULL | 1  | 1  | 2    | 2.0  | 2    | true  | true
            -1 | 3  | a    | 2  | 1  | 1    | 1.0  | 1    | false | false
            +1 | 3  | a    | 4  | 3  | 9    | 3.0  | 1    | false | true
            +1 | 4  | a    | 3  | 2  | 8    | 4.0  | 4    | true  | true
            -1 | 4  | a    | 4  | 3  | 9    | 3.0  | 1    | false | true
        "#]],
    );
}

#[test]
fn filters_choose_the_rows_of_one_call() {
    check(
        aggregate("v:int8", &[], "count(*) filter (where v > 1), sum(10 / v) filter (where v > 0)"),
        " w | ts | v:int8
         +1 | 1  | 0
         +1 | 1  | 2
         +1 | 2  | NULL
         -1 | 3  | 0",
        expect![[r#"
             w | ts | r1 | r2
            +1 | 1  | 1  | 5
        "#]],
    );
}

#[test]
fn row_whose_argument_fails_contributes_to_no_call() {
    check(
        aggregate("v:int8", &[], "count(*), sum(10 / v)"),
        " w | ts | v:int8
         +1 | 1  | 0
         +1 | 1  | 2
         -1 | 2  | 0",
        expect![[r#"
             w | ts | r1 | r2
            +1 | 1  | 1  | 5
            22012 +1 (0): division by zero
            22012 -1 (0): division by zero
        "#]],
    );
}

#[test]
fn sum_out_of_range_hides_the_group_until_it_fits_again() {
    check(
        aggregate("k:text | v:int8", &["k"], "sum(v)"),
        " w | ts | k:text | v:int8
         +1 | 1  | a      | 9223372036854775807
         +1 | 2  | a      | 1
         +1 | 3  | a      | 1
         -1 | 4  | a      | 9223372036854775807",
        expect![[r#"
             w | ts | a | r1
            +1 | 1  | a | 9223372036854775807
            -1 | 2  | a | 9223372036854775807
            +1 | 4  | a | 2
            22003 +1 (a): the value of an aggregate is out of range
            22003 -1 (a): the value of an aggregate is out of range
        "#]],
    );
}

#[test]
fn floats_are_retracted_exactly() {
    check(
        aggregate("v:float8", &[], "sum(v), avg(v)"),
        " w | ts | v:float8
         +1 | 1  | 0.1
         +1 | 2  | 1e300
         +1 | 2  | Infinity
         +1 | 3  | NaN
         -1 | 4  | NaN
         -1 | 4  | 1e300
         -1 | 4  | Infinity",
        expect![[r#"
             w | ts | r1  | r2
            +1 | 1  | 0.1 | 0.1
            -1 | 2  | 0.1 | 0.1
            +1 | 2  | inf | inf
            +1 | 3  | NaN | NaN
            -1 | 3  | inf | inf
            +1 | 4  | 0.1 | 0.1
            -1 | 4  | NaN | NaN
        "#]],
    );
}

#[test]
fn decimals_keep_their_scale() {
    check(
        aggregate("v:numeric(6,2)", &[], "sum(v), avg(v), max(v), min(v)"),
        " w | ts | v:numeric(6,2)
         +1 | 1  | 1.10
         +2 | 2  | 2.25
         -1 | 3  | 1.10",
        expect![[r#"
             w | ts | r1   | r2       | r3   | r4
            +1 | 1  | 1.10 | 1.100000 | 1.10 | 1.10
            -1 | 2  | 1.10 | 1.100000 | 1.10 | 1.10
            +1 | 2  | 5.60 | 1.866666 | 2.25 | 1.10
            +1 | 3  | 4.50 | 2.250000 | 2.25 | 2.25
            -1 | 3  | 5.60 | 1.866666 | 2.25 | 1.10
        "#]],
    );
}

#[test]
fn other_aggregates_are_computed_from_the_rows_of_the_group() {
    let calls = "array_agg(v), string_agg(t, '-' order by v desc), median(v), stddev(v)";
    check(
        aggregate("t:text | v:float8", &[], calls),
        " w | ts | t:text | v:float8
         +1 | 1  | a      | 3
         +2 | 2  | b      | 1
         +1 | 2  | c      | 8
         -1 | 3  | a      | 3",
        expect![[r#"
             w | ts | r1                   | r2      | r3  | r4
            +1 | 1  | [3.0]                | a       | 3.0 | NULL
            +1 | 2  | [1.0, 1.0, 3.0, 8.0] | c-a-b-b | 2.0 | 3.304037933599835
            -1 | 2  | [3.0]                | a       | 3.0 | NULL
            -1 | 3  | [1.0, 1.0, 3.0, 8.0] | c-a-b-b | 2.0 | 3.304037933599835
            +1 | 3  | [1.0, 1.0, 8.0]      | c-b-b   | 1.0 | 4.041451884327381
        "#]],
    );
}

#[test]
fn append_only_input_needs_no_multiset() {
    let calls = "max(t), min(v), array_agg(v), median(v), count(distinct t)";
    let options = aggregate("t:text | v:float8", &[], calls);
    check(
        AggregateOptions { append_only: true, ..options },
        " w | ts | t:text | v:float8
         +1 | 1  | b      | -3
         +2 | 2  | NULL   | 1
         +1 | 2  | c      | NULL
         +1 | 3  | a      | -0.5",
        expect![[r#"
             w | ts | r1 | r2   | r3                       | r4   | r5
            +1 | 1  | b  | -3.0 | [-3.0]                   | -3.0 | 1
            -1 | 2  | b  | -3.0 | [-3.0]                   | -3.0 | 1
            +1 | 2  | c  | -3.0 | [-3.0, 1.0, 1.0, ]       | 1.0  | 2
            +1 | 3  | c  | -3.0 | [-3.0, -0.5, 1.0, 1.0, ] | 0.25 | 3
            -1 | 3  | c  | -3.0 | [-3.0, 1.0, 1.0, ]       | 1.0  | 2
        "#]],
    );
}

#[test]
fn group_is_freed_when_the_watermark_makes_it_final() {
    let options = aggregate("e:int8 | k:text", &["e", "k"], "count(*), max(k)");
    let frees = Some(Frees { column: 0, after: 2 });
    let mut op = Aggregate::new(AggregateOptions { frees, ..options }).unwrap();
    let mut emitted = Emitted::default();
    let table = " w | ts | e:int8 | k:text
                 +1 | 1  | 5      | a
                 +1 | 1  | 6      | a
                 +1 | 1  | NULL   | a";
    emitted.delta(&mut op, 0, table).instant(&mut op, 1).watermark(&mut op, 7);
    assert_eq!(op.keys.len(), 2);
    let later = table.replace("| 1  |", "| 8  |");
    emitted.delta(&mut op, 0, &later).instant(&mut op, 8);
    expect![[r#"
         w | ts | a    | b | r1 | r2
        +1 | 1  | 5    | a | 1  | a
        +1 | 1  | 6    | a | 1  | a
        +1 | 1  | NULL | a | 1  | a
        -1 | 8  | 6    | a | 1  | a
        +1 | 8  | 6    | a | 2  | a
        -1 | 8  | NULL | a | 1  | a
        +1 | 8  | NULL | a | 2  | a
    "#]]
    .assert_eq(&emitted.text());
}

#[test]
fn state_is_empty_after_everything_was_retracted() {
    let calls = "count(v), sum(v), min(v), count(distinct v), array_agg(v)";
    let mut op = Aggregate::new(aggregate("k:text | v:float8", &["k"], calls)).unwrap();
    let table = " w | ts | k:text | v:float8
                 +1 | 1  | a      | 1.5
                 +2 | 1  | b      | NULL
                 -1 | 2  | a      | 1.5
                 -2 | 2  | b      | NULL";
    run(&mut op, &[table], None);
    assert!(op.keys.is_empty());
}

#[test]
fn saved_state_continues_in_the_middle_of_an_instant() {
    let calls = "count(v), sum(v), avg(v), min(v), max(t), count(distinct v), array_agg(v), \
                 bool_or(v > 1), sum(v::numeric(5,1) * 2), sum(v::bigint % 7)";
    for append_only in [false, true] {
        let options = aggregate("k:text | t:text | v:float8", &["k"], calls);
        let options = AggregateOptions { append_only, ..options };
        let mut first = Aggregate::new(options.clone()).unwrap();
        let (mut straight, mut resumed) = (Emitted::default(), Emitted::default());
        let table = " w | ts | k:text | t:text | v:float8
                     +1 | 1  | a      | x      | 1.5
                     +1 | 1  | b      | NULL   | NULL
                     +2 | 1  | a      | y      | 0.1";
        straight.delta(&mut first, 0, table).instant(&mut first, 1);
        let more = " w | ts | k:text | t:text | v:float8
                     +1 | 2  | c      | z      | 7
                     +1 | 2  | a      | NULL   | 1e3";
        straight.delta(&mut first, 0, more);
        let mut second = Aggregate::new(options).unwrap();
        hand_over(&mut first, &mut second);
        let last = " w | ts | k:text | t:text | v:float8
                    +1 | 2  | b      | b      | 2
                    +1 | 2  | d      | d      | 3";
        for (op, emitted) in [(&mut first, &mut straight), (&mut second, &mut resumed)] {
            emitted.0.deltas.clear();
            emitted.delta(op, 0, last).instant(op, 2);
        }
        assert_eq!(resumed.text(), straight.text());
        assert!(straight.text().lines().count() == 7, "{}", straight.text());
    }
}
