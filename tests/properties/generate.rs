//! Draws random queries and random input.

use super::oracle::{View, columns};
use super::query::{
    Aggregate, Column, Expr, Function, Join, JoinKind, Query, Select, Shape, Source, Times, Window,
};
use super::value::{Type, Value};
use crate::support::random::Random;

/// Number of streams and of tables in every case.
pub const OBJECTS: usize = 2;

/// Draws queries.
pub struct Generator<'a> {
    random: &'a mut Random,
    times: Times,
    views: &'a [View],
    /// Whether the query is on the EVENT clock.
    event: bool,
    /// Whether tables (and what is one to an EVENT query) may be read.
    tables: bool,
}

impl<'a> Generator<'a> {
    /// Starts drawing; `views` may be read by the queries.
    pub fn new(random: &'a mut Random, times: Times, views: &'a [View]) -> Self {
        let event = random.chance(55);
        Self { random, times, views, event, tables: true }
    }

    /// Draws a query to be read by others.
    pub fn view(&mut self) -> Query {
        // An EVENT view over tables is versioned by its own releases, which its readers do not
        // know.
        self.tables = !self.event;
        let query = self.select(1);
        self.tables = true;
        Query::Select(Box::new(query))
    }

    /// Draws a query.
    pub fn query(&mut self) -> Query {
        if !self.event && self.random.chance(20) {
            return self.on_close();
        }
        match self.random.below(10) {
            0 | 1 => {
                let types = self.some_types();
                let (a, b) = (self.projection(&types), self.projection(&types));
                Query::Union(Box::new(a), Box::new(b), self.random.chance(50))
            }
            2 | 3 => {
                let select = self.select(1);
                let mut order: Vec<(usize, bool)> =
                    (0..select.types.len()).map(|i| (i, self.random.chance(50))).collect();
                self.random.shuffle(&mut order);
                let limit = 1 + self.random.below(4);
                Query::Top(Box::new(Query::Select(Box::new(select))), order, limit)
            }
            4 => Query::With(Box::new(Query::Select(Box::new(self.select(1))))),
            _ => Query::Select(Box::new(self.select(2))),
        }
    }

    fn on_close(&mut self) -> Query {
        let from = self.assigned();
        let scope = scope("a", &from, self.views);
        let end = scope.iter().position(|c| c.sql == "a.window_end").expect("TUMBLE has it");
        let filter = self.random.chance(30).then(|| self.bool(&scope, 1));
        let mut keys = vec![Expr::Column(end, scope[end].sql.clone())];
        let mut types = vec![Type::Time];
        if self.random.chance(60) {
            let (key, of) = self.key(&scope);
            keys.push(key);
            types.push(of);
        }
        let (aggregates, having) = self.aggregates(&scope, &mut types);
        let shape = Shape::Group(keys, aggregates, having);
        Query::OnClose(Box::new(Select { from, join: None, filter, shape, types }), 0)
    }

    fn some_types(&mut self) -> Vec<Type> {
        let count = 1 + self.random.below(2);
        (0..count).map(|_| *self.random.pick(&[Type::Int, Type::Text])).collect()
    }

    /// A SELECT of columns of the given types.
    fn projection(&mut self, types: &[Type]) -> Query {
        let mut select = self.select(1);
        let scope = self.scope(&select.from, select.join.as_ref());
        let items = types.iter().map(|of| self.expr(&scope, *of, 1)).collect();
        select.shape = Shape::Project(items, false);
        select.types = types.to_vec();
        Query::Select(Box::new(select))
    }

    fn select(&mut self, depth: usize) -> Select {
        // An EVENT query has a bracket window other than UNBOUNDED, on one side at least.
        let mut from = match self.event {
            true => Source::Stream(self.random.below(OBJECTS), Some(self.window())),
            false => self.source(depth),
        };
        let mut join = None;
        if self.random.chance(45) {
            let mut right = self.source(depth);
            if self.random.chance(50) {
                std::mem::swap(&mut from, &mut right);
            }
            join = self.join(&from, right);
        }
        if self.event && join.is_none() && !matches!(from, Source::Stream(_, Some(_))) {
            from = Source::Stream(self.random.below(OBJECTS), Some(self.window()));
        }
        let scope = self.scope(&from, join.as_ref());
        let filter = self.random.chance(45).then(|| self.bool(&scope, 2));
        let mut types = Vec::new();
        let shape = if self.random.chance(50) {
            let mut keys = Vec::new();
            for _ in 0..*self.random.pick(&[0, 1, 1, 1, 2]) {
                let (key, of) = self.key(&scope);
                keys.push(key);
                types.push(of);
            }
            let (aggregates, having) = self.aggregates(&scope, &mut types);
            Shape::Group(keys, aggregates, having)
        } else {
            let items = (0..1 + self.random.below(3)).map(|_| {
                if self.random.chance(60) {
                    let i = self.random.below(scope.len());
                    types.push(scope[i].of);
                    return Expr::Column(i, scope[i].sql.clone());
                }
                let of = *self.random.pick(&[Type::Int, Type::Text]);
                types.push(of);
                self.expr(&scope, of, 2)
            });
            let items = items.collect();
            Shape::Project(items, self.random.chance(25))
        };
        Select { from, join, filter, shape, types }
    }

