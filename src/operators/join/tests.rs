//! Joins by hand, and every kind against its definition.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field};
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::delta::pretty;
use crate::operators::testing::{Emitted, expr, hand_over, run, run_whole, schema};
use crate::storage::Bag;

const KINDS: [JoinKind; 7] = [
    JoinKind::Inner,
    JoinKind::Left,
    JoinKind::Right,
    JoinKind::Full,
    JoinKind::LeftSemi,
    JoinKind::LeftAnti,
    JoinKind::LeftMark,
];

/// A join on the first columns; `residual` may name columns of both sides.
fn options(kind: JoinKind, left: &str, right: &str, residual: Option<&str>) -> JoinOptions {
    let side = |text: &str| {
        let schema = schema(text);
        let keys = vec![expr(&schema, schema.field(0).name())];
        JoinSide { schema, keys, append_only: false, frees: None }
    };
    let (left, right) = (side(left), side(right));
    let fields: Vec<Field> = left
        .schema
        .fields()
        .iter()
        .chain(right.schema.fields())
        .map(|field| field.as_ref().clone())
        .collect();
    let both: SchemaRef = Arc::new(Schema::new(fields));
    let residual = residual.map(|sql| expr(&both, sql));
    let output = match kind {
        JoinKind::LeftMark => {
            let mark = Field::new("mark", DataType::Boolean, true);
            let fields = left.schema.fields().iter().map(|field| field.as_ref().clone());
            Arc::new(Schema::new(fields.chain([mark]).collect::<Vec<_>>()))
        }
        _ if kind.pairs() => both,
        _ => left.schema.clone(),
    };
    JoinOptions { kind, left, right, residual, null_equals_null: false, output }
}

fn check(kind: JoinKind, residual: Option<&str>, tables: [&str; 2], expected: Expect) {
    let options = options(kind, "k:text | a:text", "j:text | b:text", residual);
    expected.assert_eq(&run(&mut Join::new(options).unwrap(), &tables, None).text());
}

const C1: [&str; 2] = [
    " w | ts | k:text | a:text
     +1 | 1  | k1     | a1
     -1 | 4  | k1     | a1
     +1 | 4  | k1     | a2
     -1 | 7  | k1     | a2",
    " w | ts | j:text | b:text
     +1 | 2  | k1     | b1
     -1 | 4  | k1     | b1
     +1 | 5  | k1     | b2
     -1 | 7  | k1     | b2",
];

