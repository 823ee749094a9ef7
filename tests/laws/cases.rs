//! Every operator and window, ready to be built.

use std::rc::Rc;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::datasource::MemTable;
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::prelude::SessionContext;
use highwater::delta::pretty::schema;
use highwater::operators::aggregate::{AggregateOptions, Call};
use highwater::operators::asof::{AsOfOptions, AsOfSide, Nearest};
use highwater::operators::join::{JoinKind, JoinOptions, JoinSide};
use highwater::operators::pace::{Beat, Shows};
use highwater::operators::to_stream::{Every, Side, Ticks};
use highwater::operators::top_n::{Counting, TopNOptions};
use highwater::operators::{
    Aggregate, Arrange, AsOf, Combination, Differences, Except, Expand, Filter, Frees, Instantwise,
    Join, OnClose, Operator, Pace, Project, Samples, Stamp, TopN, Union,
};
use highwater::windows::temporal::{Bound, TemporalFilter, Time};
use highwater::windows::{
    AssignWindows, Assigner, Expiring, PartitionedRows, PartitionedRowsOptions, Rows,
    SessionOptions, Sessions, TimeWindow,
};

use crate::over::overs;

/// The row type of every port.
pub const INPUT: &str = "k:int8 | v:int8 | t:text";

/// An operator, ready to be built.
pub struct Case {
    pub name: String,
    pub make: Box<dyn Fn() -> Box<dyn Operator>>,
    pub output: SchemaRef,
    pub ports: usize,
    pub instants: Instantwise,
    /// Whether its input is append-only.
    pub stream: bool,
    /// Whether the order of rows within an instant matters.
    pub ordered: bool,
    /// Whether what is taken back leaves no trace.
    pub cancels: bool,
    /// Whether the end of the stream leaves it empty.
    pub drains: bool,
}

impl Case {
    /// A stateless operator of one port.
    pub fn new(
        name: impl Into<String>,
        output: &str,
        make: impl Fn() -> Box<dyn Operator> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            make: Box::new(make),
            output: schema(output),
            ports: 1,
            instants: Instantwise::Any,
            stream: false,
            ordered: false,
            cancels: true,
            drains: true,
        }
    }
}

/// Compiles an SQL expression over a row type.
pub fn expr(schema: &SchemaRef, sql: &str) -> Arc<dyn PhysicalExpr> {
    let context = SessionContext::new();
    let schema = DFSchema::try_from(schema.as_ref().clone()).unwrap();
    let parsed = context.parse_sql_expr(sql, &schema).unwrap();
    context.create_physical_expr(parsed, &schema).unwrap()
}

pub fn calls(schema: &SchemaRef, sql: &str) -> Vec<Call> {
    let mut state = SessionContext::new().state();
    highwater::functions::register(&mut state).unwrap();
    state.register_expr_planner(highwater::functions::json_operators()).unwrap();
    let context = SessionContext::new_with_state(state);
    let table = MemTable::try_new(schema.clone(), vec![vec![]]).unwrap();
    context.register_table("s", Arc::new(table)).unwrap();
    let state = context.state();
    let query = format!("SELECT {sql} FROM s");
    let plan = futures::executor::block_on(state.create_logical_plan(&query)).unwrap();
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {}).unwrap();
    let mut node = &plan;
    let aggregate = loop {
        match node {
            LogicalPlan::Aggregate(aggregate) => break aggregate,
            other => node = other.inputs()[0],
        }
    };
    let logical = aggregate.input.schema();
    let (physical, props) = (logical.as_arrow(), state.execution_props());
    let compile = |e| {
        let context = PhysicalPlanningContext::default();
        let built = LoweredAggregateBuilder::new(e, logical, physical, props, &context).build();
        let built = built.unwrap();
        Call { function: built.aggregate, filter: built.filter }
    };
    aggregate.aggr_expr.iter().map(compile).collect()
}

fn frees(column: usize) -> Frees {
    Frees { column, after: 1 }
}

/// GROUP BY of the input.
pub fn aggregate(groups: &[&str], sql: &str) -> AggregateOptions {
    let input = schema(INPUT);
    let calls = if sql.is_empty() { Vec::new() } else { calls(&input, sql) };
    let groups: Vec<_> = groups.iter().map(|group| expr(&input, group)).collect();
    let fields = groups.iter().map(|g| Field::new("g", g.data_type(&input).unwrap(), true));
    let results =
        calls.iter().map(|c| Field::new("r", c.function.field().data_type().clone(), true));
    let output = Arc::new(Schema::new(fields.chain(results).collect::<Vec<_>>()));
    AggregateOptions { input, groups, calls, output, append_only: false, frees: None }
}

