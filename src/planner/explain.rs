//! What EXPLAIN prints of a streaming plan.
//!
//! # Example
//! ```text
//! Continuous query  clock=ARRIVAL emit=on window close out=stream
//!   OnClose  column=window_end  monotonic  state=until the watermark closes
//!     Aggregate  group=[origin@0, window_end@1] calls=[count(*)]  retracts  state=until the
//!     watermark closes
//!       Exchange  hash(origin@0, window_end@1)  monotonic
//!         Assign  TUMBLE 1 h  monotonic
//!           Scan  stream departures [origin, ts]  watermark=ts - INTERVAL '5 minutes' late=DROP
//!           monotonic
//! ```

use std::fmt::{self, Write as _};

use super::ordered::keys_text;
use super::plan::{
    AsOf, Assigner, Clock, Counting, Distribution, Kind, Lookup, Node, Op, OverCall, OverFunction,
    Plan, Scan, ScanKind, Shows, Temporal, Ticks, ToStream, TopN, Unnest, Window,
};
use super::temporal::Bound;
use super::verdict::state_of;
use super::window::span_text;
use crate::sql::Exclude;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = match self.clock {
            Clock::Event => "EVENT",
            Clock::Arrival => "ARRIVAL",
        };
        let (emit, out) = match self.kind {
            Kind::Relation if self.on_close => ("on window close", "relation"),
            _ if self.on_close => ("on window close", "stream"),
            Kind::Stream { .. } => ("elements", "stream"),
            Kind::Relation => ("changes", "relation"),
        };
        writeln!(f, "Continuous query  clock={clock} emit={emit} out={out}")?;
        write_node(f, &self.root, 1)
    }
}

fn write_node(f: &mut fmt::Formatter<'_>, node: &Node, depth: usize) -> fmt::Result {
    write!(f, "{:depth$}{}", "", describe(node), depth = depth * 2)?;
    f.write_str(if node.properties.append_only { "  monotonic" } else { "  retracts" })?;
    let state = state_of(node);
    if let Some(bound) = &state.bound {
        write!(f, "  state={bound}")?;
    }
    f.write_char('\n')?;
    node.inputs.iter().try_for_each(|input| write_node(f, input, depth + 1))
}

pub(super) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

pub(super) fn describe(node: &Node) -> String {
    match &node.op {
        Op::Scan(scan) => describe_scan(scan, node),
        Op::Values(rows) => format!("Values  rows={}", rows.num_rows()),
        Op::Filter(predicate) => format!("Filter  {predicate}"),
        Op::Project(exprs) => format!("Project  [{}]", list(exprs)),
        Op::Window(window) => format!("Window  [{}]", window_text(window)),
        Op::Temporal(temporal) => describe_temporal(temporal),
        Op::Assign(assign) => format!("Assign  {}", assigner_text(assign.assigner)),
        Op::Session(session) => {
            let held = if session.held { "  final ones only" } else { "" };
            let keys = list(&session.keys);
            format!("Session  gap={} key=[{keys}]{held}", span_text(session.gap))
        }
        Op::Aggregate(aggregate) => {
            let calls = aggregate.calls.iter().map(|call| {
                let filter = call.filter.as_ref().map(|f| format!(" filter {f}"));
                let name = call.function.human_display().unwrap_or(call.function.name());
                format!("{name}{}", filter.unwrap_or_default())
            });
            let calls = list(calls);
            format!("Aggregate  group=[{}] calls=[{calls}]", list(&aggregate.group))
        }
        Op::Join(join) => {
            let keys = join.left_keys.iter().zip(&join.right_keys);
            let on = list(keys.map(|(l, r)| format!("{l} = {r}")));
            let residual =
                join.residual.as_ref().map(|r| format!(" residual={r}")).unwrap_or_default();
            let nested = if join.left_keys.is_empty() { " nested loop" } else { "" };
            format!("Join  {}{nested} on=[{on}]{residual}", join.kind)
        }
        Op::Lookup(join) => describe_lookup(join),
        Op::AsOf(join) => describe_asof(join),
        Op::Union => "Union".to_owned(),
        Op::Expand(lists) => {
            let lists = lists.iter().map(|exprs| format!("[{}]", list(exprs)));
            format!("Expand  {}", list(lists))
        }
        Op::Unnest(unnest) => describe_unnest(unnest, &node.inputs[0]),
        Op::Bag(combination) => format!("{combination:?}  all"),
        Op::Over(over) => {
            let (partition, order) = (list(&over.partition), keys_text(&over.keys));
            let calls = list(over.calls.iter().map(describe_call));
            format!("Over  partition=[{partition}] order=[{order}] calls=[{calls}]")
        }
        Op::TopN(top) => describe_top(top),
        Op::ToStream(to_stream) => describe_to_stream(to_stream),
        Op::Arrange => "Arrange  in order of time and row".to_owned(),
        Op::Stamp => {
            let name = node.schema.fields().last().map_or("", |field| field.name());
            format!("Stamp  {name}")
        }
        Op::OnClose(gate) => {
            let late = match gate.late {
                0 => "",
                _ => "  corrected by late rows",
            };
            format!("OnClose  column={}{late}", node.schema.field(gate.close.column).name())
        }
        Op::Pace(pace) => match pace.shows {
            Shows::Every(period) => format!("Pace  every {}", span_text(period)),
            Shows::After(delay) => {
                let names = pace.key.iter().map(|column| node.schema.field(*column).name());
                format!("Pace  {} after a change of [{}]", span_text(delay), list(names))
            }
        },
        Op::Exchange(Distribution::Single) => "Exchange  single".to_owned(),
        Op::Exchange(Distribution::Broadcast) => "Exchange  broadcast".to_owned(),
        Op::Exchange(Distribution::Hash(keys)) => format!("Exchange  hash({})", list(keys)),
    }
}

