//! Queries as trees, and their SQL.

use super::group::{Aggregate, Group};
use super::over::Over;
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
    /// `b BETWEEN a + low AND a + high`, of two times; in microseconds.
    Within(Box<[Expr; 2]>, [i64; 2], Times),
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
            Expr::Literal(other) => panic!("{other:?} is no literal"),
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
            Expr::Within(sides, bounds, times) => {
                let [a, b] = [sides[0].sql(), sides[1].sql()];
                let [low, high] = bounds.map(|by| times.after(&a, by));
                format!("{b} BETWEEN {low} AND {high}")
            }
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
    /// The table that keeps versions.
    Versions,
    /// A query in parentheses.
    Derived(Box<Query>),
    /// `ISTREAM (query) [EVERY period] [window]` and the like.
    Elements(StreamOf, Box<Query>, Option<i64>, Option<Window>),
    /// Rows that are made for each row of the other source.
    Lateral(Box<Lateral>),
}

/// What stands behind LATERAL. Expressions are over the row of the other source, and over its own
/// after it.
#[derive(Clone, Debug)]
pub enum Lateral {
    /// `unnest(ARRAY[..])`; whether it is WITH ORDINALITY.
    Unnest(Vec<Expr>, bool),
    /// `generate_series(low, high)`.
    Series(Expr, Expr),
    /// `(SELECT items FROM source AS c WHERE filter ORDER BY items LIMIT limit)`.
    Select {
        /// Its source.
        source: Source,
        /// WHERE.
        filter: Option<Expr>,
        /// Its columns.
        items: Items,
        /// Their types.
        types: Vec<Type>,
        /// How many rows at most, in the order of the items.
        limit: Option<usize>,
    },
}

/// The select list of a LATERAL query.
#[derive(Clone, Debug)]
pub enum Items {
    /// Expressions.
    Exprs(Vec<Expr>),
    /// Aggregates of all rows.
    Aggregates(Vec<Aggregate>),
}

/// How a relation becomes a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOf {
    /// Of what comes.
    Istream,
    /// Of what goes.
    Dstream,
    /// Of what is there.
    Rstream,
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
    /// `ASOF [LEFT] JOIN`, where `on` is an equality and a comparison of times; whether it is LEFT.
    AsOf(bool),
    /// `[LEFT] JOIN .. FOR SYSTEM_TIME AS OF a.ts`, on the primary key; whether it is LEFT.
    Versions(bool),
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

/// A scalar subquery: `(SELECT aggregate FROM source AS c WHERE on)`. It is one column more.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Its source.
    pub source: Source,
    /// Of the row outside and of its own, after it.
    pub on: Option<Expr>,
    /// Of its own rows.
    pub aggregate: Aggregate,
}

/// What becomes of the rows.
#[derive(Clone, Debug)]
pub enum Shape {
    /// SELECT [DISTINCT] items.
    Project(Vec<Expr>, bool),
    /// SELECT keys, aggregates .. GROUP BY keys HAVING aggregate op number.
    Group(Group),
    /// SELECT items, calls OVER (..).
    Over(Vec<Expr>, Vec<Over>),
}

/// SELECT .. FROM .. WHERE .. GROUP BY .. HAVING.
#[derive(Clone, Debug)]
pub struct Select {
    /// First source; its alias is `a`.
    pub from: Source,
    /// Second source; its alias is `b`.
    pub join: Option<Join>,
    /// Scalar subquery; its alias is `c`.
    pub lookup: Option<Lookup>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// `AND a.ts op now() - span`; `ts` is the first column.
    pub age: Option<(&'static str, i64)>,
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
    /// `a UNION [ALL] b`, `INTERSECT`, `EXCEPT`.
    Set(SetOperation, Box<Query>, Box<Query>, bool),
    /// The first rows in the order of columns, each descending or not; all columns take part.
    Top(Box<Query>, Vec<(usize, bool)>, usize),
    /// `SELECT DISTINCT ON (columns)`: so many of the columns that rows are ordered by.
    DistinctOn(Box<Query>, Vec<(usize, bool)>, usize),
    /// `WITH c AS (a) SELECT * FROM c`.
    With(Box<Query>),
    /// A SELECT that groups by window, with EMIT ON WINDOW CLOSE; the column of the window's end,
    /// and what is written after EMIT.
    OnClose(Box<Select>, usize, &'static str),
    /// `ISTREAM (query) [EVERY period]` and the like.
    ToStream(StreamOf, Box<Query>, Option<i64>),
    /// `query EMIT EVERY period`.
    Every(Box<Query>, i64),
    /// `query EMIT CHANGES`.
    Changes(Box<Query>),
}

/// What becomes of two bags of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOperation {
    /// UNION.
    Union,
    /// INTERSECT.
    Intersect,
    /// EXCEPT.
    Except,
}

impl Select {
    /// Whether it waits for event time: where its sources meet as of a time, where they meet by the
    /// distance of their times and rows without a partner are shown, and where rows have an age.
    pub fn waits(&self) -> bool {
        let joins = self.join.as_ref().is_some_and(|join| match join.kind {
            JoinKind::AsOf(_) => !matches!(self.from, Source::Table(_)),
            JoinKind::Versions(_) => true,
            JoinKind::Inner | JoinKind::Exists(false) => false,
            _ => self.meets_within(),
        });
        joins || self.age.is_some()
    }

