//! Proves the properties of a node from those of its inputs.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::ordered;
use super::plan::{
    self, Aggregate, Assigner, Close, Node, Op, Over, OverFunction, Scan, ScanKind, Session,
    Temporal, Ticks, Unnest, Window,
};
use super::properties::{Finality, Properties, Size, TimeOf};
use super::relation::{LATE, RelationSource};
use super::temporal::Bound;
use crate::sql::derived::ToStream;

type Exprs = [Arc<dyn PhysicalExpr>];

/// Of a column that carries the instants of its rows.
const INSTANT: Finality = Finality { after: 1, late: 0, strict: true, of: TimeOf::Instant };

/// A node with its properties.
pub(super) fn node(op: Op, inputs: Vec<Node>, schema: SchemaRef) -> Node {
    let width = schema.fields().len();
    let mut properties = match &op {
        Op::Scan(_) => unreachable!("scans are made by `scan`"),
        Op::Values(_) => Properties { append_only: true, ..Properties::default() },
        Op::Filter(_) | Op::Exchange(_) => inputs[0].properties.clone(),
        Op::Arrange => Properties { ordered: true, ..inputs[0].properties.clone() },
        Op::Stamp => stamped(&inputs[0]),
        Op::ToStream(to_stream) => streamed(to_stream, &inputs[0]),
        Op::Project(exprs) => project(exprs, &inputs[0]),
        Op::Expand(lists) => expanded(lists, &inputs[0]),
        Op::Unnest(unnest) => unnested(unnest, &inputs[0]),
        Op::Window(window) => windowed(window, &inputs[0]),
        Op::Temporal(temporal) => lived(temporal, &inputs[0]),
        Op::Assign(assign) => assigned(assign.time.as_ref(), assign.assigner, &inputs[0]),
        Op::Session(session) => sessions(session, &inputs[0]),
        Op::Aggregate(aggregate) => aggregated(aggregate, &inputs[0]),
        Op::Join(join) => super::join::properties(join, &inputs),
        Op::Lookup(_) => super::lookup::properties(&inputs[0]),
        Op::AsOf(join) => super::join::asof_properties(join, &inputs),
        Op::Union => united(&inputs),
        Op::Bag(_) => Properties { append_only: false, time_column: None, ..united(&inputs) },
        Op::Over(over) => over_properties(over, &inputs[0]),
        Op::TopN(top) => {
            let partitioned = !top.partition.is_empty();
            Properties {
                append_only: false,
                finality: of_partition(&top.partition, &inputs[0]),
                size: if partitioned { Size::Keys } else { Size::Constant },
                hashed_by: inputs[0].properties.hashed_by.clone(),
                ..Properties::default()
            }
        }
        // A change comes later than it happens.
        Op::Pace(_) => Properties {
            finality: vec![None; width],
            ordered: false,
            time_column: None,
            ..inputs[0].properties.clone()
        },
        Op::OnClose(gate) => Properties {
            append_only: gate.late == 0,
            size: Size::Unbounded,
            ordered: false,
            // The time of an element is one tick before its window closes.
            time_column: (gate.close.after == 1 && gate.late == 0).then_some(gate.close.column),
            ..inputs[0].properties.clone()
        },
    };
    properties.finality.resize(width, None);
    properties.timeless = inputs.iter().all(|input| input.properties.timeless);
    // What a stream has said is final.
    let of_stream = matches!(op, Op::ToStream(_));
    let late = inputs.iter().map(|input| input.properties.late).max().filter(|_| !of_stream);
    properties.late = late.unwrap_or(0);
    properties.time_type = inputs.iter().find_map(|input| input.properties.time_type.clone());
    Node { op, inputs, schema, properties }
}

/// A scan with the properties of what it reads.
pub(super) fn scan(op: Op, source: &RelationSource, schema: SchemaRef) -> Node {
    let Op::Scan(scan) = &op else { unreachable!("called for scans") };
    let position = |column: usize| scan.projection.iter().position(|c| *c == column);
    let properties = match (scan.kind, &source.properties) {
        (ScanKind::Table, _) => Properties { size: Size::Keys, timeless: true, ..unknown(scan) },
        (ScanKind::Stream | ScanKind::View, Some(result)) => Properties {
            // What is not the object's own, such as the order of arrival, is final by nothing.
            finality: scan
                .projection
                .iter()
                .map(|c| result.finality.get(*c).copied().flatten())
                .collect(),
            time_column: result.time_column.and_then(position),
            ordered: result.stream,
            ..result.clone()
        },
        (ScanKind::View, None) => Properties { timeless: true, ..unknown(scan) },
        (ScanKind::Stream | ScanKind::Arrivals, _) => {
            let late = scan.lateness;
            let after_instant = Some(Finality { after: INSTANT.after + late, late, ..INSTANT });
            let finality_of = |c: &usize| after_instant.filter(|_| source.event_time() == Some(*c));
            Properties {
                append_only: true,
                finality: scan.projection.iter().map(finality_of).collect(),
                time_type: Some(source.time_type()),
                time_column: source.event_time().and_then(position),
                ordered: true,
                stream: true,
                late,
                ..unknown(scan)
            }
        }
    };
    Node { op, inputs: vec![], schema, properties }
}