fn aggregates() -> Vec<Case> {
    let all = "count(*), count(v), sum(v), avg(v), min(v), max(t), count(distinct t), \
               bool_and(v > 0), bool_or(v > 0), sum(v::double / 3), avg(v::numeric(9, 2) * 2), \
               sum(10 / v) filter (where k > 0), median(v)";
    let case = |name: &str, options: AggregateOptions| {
        let output = options.output.clone();
        let stream = options.append_only;
        let drains = options.frees.is_some();
        let made = options.clone();
        let make = move || -> Box<dyn Operator> { Box::new(Aggregate::new(made.clone()).unwrap()) };
        let instants = Aggregate::INSTANTS;
        let cancels = !stream && !drains;
        Case { output, stream, drains, cancels, instants, ..Case::new(name, "", make) }
    };
    let grouped = aggregate(&["k"], all);
    let more = "stddev(v), var_pop(DISTINCT v), corr(v, k), regr_slope(v, k), array_agg(t ORDER BY v), \
                string_agg(t, ',') FILTER (WHERE v > 0), first_value(t ORDER BY v DESC), \
                mode() WITHIN GROUP (ORDER BY t), percentile_disc(0.5) WITHIN GROUP (ORDER BY v), \
                percentile_cont(0.3) WITHIN GROUP (ORDER BY v DESC), json_agg(v ORDER BY t)";
    let some =
        aggregate(&["k"], "count(*), sum(v), min(t), max(v), array_agg(distinct k), bit_xor(v)");
    vec![
        case("aggregate", grouped.clone()),
        case("aggregate, one group", aggregate(&[], all)),
        case("aggregate, in order", aggregate(&["k"], more)),
        case(
            "aggregate, in order, append-only",
            AggregateOptions { append_only: true, ..aggregate(&["k"], more) },
        ),
        case("aggregate, failing groups", aggregate(&["10 / v"], "count(*)")),
        case("distinct", aggregate(&["k", "t"], "")),
        case("aggregate, append-only", AggregateOptions { append_only: true, ..some.clone() }),
        case("aggregate, freed", AggregateOptions { frees: Some(frees(0)), ..grouped }),
    ]
    .into_iter()
    // A group whose key is NULL is never final.
    .map(|case| Case { drains: false, ..case })
    .chain([Case {
        drains: true,
        ..case(
            "aggregate, all freed",
            AggregateOptions {
                frees: Some(frees(0)),
                ..aggregate(&["coalesce(k, 1)"], "count(*), min(v), count(distinct t)")
            },
        )
    }])
    .collect()
}

fn joins() -> Vec<Case> {
    let kinds = [
        JoinKind::Inner,
        JoinKind::Left,
        JoinKind::Right,
        JoinKind::Full,
        JoinKind::LeftSemi,
        JoinKind::LeftAnti,
        JoinKind::LeftMark,
    ];
    let mut cases = Vec::new();
    for kind in kinds {
        for (residual, freed, append_only) in [
            (None, false, false),
            (Some("v >= w"), false, false),
            (Some("10 / w > v"), true, false),
            (None, true, false),
            (None, false, true),
        ] {
            let left = schema(INPUT);
            let right = schema("j:int8 | w:int8 | u:text");
            let both = schema("k:int8 | v:int8 | t:text | j:int8 | w:int8 | u:text");
            let shows_left = matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti);
            let output = match kind {
                JoinKind::LeftMark => schema(&format!("{INPUT} | mark:bool")),
                _ if shows_left => left.clone(),
                _ => both.clone(),
            };
            let side = |schema: &SchemaRef, key: &str| JoinSide {
                keys: vec![expr(schema, key)],
                schema: schema.clone(),
                append_only,
                frees: freed.then_some(frees(0)),
            };
            let options = JoinOptions {
                kind,
                left: side(&left, "coalesce(k, 7)"),
                right: side(&right, "j"),
                residual: residual.map(|sql| expr(&both, sql)),
                null_equals_null: false,
                output: output.clone(),
            };
            let name = format!("{kind:?} join, {residual:?}, freed {freed}, append {append_only}");
            let instants = Join::new(options.clone()).unwrap().instants();
            let make =
                move || -> Box<dyn Operator> { Box::new(Join::new(options.clone()).unwrap()) };
            cases.push(Case {
                output,
                ports: 2,
                instants,
                stream: append_only,
                cancels: !freed && !append_only,
                drains: false,
                ..Case::new(name, "", make)
            });
        }
    }
    cases
}

