//! Queries as trees, and their SQL.

use super::value::{Type, Value};

/// A column that an expression may name.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its SQL, e.g. `a.k`.
    pub sql: String,
    /// Its type.
    pub of: Type,
}

/// An expression over a row.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A column: its place in the row, and its SQL.
    Column(usize, String),
    /// A literal.
    Literal(Value),
    /// `a + b`, `a - b`, `a * b`.
    Arithmetic(char, Box<Expr>, Box<Expr>),
    /// `a = b`, `a <> b`, `a < b`, `a <= b`.
    Compare(&'static str, Box<Expr>, Box<Expr>),
    /// `a AND b`, `a OR b`.
    Logic(&'static str, Box<Expr>, Box<Expr>),
    /// `NOT a`.
    Not(Box<Expr>),
    /// `a IS NULL`.
    IsNull(Box<Expr>),
    /// `a IN (..)`.
    In(Box<Expr>, Vec<Expr>),
    /// `COALESCE(a, b)`.
    Coalesce(Box<Expr>, Box<Expr>),
    /// `CASE WHEN a THEN b ELSE c END`.
    Case(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `abs`, `length`, `upper`.
    Call(&'static str, Box<Expr>),
    /// `a || b`.
    Concat(Box<Expr>, Box<Expr>),
}

impl Expr {
    /// Its SQL.
    pub fn sql(&self) -> String {
        match self {
            Expr::Column(_, sql) => sql.clone(),
            Expr::Literal(Value::Null) => "NULL".to_owned(),
            Expr::Literal(Value::Bool(b)) => b.to_string(),
            Expr::Literal(Value::Int(n)) if *n < 0 => format!("({n})"),
            Expr::Literal(Value::Int(n)) => n.to_string(),
            Expr::Literal(Value::Text(t)) => format!("'{t}'"),
            Expr::Arithmetic(op, a, b) => format!("({} {op} {})", a.sql(), b.sql()),
            Expr::Compare(op, a, b) | Expr::Logic(op, a, b) => {
                format!("({} {op} {})", a.sql(), b.sql())
            }
            Expr::Not(a) => format!("(NOT {})", a.sql()),
            Expr::IsNull(a) => format!("({} IS NULL)", a.sql()),
            Expr::In(a, list) => {
                let list: Vec<String> = list.iter().map(Expr::sql).collect();
                format!("({} IN ({}))", a.sql(), list.join(", "))
            }
            Expr::Coalesce(a, b) => format!("COALESCE({}, {})", a.sql(), b.sql()),
            Expr::Case(a, b, c) => {
                format!("CASE WHEN {} THEN {} ELSE {} END", a.sql(), b.sql(), c.sql())
            }
            Expr::Call(name, a) => format!("{name}({})", a.sql()),
            Expr::Concat(a, b) => format!("({} || {})", a.sql(), b.sql()),
        }
    }
}

/// A bracket window; times in microseconds.
#[derive(Clone, Debug)]
pub enum Window {
    /// `[NOW]`.
    Now,
    /// `[RANGE UNBOUNDED]`.
    Unbounded,
    /// `[RANGE size [INCLUSIVE]]`.
    Range(i64, bool),
    /// `[RANGE size SLIDE slide OFFSET offset]`.
    Slide(i64, i64, i64),
    /// `[CURRENT period]`.
    Current(i64),
    /// `[ROWS n]`.
    Rows(usize),
    /// `[ROWS n SLIDE m]`.
    Batches(usize, usize),
    /// `[PARTITION BY column ROWS n [RANGE size]]`; the column by its place.
    Partition(usize, usize, Option<i64>),
}

/// What stands in FROM.
#[derive(Clone, Debug)]
pub enum Source {
    /// A stream and its window.
    Stream(usize, Option<Window>),
    /// A table.
    Table(usize),
    /// `TUMBLE(stream, ts, size [, offset])`.
    Tumble(usize, i64, i64),
    /// `HOP(stream, ts, slide, size)`.
    Hop(usize, i64, i64),
    /// `CUMULATE(stream, ts, step, size)`.
    Cumulate(usize, i64, i64),
    /// `SESSION(stream, ts, gap [, key => column])`; the column by its place.
    Session(usize, i64, Option<usize>),
    /// A view, by its number.
    View(usize),
    /// A query in parentheses.
    Derived(Box<Query>),
}

/// The kind of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// JOIN.
    Inner,
    /// LEFT JOIN.
    Left,
    /// RIGHT JOIN.
    Right,
    /// FULL JOIN.
    Full,
    /// `WHERE [NOT] EXISTS (SELECT 1 FROM right WHERE on)`; whether it is negated.
    Exists(bool),
    /// `WHERE x [NOT] IN (SELECT y FROM right WHERE rest)`, where `on` is `x = y AND rest`.
    In(bool),
}

impl JoinKind {
    /// Whether columns of the right side are shown.
    pub fn shows_right(self) -> bool {
        !matches!(self, JoinKind::Exists(_) | JoinKind::In(_))
    }
}

/// The equality of a condition, and what else must be true.
pub fn parts(on: &Expr) -> (&Expr, Option<&Expr>) {
    match on {
        Expr::Logic("AND", equality, rest) => (equality, Some(rest)),
        equality => (equality, None),
    }
}

/// The second source of a query.
#[derive(Clone, Debug)]
pub struct Join {
    /// Kind.
    pub kind: JoinKind,
    /// Right side.
    pub source: Source,
    /// The whole condition; its equalities too.
    pub on: Expr,
    /// Whether it is written with a comma and WHERE.
    pub comma: bool,
}

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// COUNT(*), COUNT(x).
    Count,
    /// SUM.
    Sum,
    /// MIN.
    Min,
    /// MAX.
    Max,
    /// AVG.
    Avg,
}

/// An aggregate.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Which.
    pub function: Function,
    /// Of what; `*` without.
    pub argument: Option<Expr>,
    /// DISTINCT.
    pub distinct: bool,
    /// FILTER (WHERE ..).
    pub filter: Option<Expr>,
}