/// What is known of an object of which nothing is proven.
fn unknown(scan: &Scan) -> Properties {
    let finality = vec![None; scan.projection.len()];
    Properties { size: Size::Unbounded, finality, ..Properties::default() }
}

/// A stream made of a relation. Of what is in a `[NOW]` window all has just come in.
fn streamed(to_stream: &plan::ToStream, input: &Node) -> Properties {
    let time_column = match (to_stream.operator, &to_stream.ticks) {
        (ToStream::Istream, Ticks::Instants) | (ToStream::Rstream, Ticks::Arrivals(_)) => {
            input.properties.time_column
        }
        _ => None,
    };
    let mut finality = vec![None; input.schema.fields().len()];
    if let Some(column) = time_column {
        finality[column] = Some(INSTANT);
    }
    Properties {
        append_only: true,
        finality,
        hashed_by: input.properties.hashed_by.clone(),
        size: Size::Unbounded,
        time_column,
        ..Properties::default()
    }
}

fn stamped(input: &Node) -> Properties {
    let mut properties = input.properties.clone();
    properties.time_column = Some(properties.finality.len());
    properties.finality.push(Some(INSTANT));
    properties
}

pub(super) fn column_index(expr: &dyn PhysicalExpr) -> Option<usize> {
    expr.downcast_ref::<Column>().map(Column::index)
}

/// Returns how the watermark makes rows final by the value of `expr`.
fn finality_of(expr: &dyn PhysicalExpr, input: &Node) -> Option<Finality> {
    if let Some(column) = column_index(expr) {
        return input.properties.finality[column];
    }
    // date_trunc and date_bin are monotone: a value stands for times up to its width later.
    let function = expr.downcast_ref::<ScalarFunctionExpr>()?;
    let [width, time] = function.args() else { return None };
    let width = width.downcast_ref::<Literal>()?.value();
    let width = match (function.name(), width) {
        ("date_trunc", ScalarValue::Utf8(Some(unit))) => truncation(unit)?,
        ("date_bin", ScalarValue::IntervalMonthDayNano(Some(i))) if i.months == 0 => {
            i64::from(i.days) * 86_400_000_000 + i.nanoseconds / 1_000
        }
        _ => return None,
    };
    let inner = finality_of(time.as_ref(), input)?;
    Some(Finality { after: inner.after + width - 1, of: TimeOf::Other, ..inner })
}

/// The longest time that `date_trunc(unit, ..)` takes away, in microseconds.
fn truncation(unit: &str) -> Option<i64> {
    const DAY: i64 = 86_400_000_000;
    Some(match unit.to_ascii_lowercase().as_str() {
        "microsecond" => 1,
        "millisecond" => 1_000,
        "second" => 1_000_000,
        "minute" => 60_000_000,
        "hour" => 3_600_000_000,
        "day" => DAY,
        "week" => 7 * DAY,
        "month" => 31 * DAY,
        "quarter" => 92 * DAY,
        "year" => 366 * DAY,
        _ => return None,
    })
}

fn project(exprs: &Exprs, input: &Node) -> Properties {
    let position =
        |column: usize| exprs.iter().position(|e| column_index(e.as_ref()) == Some(column));
    Properties {
        append_only: input.properties.append_only,
        finality: exprs.iter().map(|e| finality_of(e.as_ref(), input)).collect(),
        hashed_by: input
            .properties
            .hashed_by
            .as_ref()
            .and_then(|columns| columns.iter().map(|c| position(*c)).collect()),
        size: input.properties.size,
        time_column: input.properties.time_column.and_then(position),
        ordered: input.properties.ordered,
        ..Properties::default()
    }
}

