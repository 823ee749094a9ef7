//! OVER: its cases of the laws, and their calls as SQL.

use std::sync::Arc;

use arrow::compute::SortOptions;
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::scalar::ScalarValue;
use highwater::delta::pretty::schema;
use highwater::operators::over::{Exclude, OverCall, OverFunction, OverOptions};
use highwater::operators::{Frees, Operator, Over};

use crate::cases::{Case, INPUT, calls, expr};

/// A call: as SQL without its clause, its frame as SQL, and the type of its value.
pub struct Drawn {
    pub sql: String,
    pub frame: String,
    pub call: OverCall,
    of: &'static str,
}

fn bound(units: WindowFrameUnits, offset: Option<i64>, end: bool) -> (WindowFrameBound, String) {
    let value = |n: i64| match units {
        WindowFrameUnits::Range => ScalarValue::Int64(Some(n)),
        _ => ScalarValue::UInt64(u64::try_from(n).ok()),
    };
    match offset {
        None if end => {
            let unbounded = ScalarValue::try_new_null(&value(1).data_type()).unwrap();
            (WindowFrameBound::Following(unbounded), "UNBOUNDED FOLLOWING".to_owned())
        }
        None => {
            let unbounded = ScalarValue::try_new_null(&value(1).data_type()).unwrap();
            (WindowFrameBound::Preceding(unbounded), "UNBOUNDED PRECEDING".to_owned())
        }
        Some(0) => (WindowFrameBound::CurrentRow, "CURRENT ROW".to_owned()),
        Some(n) if n < 0 => (WindowFrameBound::Preceding(value(-n)), format!("{} PRECEDING", -n)),
        Some(n) => (WindowFrameBound::Following(value(n)), format!("{n} FOLLOWING")),
    }
}

fn frame(units: WindowFrameUnits, start: Option<i64>, end: Option<i64>) -> (WindowFrame, String) {
    let (from, from_sql) = bound(units, start, false);
    let (to, to_sql) = bound(units, end, true);
    let sql = format!("{units} BETWEEN {from_sql} AND {to_sql}");
    (WindowFrame::new_bounds(units, from, to), sql)
}

fn drawn(
    sql: &str,
    of: &'static str,
    function: OverFunction,
    (frame, frame_sql): (WindowFrame, String),
) -> Drawn {
    let call = OverCall { function, frame, exclude: Exclude::NoOthers };
    Drawn { sql: sql.to_owned(), frame: frame_sql, call, of }
}

fn plain(sql: &str, of: &'static str, function: OverFunction) -> Drawn {
    drawn(sql, of, function, (WindowFrame::new(None), String::new()))
}

fn aggregate(sql: &str, of: &'static str, frame: (WindowFrame, String)) -> Drawn {
    let call = calls(&schema(INPUT), sql).swap_remove(0);
    drawn(sql, of, OverFunction::Aggregate(call), frame)
}

/// Numbers and ranks.
pub fn numbers() -> Vec<Drawn> {
    vec![
        plain("row_number()", "int8", OverFunction::RowNumber),
        plain("rank()", "int8", OverFunction::Rank),
        plain("dense_rank()", "int8", OverFunction::DenseRank),
    ]
}

/// Functions that look at the whole partition.
pub fn shares() -> Vec<Drawn> {
    vec![
        plain("percent_rank()", "float8", OverFunction::PercentRank),
        plain("cume_dist()", "float8", OverFunction::CumeDist),
        plain("ntile(2)", "int8", OverFunction::Ntile(2)),
    ]
}

fn shift(offset: i64, default: Option<&str>, ignore_nulls: bool) -> OverFunction {
    let input = schema(INPUT);
    let default = default.map(|default| expr(&input, default));
    OverFunction::Shift { value: expr(&input, "v"), offset, default, ignore_nulls }
}

/// lag and lead.
pub fn neighbors() -> Vec<Drawn> {
    vec![
        plain("lag(v)", "int8", shift(1, None, false)),
        plain("lead(v, 2, 7)", "int8", shift(-2, Some("7"), false)),
        plain("lag(v, 0)", "int8", shift(0, None, false)),
    ]
}

/// lag and lead that count no NULL.
pub fn neighbors_without_null() -> Vec<Drawn> {
    vec![
        plain("lag(v, 1) IGNORE NULLS", "int8", shift(1, None, true)),
        plain("lead(v, 2) IGNORE NULLS", "int8", shift(-2, None, true)),
    ]
}