fn asof_joins() -> Vec<Case> {
    let (left, right) = (schema(INPUT), schema("j:int8 | w:int8 | u:text"));
    let output = schema("k:int8 | v:int8 | t:text | j:int8 | w:int8 | u:text");
    let side = |schema: &SchemaRef, key: &str, time: &str| AsOfSide {
        keys: vec![expr(schema, key)],
        time: expr(schema, time),
        schema: schema.clone(),
        frees: None,
    };
    let mut cases = Vec::new();
    for (after, strict) in [(false, false), (false, true), (true, false), (true, true)] {
        for outer in [false, true] {
            let options = AsOfOptions {
                left: side(&left, "k", "v"),
                right: side(&right, "j", "w"),
                nearest: Nearest { after, strict },
                outer,
                versions: false,
                settled: false,
                output: output.clone(),
            };
            let name = format!("asof, after {after}, strict {strict}, outer {outer}");
            let make =
                move || -> Box<dyn Operator> { Box::new(AsOf::new(options.clone()).unwrap()) };
            cases.push(Case {
                output: output.clone(),
                ports: 2,
                instants: Instantwise::One,
                drains: false,
                ..Case::new(name, "", make)
            });
        }
    }
    cases
}

/// The first rows of each `k`, by `v` descending and `t`.
pub fn top_n(skip: usize, fetch: Option<usize>, numbered: bool, append_only: bool) -> TopNOptions {
    let input = schema(INPUT);
    let sort = |descending| SortOptions { descending, nulls_first: descending };
    let place = if numbered { " | place:int8" } else { "" };
    TopNOptions {
        partition: vec![expr(&input, "k")],
        keys: vec![(expr(&input, "v"), sort(true)), (expr(&input, "t"), sort(false))],
        ties: vec![],
        counting: Counting::Rows,
        skip,
        fetch,
        numbered,
        append_only,
        frees: None,
        output: schema(&format!("{INPUT}{place}")),
        input,
    }
}

/// The same with the first key alone, so that there are peers.
pub fn by_value(mut options: TopNOptions) -> TopNOptions {
    options.keys.truncate(1);
    options
}

fn top_ns() -> Vec<Case> {
    let case = |name: &str, options: TopNOptions| {
        let (output, stream) = (options.output.clone(), options.append_only);
        let cancels = !stream && options.frees.is_none();
        let make = move || -> Box<dyn Operator> { Box::new(TopN::new(options.clone()).unwrap()) };
        let instants = TopN::INSTANTS;
        Case { output, stream, cancels, instants, drains: false, ..Case::new(name, "", make) }
    };
    vec![
        case("top 2", top_n(0, Some(2), false, false)),
        case("top 2 after 1", top_n(1, Some(2), false, false)),
        case("all after 2", top_n(2, None, false, false)),
        case("numbered top 3", top_n(0, Some(3), true, false)),
        case("numbered", top_n(1, None, true, false)),
        case("top 2, append-only", top_n(0, Some(2), false, true)),
        case("top 2, whole", TopNOptions { partition: vec![], ..top_n(0, Some(2), false, false) }),
        case(
            "top 2 with ties",
            TopNOptions { counting: Counting::Ranks, ..by_value(top_n(0, Some(2), false, false)) },
        ),
        case(
            "top 2 with ties after 1, append-only",
            TopNOptions { counting: Counting::Ranks, ..by_value(top_n(1, Some(2), false, true)) },
        ),
        case(
            "rank <= 2",
            TopNOptions { counting: Counting::Ranks, ..by_value(top_n(0, Some(2), true, false)) },
        ),
        case(
            "dense_rank <= 2",
            TopNOptions { counting: Counting::Groups, ..by_value(top_n(0, Some(2), true, false)) },
        ),
        case(
            "dense_rank <= 1, append-only",
            TopNOptions { counting: Counting::Groups, ..by_value(top_n(0, Some(1), true, true)) },
        ),
        case(
            "top 2, freed",
            TopNOptions { frees: Some(frees(0)), ..top_n(0, Some(2), false, false) },
        ),
    ]
}

