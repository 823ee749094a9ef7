//! Plan nodes to operators: the one match.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::JoinType;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use super::Result;
use super::stage::{Late, Order};
use crate::operators::aggregate::{AggregateOptions, Call};
use crate::operators::asof::{AsOfOptions, AsOfSide, Nearest};
use crate::operators::join::{JoinKind, JoinOptions, JoinSide, LookupOptions};
use crate::operators::over::{Exclude, OverCall, OverFunction, OverOptions};
use crate::operators::pace::{Beat, Shows};
use crate::operators::to_stream::{Every, Side, Ticks};
use crate::operators::top_n::{Counting, TopNOptions};
use crate::operators::unnest::UnnestColumn;
use crate::operators::{
    Aggregate, Arrange, AsOf, Combination, Constant, Differences, Except, Expand, Filter, Frees,
    Instantwise, Join, Lookup, OnClose, Operator, Over, Pace, Project, Samples, Stamp, TopN, Union,
    Unnest,
};
use crate::planner::clock::in_order;
use crate::planner::plan::{self, Clock, Close, Node, Op, Window};
use crate::planner::temporal as planner;
use crate::sql::{self, derived};
use crate::windows::temporal::{Bound, Time};
use crate::windows::{
    AssignWindows, Assigner, Expiring, PartitionedRows, PartitionedRowsOptions, Rows,
    SessionOptions, Sessions, TemporalFilter, TimeWindow,
};

/// How a node sees time in a block of that clock.
pub(super) fn order(node: &Node, clock: Clock) -> Order {
    match (&node.op, clock) {
        // Scans give the changes of an ARRIVAL block their time.
        (Op::Scan(_) | Op::Values(_), Clock::Arrival) | (Op::Values(_), Clock::Event) => {
            Order::Commits
        }
        (
            Op::Scan(_)
            | Op::Filter(_)
            | Op::Project(_)
            | Op::Expand(_)
            | Op::Unnest(_)
            | Op::Assign(_)
            | Op::Stamp,
            _,
        ) => Order::Passing,
        (Op::Union, Clock::Arrival) => Order::Passing,
        (Op::Union, Clock::Event) if !in_order(node) => Order::Passing,
        (_, Clock::Arrival) => Order::Commits,
        (_, Clock::Event) if node.properties.timeless => Order::Commits,
        (_, Clock::Event) => Order::Instants(instantwise(node), late(node)),
    }
}

/// What a node of an EVENT block does with changes of instants that have closed.
fn late(node: &Node) -> Late {
    let corrected = node.inputs.iter().any(|input| input.properties.late > 0);
    match &node.op {
        _ if !corrected => Late::Never,
        Op::Window(_) => Late::OwnTime,
        Op::ToStream(_) => Late::FirstOpen,
        _ => Late::LastClosed,
    }
}

fn instantwise(node: &Node) -> Instantwise {
    match &node.op {
        Op::Join(join) if join.kind == JoinType::Inner => Instantwise::Any,
        Op::AsOf(join) if join.settled => Instantwise::Any,
        Op::Window(_) | Op::Temporal(_) | Op::Union => Instantwise::Any,
        Op::OnClose(_) | Op::Over(_) | Op::TopN(_) => Instantwise::Any,
        Op::ToStream(to_stream) if to_stream.operator != derived::ToStream::Rstream => {
            Differences::INSTANTS
        }
        Op::Lookup(_) => Lookup::INSTANTS,
        Op::Arrange => Arrange::INSTANTS,
        Op::Pace(_) => Pace::INSTANTS,
        _ => Instantwise::One,
    }
}

