//! Operators against their definition, at every instant.
//!
//! The sum of what was emitted is the relation that the definition gives for the input so far.
//! Aggregates and top-n are asked of DataFusion's batch engine, windows of `windows::snapshot`;
//! neither shares code with the operators but scalar expressions. Joins have such a test beside
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::WindowFrameUnits;
use datafusion::prelude::SessionContext;
use highwater::delta::{Delta, Weights, pretty};
use highwater::operators::top_n::{Counting, TopNOptions};
use highwater::operators::{Aggregate, Operator, TopN};
use highwater::time::Timestamp;
use highwater::windows::snapshot::{SessionsOf, Spec, relation_at, sessions};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::Delivery;
use crate::cases::{Case, aggregate, by_value, cases, top_n};
use crate::drive::{Change, Script, Step, run, scripts};
use crate::over;

type Content = BTreeMap<String, i64>;

/// The rows that are there after all changes.
fn table(changes: &[Change]) -> RecordBatch {
    let mut sums: BTreeMap<_, i64> = BTreeMap::new();
    changes.iter().for_each(|(row, weight)| *sums.entry(*row).or_default() += weight);
    let rows = sums.into_iter().flat_map(|(row, sum)| vec![(0, (row, 1)); sum as usize]);
    let rows: Vec<(i64, Change)> = rows.collect();
    crate::drive::delta(&rows, &Delivery::default()).rows().clone()
}

/// What DataFusion says of the input so far.
fn batch(query: &str, changes: &[Change]) -> Content {
    let table = table(changes);
    let context = SessionContext::new();
    let table = MemTable::try_new(table.schema(), vec![vec![table]]).unwrap();
    context.register_table("s", Arc::new(table)).unwrap();
    let frame = futures::executor::block_on(context.sql(query)).unwrap();
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(frame.collect()).unwrap();
    rows_of(&concat_batches(&schema, &batches).unwrap())
}

fn rows_of(rows: &RecordBatch) -> Content {
    let mut content = Content::new();
    for i in 0..rows.num_rows() {
        let row = rows.columns().iter().map(|c| pretty::show_value(c.as_ref(), i));
        *content.entry(row.collect::<Vec<_>>().join("|")).or_default() += 1;
    }
    content
}

/// Asserts that after each instant the case's output is what `definition` says of the changes so
/// far.
fn equals(
    case: &Case,
    script: &Script,
    definition: impl Fn(&[Change]) -> Content,
) -> Result<(), TestCaseError> {
    for until in 1..=script.steps.len() {
        let steps = script.steps[..until].to_vec();
        let changes: Vec<Change> = steps.iter().flat_map(|step| step.ports[0].clone()).collect();
        let emitted = run(case, &Script { steps }, &Delivery::default()).0;
        prop_assert_eq!(emitted.content(), definition(&changes), "{} at {}", case.name, until);
    }
    Ok(())
}

/// The window case of that name and its specification, given the keys of the rows.
fn windows(key: ArrayRef) -> Vec<(&'static str, Spec)> {
    let range = |size| Spec::Range { size, slide: None };
    let slide = |size, slide| Spec::Range { size, slide: Some((slide, 1)) };
    vec![
        ("NOW", range(1)),
        ("RANGE 3", range(3)),
        ("RANGE 2 INCLUSIVE", range(3)),
        ("RANGE 4 SLIDE 2", slide(4, 2)),
        ("RANGE 2 SLIDE 5", slide(2, 5)),
        ("CURRENT 4", Spec::Current { period: 4, offset: 0 }),
        ("UNBOUNDED", range(i64::MAX)),
        ("ROWS 2", Spec::Rows { count: 2, keys: vec![] }),
        ("ROWS 3 SLIDE 2", Spec::Batches { count: 3, every: 2 }),
        ("PARTITION BY k ROWS 2", Spec::Rows { count: 2, keys: vec![Arc::clone(&key)] }),
        ("PARTITION BY k ROWS 2 RANGE 3", Spec::RecentRows { count: 2, keys: vec![key], size: 3 }),
    ]
}

