//! Queries as SQL.

use super::group::Aggregate;
use super::query::{
    Expr, Items, Join, JoinKind, Lateral, Lookup, Query, STREAM, Select, SetOperation, Shape,
    Source, StreamOf, Times, Window, parts,
};

/// Writes a query.
pub fn sql(query: &Query, times: Times) -> String {
    match query {
        Query::Select(select) => select_sql(select, times),
        Query::Set(operation, a, b, all) => {
            let word = match operation {
                SetOperation::Union => "UNION",
                SetOperation::Intersect => "INTERSECT",
                SetOperation::Except => "EXCEPT",
            };
            let all = if *all { " ALL" } else { "" };
            format!("{} {word}{all} {}", sql(a, times), sql(b, times))
        }
        Query::Top(query, order, limit) => {
            let (inner, order) = (sql(query, times), order_sql(order));
            format!("SELECT * FROM ({inner}) q ORDER BY {order} LIMIT {limit}")
        }
        Query::DistinctOn(query, order, count) => {
            let keys: Vec<String> = order[..*count].iter().map(|(i, _)| format!("c{i}")).collect();
            let (inner, keys, order) = (sql(query, times), keys.join(", "), order_sql(order));
            format!("SELECT DISTINCT ON ({keys}) * FROM ({inner}) q ORDER BY {order}")
        }
        Query::With(query) => format!("WITH c AS ({}) SELECT * FROM c", sql(query, times)),
        Query::ToStream(of, query, every) => {
            let (word, query) = (word(*of), sql(query, times));
            format!("{word} ({query}){}", every_sql(*every, times))
        }
        Query::Every(query, period) => {
            format!("{} EMIT{}", sql(query, times), every_sql(Some(*period), times))
        }
        Query::Changes(query) => format!("{} EMIT CHANGES", sql(query, times)),
        Query::OnClose(select, _, words) => {
            format!("{} EMIT {words}", select_sql(select, times))
        }
    }
}

fn every_sql(every: Option<i64>, times: Times) -> String {
    every.map_or(String::new(), |every| format!(" EVERY {}", times.interval(every)))
}

fn word(of: StreamOf) -> &'static str {
    match of {
        StreamOf::Istream => "ISTREAM",
        StreamOf::Dstream => "DSTREAM",
        StreamOf::Rstream => "RSTREAM",
    }
}

fn order_sql(order: &[(usize, bool)]) -> String {
    let item =
        |(i, desc): &(usize, bool)| if *desc { format!("c{i} DESC") } else { format!("c{i}") };
    order.iter().map(item).collect::<Vec<_>>().join(", ")
}

/// A scalar subquery.
pub fn lookup_sql(lookup: &Lookup, times: Times) -> String {
    let Lookup { source: from, on, aggregate } = lookup;
    let on = on.as_ref().map_or(String::new(), |on| format!(" WHERE {}", on.sql()));
    format!("(SELECT {} FROM {} AS c{on})", aggregate.sql(), source(from, times))
}

/// A join: what it adds to FROM, and to WHERE.
fn join_sql(join: &Join, times: Times) -> (String, Option<String>) {
    let (right, on) = (source(&join.source, times), join.on.sql());
    let outer = |outer: bool| if outer { "LEFT " } else { "" };
    if let Source::Lateral(lateral) = &join.source {
        let names: Vec<String> = (0..lateral.types().len()).map(|i| format!("c{i}")).collect();
        let right = format!("{right} AS b({})", names.join(", "));
        return match (join.kind, join.comma) {
            (JoinKind::Left, _) => (format!(" LEFT JOIN LATERAL {right} ON true"), None),
            (_, true) => {
                let word = if right.starts_with('(') { "LATERAL " } else { "" };
                (format!(", {word}{right}"), None)
            }
            (_, false) => (format!(" CROSS JOIN LATERAL {right}"), None),
        };
    }
    let word = match join.kind {
        JoinKind::Exists(_) | JoinKind::In(_) => {
            return (String::new(), Some(member_sql(join, &right)));
        }
        JoinKind::Inner if join.comma => return (format!(", {right} AS b"), Some(on)),
        JoinKind::Versions(is_outer) => {
            let outer = outer(is_outer);
            let joined = format!(" {outer}JOIN {right} FOR SYSTEM_TIME AS OF a.ts AS b ON {on}");
            return (joined, None);
        }
        JoinKind::AsOf(is_outer) => format!("ASOF {}JOIN", outer(is_outer)),
        JoinKind::Inner => "JOIN".to_owned(),
        JoinKind::Left => "LEFT JOIN".to_owned(),
        JoinKind::Right => "RIGHT JOIN".to_owned(),
        JoinKind::Full => "FULL JOIN".to_owned(),
    };
    (format!(" {word} {right} AS b ON {on}"), None)
}

/// What stands behind LATERAL.
fn lateral_sql(lateral: &Lateral, times: Times) -> String {
    match lateral {
        Lateral::Unnest(items, ordinality) => {
            let items: Vec<String> = items.iter().map(Expr::sql).collect();
            let ordinality = if *ordinality { " WITH ORDINALITY" } else { "" };
            format!("unnest(ARRAY[{}]){ordinality}", items.join(", "))
        }
        Lateral::Series(low, high) => format!("generate_series({}, {})", low.sql(), high.sql()),
        Lateral::Select { source: from, filter, items, types, limit } => {
            let items: Vec<String> = match items {
                Items::Exprs(items) => items.iter().map(Expr::sql).collect(),
                Items::Aggregates(items) => items.iter().map(Aggregate::sql).collect(),
            };
            let filter = filter.as_ref().map_or(String::new(), |f| format!(" WHERE {}", f.sql()));
            let order: Vec<(usize, bool)> = (0..types.len()).map(|i| (i, false)).collect();
            let limit = limit.map(|n| format!(" ORDER BY {} LIMIT {n}", order_sql(&order)));
            let (items, from) = (numbered(&items), source(from, times));
            format!("(SELECT {items} FROM {from} AS c{filter}{})", limit.unwrap_or_default())
        }
    }
}