    fn source(&mut self, depth: usize) -> Source {
        let i = self.random.below(OBJECTS);
        if self.event {
            return match self.random.below(10) {
                0 | 1 if self.tables => Source::Table(i),
                2 if depth > 1 => {
                    Source::Derived(Box::new(Query::Select(Box::new(self.select(1)))))
                }
                3 | 4 if self.readable_view().is_some() => {
                    Source::View(self.readable_view().expect("just seen"))
                }
                5 => Source::Stream(i, None),
                _ => Source::Stream(i, Some(self.window())),
            };
        }
        match self.random.below(12) {
            0..=2 => Source::Table(i),
            3 if depth > 1 => Source::Derived(Box::new(Query::Select(Box::new(self.select(1))))),
            4 | 5 if !self.views.is_empty() => Source::View(self.random.below(self.views.len())),
            6 => Source::Stream(i, Some(Window::Unbounded)),
            7..=9 => self.assigned(),
            _ => Source::Stream(i, None),
        }
    }

    /// A view that an EVENT query may read.
    fn readable_view(&self) -> Option<usize> {
        let readable = |v: &View| v.query.event_clock() || self.tables;
        self.views.iter().position(readable)
    }

    fn assigned(&mut self) -> Source {
        let i = self.random.below(OBJECTS);
        let unit = self.times.unit();
        if self.random.chance(40) {
            let size = self.random.between(1, 6);
            let offset = if self.random.chance(25) { self.random.between(0, size - 1) } else { 0 };
            return Source::Tumble(i, size * unit, offset * unit);
        }
        match self.random.below(6) {
            0 | 1 => {
                let step = self.random.between(1, 3);
                Source::Cumulate(i, step * unit, self.random.between(1, 3) * step * unit)
            }
            2 | 3 => {
                let key = self.random.chance(60).then(|| 1 + self.random.below(2));
                Source::Session(i, self.random.between(1, 4) * unit, key)
            }
            _ => {
                let slide = self.random.between(1, 4) * unit;
                Source::Hop(i, slide, self.random.between(1, 8) * unit)
            }
        }
    }

    fn window(&mut self) -> Window {
        let unit = self.times.unit();
        let size = self.random.between(1, 8) * unit;
        let count = 1 + self.random.below(4);
        match self.random.below(12) {
            0 => Window::Now,
            1..=3 => Window::Range(size, false),
            4 => Window::Range(size, true),
            5..=7 => {
                let slide = self.random.between(1, 5) * unit;
                Window::Slide(size, slide, self.random.between(0, 2) * unit)
            }
            8 => Window::Rows(count),
            9 => Window::Batches(count, 1 + self.random.below(3)),
            10 => Window::Current(size),
            _ => {
                let range = self.random.chance(50).then_some(size);
                Window::Partition(1 + self.random.below(2), count, range)
            }
        }
    }

    /// A join of two sources, if they have columns that can be equal.
    fn join(&mut self, left: &Source, right: Source) -> Option<Join> {
        let scope = [scope("a", left, self.views), scope("b", &right, self.views)].concat();
        let width = columns(left, self.views).len();
        let column = |i: usize| Box::new(Expr::Column(i, scope[i].sql.clone()));
        let mut pairs = Vec::new();
        for i in 0..width {
            for j in width..scope.len() {
                if scope[i].of == scope[j].of && scope[i].of != Type::Real {
                    pairs.push((i, j));
                }
            }
        }
        pairs.retain(|(i, _)| scope[*i].of != Type::Time || self.random.chance(15));
        if pairs.is_empty() {
            return None;
        }
        let (i, j) = *self.random.pick(&pairs);
        let mut on = Expr::Compare("=", column(i), column(j));
        if self.random.chance(35) {
            let (a, b) = (self.int(&scope, 0), self.int(&scope, 0));
            let op = *self.random.pick(&["<", "<=", "<>"]);
            let residual = Expr::Compare(op, Box::new(a), Box::new(b));
            on = Expr::Logic("AND", Box::new(on), Box::new(residual));
        }
        use JoinKind::{Exists, Full, In, Inner, Left, Right};
        let kinds =
            [Inner, Inner, Left, Right, Full, Exists(false), Exists(true), In(false), In(true)];
        let kind = *self.random.pick(&kinds);
        let comma = kind == Inner && self.random.chance(40);
        Some(Join { kind, source: right, on, comma })
    }