/// Asserts that OVER is at every instant what the batch engine says.
fn over_equals(
    script: &Script,
    order: &[(&str, bool)],
    sql: &str,
    drawn: &[over::Drawn],
) -> Result<(), TestCaseError> {
    let clause = format!("PARTITION BY k ORDER BY {sql}");
    let calls = drawn.iter().map(|d| format!("{} OVER ({clause} {})", d.sql, d.frame));
    let query = format!("SELECT *, {} FROM s", calls.collect::<Vec<_>>().join(", "));
    let case = over::case(query.as_str(), over::over(order, drawn));
    equals(&case, script, |changes| batch(&query, changes))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn aggregates_equal_batch_aggregation(script in scripts(false)) {
        let calls = "count(*), count(v), sum(v), avg(v), min(v), max(v), min(t), max(t), \
                     count(distinct t), sum(distinct v), bool_and(v > 0), bool_or(v > 0), \
                     sum(v::double / 4), sum(v::numeric(9, 2) * 3), \
                     avg(v::numeric(9, 2) * 2), median(v), \
                     array_agg(v order by v), count(*) filter (where v > 0)";
        for groups in [&["k"][..], &["k", "t"], &[]] {
            let options = aggregate(groups, calls);
            let output = options.output.clone();
            let make = move || -> Box<dyn Operator> {
                Box::new(Aggregate::new(options.clone()).unwrap())
            };
            let instants = Aggregate::INSTANTS;
            let case = Case { output, instants, ..Case::new("aggregate", "", make) };
            let by = groups.iter().map(|group| format!("{group}, ")).collect::<String>();
            let grouping = match groups {
                [] => String::new(),
                _ => format!("GROUP BY {}", groups.join(", ")),
            };
            let query = format!("SELECT {by}{calls} FROM s {grouping}");
            equals(&case, &script, |changes| batch(&query, changes))?;
        }
    }

    #[test]
    fn top_n_equals_batch_sorting(script in scripts(false)) {
        let order = "ORDER BY v DESC NULLS FIRST, t NULLS LAST, k NULLS FIRST";
        let numbers = format!("SELECT *, row_number() OVER (PARTITION BY k {order}) AS n FROM s");
        let shapes =
            [(0, Some(2), false), (1, Some(2), false), (1, None, false), (0, Some(2), true)];
        for (skip, fetch, numbered) in shapes {
            let options = top_n(skip, fetch, numbered, false);
            let output = options.output.clone();
            let make =
                move || -> Box<dyn Operator> { Box::new(TopN::new(options.clone()).unwrap()) };
            let case = Case { output, instants: TopN::INSTANTS, ..Case::new("top n", "", make) };
            let columns = if numbered { "*" } else { "k, v, t" };
            let last = fetch.map_or(99, |fetch| skip + fetch);
            let query =
                format!("SELECT {columns} FROM ({numbers}) WHERE n > {skip} AND n <= {last}");
            equals(&case, &script, |changes| batch(&query, changes))?;
        }
    }

    #[test]
    fn ranks_equal_batch_ranks(script in scripts(false)) {
        let shapes = [(Counting::Ranks, "rank"), (Counting::Groups, "dense_rank")];
        for (counting, function) in shapes {
            let options = top_n(0, Some(2), true, false);
            let options = TopNOptions { counting, ..by_value(options) };
            let output = options.output.clone();
            let make =
                move || -> Box<dyn Operator> { Box::new(TopN::new(options.clone()).unwrap()) };
            let case = Case { output, instants: TopN::INSTANTS, ..Case::new("ranks", "", make) };
            let over = "OVER (PARTITION BY k ORDER BY v DESC NULLS FIRST)";
            let query = format!(
                "SELECT * FROM (SELECT *, {function}() {over} AS n FROM s) WHERE n <= 2"
            );
            equals(&case, &script, |changes| batch(&query, changes))?;
        }
    }

    #[test]
    fn over_equals_batch_windows(script in scripts(false), drawn in any::<[Index; 4]>()) {
        let all = "v DESC NULLS FIRST, t DESC NULLS FIRST";
        let order = [("v", true), ("t", true)];
        let lists = [
            over::numbers(),
            over::shares(),
            over::neighbors(),
            over::neighbors_without_null(),
        ];
        over_equals(&script, &order, all, drawn[0].get::<Vec<over::Drawn>>(&lists))?;
        let one = "v DESC NULLS FIRST";
        let frames = &over::frames()[..];
        for (units, start, end) in drawn[1..].iter().map(|drawn| *drawn.get(frames)) {
            let list = over::framed(units, start, end);
            match units {
                WindowFrameUnits::Range => over_equals(&script, &order[..1], one, &list[..5])?,
                _ => over_equals(&script, &order, all, &list)?,
            }
        }
    }

    #[test]
    fn sessions_equal_their_definition(script in scripts(false)) {
        let cases = cases();
        let case = cases.iter().find(|case| case.name == "SESSION").expect("the case is there");
        equals(case, &script, |changes| {
            let rows = table(changes);
            let (key, time) = (Arc::clone(rows.column(0)), Arc::clone(rows.column(1)));
            let of = SessionsOf { times: &time, keys: &[key], met: None, gap: 2 };
            rows_of(&sessions(&rows, of).unwrap())
        })?;
    }

    #[test]
    fn windows_equal_their_definition_at_every_closed_instant(script in scripts(true)) {
        let rows = script.steps.iter().flat_map(|step| step.ports[0].iter().map(|c| (step.at, *c)));
        let rows: Vec<(i64, Change)> = rows.collect();
        let all = crate::drive::delta(&rows, &Delivery { long_form: true, ..Delivery::default() });
        let all = Delta::new(all.rows().clone(), all.ts().clone(), Weights::Ones);
        let mut ended = script.clone();
        let last = ended.steps.last().map_or(0, |step| step.at) + 12;
        let end = Step { at: last - 1, ports: Default::default(), watermark: Some(last) };
        ended.steps.push(end);
        for (name, spec) in windows(Arc::clone(all.rows().column(0))) {
            let cases = cases();
            let case = cases.iter().find(|case| case.name == name).expect("the case is there");
            let emitted = run(case, &ended, &Delivery::default()).0;
            for at in 0..last {
                let expected = rows_of(&relation_at(&spec, &all, Timestamp(at)).unwrap());
                prop_assert_eq!(emitted.content_at(at), expected, "{} at {}", name, at);
            }
        }
    }
}