fn describe_scan(scan: &Scan, node: &Node) -> String {
    let kind = match scan.kind {
        ScanKind::Stream => "stream",
        ScanKind::Arrivals => "arrivals of",
        ScanKind::Table => "table",
        ScanKind::View => "view",
    };
    let columns = list(node.schema.fields().iter().map(|f| f.name().clone()));
    let progress = scan.progress.as_ref().map(|p| format!("  {p}")).unwrap_or_default();
    format!("Scan  {kind} {} [{columns}]{progress}", scan.name)
}

fn describe_unnest(unnest: &Unnest, input: &Node) -> String {
    let lists = unnest.columns.iter().filter(|(_, list)| *list);
    let names = lists.map(|(column, _)| input.schema.field(*column).name());
    format!("Unnest  [{}]", list(names))
}

fn describe_temporal(temporal: &Temporal) -> String {
    let bounds = temporal.bounds.iter().map(|(at, bound)| {
        let op = match bound {
            Bound::From => ">=",
            Bound::After => ">",
            Bound::Until => "<",
            Bound::Through => "<=",
        };
        format!("now() {op} {at}")
    });
    format!("TemporalFilter  {}", bounds.collect::<Vec<_>>().join(" AND "))
}

fn describe_lookup(join: &Lookup) -> String {
    let keys = join.left_keys.iter().zip(&join.right_keys);
    let on = list(keys.map(|(l, r)| format!("{l} = {r}")));
    let residual = join.residual.as_ref().map(|r| format!(" residual={r}")).unwrap_or_default();
    let kind = if join.outer { "Left" } else { "Inner" };
    format!("Lookup  {kind} on=[{on}]{residual}")
}

fn describe_asof(join: &AsOf) -> String {
    let keys = join.left_keys.iter().zip(&join.right_keys);
    let on = list(keys.map(|(l, r)| format!("{l} = {r}")));
    let op = match (join.after, join.strict) {
        (false, false) => ">=",
        (false, true) => ">",
        (true, false) => "<=",
        (true, true) => "<",
    };
    let kind = if join.outer { "Left" } else { "Inner" };
    let versions = if join.versions { " versions" } else { "" };
    let (left, right) = (&join.left_time, &join.right_time);
    format!("AsOf  {kind}{versions} on=[{on}] nearest={left} {op} {right}")
}