impl Aggregate {
    fn sql(&self) -> String {
        let name = match self.function {
            Function::Count => "count",
            Function::Sum => "sum",
            Function::Min => "min",
            Function::Max => "max",
            Function::Avg => "avg",
        };
        let argument = self.argument.as_ref().map_or("*".to_owned(), Expr::sql);
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let filter = self.filter.as_ref();
        let filter = filter.map_or(String::new(), |f| format!(" FILTER (WHERE {})", f.sql()));
        format!("{name}({distinct}{argument}){filter}")
    }
}

/// What becomes of the rows.
#[derive(Clone, Debug)]
pub enum Shape {
    /// SELECT [DISTINCT] items.
    Project(Vec<Expr>, bool),
    /// SELECT keys, aggregates .. GROUP BY keys HAVING aggregate op number.
    Group(Vec<Expr>, Vec<Aggregate>, Option<(usize, &'static str, i64)>),
}

/// SELECT .. FROM .. WHERE .. GROUP BY .. HAVING.
#[derive(Clone, Debug)]
pub struct Select {
    /// First source; its alias is `a`.
    pub from: Source,
    /// Second source; its alias is `b`.
    pub join: Option<Join>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// The rest.
    pub shape: Shape,
    /// Types of the result's columns; they are named c0, c1, ..
    pub types: Vec<Type>,
}

/// A query.
#[derive(Clone, Debug)]
pub enum Query {
    /// One SELECT.
    Select(Box<Select>),
    /// `a UNION [ALL] b`.
    Union(Box<Query>, Box<Query>, bool),
    /// The first rows in the order of columns, each descending or not; all columns take part.
    Top(Box<Query>, Vec<(usize, bool)>, usize),
    /// `WITH c AS (a) SELECT * FROM c`.
    With(Box<Query>),
    /// A SELECT that groups by window, with EMIT ON WINDOW CLOSE; the column of the window's end.
    OnClose(Box<Select>, usize),
}

impl Query {
    /// Types of its columns.
    pub fn types(&self) -> &[Type] {
        match self {
            Query::Select(select) | Query::OnClose(select, _) => &select.types,
            Query::Union(query, _, _) | Query::Top(query, _, _) | Query::With(query) => {
                query.types()
            }
        }
    }

    /// Calls `on` for every source in it.
    pub fn sources(&self, on: &mut impl FnMut(&Source)) {
        match self {
            Query::Select(select) | Query::OnClose(select, _) => {
                for source in [Some(&select.from), select.join.as_ref().map(|j| &j.source)]
                    .into_iter()
                    .flatten()
                {
                    on(source);
                    if let Source::Derived(query) = source {
                        query.sources(on);
                    }
                }
            }
            Query::Union(a, b, _) => {
                a.sources(on);
                b.sources(on);
            }
            Query::Top(query, _, _) | Query::With(query) => query.sources(on),
        }
    }

    /// Whether its clock is event time: it has a bracket window other than UNBOUNDED.
    pub fn event_clock(&self) -> bool {
        let mut found = false;
        self.sources(&mut |source| {
            found |= matches!(source, Source::Stream(_, Some(window))
                if !matches!(window, Window::Unbounded));
        });
        found
    }
}

/// How times are written in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// BIGINT ticks.
    Ticks,
    /// TIMESTAMP, whole seconds.
    Seconds,
}

impl Times {
    /// One unit of time in microseconds.
    pub fn unit(self) -> i64 {
        match self {
            Times::Ticks => 1,
            Times::Seconds => 1_000_000,
        }
    }

