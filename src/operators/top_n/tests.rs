//! Top-n by hand: the vectors, ties, copies, places, saved state.

use expect_test::{Expect, expect};

use super::*;
use crate::operators::testing::{Emitted, expr, hand_over, run, run_whole, schema};

/// `ORDER BY order LIMIT fetch OFFSET skip` over `input`.
fn options(input: &str, order: &str, skip: usize, fetch: Option<usize>) -> TopNOptions {
    let input = schema(input);
    let keys = order.split(", ").map(|key| {
        let (column, options) = match key.strip_suffix(" desc") {
            Some(column) => (column, SortOptions { descending: true, nulls_first: true }),
            None => (key, SortOptions { descending: false, nulls_first: false }),
        };
        (expr(&input, column), options)
    });
    TopNOptions {
        keys: keys.collect(),
        partition: Vec::new(),
        skip,
        fetch,
        ties: Vec::new(),
        counting: Counting::Rows,
        numbered: false,
        append_only: false,
        frees: None,
        output: input.clone(),
        input,
    }
}

fn check(options: TopNOptions, table: &str, expected: Expect) {
    let one_by_one = run(&mut TopN::new(options.clone()).unwrap(), &[table], None).text();
    expected.assert_eq(&one_by_one);
    let together = run_whole(&mut TopN::new(options).unwrap(), &[table], None);
    assert_eq!(together.text(), one_by_one);
}

const D3: &str = " w | ts | v:int8
                  +1 | 1  | 10
                  +1 | 2  | 30
                  +1 | 3  | 20
                  -1 | 4  | 30";

