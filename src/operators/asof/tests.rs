//! ASOF joins by hand, and against their definition.

use std::collections::BTreeMap;

use arrow::datatypes::{Field, Schema};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::delta::pretty;
use crate::operators::testing::{Emitted, expr, hand_over, run, run_whole, schema};
use crate::storage::Bag;

const LEFT: &str = "k:text | t:int8 | a:text";
const RIGHT: &str = "j:text | u:int8 | b:text";

fn options(nearest: Nearest, outer: bool) -> AsOfOptions {
    let side = |text: &str| {
        let schema = schema(text);
        let keys = vec![expr(&schema, schema.field(0).name())];
        let time = expr(&schema, schema.field(1).name());
        AsOfSide { schema, keys, time, frees: None }
    };
    let (left, right) = (side(LEFT), side(RIGHT));
    let fields = left.schema.fields().iter().chain(right.schema.fields());
    let fields: Vec<Field> = fields.map(|field| field.as_ref().clone()).collect();
    let output = Arc::new(Schema::new(fields));
    AsOfOptions { left, right, nearest, outer, versions: false, settled: false, output }
}

const BEFORE: Nearest = Nearest { after: false, strict: false };

fn check(options: AsOfOptions, tables: [&str; 2], expected: Expect) {
    expected.assert_eq(&run(&mut AsOf::new(options).unwrap(), &tables, None).text());
}

const ORDERS: &str = " w | ts | k:text | t:int8 | a:text
                      +1 | 1  | p      | 1      | o1
                      +1 | 3  | p      | 3      | o2
                      +1 | 3  | q      | 3      | o3
                      +1 | 3  | NULL   | 3      | o4";

