//! The state verdict: what each operator of a plan has to remember, and what bounds it.
//!
//! # Semantics
//! State is bounded by windows, by the watermark, by keys, or by what a table holds; what is not
//! grows as long as the query runs, and is warned of before it does, with the clause that would
//! bound it (LANGUAGE 4.6, 7.4).

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr as logical;
use datafusion::physical_expr::PhysicalExpr;

use super::explain::{describe, list};
use super::plan::{Aggregate, Close, Node, Op, Over, Plan, Session, Ticks, ToStream, TopN, Window};
use super::properties::Size;
use super::window::span_text;
use crate::sql::derived;

/// What a node keeps, and what bounds it.
pub struct State {
    /// The bound in a few words; `None` keeps nothing.
    pub bound: Option<String>,
    /// For unbounded state: why, and the clause that would bound it.
    pub warning: Option<(String, String)>,
}

impl State {
    fn none() -> Self {
        Self { bound: None, warning: None }
    }

    fn bounded(bound: impl Into<String>) -> Self {
        Self { bound: Some(bound.into()), warning: None }
    }

    fn unbounded(why: impl Into<String>, hint: &str) -> Self {
        Self { bound: Some("unbounded".into()), warning: Some((why.into(), hint.into())) }
    }
}

/// A state of the size of a relation.
fn of_size(size: Size) -> State {
    State::bounded(match size {
        Size::Constant => "bounded",
        Size::Window => "window",
        Size::Keys => "keys",
        Size::Unbounded => "unbounded",
    })
}

const CLOSES: &str = "until the watermark closes";

/// The state verdict of one node (DESIGN 5.6).
pub fn state_of(node: &Node) -> State {
    let size = || node.inputs[0].properties.size;
    match &node.op {
        Op::Window(window) => window_state(window),
        Op::Session(session) => session_state(node, session),
        Op::Temporal(_) => State::bounded("rows to come and to go"),
        Op::Aggregate(aggregate) => aggregate_state(aggregate, size()),
        Op::Join(join) => join_state(node, &join.frees),
        Op::Lookup(_) => lookup_state(node),
        Op::AsOf(join) => asof_state(node, &join.frees),
        Op::Over(Over { closes: Some(_), .. }) | Op::TopN(TopN { closes: Some(_), .. }) => {
            State::bounded(CLOSES)
        }
        Op::Over(Over { trims: Some(_), .. }) => State::bounded("rows that frames still look at"),
        Op::Over(_) if size() == Size::Unbounded => State::unbounded(
            "OVER keeps every row of its input",
            "ORDER BY the event time with a frame that ends at the current row, PARTITION BY \
             window_end, or put a window such as [RANGE 1 HOUR] on the stream.",
        ),
        Op::TopN(TopN { fetch: Some(fetch), partition, skip, .. })
            if node.inputs[0].properties.append_only =>
        {
            let rows = fetch.saturating_add(*skip);
            let per_key = if partition.is_empty() { "" } else { " per key" };
            State::bounded(format!("{rows} rows{per_key}"))
        }
        Op::TopN(_) if size() == Size::Unbounded => State::unbounded(
            "ORDER BY .. LIMIT keeps every row of its input",
            "Put a window such as [RANGE 1 HOUR] on the stream, or group first.",
        ),
        Op::Over(_) | Op::TopN(_) | Op::Bag(_) => of_size(size()),
        Op::OnClose(_) => State::bounded(CLOSES),
        Op::Pace(_) => State::bounded("changes not shown yet"),
        Op::ToStream(to_stream) => to_stream_state(size(), to_stream),
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
        | Op::Exchange(_) => State::none(),
    }
}

/// Expressions without the places of their columns.
fn names(exprs: &[Arc<dyn PhysicalExpr>]) -> String {
    let mut names = String::new();
    let mut place = false;
    let named = |expr: &&Arc<dyn PhysicalExpr>| {
        !expr.to_string().starts_with(logical::Aggregate::INTERNAL_GROUPING_ID)
    };
    for character in list(exprs.iter().filter(named)).chars() {
        place = character == '@' || (place && character.is_ascii_digit());
        if !place {
            names.push(character);
        }
    }
    names
}

fn window_state(window: &Window) -> State {
    match window {
        Window::Range { size: span, .. } | Window::Current { period: span } => {
            State::bounded(format!("rows of {}", span_text(*span)))
        }
        Window::Unbounded => State::none(),
        Window::Rows { count, slide } => {
            State::bounded(format!("{} rows", count.saturating_add(slide - 1)))
        }
        Window::Partitioned { keys, count, range } => State {
            bound: Some(format!("{count} rows per key")),
            warning: range.is_none().then(|| {
                let keys = names(keys);
                (
                    format!("the window keeps {count} rows for every value of {keys}"),
                    "Let keys go that have been silent: PARTITION BY .. ROWS n RANGE 1 HOUR."
                        .into(),
                )
            }),
        },
    }
}

fn aggregate_state(aggregate: &Aggregate, size: Size) -> State {
    match size {
        _ if aggregate.frees.is_some() => State::bounded(CLOSES),
        _ if aggregate.group.is_empty() => State::bounded("one group"),
        Size::Unbounded => State {
            bound: Some("one group per key, never freed".into()),
            ..State::unbounded(
                format!("a group is kept for every value of {}", names(&aggregate.group)),
                "Group by window_start of a TUMBLE or by date_trunc of the event time as well, or \
                 put a window such as [RANGE 1 HOUR] on the stream.",
            )
        },
        _ => of_size(size.min(Size::Keys)),
    }
}

fn to_stream_state(size: Size, to_stream: &ToStream) -> State {
    match (to_stream.operator, &to_stream.ticks) {
        (derived::ToStream::Rstream, _) if size == Size::Unbounded => State::unbounded(
            "RSTREAM keeps every row of its input",
            "Put a window such as [RANGE 1 HOUR] on the stream, or group first.",
        ),
        (derived::ToStream::Rstream, _) => of_size(size),
        (_, Ticks::Instants) => State::none(),
        (_, _) => State::bounded("changes since the last tick"),
    }
}

fn session_state(node: &Node, session: &Session) -> State {
    let size = node.inputs[0].properties.size;
    if session.closes.is_some() {
        return State::bounded(CLOSES);
    }
    if size != Size::Unbounded {
        return State::bounded("rows of its input");
    }
    State::unbounded(
        format!("SESSION keeps every row of {}", streams_of(&node.inputs[0])),
        "Use a stream's event time as the time column, so that the watermark closes sessions.",
    )
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
        return State::bounded(bound);
    }
    State::unbounded(
        format!("the join keeps every row of {}", unbounded.join(" and ")),
        "Put a window such as [RANGE 1 HOUR] on the stream, or join on window_start and window_end \
         of a TUMBLE, or bound the distance of both times: a.ts BETWEEN b.ts AND b.ts + INTERVAL \
         '1 hour'.",
    )
}

/// The right side, and of a left side that retracts each row with what it was joined with.
fn lookup_state(node: &Node) -> State {
    let kept = node.inputs.iter().filter(|input| {
        let right = std::ptr::eq(*input, &node.inputs[1]);
        right || !input.properties.append_only
    });
    of_size(kept.map(|input| input.properties.size).max().unwrap_or_default())
}

fn asof_state(node: &Node, frees: &[Option<Close>; 2]) -> State {
    match frees {
        [Some(left), Some(right)] => State::bounded(format!(
            "left until {}, right until {}, and one row per key",
            close_text(&node.inputs[0], *left),
            close_text(&node.inputs[1], *right)
        )),
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