fn describe_top(top: &TopN) -> String {
    let partition = match &top.partition[..] {
        [] => String::new(),
        keys => format!("partition=[{}] ", list(keys)),
    };
    let fetch = top.fetch.map_or("all".to_owned(), |n| n.to_string());
    let counting = match top.counting {
        Counting::Rows => "",
        Counting::Ranks => " ranks",
        Counting::Groups => " groups",
    };
    let keys = keys_text(&top.keys);
    format!("TopN  {partition}order=[{keys}] limit={fetch}{counting} offset={}", top.skip)
}

fn describe_call(call: &OverCall) -> String {
    let exclude = match call.exclude {
        Exclude::NoOthers => String::new(),
        exclude => format!(" EXCLUDE {}", exclude.as_str()),
    };
    let frame = format!("{}{exclude}", call.frame);
    match &call.function {
        OverFunction::Number(Counting::Rows) => "row_number".to_owned(),
        OverFunction::Number(Counting::Ranks) => "rank".to_owned(),
        OverFunction::Number(Counting::Groups) => "dense_rank".to_owned(),
        OverFunction::PercentRank => "percent_rank".to_owned(),
        OverFunction::CumeDist => "cume_dist".to_owned(),
        OverFunction::Ntile(parts) => format!("ntile {parts}"),
        OverFunction::Shift { value, offset, .. } if *offset < 0 => {
            format!("lead {value} {}", offset.unsigned_abs())
        }
        OverFunction::Shift { value, offset, .. } => format!("lag {value} {offset}"),
        OverFunction::Pick { value, place: -1, .. } => format!("last {value} {frame}"),
        OverFunction::Pick { value, place, .. } => format!("nth {value} {place} {frame}"),
        OverFunction::Aggregate(call) => {
            let name = call.function.human_display().unwrap_or(call.function.name());
            format!("{name} {frame}")
        }
    }
}

fn window_text(window: &Window) -> String {
    match window {
        Window::Range { size: 1, inclusive: false, slide: None } => "NOW".to_owned(),
        Window::Range { size, inclusive, slide } => {
            let inclusive = if *inclusive { " INCLUSIVE" } else { "" };
            let offset = |o: i64| match o {
                0 => String::new(),
                o => format!(" OFFSET {}", span_text(o)),
            };
            let slide = slide.map(|(s, o)| format!(" SLIDE {}{}", span_text(s), offset(o)));
            format!("RANGE {}{inclusive}{}", span_text(*size), slide.unwrap_or_default())
        }
        Window::Current { period } => format!("CURRENT {}", span_text(*period)),
        Window::Unbounded => "UNBOUNDED".to_owned(),
        Window::Rows { count, slide: 1 } => format!("ROWS {count}"),
        Window::Rows { count, slide } => format!("ROWS {count} SLIDE {slide}"),
        Window::Partitioned { keys, count, range } => {
            let range = range.map(|t| format!(" RANGE {}", span_text(t))).unwrap_or_default();
            format!("PARTITION BY {} ROWS {count}{range}", list(keys))
        }
    }
}

fn assigner_text(assigner: Assigner) -> String {
    let (text, offset) = match assigner {
        Assigner::Hop { slide, size, offset } if slide == size => {
            (format!("TUMBLE {}", span_text(size)), offset)
        }
        Assigner::Hop { slide, size, offset } => {
            (format!("HOP {} every {}", span_text(size), span_text(slide)), offset)
        }
        Assigner::Cumulate { step, size, offset } => {
            (format!("CUMULATE {} by {}", span_text(size), span_text(step)), offset)
        }
    };
    if offset == 0 { text } else { format!("{text} offset {}", span_text(offset)) }
}

fn describe_to_stream(to_stream: &ToStream) -> String {
    let ticks = match &to_stream.ticks {
        Ticks::Instants => String::new(),
        Ticks::Arrivals(_) => "  ticks=arrivals".to_owned(),
        Ticks::Every(every) => {
            let every = every.iter().map(|(period, _)| span_text(*period));
            format!("  ticks=every {}", list(every))
        }
    };
    format!("ToStream  {}{ticks}", to_stream.operator.as_str())
}