#[test]
fn c1_window_join_is_the_overlap_of_lifetimes() {
    let expected = expect![[r#"
         w | ts | k  | a  | j  | b
        +1 | 2  | k1 | a1 | k1 | b1
        -1 | 4  | k1 | a1 | k1 | b1
        +1 | 5  | k1 | a2 | k1 | b2
        -1 | 7  | k1 | a2 | k1 | b2
    "#]];
    check(JoinKind::Inner, None, C1, expected);
}

#[test]
fn inner_join_of_many_instants_at_once_gives_the_same() {
    let options = options(JoinKind::Inner, "k:text | a:text", "j:text | b:text", None);
    let one_by_one = run(&mut Join::new(options.clone()).unwrap(), &C1, None);
    let whole = run_whole(&mut Join::new(options).unwrap(), &C1, None);
    assert_eq!(whole.text(), one_by_one.text());
}

#[test]
fn c6_padded_row_of_a_left_join_is_retracted_and_comes_back() {
    check(
        JoinKind::Left,
        None,
        [
            " w | ts | k:text | a:text
             +1 | 1  | k1     | a",
            " w | ts | j:text | b:text
             +1 | 2  | k1     | b
             -1 | 4  | k1     | b",
        ],
        expect![[r#"
             w | ts | k  | a | j    | b
            +1 | 1  | k1 | a | NULL | NULL
            -1 | 2  | k1 | a | NULL | NULL
            +1 | 2  | k1 | a | k1   | b
            +1 | 4  | k1 | a | NULL | NULL
            -1 | 4  | k1 | a | k1   | b
        "#]],
    );
}

#[test]
fn c7_full_join() {
    check(
        JoinKind::Full,
        None,
        [
            " w | ts | k:text | a:text
             +1 | 1  | k1     | a
             -1 | 3  | k1     | a",
            " w | ts | j:text | b:text
             +1 | 2  | k1     | b
             +1 | 2  | k2     | c",
        ],
        expect![[r#"
             w | ts | k    | a    | j    | b
            +1 | 1  | k1   | a    | NULL | NULL
            +1 | 2  | NULL | NULL | k2   | c
            -1 | 2  | k1   | a    | NULL | NULL
            +1 | 2  | k1   | a    | k1   | b
            +1 | 3  | NULL | NULL | k1   | b
            -1 | 3  | k1   | a    | k1   | b
        "#]],
    );
}

#[test]
fn c8_anti_join_is_not_exists() {
    check(
        JoinKind::LeftAnti,
        None,
        [
            " w | ts | k:text | a:text
             +1 | 1  | i1     | x
             +1 | 2  | i2     | y
             +1 | 2  | NULL   | z",
            " w | ts | j:text | b:text
             +1 | 4  | i1     | b",
        ],
        expect![[r#"
             w | ts | k    | a
            +1 | 1  | i1   | x
            +1 | 2  | NULL | z
            +1 | 2  | i2   | y
            -1 | 4  | i1   | x
        "#]],
    );
}

#[test]
fn semi_join_shows_a_row_once_however_many_partners_it_has() {
    check(
        JoinKind::LeftSemi,
        None,
        [
            " w | ts | k:text | a:text
             +2 | 1  | k1     | a",
            " w | ts | j:text | b:text
             +1 | 2  | k1     | b
             +3 | 2  | k1     | c
             -1 | 3  | k1     | b
             -3 | 4  | k1     | c",
        ],
        expect![[r#"
             w | ts | k  | a
            +2 | 2  | k1 | a
            -2 | 4  | k1 | a
        "#]],
    );
}

#[test]
fn residual_decides_who_is_a_partner() {
    check(
        JoinKind::Left,
        Some("a <> b"),
        [
            " w | ts | k:text | a:text
             +1 | 1  | k1     | x
             +1 | 1  | k1     | y",
            " w | ts | j:text | b:text
             +1 | 2  | k1     | x
             -1 | 3  | k1     | x
             +1 | 3  | k1     | NULL",
        ],
        expect![[r#"
             w | ts | k  | a | j    | b
            +1 | 1  | k1 | x | NULL | NULL
            +1 | 1  | k1 | y | NULL | NULL
            -1 | 2  | k1 | y | NULL | NULL
            +1 | 2  | k1 | y | k1   | x
            +1 | 3  | k1 | y | NULL | NULL
            -1 | 3  | k1 | y | k1   | x
        "#]],
    );
}

#[test]
fn pair_of_which_the_residual_fails_is_quarantined_and_is_no_pair() {
    check(
        JoinKind::Left,
        Some("10 / (b::bigint) > 1"),
        [
            " w | ts | k:text | a:text
             +1 | 1  | k1     | x",
            " w | ts | j:text | b:text
             +1 | 2  | k1     | 0
             +1 | 3  | k1     | 5",
        ],
        expect![[r#"
             w | ts | k  | a | j    | b
            +1 | 1  | k1 | x | NULL | NULL
            -1 | 3  | k1 | x | NULL | NULL
            +1 | 3  | k1 | x | k1   | 5
            22012 +1 (k1, x, k1, 0): division by zero
        "#]],
    );
}

#[test]
fn null_keys_match_nothing_unless_asked_to() {
    let tables = [
        " w | ts | k:text | a:text
         +1 | 1  | NULL   | a",
        " w | ts | j:text | b:text
         +1 | 2  | NULL   | b",
    ];
    let expected = expect![[r#"
         w | ts | k    | a    | j    | b
        +1 | 1  | NULL | a    | NULL | NULL
        +1 | 2  | NULL | NULL | NULL | b
    "#]];
    check(JoinKind::Full, None, tables, expected);
    let options = options(JoinKind::Full, "k:text | a:text", "j:text | b:text", None);
    let options = JoinOptions { null_equals_null: true, ..options };
    expect![[r#"
         w | ts | k    | a | j    | b
        +1 | 1  | NULL | a | NULL | NULL
        -1 | 2  | NULL | a | NULL | NULL
        +1 | 2  | NULL | a | NULL | b
    "#]]
    .assert_eq(&run(&mut Join::new(options).unwrap(), &tables, None).text());
}

#[test]
fn without_keys_every_row_matches_every_other() {
    let mut options = options(JoinKind::Left, "a:text", "b:text", None);
    options.left.keys.clear();
    options.right.keys.clear();
    let tables = [
        " w | ts | a:text
         +1 | 1  | x
         +2 | 1  | NULL",
        " w | ts | b:text
         +1 | 2  | y
         +1 | 2  | z
         -1 | 3  | y
         -1 | 3  | z",
    ];
    expect![[r#"
         w | ts | a    | b
        +2 | 1  | NULL | NULL
        +1 | 1  | x    | NULL
        -2 | 2  | NULL | NULL
        +2 | 2  | NULL | y
        +2 | 2  | NULL | z
        -1 | 2  | x    | NULL
        +1 | 2  | x    | y
        +1 | 2  | x    | z
        +2 | 3  | NULL | NULL
        -2 | 3  | NULL | y
        -2 | 3  | NULL | z
        +1 | 3  | x    | NULL
        -1 | 3  | x    | y
        -1 | 3  | x    | z
    "#]]
    .assert_eq(&run(&mut Join::new(options).unwrap(), &tables, None).text());
}

#[test]
fn rows_are_freed_silently_when_the_watermark_makes_them_final() {
    for kind in KINDS {
        for residual in [None, Some("b <> 'no'")] {
            let mut options =
                options(kind, "k:text | t:int8", "j:text | b:text | u:int8", residual);
            options.left.frees = Some(Frees { column: 1, after: 10 });
            options.right.frees = Some(Frees { column: 2, after: 0 });
            let mut op = Join::new(options).unwrap();
            let mut emitted = Emitted::default();
            emitted.delta(&mut op, 0, " w | ts | k:text | t:int8\n+1 | 1 | a | 1\n+1 | 1 | b | 5");
            emitted.delta(&mut op, 1, " w | ts | j:text | b:text | u:int8\n+1 | 1 | a | x | 1");
            emitted.instant(&mut op, 1);
            emitted.0.deltas.clear();
            emitted.watermark(&mut op, 12).instant(&mut op, 12);
            assert_eq!((op.keys.len(), emitted.0.deltas.len()), (1, 0), "{kind:?}");
            emitted.watermark(&mut op, 99);
            assert!(op.keys.is_empty() && emitted.0.deltas.is_empty(), "{kind:?}");
        }
    }
}

#[test]
fn append_only_inner_join_does_not_look_for_equal_rows() {
    let mut options = options(JoinKind::Inner, "k:text | a:text", "j:text | b:text", None);
    options.left.append_only = true;
    options.right.append_only = true;
    let tables = [
        " w | ts | k:text | a:text
         +1 | 1  | k1     | a
         +1 | 3  | k1     | a",
        " w | ts | j:text | b:text
         +2 | 2  | k1     | b
         +1 | 4  | k2     | b",
    ];
    expect![[r#"
         w | ts | k  | a | j  | b
        +2 | 2  | k1 | a | k1 | b
        +2 | 3  | k1 | a | k1 | b
    "#]]
    .assert_eq(&run_whole(&mut Join::new(options).unwrap(), &tables, None).text());
}

// ---- against the definition
// -------------------------------------------------------------------------

type Row = (Option<i64>, i64);

/// One instant: changes of the left and of the right side, split into calls.
#[derive(Clone, Debug)]
struct Step {
    left: Vec<(Row, i64)>,
    right: Vec<(Row, i64)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (prop_oneof![Just(None), (0i64..3).prop_map(Some)], 0i64..3);
    let changes =
        proptest::collection::vec((row, prop_oneof![Just(1i64), Just(2), Just(-1)]), 0..5);
    let step = (changes.clone(), changes).prop_map(|(left, right)| Step { left, right });
    proptest::collection::vec(step, 0..6)
}

/// Leaves out retractions of rows that are not there.
fn sensible(mut steps: Vec<Step>) -> Vec<Step> {
    let mut there: [BTreeMap<Row, i64>; 2] = Default::default();
    for step in &mut steps {
        for (changes, there) in [&mut step.left, &mut step.right].into_iter().zip(&mut there) {
            changes.retain(|(row, weight)| {
                let sum = there.entry(*row).or_default();
                let keep = *sum + weight >= 0;
                *sum += if keep { *weight } else { 0 };
                keep
            });
        }
    }
    steps
}

fn table(changes: &[(Row, i64)], names: &str, at: usize) -> Delta {
    let mut text = format!(" w | ts | {names}\n");
    for ((key, value), weight) in changes {
        let key = key.map_or("NULL".to_owned(), |key| key.to_string());
        text += &format!("{weight:+} | {at} | {key} | {value}\n");
    }
    pretty::parse(&text)
}

/// The join by its definition, from the two relations.
fn naive(
    kind: JoinKind,
    residual: bool,
    l: &BTreeMap<Row, i64>,
    r: &BTreeMap<Row, i64>,
) -> Vec<(String, i64)> {
    let show = |row: Option<&Row>| match row {
        Some((key, value)) => format!("{key:?},{value}"),
        None => "pad".to_owned(),
    };
    let pair = |a: &Row, b: &Row| a.0.is_some() && a.0 == b.0 && (!residual || a.1 <= b.1);
    let mut all = Vec::new();
    for (a, w) in l {
        let partners: Vec<_> = r.iter().filter(|(b, v)| pair(a, b) && **v != 0).collect();
        match kind {
            JoinKind::LeftSemi if !partners.is_empty() => all.push((show(Some(a)), *w)),
            JoinKind::LeftAnti if partners.is_empty() => all.push((show(Some(a)), *w)),
            JoinKind::LeftSemi | JoinKind::LeftAnti => {}
            JoinKind::LeftMark => {
                all.push((format!("{}{}", show(Some(a)), !partners.is_empty()), *w))
            }
            _ => {
                let pairs = partners.iter();
                all.extend(pairs.map(|(b, v)| (show(Some(a)) + &show(Some(b)), *w * **v)));
                if partners.is_empty() && matches!(kind, JoinKind::Left | JoinKind::Full) {
                    all.push((show(Some(a)) + &show(None), *w));
                }
            }
        }
    }
    for (b, v) in r {
        if matches!(kind, JoinKind::Right | JoinKind::Full)
            && !l.iter().any(|(a, w)| pair(a, b) && *w != 0)
        {
            all.push((show(None) + &show(Some(b)), *v));
        }
    }
    all.retain(|(_, weight)| *weight != 0);
    all.sort();
    all
}

/// The content of a view, written as `naive` writes it.
fn content(bag: &Bag) -> Vec<(String, i64)> {
    let (rows, weights) = bag.snapshot().unwrap();
    let show = |columns: &[arrow::array::ArrayRef], row: usize| {
        if columns[1].is_null(row) {
            return "pad".to_owned();
        }
        let key = pretty::show_value(columns[0].as_ref(), row);
        let key = if key == "NULL" { "None".to_owned() } else { format!("Some({key})") };
        format!("{key},{}", pretty::show_value(columns[1].as_ref(), row))
    };
    let text = |row| {
        let side = |side: &[arrow::array::ArrayRef]| match side {
            [mark] => pretty::show_value(mark.as_ref(), row),
            side => show(side, row),
        };
        rows.columns().chunks(2).map(side).collect::<String>()
    };
    let mut all: Vec<_> = (0..rows.num_rows()).map(|i| (text(i), weights.value(i))).collect();
    all.sort();
    all
}

proptest! {
    #[test]
    fn every_kind_equals_its_definition_at_every_instant(
        steps in steps().prop_map(sensible), resume in 0usize..6, swap in any::<bool>(),
    ) {
        for kind in KINDS {
            for residual in [None, Some("a <= b")] {
                let options = options(kind, "k:int8 | a:int8", "j:int8 | b:int8", residual);
                let mut op = Join::new(options.clone()).unwrap();
                let mut view = Bag::new(options.output.clone()).unwrap();
                let (mut l, mut r) = (BTreeMap::new(), BTreeMap::new());
                for (at, step) in steps.iter().enumerate() {
                    let mut out = Output::default();
                    let half = step.left.len() / 2;
                    let mut calls = vec![
                        (0, table(&step.left[..half], "k:int8 | a:int8", at)),
                        (1, table(&step.right, "j:int8 | b:int8", at)),
                        (0, table(&step.left[half..], "k:int8 | a:int8", at)),
                    ];
                    if swap {
                        calls.swap(0, 1);
                    }
                    for (i, (port, delta)) in calls.into_iter().enumerate() {
                        op.on_delta(Port(port), delta, &mut out).unwrap();
                        if at == resume && i == 1 {
                            let mut next = Join::new(options.clone()).unwrap();
                            hand_over(&mut op, &mut next);
                            op = next;
                        }
                    }
                    op.on_instant(Timestamp(at as i64), &mut out).unwrap();
                    out.deltas.iter().for_each(|delta| view.apply(delta).unwrap());
                    step.left.iter().for_each(|(row, w)| *l.entry(*row).or_insert(0) += w);
                    step.right.iter().for_each(|(row, w)| *r.entry(*row).or_insert(0) += w);
                    let expected = naive(kind, residual.is_some(), &l, &r);
                    prop_assert_eq!(content(&view), expected, "{:?} {:?} {}", kind, residual, at);
                }
                let mut out = Output::default();
                let all = |of: &BTreeMap<Row, i64>| -> Vec<(Row, i64)> {
                    of.iter().filter(|(_, w)| **w != 0).map(|(row, w)| (*row, -*w)).collect()
                };
                op.on_delta(Port(0), table(&all(&l), "k:int8 | a:int8", 9), &mut out).unwrap();
                op.on_delta(Port(1), table(&all(&r), "j:int8 | b:int8", 9), &mut out).unwrap();
                op.on_instant(Timestamp(9), &mut out).unwrap();
                let empty = op.sides.iter().all(|side| side.rows.is_empty());
                prop_assert!(op.keys.is_empty() && empty);
                out.deltas.iter().for_each(|delta| view.apply(delta).unwrap());
                prop_assert!(view.is_empty());
            }
        }
    }
}