/// Builds the operator of a node for one shard.
pub(super) fn operator(node: &Node, shard: usize) -> Result<Box<dyn Operator>> {
    let schema = || Arc::clone(&node.schema);
    let input = || Arc::clone(&node.inputs[0].schema);
    Ok(match &node.op {
        Op::Scan(scan) => {
            let columns = scan.projection.iter().enumerate().map(|(i, column)| {
                let name = node.schema.field(i).name();
                Arc::new(Column::new(name, *column)) as Arc<dyn PhysicalExpr>
            });
            Box::new(Project::new(columns.collect::<Vec<_>>(), schema()))
        }
        // A constant relation exists once.
        Op::Values(rows) if shard == 0 => Box::new(Constant::new(rows.clone())),
        Op::Values(rows) => Box::new(Constant::new(rows.slice(0, 0))),
        Op::Filter(predicate) => Box::new(Filter::new(Arc::clone(predicate))),
        Op::Project(exprs) => Box::new(Project::new(exprs.clone(), schema())),
        Op::Expand(lists) => Box::new(Expand::new(lists.clone(), &node.schema)),
        Op::Unnest(unnest) => Box::new(self::unnest(unnest, schema())),
        Op::Union => Box::new(Union::new(schema())),
        Op::Exchange(_) => unreachable!("exchanges are edges"),
        Op::Window(window) => self::window(window, node)?,
        Op::Temporal(temporal) => Box::new(self::temporal(temporal)),
        Op::Assign(assign) => {
            let assigner = assigner(assign.assigner);
            Box::new(AssignWindows::new(Arc::clone(&assign.time), assigner, schema()))
        }
        Op::Session(session) => Box::new(Sessions::new(SessionOptions {
            input: input(),
            time: Arc::clone(&session.time),
            keys: session.keys.clone(),
            gap: session.gap,
            met: session.met.clone(),
            closes: session.closes,
            held: session.held,
            output: schema(),
        })?),
        Op::Aggregate(aggregate) => Box::new(Aggregate::new(AggregateOptions {
            input: input(),
            groups: aggregate.group.clone(),
            calls: aggregate.calls.iter().map(call).collect(),
            output: schema(),
            append_only: aggregate.append_only,
            frees: aggregate.frees.map(frees),
        })?),
        Op::Join(join) => Box::new(self::join(join, node)?),
        Op::Lookup(join) => Box::new(lookup(join, node)?),
        Op::AsOf(join) => Box::new(asof(join, node)?),
        Op::TopN(top) => Box::new(TopN::new(TopNOptions {
            input: input(),
            partition: top.partition.clone(),
            keys: top.keys.clone(),
            ties: top.ties.clone(),
            counting: counting(top.counting),
            skip: top.skip,
            fetch: top.fetch,
            numbered: top.numbered,
            append_only: node.inputs[0].properties.append_only,
            frees: top.closes.map(frees),
            output: schema(),
        })?),
        Op::Bag(how) => Box::new(Except::new(schema(), combination(*how))?),
        Op::Over(over) => Box::new(self::over(over, node)?),
        Op::ToStream(to_stream) => self::to_stream(to_stream, schema())?,
        Op::Arrange => Box::new(Arrange::new(schema())),
        Op::Stamp => Box::new(Stamp::new(schema())),
        Op::Pace(pace) => Box::new(self::pace(pace, input())?),
        Op::OnClose(gate) => Box::new(OnClose::new(input(), frees(gate.close), gate.late)?),
    })
}

fn to_stream(to_stream: &plan::ToStream, schema: SchemaRef) -> Result<Box<dyn Operator>> {
    let every = |(period, offset): &(i64, i64)| Every { period: *period, offset: *offset };
    let side = match to_stream.operator {
        derived::ToStream::Istream => Side::Insertions,
        derived::ToStream::Dstream => Side::Deletions,
        derived::ToStream::Changelog => Side::Both,
        derived::ToStream::Rstream => {
            let ticks = match &to_stream.ticks {
                plan::Ticks::Arrivals(lists) => Ticks::Arrivals(lists.clone()),
                plan::Ticks::Every(all) => Ticks::Every(all.iter().map(every).collect()),
                plan::Ticks::Instants => unreachable!("the planner refuses RSTREAM without ticks"),
            };
            return Ok(Box::new(Samples::new(schema, ticks)?));
        }
    };
    let every = match &to_stream.ticks {
        plan::Ticks::Every(all) => all.first().map(every),
        plan::Ticks::Instants | plan::Ticks::Arrivals(_) => None,
    };
    Ok(Box::new(Differences::new(schema, side, every)))
}

