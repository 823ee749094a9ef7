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

use arrow::datatypes::DataType;

use super::ordered::keys_text;
use super::plan::{
    AsOf, Assigner, Clock, Close, Counting, Distribution, Kind, Node, Op, Over, OverCall,
    OverFunction, Plan, ScanKind, Session, Shows, Temporal, Ticks, ToStream, TopN, Unnest, Window,
};
use super::properties::Size;
use super::temporal::Bound;
use super::window::span_text;
use crate::sql::derived;

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

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn describe(node: &Node) -> String {
    match &node.op {
        Op::Scan(scan) => {
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
    let frame = &call.frame;
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

/// What a node keeps, and what bounds it.
pub struct State {
    /// The bound in a few words; `None` keeps nothing.
    pub bound: Option<String>,
    /// For unbounded state: why, and the clause that would bound it.
    pub warning: Option<(String, String)>,
}

/// The state verdict of one node (DESIGN 5.6).
pub fn state_of(node: &Node) -> State {
    let bounded = |text: &str| State { bound: Some(text.to_owned()), warning: None };
    let by_size = |size: Size| match size {
        Size::Constant => "bounded",
        Size::Window => "window",
        Size::Keys => "keys",
        Size::Unbounded => "unbounded",
    };
    match &node.op {
        Op::Window(Window::Range { size, .. }) => bounded(&format!("rows of {}", span_text(*size))),
        Op::Window(Window::Current { period }) => {
            bounded(&format!("rows of {}", span_text(*period)))
        }
        Op::Window(Window::Rows { count, slide }) => {
            bounded(&format!("{} rows", count.saturating_add(slide - 1)))
        }
        Op::Session(session) => session_state(node, session),
        Op::Window(Window::Partitioned { keys, count, range }) => State {
            bound: Some(format!("{count} rows per key")),
            warning: range.is_none().then(|| {
                (
                    format!("the window keeps {count} rows for every value of {}", list(keys)),
                    "Let keys go that have been silent: PARTITION BY .. ROWS n RANGE 1 HOUR."
                        .into(),
                )
            }),
        },
        Op::Temporal(_) => bounded("rows to come and to go"),
        Op::Aggregate(aggregate) if aggregate.frees.is_some() => {
            bounded("until the watermark closes")
        }
        Op::Aggregate(aggregate) if aggregate.group.is_empty() => bounded("one group"),
        Op::Aggregate(aggregate) if node.inputs[0].properties.size == Size::Unbounded => State {
            bound: Some("one group per key, never freed".into()),
            warning: Some((
                format!("a group is kept for every value of {}", list(&aggregate.group)),
                "Group by window_start of a TUMBLE or by date_trunc of the event time as well, or \
                 put a window such as [RANGE 1 HOUR] on the stream."
                    .into(),
            )),
        },
        Op::Aggregate(_) => bounded(by_size(node.inputs[0].properties.size.min(Size::Keys))),
        Op::Join(join) => join_state(node, &join.frees),
        Op::AsOf(join) => asof_state(node, &join.frees),
        Op::Over(Over { closes: Some(_), .. }) | Op::TopN(TopN { closes: Some(_), .. }) => {
            bounded("until the watermark closes")
        }
        Op::Over(Over { trims: Some(_), .. }) => bounded("rows that frames still look at"),
        Op::Over(_) if node.inputs[0].properties.size == Size::Unbounded => State {
            bound: Some("unbounded".into()),
            warning: Some((
                "OVER keeps every row of its input".into(),
                "ORDER BY the event time with a frame that ends at the current row, PARTITION BY \
                 window_end, or put a window such as [RANGE 1 HOUR] on the stream."
                    .into(),
            )),
        },
        Op::TopN(TopN { fetch: Some(fetch), partition, skip, .. })
            if node.inputs[0].properties.append_only =>
        {
            let rows = fetch.saturating_add(*skip);
            bounded(&format!("{rows} rows{}", if partition.is_empty() { "" } else { " per key" }))
        }
        Op::TopN(_) if node.inputs[0].properties.size == Size::Unbounded => State {
            bound: Some("unbounded".into()),
            warning: Some((
                "ORDER BY .. LIMIT keeps every row of its input".into(),
                "Put a window such as [RANGE 1 HOUR] on the stream, or group first.".into(),
            )),
        },
        Op::Over(_) | Op::TopN(_) | Op::Bag(_) => bounded(by_size(node.inputs[0].properties.size)),
        Op::OnClose(_) => bounded("until the watermark closes"),
        Op::Pace(_) => bounded("changes not shown yet"),
        Op::ToStream(to_stream) => to_stream_state(node, to_stream, by_size),
        Op::Scan(_)
        | Op::Values(_)
        | Op::Filter(_)
        | Op::Project(_)
        | Op::Expand(_)
        | Op::Unnest(_)
        | Op::Assign(_)
        | Op::Union
        | Op::Arrange
        | Op::Stamp
        | Op::Exchange(_) => State { bound: None, warning: None },
    }
}

fn to_stream_state(
    node: &Node,
    to_stream: &ToStream,
    by_size: impl Fn(Size) -> &'static str,
) -> State {
    let size = node.inputs[0].properties.size;
    match (to_stream.operator, &to_stream.ticks) {
        (derived::ToStream::Rstream, _) if size == Size::Unbounded => State {
            bound: Some("unbounded".into()),
            warning: Some((
                "RSTREAM keeps every row of its input".into(),
                "Put a window such as [RANGE 1 HOUR] on the stream, or group first.".into(),
            )),
        },
        (derived::ToStream::Rstream, _) => {
            State { bound: Some(by_size(size).to_owned()), warning: None }
        }
        (_, Ticks::Instants) => State { bound: None, warning: None },
        (_, _) => State { bound: Some("changes since the last tick".into()), warning: None },
    }
}

fn session_state(node: &Node, session: &Session) -> State {
    let size = node.inputs[0].properties.size;
    if session.closes.is_some() {
        return State { bound: Some("until the watermark closes".into()), warning: None };
    }
    if size != Size::Unbounded {
        return State { bound: Some("rows of its input".into()), warning: None };
    }
    State {
        bound: Some("unbounded".into()),
        warning: Some((
            format!("SESSION keeps every row of {}", streams_of(&node.inputs[0])),
            "Use a stream's event time as the time column, so that the watermark closes sessions."
                .into(),
        )),
    }
}

fn join_state(node: &Node, frees: &[Option<Close>; 2]) -> State {
    let sides = || node.inputs.iter().zip(frees);
    let unbounded: Vec<String> = sides()
        .filter(|(input, frees)| input.properties.size == Size::Unbounded && frees.is_none())
        .map(|(input, _)| streams_of(input))
        .collect();
    if unbounded.is_empty() {
        let bound = if frees.iter().any(Option::is_some) {
            list(sides().zip(["left", "right"]).map(|((input, frees), side)| match frees {
                Some(close) => format!("{side} until {}", close_text(input, *close)),
                None => format!("all of {side}"),
            }))
        } else {
            "both sides".to_owned()
        };
        return State { bound: Some(bound), warning: None };
    }
    State {
        bound: Some("unbounded".into()),
        warning: Some((
            format!("the join keeps every row of {}", unbounded.join(" and ")),
            "Put a window such as [RANGE 1 HOUR] on the stream, or join on window_start and \
             window_end of a TUMBLE, or bound the distance of both times: a.ts BETWEEN b.ts AND \
             b.ts + INTERVAL '1 hour'."
                .into(),
        )),
    }
}

fn asof_state(node: &Node, frees: &[Option<Close>; 2]) -> State {
    match frees {
        [Some(left), Some(right)] => State {
            bound: Some(format!(
                "left until {}, right until {}, and one row per key",
                close_text(&node.inputs[0], *left),
                close_text(&node.inputs[1], *right)
            )),
            warning: None,
        },
        _ => join_state(node, frees),
    }
}

/// When the watermark frees rows of a node.
fn close_text(node: &Node, close: Close) -> String {
    let field = node.schema.field(close.column);
    let after = match field.data_type() {
        DataType::Int64 => close.after.to_string(),
        _ => span_text(close.after),
    };
    format!("watermark >= {} + {after}", field.name())
}

/// Names of what a node reads.
pub(super) fn streams_of(node: &Node) -> String {
    let mut names = Vec::new();
    node.visit(&mut |n| {
        if let Op::Scan(scan) = &n.op {
            names.push(format!("\"{}\"", scan.name));
        }
    });
    names.join(", ")
}

/// What each operator of a plan has to remember, one line each, and the verdict.
pub fn state_text(plan: &Plan) -> String {
    let mut text = String::new();
    plan.root.visit(&mut |node| {
        if let Some(bound) = state_of(node).bound {
            text.push_str(&format!("{}\n  keeps: {bound}\n", describe(node)));
        }
    });
    let found = warnings(plan);
    if found.is_empty() {
        text.push_str("Verdict: bounded by windows, keys and what tables hold\n");
    }
    for (what, hint) in found {
        text.push_str(&format!("Verdict: grows without bound: {what}\n  HINT: {hint}\n"));
    }
    text
}

/// The verdict on a whole plan: warnings about state that only grows, with their hints.
pub fn warnings(plan: &Plan) -> Vec<(String, String)> {
    let mut found = Vec::new();
    plan.root.visit(&mut |node| found.extend(state_of(node).warning));
    found
}