    fn scope(&self, from: &Source, join: Option<&Join>) -> Vec<Column> {
        let shown = join.filter(|j| j.kind.shows_right());
        let right = shown.map(|j| scope("b", &j.source, self.views)).unwrap_or_default();
        [scope("a", from, self.views), right].concat()
    }

    fn key(&mut self, scope: &[Column]) -> (Expr, Type) {
        let plain: Vec<usize> = (0..scope.len()).filter(|i| scope[*i].of != Type::Real).collect();
        if plain.is_empty() || self.random.chance(20) {
            let of = *self.random.pick(&[Type::Int, Type::Text]);
            return match columns_of(scope, of).first() {
                Some(_) => (self.expr(scope, of, 1), of),
                None => (Expr::Coalesce(self.literal(of).into(), self.literal(of).into()), of),
            };
        }
        let i = *self.random.pick(&plain);
        (Expr::Column(i, scope[i].sql.clone()), scope[i].of)
    }

    fn aggregates(
        &mut self,
        scope: &[Column],
        types: &mut Vec<Type>,
    ) -> (Vec<Aggregate>, Option<(usize, &'static str, i64)>) {
        let mut aggregates = Vec::new();
        for _ in 0..1 + self.random.below(3) {
            let (aggregate, of) = self.aggregate(scope);
            aggregates.push(aggregate);
            types.push(of);
        }
        let counts = |a: &Aggregate| a.function == Function::Count;
        let counted: Vec<usize> =
            (0..aggregates.len()).filter(|i| counts(&aggregates[*i])).collect();
        let having = (!counted.is_empty() && self.random.chance(35)).then(|| {
            let op = *self.random.pick(&[">", ">=", "<", "="]);
            (*self.random.pick(&counted), op, self.random.between(0, 3))
        });
        (aggregates, having)
    }

    fn aggregate(&mut self, scope: &[Column]) -> (Aggregate, Type) {
        let distinct = self.random.chance(25);
        let filter = self.random.chance(20).then(|| self.bool(scope, 1));
        let (function, argument, of) = match self.random.below(9) {
            0..=2 => (Function::Count, None, Type::Int),
            3 => {
                let of = *self.random.pick(&[Type::Int, Type::Text]);
                (Function::Count, Some(self.expr(scope, of, 1)), Type::Int)
            }
            4 | 5 => (Function::Sum, Some(self.int(scope, 1)), Type::Int),
            6 => (Function::Avg, Some(self.int(scope, 1)), Type::Real),
            n => {
                let of = *self.random.pick(&[Type::Int, Type::Text]);
                let function = if n == 7 { Function::Min } else { Function::Max };
                (function, Some(self.expr(scope, of, 1)), of)
            }
        };
        let distinct = distinct && argument.is_some();
        (Aggregate { function, argument, distinct, filter }, of)
    }

    fn expr(&mut self, scope: &[Column], of: Type, depth: usize) -> Expr {
        if of == Type::Int { self.int(scope, depth) } else { self.text(scope, depth) }
    }

    fn literal(&mut self, of: Type) -> Expr {
        Expr::Literal(match of {
            Type::Text => Value::Text((*self.random.pick(&["a", "b", "c"])).to_owned()),
            Type::Int | Type::Time | Type::Real => Value::Int(self.random.between(-2, 5)),
        })
    }

    /// A column of the type, or a literal.
    fn leaf(&mut self, scope: &[Column], of: Type) -> Expr {
        let found = columns_of(scope, of);
        if found.is_empty() || self.random.chance(8) {
            return self.literal(of);
        }
        let i = *self.random.pick(&found);
        Expr::Column(i, scope[i].sql.clone())
    }

    fn int(&mut self, scope: &[Column], depth: usize) -> Expr {
        if depth == 0 || self.random.chance(50) {
            return self.leaf(scope, Type::Int);
        }
        let a = Box::new(self.int(scope, depth - 1));
        let b = Box::new(self.int(scope, depth - 1));
        match self.random.below(6) {
            0 => Expr::Arithmetic('+', a, b),
            1 => Expr::Arithmetic('-', a, b),
            2 => Expr::Arithmetic('*', a, Box::new(self.literal(Type::Int))),
            3 => Expr::Coalesce(a, Box::new(self.literal(Type::Int))),
            4 => Expr::Call("abs", a),
            _ => Expr::Case(Box::new(self.bool(scope, depth - 1)), a, b),
        }
    }

    fn text(&mut self, scope: &[Column], depth: usize) -> Expr {
        if depth == 0 || self.random.chance(60) {
            return self.leaf(scope, Type::Text);
        }
        let a = Box::new(self.text(scope, depth - 1));
        match self.random.below(3) {
            0 => Expr::Coalesce(a, Box::new(self.literal(Type::Text))),
            1 => Expr::Call("upper", a),
            _ => Expr::Concat(a, Box::new(self.text(scope, depth - 1))),
        }
    }

    fn bool(&mut self, scope: &[Column], depth: usize) -> Expr {
        let of = *self.random.pick(&[Type::Int, Type::Int, Type::Text]);
        if depth == 0 || self.random.chance(50) {
            let (a, b) = (self.leaf(scope, of), self.literal(of));
            let op = *self.random.pick(&["=", "<>", "<", "<=", ">", ">="]);
            return Expr::Compare(op, Box::new(a), Box::new(b));
        }
        let a = Box::new(self.bool(scope, depth - 1));
        match self.random.below(6) {
            0 => Expr::Logic("AND", a, Box::new(self.bool(scope, depth - 1))),
            1 => Expr::Logic("OR", a, Box::new(self.bool(scope, depth - 1))),
            2 => Expr::Not(a),
            3 => Expr::IsNull(Box::new(self.leaf(scope, of))),
            4 => {
                let list = (0..1 + self.random.below(3)).map(|_| self.literal(of)).collect();
                Expr::In(Box::new(self.leaf(scope, of)), list)
            }
            _ => {
                let (a, b) = (self.expr(scope, of, 1), self.expr(scope, of, 1));
                Expr::Compare("<=", Box::new(a), Box::new(b))
            }
        }
    }
}

/// The columns of a source under its alias.
fn scope(alias: &str, source: &Source, views: &[View]) -> Vec<Column> {
    let columns = columns(source, views).into_iter();
    columns.map(|(name, of)| Column { sql: format!("{alias}.{name}"), of }).collect()
}

fn columns_of(scope: &[Column], of: Type) -> Vec<usize> {
    (0..scope.len()).filter(|i| scope[*i].of == of).collect()
}

/// Something that happens to the inputs: one commit.
#[derive(Clone, Debug)]
pub enum Change {
    /// Rows arrive at a stream.
    Rows(usize, Vec<Vec<Value>>),
    /// A promise about a stream.
    Heartbeat(usize, i64),
    /// `INSERT .. ON CONFLICT (id) DO UPDATE SET k = EXCLUDED.k, v = EXCLUDED.v`.
    Upsert(usize, Vec<Vec<Value>>),
    /// `UPDATE .. SET v = v + n WHERE k = text`.
    Raise(usize, i64, String),
    /// `DELETE .. WHERE id % 3 = n`.
    Delete(usize, i64),
}

/// Draws a change; `now` is about where event time is.
pub fn change(random: &mut Random, now: &mut i64, unit: i64) -> Change {
    let i = random.below(OBJECTS);
    match random.below(12) {
        0..=6 => {
            let count = *random.pick(&[1, 1, 2, 3, 5, 9]);
            Change::Rows(i, (0..count).map(|_| stream_row(random, now, unit)).collect())
        }
        7 | 8 => {
            *now += random.between(0, 4) * unit;
            Change::Heartbeat(i, *now)
        }
        9 | 10 => {
            let mut rows: Vec<Vec<Value>> = Vec::new();
            for _ in 0..1 + random.below(3) {
                let id = Value::Int(random.between(1, 6));
                // Postgres refuses to change one row twice in a statement.
                if !rows.iter().any(|r| r[0] == id) {
                    rows.push(vec![id, text(random), number(random)]);
                }
            }
            Change::Upsert(i, rows)
        }
        _ if random.chance(50) => {
            let key = (*random.pick(&["a", "b", "c"])).to_owned();
            Change::Raise(i, random.between(-2, 3), key)
        }
        _ => Change::Delete(i, random.between(0, 2)),
    }
}

fn stream_row(random: &mut Random, now: &mut i64, unit: i64) -> Vec<Value> {
    *now += random.between(0, 2) * unit * i64::from(random.chance(50));
    let behind = *random.pick(&[0, 0, 0, 1, 1, 2, 3, 9]);
    let time = match random.below(40) {
        0 => Value::Null,
        _ => Value::Int((*now - behind * unit).max(0)),
    };
    vec![time, text(random), number(random), number(random)]
}

fn text(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        _ => Value::Text((*random.pick(&["a", "a", "b", "c"])).to_owned()),
    }
}

fn number(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        _ => Value::Int(random.between(-2, 5)),
    }
}