    /// A span within a window bracket.
    pub fn span(self, micros: i64) -> String {
        match self {
            Times::Ticks => format!("{micros} MICROSECONDS"),
            Times::Seconds => format!("{} SECONDS", micros / self.unit()),
        }
    }

    /// A span as an interval.
    pub fn interval(self, micros: i64) -> String {
        format!("INTERVAL '{}'", self.span(micros).to_lowercase())
    }

    /// An instant as a literal.
    pub fn instant(self, micros: i64) -> String {
        match self {
            Times::Ticks => micros.to_string(),
            Times::Seconds => {
                let at = chrono::DateTime::from_timestamp_micros(micros).expect("a small number");
                format!("TIMESTAMP '{}'", at.format("%Y-%m-%d %H:%M:%S%.f"))
            }
        }
    }
}

/// Writes a query.
pub fn sql(query: &Query, times: Times) -> String {
    match query {
        Query::Select(select) => select_sql(select, times),
        Query::Union(a, b, all) => {
            let word = if *all { "UNION ALL" } else { "UNION" };
            format!("{} {word} {}", sql(a, times), sql(b, times))
        }
        Query::Top(query, order, limit) => {
            let item = |(i, desc): &(usize, bool)| {
                if *desc { format!("c{i} DESC") } else { format!("c{i}") }
            };
            let order: Vec<String> = order.iter().map(item).collect();
            let inner = sql(query, times);
            format!("SELECT * FROM ({inner}) q ORDER BY {} LIMIT {limit}", order.join(", "))
        }
        Query::With(query) => format!("WITH c AS ({}) SELECT * FROM c", sql(query, times)),
        Query::OnClose(select, _) => {
            format!("{} EMIT ON WINDOW CLOSE", select_sql(select, times))
        }
    }
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
    let Select { from, join, filter, shape, .. } = select;
    let (distinct, items) = match shape {
        Shape::Project(items, distinct) => (*distinct, items.iter().map(Expr::sql).collect()),
        Shape::Group(keys, aggregates, _) => {
            let keys = keys.iter().map(Expr::sql);
            (false, keys.chain(aggregates.iter().map(Aggregate::sql)).collect::<Vec<_>>())
        }
    };
    let items: Vec<String> =
        items.iter().enumerate().map(|(i, sql)| format!("{sql} AS c{i}")).collect();
    let distinct = if distinct { "DISTINCT " } else { "" };
    let mut text =
        format!("SELECT {distinct}{} FROM {} AS a", items.join(", "), source(from, times));
    let mut conditions: Vec<String> = filter.iter().map(Expr::sql).collect();
    if let Some(join) = join {
        let right = source(&join.source, times);
        let word = match join.kind {
            JoinKind::Inner => "JOIN",
            JoinKind::Left => "LEFT JOIN",
            JoinKind::Right => "RIGHT JOIN",
            JoinKind::Full => "FULL JOIN",
            JoinKind::Exists(_) | JoinKind::In(_) => "",
        };
        if !join.kind.shows_right() {
            conditions.push(member_sql(join, &right));
        } else if join.comma {
            text.push_str(&format!(", {right} AS b"));
            conditions.push(join.on.sql());
        } else {
            text.push_str(&format!(" {word} {right} AS b ON {}", join.on.sql()));
        }
    }
    if !conditions.is_empty() {
        text.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
    }
    if let Shape::Group(keys, aggregates, having) = shape {
        if !keys.is_empty() {
            let keys: Vec<String> = keys.iter().map(Expr::sql).collect();
            text.push_str(&format!(" GROUP BY {}", keys.join(", ")));
        }
        if let Some((i, op, number)) = having {
            text.push_str(&format!(" HAVING {} {op} {number}", aggregates[*i].sql()));
        }
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
        Source::Derived(query) => format!("({})", sql(query, times)),
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

/// Columns of every stream.
pub const STREAM: [(&str, Type); 4] =
    [("ts", Type::Time), ("k", Type::Text), ("v", Type::Int), ("w", Type::Int)];

/// Columns of every table.
pub const TABLE: [(&str, Type); 3] = [("id", Type::Int), ("k", Type::Text), ("v", Type::Int)];