/// Operators that make streams of relations; what came into one is never taken back.
fn streams() -> Vec<Case> {
    let every = |period| Every { period, offset: 1 };
    let difference = |name: &str, side: Side, every: Option<Every>| Case {
        cancels: false,
        instants: Differences::INSTANTS,
        ..Case::new(name, INPUT, move || Box::new(Differences::new(schema(INPUT), side, every)))
    };
    let samples = |name: &str, ports: usize, ticks: Ticks| Case {
        ports,
        cancels: false,
        drains: false,
        instants: Samples::INSTANTS,
        ..Case::new(name, INPUT, move || {
            Box::new(Samples::new(schema(INPUT), ticks.clone()).unwrap())
        })
    };
    let stamped = format!("{INPUT} | at:int8");
    let output = schema(&stamped);
    vec![
        difference("ISTREAM", Side::Insertions, None),
        difference("DSTREAM", Side::Deletions, None),
        difference("ISTREAM EVERY 3", Side::Insertions, Some(every(3))),
        difference("DSTREAM EVERY 2", Side::Deletions, Some(every(2))),
        samples("RSTREAM EVERY 2 and 3", 1, Ticks::Every(vec![every(2), every(3)])),
        samples("RSTREAM at arrivals", 2, Ticks::Arrivals(vec![vec![1]])),
        Case::new("arrange", INPUT, || Box::new(Arrange::new(schema(INPUT)))),
        Case {
            cancels: false,
            stream: true,
            ..Case::new("stamp", &stamped, move || Box::new(Stamp::new(output.clone())))
        },
    ]
}

fn windows() -> Vec<Case> {
    let case = |name: &str, make: fn() -> Box<dyn Operator>| Case {
        stream: true,
        cancels: false,
        ..Case::new(name, INPUT, make)
    };
    let time = |name: &str, window: TimeWindow| Case {
        stream: true,
        cancels: false,
        ..Case::new(name, INPUT, move || Box::new(Expiring::new(window)))
    };
    fn partitioned(count: u32, range: Option<i64>) -> Box<dyn Operator> {
        let schema = schema(INPUT);
        let partition = vec![expr(&schema, "k")];
        let options = PartitionedRowsOptions { schema, partition, count, range };
        Box::new(PartitionedRows::new(options).unwrap())
    }
    let ordered = |case: Case, drains: bool| Case { ordered: true, drains, ..case };
    let slide = |length, slide| TimeWindow::Slide { length, inclusive: false, slide, offset: 1 };
    vec![
        time("NOW", TimeWindow::Now),
        time("RANGE 3", TimeWindow::Range { length: 3, inclusive: false }),
        time("RANGE 2 INCLUSIVE", TimeWindow::Range { length: 2, inclusive: true }),
        time("RANGE 4 SLIDE 2", slide(4, 2)),
        time("RANGE 2 SLIDE 5", slide(2, 5)),
        time("CURRENT 4", TimeWindow::Current { period: 4, offset: 0 }),
        time("UNBOUNDED", TimeWindow::Unbounded),
        ordered(case("ROWS 2", || Box::new(Rows::new(2, 1))), false),
        ordered(case("ROWS 3 SLIDE 2", || Box::new(Rows::new(3, 2))), false),
        ordered(case("PARTITION BY k ROWS 2", || partitioned(2, None)), false),
        ordered(case("PARTITION BY k ROWS 2 RANGE 3", || partitioned(2, Some(3))), true),
    ]
}

thread_local! {
    /// Compiling expressions takes longer than running them.
    static CASES: Rc<Vec<Case>> = Rc::new(all_cases());
}

/// Every operator and window.
pub fn cases() -> Rc<Vec<Case>> {
    CASES.with(Rc::clone)
}