/// How windows lie, for those who compute them.
pub fn assigner(assigner: plan::Assigner) -> Assigner {
    match assigner {
        plan::Assigner::Hop { slide, size, offset } if slide == size => {
            Assigner::Tumble { size, offset }
        }
        plan::Assigner::Hop { slide, size, offset } => Assigner::Hop { slide, size, offset },
        plan::Assigner::Cumulate { step, size, offset } => {
            Assigner::Cumulate { step, size, offset }
        }
    }
}

fn call(call: &plan::Call) -> Call {
    Call { function: Arc::clone(&call.function), filter: call.filter.clone() }
}

fn unnest(unnest: &plan::Unnest, schema: SchemaRef) -> Unnest {
    let columns = unnest.columns.iter().map(|(column, list)| match list {
        true => UnnestColumn::Elements(*column),
        false => UnnestColumn::Repeated(*column),
    });
    Unnest::new(columns.collect(), unnest.keep_empty, schema)
}

fn temporal(temporal: &plan::Temporal) -> TemporalFilter {
    let bounds = temporal.bounds.iter().map(|(at, bound)| {
        let bound = match bound {
            planner::Bound::From => Bound::From,
            planner::Bound::After => Bound::After,
            planner::Bound::Until => Bound::Until,
            planner::Bound::Through => Bound::Through,
        };
        (Arc::clone(at), bound)
    });
    let time = match temporal.clock {
        Clock::Event => Time::Event,
        Clock::Arrival => Time::Commits,
    };
    TemporalFilter::new(bounds.collect(), time)
}

fn window(window: &Window, node: &Node) -> Result<Box<dyn Operator>> {
    Ok(match window {
        Window::Range { size, inclusive, slide } => {
            let (length, inclusive) = (*size, *inclusive);
            Box::new(Expiring::new(match *slide {
                None => TimeWindow::Range { length, inclusive },
                Some((slide, offset)) => TimeWindow::Slide { length, inclusive, slide, offset },
            }))
        }
        Window::Current { period } => {
            Box::new(Expiring::new(TimeWindow::Current { period: *period, offset: 0 }))
        }
        Window::Unbounded => Box::new(Expiring::new(TimeWindow::Unbounded)),
        Window::Rows { count, slide } => Box::new(Rows::new(*count, *slide)),
        Window::Partitioned { keys, count, range } => {
            Box::new(PartitionedRows::new(PartitionedRowsOptions {
                schema: Arc::clone(&node.inputs[0].schema),
                partition: keys.clone(),
                count: u32::try_from(*count).unwrap_or(u32::MAX),
                range: *range,
            })?)
        }
    })
}

fn join(join: &plan::Join, node: &Node) -> Result<Join> {
    let side = |i: usize, keys: &[Arc<dyn PhysicalExpr>]| JoinSide {
        schema: Arc::clone(&node.inputs[i].schema),
        keys: keys.to_vec(),
        append_only: node.inputs[i].properties.append_only,
        frees: join.frees[i].map(frees),
    };
    Ok(Join::new(JoinOptions {
        kind: kind(join.kind),
        left: side(0, &join.left_keys),
        right: side(1, &join.right_keys),
        residual: join.residual.clone(),
        null_equals_null: join.null_equals_null,
        output: Arc::clone(&node.schema),
    })?)
}

fn lookup(join: &plan::Lookup, node: &Node) -> Result<Lookup> {
    let side = |i: usize, keys: &[Arc<dyn PhysicalExpr>]| JoinSide {
        schema: Arc::clone(&node.inputs[i].schema),
        keys: keys.to_vec(),
        append_only: node.inputs[i].properties.append_only,
        frees: None,
    };
    Ok(Lookup::new(LookupOptions {
        left: side(0, &join.left_keys),
        right: side(1, &join.right_keys),
        residual: join.residual.clone(),
        outer: join.outer,
        null_equals_null: join.null_equals_null,
        output: Arc::clone(&node.schema),
    })?)
}