/// Every list of expressions is a projection of the input; what is not proven of all is not proven.
fn expanded(lists: &[Vec<Arc<dyn PhysicalExpr>>], input: &Node) -> Properties {
    let parts: Vec<Properties> = lists.iter().map(|list| project(list, input)).collect();
    let same = |i: usize| {
        let first = parts[0].finality[i];
        first.filter(|_| parts.iter().all(|part| part.finality[i] == first))
    };
    let width = parts.first().map_or(0, |part| part.finality.len());
    Properties {
        append_only: input.properties.append_only,
        finality: (0..width).map(same).collect(),
        size: input.properties.size,
        ..Properties::default()
    }
}

fn unnested(unnest: &Unnest, input: &Node) -> Properties {
    let columns = || unnest.columns.iter();
    let kept = |column: usize| columns().position(|c| *c == (column, false));
    let of = &input.properties;
    Properties {
        append_only: of.append_only,
        finality: columns().map(|(c, list)| of.finality[*c].filter(|_| !list)).collect(),
        hashed_by: of.hashed_by.as_ref().and_then(|by| by.iter().map(|c| kept(*c)).collect()),
        size: of.size,
        time_column: of.time_column.and_then(kept),
        ordered: of.ordered,
        ..Properties::default()
    }
}

fn windowed(window: &Window, input: &Node) -> Properties {
    let size = match window {
        // What comes late comes later than its times say.
        Window::Unbounded => {
            let finality = input.properties.finality.iter();
            let other = |finality: Finality| Finality { of: TimeOf::Other, ..finality };
            let finality = finality.map(|finality| finality.map(other)).collect();
            return Properties {
                finality,
                time_column: None,
                ordered: false,
                stream: false,
                ..input.properties.clone()
            };
        }
        Window::Range { .. } | Window::Current { .. } => Size::Window,
        Window::Rows { .. } => Size::Constant,
        Window::Partitioned { .. } => Size::Keys,
    };
    // Rows leave the window later, so no value of theirs makes them final.
    Properties {
        append_only: false,
        finality: vec![None; input.schema.fields().len()],
        hashed_by: input.properties.hashed_by.clone(),
        size,
        // Only a slide lets rows in later than they come.
        time_column: match window {
            Window::Range { slide: None, .. }
            | Window::Current { .. }
            | Window::Rows { slide: 1, .. }
            | Window::Partitioned { .. } => input.properties.time_column,
            Window::Range { .. } | Window::Rows { .. } | Window::Unbounded => None,
        },
        ..Properties::default()
    }
}

/// Rows that only begin are never retracted; those that end are what time leaves.
fn lived(temporal: &Temporal, input: &Node) -> Properties {
    let ends = temporal.bounds.iter().any(|(_, of)| matches!(of, Bound::Until | Bound::Through));
    Properties {
        append_only: input.properties.append_only && !ends,
        finality: vec![None; input.schema.fields().len()],
        hashed_by: input.properties.hashed_by.clone(),
        size: if ends { input.properties.size.min(Size::Window) } else { input.properties.size },
        ..Properties::default()
    }
}

fn assigned(time: &dyn PhysicalExpr, assigner: Assigner, input: &Node) -> Properties {
    let mut properties = input.properties.clone();
    let [end, last] = bounds(time, input);
    if input.schema.fields().iter().any(|field| field.name() == LATE) {
        // Late rows come at any time, but not into windows that have closed.
        properties.finality.fill(None);
    }
    // A start says the latest end that a window of it can have.
    let start = end.map(|f| Finality { after: f.after + assigner.size(), ..f });
    let of = match assigner {
        Assigner::Cumulate { .. } => TimeOf::Other,
        _ => TimeOf::Window(assigner.size()),
    };
    let of_window = [start, end, last].map(|f| f.map(|f| Finality { of, ..f }));
    properties.finality.extend(of_window);
    properties
}

/// Finality of the end and of the last tick of a window by times of that expression.
fn bounds(time: &dyn PhysicalExpr, input: &Node) -> [Option<Finality>; 2] {
    // A row with ts = end - 1 is the last of its window; final once W >= end.
    let of = TimeOf::Other;
    let end = finality_of(time, input).map(|f| Finality { after: f.after - 1, of, ..f });
    [end, end.map(|f| Finality { after: f.after + 1, ..f })]
}

/// When a session is final: once no row can come that would prolong it.
pub(super) fn session_closes(time: &dyn PhysicalExpr, input: &Node) -> Option<i64> {
    bounds(time, input)[0].filter(|end| end.strict).map(|end| end.after)
}