/// A select list: columns c0, c1, ..
fn numbered(items: &[String]) -> String {
    let named = items.iter().enumerate().map(|(i, sql)| format!("{sql} AS c{i}"));
    named.collect::<Vec<_>>().join(", ")
}

/// A join that is a condition.
fn member_sql(join: &Join, right: &str) -> String {
    let not = |negated| if negated { "NOT " } else { "" };
    match (join.kind, parts(&join.on)) {
        (JoinKind::In(negated), (Expr::Compare(_, x, y), rest)) => {
            let rest = rest.map_or(String::new(), |rest| format!(" WHERE {}", rest.sql()));
            let (x, y) = (x.sql(), y.sql());
            format!("{x} {}IN (SELECT {y} FROM {right} AS b{rest})", not(negated))
        }
        (kind, _) => {
            let not = not(kind == JoinKind::Exists(true));
            format!("{not}EXISTS (SELECT 1 FROM {right} AS b WHERE {})", join.on.sql())
        }
    }
}

fn select_sql(select: &Select, times: Times) -> String {
    let Select { from, join, filter, age, shape, .. } = select;
    let (distinct, items): (bool, Vec<String>) = match shape {
        Shape::Project(items, distinct) => (*distinct, items.iter().map(Expr::sql).collect()),
        Shape::Group(group) => (false, group.items()),
        Shape::Over(items, calls) => {
            let items = items.iter().map(Expr::sql);
            (false, items.chain(calls.iter().map(|call| call.sql(times))).collect())
        }
    };
    let distinct = if distinct { "DISTINCT " } else { "" };
    let from = source(from, times);
    let mut text = format!("SELECT {distinct}{} FROM {from} AS a", numbered(&items));
    let mut conditions: Vec<String> = filter.iter().map(Expr::sql).collect();
    conditions.extend(age.map(|(op, span)| format!("a.ts {op} now() - {}", times.interval(span))));
    if let Some(join) = join {
        let (joined, condition) = join_sql(join, times);
        text.push_str(&joined);
        conditions.extend(condition);
    }
    if !conditions.is_empty() {
        text.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
    }
    if let Shape::Group(group) = shape {
        text.push_str(&group.sql());
    }
    text
}

fn source(source: &Source, times: Times) -> String {
    match source {
        Source::Stream(i, None) => format!("s{i}"),
        Source::Stream(i, Some(window)) => format!("s{i} [{}]", bracket(window, times)),
        Source::Table(i) => format!("t{i}"),
        Source::Tumble(i, size, 0) => format!("TUMBLE(s{i}, ts, {})", times.interval(*size)),
        Source::Tumble(i, size, offset) => {
            let (size, offset) = (times.interval(*size), times.interval(*offset));
            format!("TUMBLE(TABLE s{i}, DESCRIPTOR(ts), {size}, {offset})")
        }
        Source::Hop(i, slide, size) => {
            let (slide, size) = (times.interval(*slide), times.interval(*size));
            format!("HOP(s{i}, ts, slide => {slide}, size => {size})")
        }
        Source::Cumulate(i, step, size) => {
            let (step, size) = (times.interval(*step), times.interval(*size));
            format!("CUMULATE(s{i}, DESCRIPTOR(ts), {step}, {size})")
        }
        Source::Session(i, gap, key) => {
            let key = key.map(|column| format!(", key => {}", STREAM[column].0));
            format!("SESSION(s{i}, ts, {}{})", times.interval(*gap), key.unwrap_or_default())
        }
        Source::View(i) => format!("v{i}"),
        Source::Versions => "p0".to_owned(),
        Source::Derived(query) => format!("({})", sql(query, times)),
        Source::Elements(of, query, every, window) => {
            let window = window.as_ref().map(|window| format!(" [{}]", bracket(window, times)));
            let (word, query, every) = (word(*of), sql(query, times), every_sql(*every, times));
            format!("{word} ({query}){every}{}", window.unwrap_or_default())
        }
        Source::Lateral(lateral) => lateral_sql(lateral, times),
    }
}

fn bracket(window: &Window, times: Times) -> String {
    match window {
        Window::Now => "NOW".to_owned(),
        Window::Unbounded => "RANGE UNBOUNDED".to_owned(),
        Window::Range(size, false) => format!("RANGE {}", times.span(*size)),
        Window::Range(size, true) => format!("RANGE {} INCLUSIVE", times.span(*size)),
        Window::Slide(size, slide, offset) => {
            let (size, slide, offset) =
                (times.span(*size), times.span(*slide), times.span(*offset));
            format!("RANGE {size} SLIDE {slide} OFFSET {offset}")
        }
        Window::Current(period) => format!("CURRENT {}", times.span(*period)),
        Window::Batches(n, m) => format!("ROWS {n} SLIDE {m}"),
        Window::Rows(n) => format!("ROWS {n}"),
        Window::Partition(column, n, range) => {
            let range = range.map(|range| format!(" RANGE {}", times.span(range)));
            format!("PARTITION BY {} ROWS {n}{}", STREAM[*column].0, range.unwrap_or_default())
        }
    }
}