/// What holds results back.
fn emissions() -> Vec<Case> {
    vec![
        Case {
            cancels: false,
            ..Case::new("EMIT ON WINDOW CLOSE", INPUT, || {
                Box::new(OnClose::new(schema(INPUT), Frees { column: 0, after: 3 }, 0).unwrap())
            })
        },
        Case {
            instants: Pace::INSTANTS,
            // What is taken back is shown until the next tick.
            cancels: false,
            ..Case::new("EMIT EVERY", INPUT, || {
                let (shows, beat) = (Shows::Every(3), Beat::Watermark);
                Box::new(Pace::new(schema(INPUT), vec![], shows, beat).unwrap())
            })
        },
        Case {
            instants: Pace::INSTANTS,
            // What is taken back is shown until the next tick.
            cancels: false,
            ..Case::new("EMIT AFTER DELAY", INPUT, || {
                let (shows, beat) = (Shows::After(2), Beat::Watermark);
                Box::new(Pace::new(schema(INPUT), vec![0], shows, beat).unwrap())
            })
        },
        Case {
            cancels: false,
            ..Case::new("EMIT ON WINDOW CLOSE, corrected", INPUT, || {
                Box::new(OnClose::new(schema(INPUT), Frees { column: 0, after: 1 }, 2).unwrap())
            })
        },
    ]
}

/// Set operations on bags.
fn bags() -> Vec<Case> {
    let combined = |combination: Combination| Case {
        ports: 2,
        instants: Except::INSTANTS,
        drains: false,
        ..Case::new(format!("{combination:?} ALL"), INPUT, move || {
            Box::new(Except::new(schema(INPUT), combination).unwrap())
        })
    };
    let union = Case::new("UNION ALL", INPUT, || Box::new(Union::new(schema(INPUT))));
    vec![
        combined(Combination::Except),
        combined(Combination::Intersect),
        Case { ports: 2, ..union },
    ]
}

fn all_cases() -> Vec<Case> {
    let input = schema(INPUT);
    let bounds = format!("{INPUT} | window_start:int8 | window_end:int8 | window_time:int8");
    let assign = |name: &str, assigner: Assigner| {
        let (time, output) = (expr(&input, "v"), schema(&bounds));
        Case::new(name, &bounds, move || {
            Box::new(AssignWindows::new(Arc::clone(&time), assigner, output.clone()))
        })
    };
    let session = |name: &str, time: &str, closes: Option<i64>, held: bool| {
        let (time, keys) = (expr(&input, time), vec![expr(&input, "k")]);
        let (input, output) = (input.clone(), schema(&bounds));
        let options = SessionOptions { input, time, keys, gap: 2, met: None, closes, held, output };
        Case {
            instants: Sessions::INSTANTS,
            drains: closes.is_some(),
            cancels: closes.is_none(),
            ..Case::new(name, &bounds, move || Box::new(Sessions::new(options.clone()).unwrap()))
        }
    };
    let (predicate, sum) = (expr(&input, "10 / v > k"), expr(&input, "10 / v"));
    let mut all = vec![
        Case::new("filter", INPUT, move || Box::new(Filter::new(Arc::clone(&predicate)))),
        Case::new("project", "a:int8", move || {
            Box::new(Project::new(vec![Arc::clone(&sum)], schema("a:int8")))
        }),
        Case::new("expand", "a:int8 | t:text", {
            let list = |sql: [&str; 2]| sql.map(|sql| expr(&input, sql)).to_vec();
            let lists = vec![list(["v", "t"]), list(["k", "nullif(t, t)"])];
            move || Box::new(Expand::new(lists.clone(), &schema("a:int8 | t:text")))
        }),
        Case {
            cancels: false,
            ..Case::new("temporal filter", INPUT, {
                let at = |sql: &str| {
                    expr(&input, &format!("arrow_cast({sql}, 'Timestamp(Microsecond, None)')"))
                };
                let bounds = vec![(at("v"), Bound::From), (at("v + 3"), Bound::Until)];
                move || Box::new(TemporalFilter::new(bounds.clone(), Time::Event))
            })
        },
        assign("TUMBLE", Assigner::Tumble { size: 3, offset: 1 }),
        assign("HOP", Assigner::Hop { slide: 2, size: 5, offset: 0 }),
        assign("CUMULATE", Assigner::Cumulate { step: 1, size: 3, offset: 0 }),
        session("SESSION", "v", None, false),
        session("SESSION, failing times", "10 / v", None, false),
        session("SESSION, closed by the watermark", "v", Some(100), false),
        session("SESSION, final ones", "v", Some(100), true),
    ];
    all.extend(emissions());
    all.extend(bags());
    all.extend(aggregates());
    all.extend(joins());
    all.extend(asof_joins());
    all.extend(top_ns());
    all.extend(overs());
    all.extend(streams());
    all.extend(windows());
    all
}