fn asof(join: &plan::AsOf, node: &Node) -> Result<AsOf> {
    let side = |i: usize, keys: &[Arc<dyn PhysicalExpr>], time: &Arc<dyn PhysicalExpr>| AsOfSide {
        schema: Arc::clone(&node.inputs[i].schema),
        keys: keys.to_vec(),
        time: Arc::clone(time),
        frees: join.frees[i].map(frees),
    };
    Ok(AsOf::new(AsOfOptions {
        left: side(0, &join.left_keys, &join.left_time),
        right: side(1, &join.right_keys, &join.right_time),
        nearest: Nearest { after: join.after, strict: join.strict },
        outer: join.outer,
        versions: join.versions,
        settled: join.settled,
        output: Arc::clone(&node.schema),
    })?)
}

fn kind(kind: JoinType) -> JoinKind {
    match kind {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi => JoinKind::LeftSemi,
        JoinType::LeftAnti => JoinKind::LeftAnti,
        JoinType::LeftMark => JoinKind::LeftMark,
        other => unreachable!("the planner refuses {other} joins"),
    }
}

fn pace(pace: &plan::Pace, schema: SchemaRef) -> Result<Pace> {
    let shows = match pace.shows {
        plan::Shows::Every(period) => Shows::Every(period),
        plan::Shows::After(delay) => Shows::After(delay),
    };
    let beat = match pace.clock {
        Clock::Arrival => Beat::Commits,
        Clock::Event => Beat::Watermark,
    };
    Ok(Pace::new(schema, pace.key.clone(), shows, beat)?)
}

fn counting(counting: plan::Counting) -> Counting {
    match counting {
        plan::Counting::Rows => Counting::Rows,
        plan::Counting::Ranks => Counting::Ranks,
        plan::Counting::Groups => Counting::Groups,
    }
}

fn combination(how: plan::Combination) -> Combination {
    match how {
        plan::Combination::Except => Combination::Except,
        plan::Combination::Intersect => Combination::Intersect,
    }
}

fn over(over: &plan::Over, node: &Node) -> Result<Over> {
    Ok(Over::new(OverOptions {
        input: node.inputs[0].schema.clone(),
        partition: over.partition.clone(),
        keys: over.keys.clone(),
        ties: over.ties.clone(),
        calls: over.calls.iter().map(over_call).collect(),
        closes: over.closes.map(frees),
        trims: over.trims.map(frees),
        output: node.schema.clone(),
    })?)
}

fn over_call(call: &plan::OverCall) -> OverCall {
    use plan::OverFunction as Planned;
    let function = match call.function.clone() {
        Planned::Number(plan::Counting::Rows) => OverFunction::RowNumber,
        Planned::Number(plan::Counting::Ranks) => OverFunction::Rank,
        Planned::Number(plan::Counting::Groups) => OverFunction::DenseRank,
        Planned::PercentRank => OverFunction::PercentRank,
        Planned::CumeDist => OverFunction::CumeDist,
        Planned::Ntile(parts) => OverFunction::Ntile(parts),
        Planned::Shift { value, offset, default, ignore_nulls } => {
            OverFunction::Shift { value, offset, default, ignore_nulls }
        }
        Planned::Pick { value, place, ignore_nulls } => {
            OverFunction::Pick { value, place, ignore_nulls }
        }
        Planned::Aggregate(aggregate) => OverFunction::Aggregate(self::call(&aggregate)),
    };
    let exclude = match call.exclude {
        sql::Exclude::NoOthers => Exclude::NoOthers,
        sql::Exclude::CurrentRow => Exclude::CurrentRow,
        sql::Exclude::Group => Exclude::Group,
        sql::Exclude::Ties => Exclude::Ties,
    };
    OverCall { function, frame: call.frame.clone(), exclude }
}

fn frees(close: Close) -> Frees {
    Frees { column: close.column, after: close.after }
}