/// Everything that has a frame, over one frame.
pub fn framed(units: WindowFrameUnits, start: Option<i64>, end: Option<i64>) -> Vec<Drawn> {
    let frame = || frame(units, start, end);
    let input = schema(INPUT);
    let pick =
        |place: i64| OverFunction::Pick { value: expr(&input, "v"), place, ignore_nulls: false };
    vec![
        aggregate("count(*)", "int8", frame()),
        aggregate("sum(v)", "int8", frame()),
        aggregate("min(t)", "text", frame()),
        aggregate("count(v) FILTER (WHERE v > 0)", "int8", frame()),
        aggregate("bit_xor(k)", "int8", frame()),
        drawn("first_value(v)", "int8", pick(1), frame()),
        drawn("last_value(v)", "int8", pick(-1), frame()),
        drawn("nth_value(v, 2)", "int8", pick(2), frame()),
    ]
}

/// Frames of every kind.
pub fn frames() -> Vec<(WindowFrameUnits, Option<i64>, Option<i64>)> {
    use WindowFrameUnits::{Groups, Range, Rows};
    let mut all = Vec::new();
    for units in [Rows, Range, Groups] {
        let bounds = [
            (None, Some(0)),
            (None, None),
            (Some(0), None),
            (Some(-1), Some(1)),
            (Some(-2), Some(-1)),
            (Some(1), Some(2)),
            (None, Some(-1)),
            (None, Some(1)),
            (Some(1), None),
            (Some(-1), None),
        ];
        all.extend(bounds.map(|(start, end)| (units, start, end)));
    }
    all
}

/// Calls over the rows of each `k`, ordered by `order`: a column, descending or not.
pub fn over(order: &[(&str, bool)], drawn: &[Drawn]) -> OverOptions {
    let input = schema(INPUT);
    let columns: String =
        drawn.iter().enumerate().map(|(i, d)| format!(" | c{i}:{}", d.of)).collect();
    let sort = |(column, descending): &(&str, bool)| {
        let options = SortOptions { descending: *descending, nulls_first: *descending };
        (expr(&input, column), options)
    };
    OverOptions {
        partition: vec![expr(&input, "k")],
        keys: order.iter().map(sort).collect(),
        ties: vec![],
        calls: drawn.iter().map(|drawn| drawn.call.clone()).collect(),
        closes: None,
        trims: None,
        output: schema(&format!("{INPUT}{columns}")),
        input,
    }
}

/// The operator of some options as a case.
pub fn case(name: impl Into<String>, options: OverOptions) -> Case {
    let output = Arc::clone(&options.output);
    let frees = options.closes.is_some() || options.trims.is_some();
    let make = move || -> Box<dyn Operator> { Box::new(Over::new(options.clone()).unwrap()) };
    let instants = Over::INSTANTS;
    Case { output, instants, cancels: !frees, drains: false, ..Case::new(name, "", make) }
}

/// All cases.
pub fn overs() -> Vec<Case> {
    use WindowFrameUnits::{Range, Rows};
    let order = [("v", false), ("t", true)];
    let mut cases = vec![
        case("OVER, numbers", over(&order, &numbers())),
        case("OVER, shares", over(&[("v", false)], &shares())),
        case("OVER, neighbors", over(&order, &neighbors())),
        case("OVER, neighbors without NULL", over(&order, &neighbors_without_null())),
        case("OVER ()", over(&[], &framed(Rows, None, None))),
    ];
    for (units, start, end) in frames() {
        let options = over(&[("v", true)], &framed(units, start, end));
        cases.push(case(format!("OVER, {units} {start:?} {end:?}"), options));
        let mut without = framed(units, start, end);
        let all = [Exclude::CurrentRow, Exclude::Group, Exclude::Ties];
        for (drawn, exclude) in without.iter_mut().zip(all.into_iter().cycle()) {
            drawn.call.exclude = exclude;
        }
        let options = over(&[("v", true)], &without);
        cases.push(case(format!("OVER, {units} {start:?} {end:?} EXCLUDE"), options));
    }
    let frees = Frees { column: 0, after: 1 };
    let closed = over(&order, &framed(Rows, Some(-1), Some(1)));
    cases.push(case("OVER, closed", OverOptions { closes: Some(frees), ..closed }));
    let last = framed(Range, Some(-2), Some(0));
    let mut trimmed = over(&[("coalesce(v, 1)", false)], &last[..5]);
    trimmed.trims = Some(frees);
    cases.push(Case { stream: true, drains: true, ..case("OVER, trimmed", trimmed) });
    let mut running = over(&[("coalesce(v, 1)", false)], &framed(Rows, None, Some(0)));
    running.trims = Some(frees);
    cases.push(Case { stream: true, ..case("OVER, running and trimmed", running) });
    cases
}