fn sessions(session: &Session, input: &Node) -> Properties {
    // A later row may move the bounds of all rows of its session, whatever their own values.
    let mut finality = vec![None; input.schema.fields().len() + 1];
    finality.extend(bounds(session.time.as_ref(), input));
    let append_only = session.held;
    let size = if session.closes.is_some() { Size::Window } else { input.properties.size };
    let (time_column, ordered) = (None, false);
    Properties { append_only, finality, size, time_column, ordered, ..input.properties.clone() }
}

fn aggregated(aggregate: &Aggregate, input: &Node) -> Properties {
    let mut finality: Vec<_> =
        aggregate.group.iter().map(|e| finality_of(e.as_ref(), input)).collect();
    finality.resize(aggregate.group.len() + aggregate.calls.len(), None);
    Properties {
        append_only: false,
        finality,
        size: if aggregate.group.is_empty() { Size::Constant } else { Size::Keys },
        ..Properties::default()
    }
}

/// The group column by which the watermark frees groups, if there is one.
pub(super) fn frees(group: &Exprs, input: &Node) -> Option<Close> {
    let finality = group.iter().enumerate().filter_map(|(column, expr)| {
        let finality = finality_of(expr.as_ref(), input)?;
        finality.strict.then_some(Close { column, after: finality.after })
    });
    finality.min_by_key(|close| close.after)
}

/// Finality of columns by which rows are partitioned: nothing outside a partition changes it.
fn of_partition(partition: &Exprs, input: &Node) -> Vec<Option<Finality>> {
    let mut finality = vec![None; input.schema.fields().len()];
    for column in partition.iter().filter_map(|e| column_index(e.as_ref())) {
        finality[column] = input.properties.finality[column];
    }
    finality
}

/// Finality of a row with OVER by its first key: how long after the key's.
fn by_first_key(over: &Over, input: &Node) -> Option<Finality> {
    let (key, order) = over.keys.first()?;
    if order.descending || order.nulls_first {
        return None;
    }
    let key = finality_of(key.as_ref(), input)?;
    let after = over.calls.iter().map(|call| match &call.function {
        OverFunction::Number(_) => Some(0),
        OverFunction::Shift { offset, .. } if *offset >= 0 => Some(0),
        OverFunction::Pick { .. } | OverFunction::Aggregate(_) => {
            match (&call.frame.end_bound, call.frame.units) {
                (WindowFrameBound::CurrentRow | WindowFrameBound::Preceding(_), _) => Some(0),
                (WindowFrameBound::Following(by), WindowFrameUnits::Range) if !by.is_null() => {
                    ordered::extent(by)
                }
                _ => None,
            }
        }
        _ => None,
    });
    let after = after.collect::<Option<Vec<_>>>()?.into_iter().max().unwrap_or(0);
    Some(Finality { after: key.after.checked_add(after)?, ..key })
}

/// Says of an OVER when the watermark frees its state.
pub(super) fn over_finality(over: Over, input: &Node) -> Over {
    let key = over.keys.first().and_then(|(key, _)| finality_of(key.as_ref(), input));
    let trims = by_first_key(&over, input).and(key).filter(|finality| finality.strict);
    Over {
        closes: frees(&over.partition, input),
        trims: trims.map(|finality| Close { column: 0, after: finality.after }),
        ..over
    }
}

fn over_properties(over: &Over, input: &Node) -> Properties {
    let mut finality = of_partition(&over.partition, input);
    let key = over.keys.first().and_then(|(key, _)| column_index(key.as_ref()));
    if let Some(key) = key
        && finality[key].is_none()
    {
        finality[key] = by_first_key(over, input);
    }
    Properties {
        append_only: false,
        finality,
        hashed_by: input.properties.hashed_by.clone(),
        size: input.properties.size,
        ..Properties::default()
    }
}

fn united(inputs: &[Node]) -> Properties {
    let first = &inputs[0].properties;
    let same = |i: usize| {
        let worst = inputs.iter().map(|n| n.properties.finality[i]).collect::<Option<Vec<_>>>()?;
        worst.into_iter().reduce(|a, b| Finality {
            after: a.after.max(b.after),
            late: a.after.max(b.after) - a.closes().max(b.closes()),
            strict: a.strict && b.strict,
            of: if a == b { a.of } else { TimeOf::Other },
        })
    };
    Properties {
        append_only: inputs.iter().all(|n| n.properties.append_only),
        finality: (0..first.finality.len()).map(same).collect(),
        time_column: first.time_column.filter(|column| {
            inputs.iter().all(|input| input.properties.time_column == Some(*column))
        }),
        size: inputs.iter().map(|n| n.properties.size).max().unwrap_or_default(),
        ..Properties::default()
    }
}