#[test]
fn d3_runner_up_returns() {
    let expected = expect![[r#"
         w | ts | v
        +1 | 1  | 10
        +1 | 2  | 30
        -1 | 3  | 10
        +1 | 3  | 20
        +1 | 4  | 10
        -1 | 4  | 30
    "#]];
    check(options("v:int8", "v desc", 0, Some(2)), D3, expected);
}

#[test]
fn offset_without_limit_shows_all_but_the_first() {
    let expected = expect![[r#"
         w | ts | v
        +1 | 2  | 10
        +1 | 3  | 20
        -1 | 4  | 20
    "#]];
    check(options("v:int8", "v desc", 1, None), D3, expected);
}

#[test]
fn order_without_limit_shows_everything() {
    let expected = expect![[r#"
         w | ts | v
        +1 | 1  | 10
        +1 | 2  | 30
        +1 | 3  | 20
        -1 | 4  | 30
    "#]];
    check(options("v:int8", "v desc", 0, None), D3, expected);
}

#[test]
fn limit_of_nothing_shows_nothing() {
    check(options("v:int8", "v", 0, Some(0)), D3, expect![""]);
}

#[test]
fn copies_count_one_by_one_and_nulls_go_where_they_are_told() {
    check(
        options("v:int8", "v", 1, Some(2)),
        " w | ts | v:int8
         +1 | 1  | NULL
         +2 | 1  | 5
         +3 | 2  | 4
         -2 | 3  | 4",
        expect![[r#"
             w | ts | v
            +1 | 1  | 5
            +1 | 1  | NULL
            +2 | 2  | 4
            -1 | 2  | 5
            -1 | 2  | NULL
            -2 | 3  | 4
            +2 | 3  | 5
        "#]],
    );
}

#[test]
fn d4_row_number_breaks_ties_by_the_declared_columns() {
    let mut options = options("auction:text | price:int8 | t:int8", "price desc, t", 0, Some(1));
    options.partition = vec![expr(&options.input, "auction")];
    check(
        options,
        " w | ts | auction:text | price:int8 | t:int8
         +1 | 1  | A            | 5          | 1
         +1 | 2  | A            | 7          | 2
         +1 | 2  | B            | 1          | 2
         +1 | 3  | A            | 7          | 3",
        expect![[r#"
             w | ts | auction | price | t
            +1 | 1  | A       | 5     | 1
            -1 | 2  | A       | 5     | 1
            +1 | 2  | A       | 7     | 2
            +1 | 2  | B       | 1     | 2
        "#]],
    );
}

#[test]
fn numbered_rows_move_up() {
    let mut options = options("v:int8", "v", 0, Some(3));
    options.numbered = true;
    options.output = schema("v:int8 | place:int8");
    check(
        options,
        " w | ts | v:int8
         +2 | 1  | 5
         +1 | 2  | 4
         -1 | 3  | 5",
        expect![[r#"
             w | ts | v | place
            +1 | 1  | 5 | 1
            +1 | 1  | 5 | 2
            +1 | 2  | 4 | 1
            -1 | 2  | 5 | 1
            +1 | 2  | 5 | 3
            -1 | 3  | 5 | 3
        "#]],
    );
}

#[test]
fn append_only_input_keeps_only_what_is_shown() {
    let mut options = options("v:int8", "v", 0, Some(2));
    options.append_only = true;
    let mut op = TopN::new(options).unwrap();
    let table = " w | ts | v:int8
                 +1 | 1  | 5
                 +1 | 1  | 6
                 +1 | 2  | 7
                 +1 | 3  | 4";
    expect![[r#"
         w | ts | v
        +1 | 1  | 5
        +1 | 1  | 6
        +1 | 3  | 4
        -1 | 3  | 6
    "#]]
    .assert_eq(&run(&mut op, &[table], None).text());
    assert_eq!(op.rows.len(), 2);
}

#[test]
fn partition_is_freed_when_the_watermark_makes_it_final() {
    let mut options = options("e:int8 | v:int8", "v", 0, Some(1));
    options.partition = vec![expr(&options.input, "e")];
    options.frees = Some(Frees { column: 0, after: 0 });
    let mut op = TopN::new(options).unwrap();
    let table = " w | ts | e:int8 | v:int8\n+1 | 1 | 5 | 7\n+1 | 1 | 9 | 7";
    let mut emitted = Emitted::default();
    emitted.delta(&mut op, 0, table).instant(&mut op, 1).watermark(&mut op, 5);
    assert_eq!((op.rows.len(), op.partitions.len()), (1, 1));
    emitted.0.deltas.clear();
    emitted.delta(&mut op, 0, table).instant(&mut op, 6);
    assert!(emitted.0.deltas.is_empty());
}

#[test]
fn saved_state_continues_in_the_middle_of_an_instant() {
    for (skip, fetch, numbered) in [(0, Some(2), false), (1, None, false), (0, Some(2), true)] {
        let mut options = options("k:text | v:int8", "v", skip, fetch);
        options.partition = vec![expr(&options.input, "k")];
        options.numbered = numbered;
        if numbered {
            options.output = schema("k:text | v:int8 | place:int8");
        }
        let header = " w | ts | k:text | v:int8\n";
        let mut first = TopN::new(options.clone()).unwrap();
        let mut before = Emitted::default();
        let start =
            format!("{header}+1 | 1 | a | 5\n+1 | 1 | a | 6\n+2 | 1 | b | 1\n+1 | 1 | a | 7");
        before.delta(&mut first, 0, &start).instant(&mut first, 1);
        before.delta(&mut first, 0, &format!("{header}-1 | 2 | a | 5\n-2 | 2 | b | 1"));
        let mut second = TopN::new(options).unwrap();
        hand_over(&mut first, &mut second);
        let (mut straight, mut resumed) = (Emitted::default(), Emitted::default());
        for (op, emitted) in [(&mut first, &mut straight), (&mut second, &mut resumed)] {
            emitted.delta(op, 0, &format!("{header}+1 | 2 | a | 4")).instant(op, 2);
            assert_eq!(op.partitions.len(), 1);
        }
        assert_eq!(resumed.text(), straight.text());
        assert!(!straight.text().is_empty());
    }
}