    /// Whether its sources meet by the distance of their times.
    pub fn meets_within(&self) -> bool {
        let on = self.join.as_ref().map(|join| parts(&join.on));
        matches!(on, Some((_, Some(Expr::Within(..)))))
    }
}

impl Query {
    /// Types of its columns.
    pub fn types(&self) -> &[Type] {
        match self {
            Query::Select(select) | Query::OnClose(select, ..) => &select.types,
            Query::Set(_, query, _, _)
            | Query::Top(query, _, _)
            | Query::DistinctOn(query, _, _)
            | Query::ToStream(_, query, _)
            | Query::Every(query, _)
            | Query::Changes(query)
            | Query::With(query) => query.types(),
        }
    }

    /// Whether it says when its result comes: then it does not run once.
    pub fn emits(&self) -> bool {
        use Query::{Changes, Every, OnClose, ToStream};
        matches!(self, OnClose(..) | ToStream(..) | Every(..) | Changes(..))
    }

    /// Calls `on` for every SELECT in it.
    pub fn selects(&self, on: &mut impl FnMut(&Select)) {
        match self {
            Query::Select(select) | Query::OnClose(select, ..) => {
                on(select);
                let joined = select.join.iter().map(|j| &j.source);
                let looked = select.lookup.iter().map(|l| &l.source);
                for source in std::iter::once(&select.from).chain(joined).chain(looked) {
                    if let Source::Derived(query) | Source::Elements(_, query, ..) = source {
                        query.selects(on);
                    }
                }
            }
            Query::Set(_, a, b, _) => {
                a.selects(on);
                b.selects(on);
            }
            Query::Top(query, _, _)
            | Query::DistinctOn(query, _, _)
            | Query::ToStream(_, query, _)
            | Query::Every(query, _)
            | Query::Changes(query)
            | Query::With(query) => query.selects(on),
        }
    }

    /// Calls `on` for every source in it.
    pub fn sources(&self, on: &mut impl FnMut(&Source)) {
        self.selects(&mut |select| {
            on(&select.from);
            for source in select.join.iter().map(|j| &j.source) {
                on(source);
                if let Source::Lateral(lateral) = source
                    && let Lateral::Select { source, .. } = lateral.as_ref()
                {
                    on(source);
                }
            }
            select.lookup.iter().for_each(|lookup| on(&lookup.source));
        });
    }

    /// Whether its clock is event time: it has a bracket window other than UNBOUNDED, or something
    /// that waits for event time.
    pub fn event_clock(&self) -> bool {
        let mut found = false;
        self.sources(&mut |source| {
            found |= matches!(source, Source::Stream(_, Some(window))
                if !matches!(window, Window::Unbounded));
        });
        // Elements that have a time are made when their instants have closed.
        let elements = matches!(self, Query::ToStream(..));
        self.selects(&mut |select| found |= select.waits() || elements && select.meets_within());
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

    /// The type of times.
    pub fn type_name(self) -> &'static str {
        match self {
            Times::Ticks => "BIGINT",
            Times::Seconds => "TIMESTAMP",
        }
    }

    /// What is added to a time.
    pub fn distance(self, micros: i64) -> String {
        match self {
            Times::Ticks => micros.to_string(),
            Times::Seconds => self.interval(micros),
        }
    }

    /// A time that lies so much after another.
    pub fn after(self, time: &str, by: i64) -> String {
        let op = if by < 0 { '-' } else { '+' };
        if by == 0 { time.to_owned() } else { format!("{time} {op} {}", self.distance(by.abs())) }
    }

    /// An instant as a literal.
    pub fn instant(self, micros: i64) -> String {
        match self {
            Times::Ticks => micros.to_string(),
            Times::Seconds => format!("TIMESTAMP '{}'", self.text(micros)),
        }
    }

    /// An instant as text.
    pub fn text(self, micros: i64) -> String {
        match self {
            Times::Ticks => micros.to_string(),
            Times::Seconds => {
                let at = chrono::DateTime::from_timestamp_micros(micros).expect("a small number");
                at.format("%Y-%m-%d %H:%M:%S%.f").to_string()
            }
        }
    }
}

/// Columns of every stream.
pub const STREAM: [(&str, Type); 4] =
    [("ts", Type::Time), ("k", Type::Text), ("v", Type::Int), ("w", Type::Int)];

/// Columns of every table.
pub const TABLE: [(&str, Type); 3] = [("id", Type::Int), ("k", Type::Text), ("v", Type::Int)];

/// Columns of the table that keeps versions.
pub const VERSIONS: [(&str, Type); 4] =
    [("id", Type::Int), ("k", Type::Text), ("v", Type::Int), ("since", Type::Time)];