#[test]
fn nearest_earlier_row_is_picked_and_changes_are_felt_by_those_between() {
    let prices = " w | ts | j:text | u:int8 | b:text
                  +1 | 0  | p      | 0      | 10
                  +1 | 5  | p      | 3      | 12
                  +1 | 6  | p      | 2      | 11
                  -1 | 7  | p      | 3      | 12
                  +1 | 8  | q      | 9      | 7";
    check(
        options(BEFORE, true),
        [ORDERS, prices],
        expect![[r#"
             w | ts | k    | t | a  | j    | u    | b
            +1 | 1  | p    | 1 | o1 | p    | 0    | 10
            +1 | 3  | NULL | 3 | o4 | NULL | NULL | NULL
            +1 | 3  | p    | 3 | o2 | p    | 0    | 10
            +1 | 3  | q    | 3 | o3 | NULL | NULL | NULL
            -1 | 5  | p    | 3 | o2 | p    | 0    | 10
            +1 | 5  | p    | 3 | o2 | p    | 3    | 12
            +1 | 7  | p    | 3 | o2 | p    | 2    | 11
            -1 | 7  | p    | 3 | o2 | p    | 3    | 12
        "#]],
    );
}

#[test]
fn strict_and_later_matches() {
    let prices = " w | ts | j:text | u:int8 | b:text
                  +1 | 0  | p      | 1      | x
                  +1 | 0  | p      | 3      | y
                  +1 | 0  | p      | 4      | z";
    check(
        options(Nearest { after: false, strict: true }, false),
        [ORDERS, prices],
        expect![[r#"
             w | ts | k | t | a  | j | u | b
            +1 | 3  | p | 3 | o2 | p | 1 | x
        "#]],
    );
    check(
        options(Nearest { after: true, strict: true }, false),
        [ORDERS, prices],
        expect![[r#"
             w | ts | k | t | a  | j | u | b
            +1 | 1  | p | 1 | o1 | p | 3 | y
            +1 | 3  | p | 3 | o2 | p | 4 | z
        "#]],
    );
}

/// Versions of a table: `d` says that the row is gone.
fn versions(settled: bool) -> AsOfOptions {
    let mut options = options(BEFORE, true);
    let schema = schema("j:text | u:int8 | b:text | d:bool");
    options.right.keys = vec![expr(&schema, "j")];
    options.right.time = expr(&schema, "u");
    options.right.schema = schema;
    options.left.frees = (!settled).then_some(Frees { column: 1, after: 1 });
    options.right.frees = Some(Frees { column: 1, after: 1 });
    AsOfOptions { versions: true, settled, ..options }
}

const VERSIONS: &str = " w | ts | j:text | u:int8 | b:text | d:bool
                        +1 | 0  | p      | 0      | 10     | false
                        +1 | 2  | p      | 2      | 11     | false
                        +1 | 2  | p      | 2      | 12     | false
                        +1 | 4  | p      | 4      | 12     | true";
const LOOKUPS: &str = " w | ts | k:text | t:int8 | a:text
                       +1 | 1  | p      | 1      | o1
                       +1 | 3  | p      | 3      | o2
                       +1 | 5  | p      | 5      | o3";

#[test]
fn version_that_came_last_wins_and_a_deleted_one_is_none() {
    let one_by_one = run(&mut AsOf::new(versions(false)).unwrap(), &[LOOKUPS, VERSIONS], None);
    let whole = run_whole(&mut AsOf::new(versions(true)).unwrap(), &[LOOKUPS, VERSIONS], None);
    expect![[r#"
         w | ts | k | t | a  | j    | u    | b
        +1 | 1  | p | 1 | o1 | p    | 0    | 10
        +1 | 3  | p | 3 | o2 | p    | 2    | 12
        +1 | 5  | p | 5 | o3 | NULL | NULL | NULL
    "#]]
    .assert_eq(&one_by_one.text());
    assert_eq!(whole.text(), one_by_one.text());
}

#[test]
fn watermark_frees_left_rows_and_all_but_the_last_version() {
    for settled in [false, true] {
        let mut op = AsOf::new(versions(settled)).unwrap();
        let mut emitted = Emitted::default();
        emitted.delta(&mut op, 1, VERSIONS).delta(&mut op, 0, LOOKUPS).instant(&mut op, 5);
        emitted.watermark(&mut op, 3);
        assert_eq!(op.left.rows.len(), if settled { 0 } else { 2 });
        assert_eq!(op.right.rows.len(), 2);
        emitted.watermark(&mut op, 9);
        assert!(op.left.rows.is_empty() && op.right.rows.is_empty() && op.keys.is_empty());
    }
}

type Row = (i64, i64);

/// One instant: changes of the left and of the right side.
type Step = [Vec<(Row, i64)>; 2];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = ((0i64..2, 0i64..5), prop_oneof![Just(1i64), Just(2), Just(-1)]);
    let changes = || proptest::collection::vec(change.clone(), 0..5);
    proptest::collection::vec((changes(), changes()).prop_map(|(l, r)| [l, r]), 0..6)
}

fn table(changes: &[(Row, i64)], names: &str) -> Delta {
    let mut text = format!(" w | ts | {names}\n");
    for ((key, time), weight) in changes {
        text += &format!("{weight:+} | 0 | k{key} | {time} | x\n");
    }
    pretty::parse(&text)
}

/// The join by its definition.
fn naive(nearest: Nearest, there: &[BTreeMap<Row, i64>; 2]) -> Vec<(String, i64)> {
    let mut all = Vec::new();
    for ((key, time), weight) in there[0].iter().filter(|(_, weight)| **weight != 0) {
        let matches = |u: i64| match (nearest.after, nearest.strict) {
            (false, false) => u <= *time,
            (false, true) => u < *time,
            (true, false) => u >= *time,
            (true, true) => u > *time,
        };
        let rows = there[1].iter().filter(|((k, u), w)| k == key && **w > 0 && matches(*u));
        let times = rows.map(|((_, u), _)| *u);
        let pick = if nearest.after { times.min() } else { times.max() };
        let pick = pick.map_or("NULL".to_owned(), |u| u.to_string());
        all.push((format!("k{key} {time} {pick}"), *weight));
    }
    all.sort();
    all
}

fn content(bag: &Bag) -> Vec<(String, i64)> {
    let (rows, weights) = bag.snapshot().unwrap();
    let show = |row: usize, column: usize| pretty::show_value(rows.column(column).as_ref(), row);
    let text = |row| format!("{} {} {}", show(row, 0), show(row, 1), show(row, 4));
    let mut all: Vec<_> = (0..rows.num_rows()).map(|i| (text(i), weights.value(i))).collect();
    all.sort();
    all
}

proptest! {
    #[test]
    fn equals_its_definition_at_every_instant(
        steps in steps(), after in any::<bool>(), strict in any::<bool>(), resume in 0usize..6,
    ) {
        let options = options(Nearest { after, strict }, true);
        let mut op = AsOf::new(options.clone()).unwrap();
        let mut view = Bag::new(options.output.clone()).unwrap();
        let mut there: [BTreeMap<Row, i64>; 2] = Default::default();
        for (at, step) in steps.into_iter().enumerate() {
            let mut out = Output::default();
            for (port, mut changes) in step.into_iter().enumerate() {
                changes.retain(|(row, weight)| {
                    let sum = there[port].entry(*row).or_default();
                    let keep = *sum + weight >= 0;
                    *sum += if keep { *weight } else { 0 };
                    keep
                });
                let delta = table(&changes, if port == 0 { LEFT } else { RIGHT });
                op.on_delta(Port(port), delta, &mut out).unwrap();
                if at == resume && port == 0 {
                    let mut next = AsOf::new(options.clone()).unwrap();
                    hand_over(&mut op, &mut next);
                    op = next;
                }
            }
            op.on_instant(Timestamp(at as i64), &mut out).unwrap();
            out.deltas.iter().for_each(|delta| view.apply(delta).unwrap());
            let nearest = Nearest { after, strict };
            prop_assert_eq!(content(&view), naive(nearest, &there), "{:?} at {}", nearest, at);
        }
    }
}
