//! Draws random queries and random input.

use super::change::OBJECTS;
use super::group::{Group, Sets};
use super::oracle::View;
use super::over::{Call, Over};
use super::query::{
    Column, Expr, Join, Lookup, Query, Select, SetOperation, Shape, Source, StreamOf, Times, Window,
};
use super::source::columns;
use super::sql::{lookup_sql, sql};
use super::value::{Type, Value};
use super::world::World;
use crate::support::random::Random;

/// Draws queries.
pub struct Generator<'a> {
    /// Source of chance.
    pub random: &'a mut Random,
    /// How times are written.
    pub times: Times,
    /// Views that may be read.
    pub views: &'a [View],
    /// Whether there is a table that keeps versions.
    pub versions: bool,
    /// Whether the query is on the EVENT clock.
    event: bool,
    /// Whether rows come late to it: what it has said of an instant is not final, so it makes no
    /// streams.
    corrected: bool,
    /// Whether tables (and what is one to an EVENT query) may be read.
    tables: bool,
    /// Whether anything but tables may be read.
    streams: bool,
}

impl<'a> Generator<'a> {
    /// Starts drawing; `views` may be read by the queries.
    pub fn new(random: &'a mut Random, times: Times, world: &World, views: &'a [View]) -> Self {
        let late = world.streams.iter().any(|stream| stream.lateness > 0);
        let event = random.chance(55);
        let corrected = event && late;
        let versions = world.versions.is_some() && !corrected;
        let (tables, streams) = (true, true);
        Self { random, times, views, versions, event, corrected, tables, streams }
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
        if !self.event && self.random.chance(10) {
            return self.of_tables();
        }
        if self.event && self.random.chance(15) && !self.corrected {
            let of = self.stream_of();
            let every = self.ticks(of);
            return Query::ToStream(of, Box::new(self.streamed()), every);
        }
        if self.event && self.random.chance(8) && !self.corrected {
            // A table would be what it is at the release of a tick.
            self.tables = false;
            let mut select = self.select(2);
            self.drop_row_over_nothing(&mut select);
            let query = Query::Select(Box::new(select));
            if !query.event_clock() {
                return query;
            }
            return Query::Every(Box::new(query), self.period());
        }
        match self.random.below(14) {
            0..=2 => {
                let types = self.some_types();
                let (a, b) = (self.projection(&types), self.projection(&types));
                use SetOperation::{Except, Intersect, Union};
                let operation = *self.random.pick(&[Union, Union, Except, Except, Intersect]);
                Query::Set(operation, Box::new(a), Box::new(b), self.random.chance(50))
            }
            3 | 4 => {
                let select = self.select(1);
                let mut order: Vec<(usize, bool)> =
                    (0..select.types.len()).map(|i| (i, self.random.chance(50))).collect();
                self.random.shuffle(&mut order);
                let limit = 1 + self.random.below(4);
                let count = limit.min(order.len());
                let query = Box::new(Query::Select(Box::new(select)));
                if self.random.chance(40) {
                    return Query::DistinctOn(query, order, count);
                }
                Query::Top(query, order, limit)
            }
            5 => self.ranked(),
            6 if self.random.chance(40) => {
                Query::Changes(Box::new(Query::Select(Box::new(self.select(2)))))
            }
            6 => Query::With(Box::new(Query::Select(Box::new(self.select(1))))),
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
        let shape =
            Shape::Group(Group { keys, sets: Sets::All, aggregates, having, grouping: None });
        let select = Select { from, join: None, lookup: None, filter, age: None, shape, types };
        let words = ["ON WINDOW CLOSE", "ON WINDOW CLOSE", "FINAL", "AFTER WATERMARK"];
        let word = self.random.pick(&words);
        Query::OnClose(Box::new(select), 0, word)
    }

    fn stream_of(&mut self) -> StreamOf {
        use StreamOf::{Dstream, Istream, Rstream};
        *self.random.pick(&[Istream, Istream, Dstream, Dstream, Rstream])
    }

    fn period(&mut self) -> i64 {
        self.random.between(2, 6) * self.times.unit()
    }

    /// EVERY: RSTREAM needs it.
    fn ticks(&mut self, of: StreamOf) -> Option<i64> {
        (of == StreamOf::Rstream || self.random.chance(25)).then(|| self.period())
    }

    /// A stream of what happens to tables.
    fn of_tables(&mut self) -> Query {
        self.streams = false;
        let of = *self.random.pick(&[StreamOf::Istream, StreamOf::Dstream]);
        Query::ToStream(of, Box::new(Query::Select(Box::new(self.select(2)))), None)
    }

    /// A query to be made a stream: its relation depends on streams alone, at every instant.
    fn streamed(&mut self) -> Query {
        let tables = std::mem::replace(&mut self.tables, false);
        let views = std::mem::take(&mut self.views);
        let mut select = self.select(1);
        self.drop_row_over_nothing(&mut select);
        (self.tables, self.views) = (tables, views);
        Query::Select(Box::new(select))
    }

    /// A row over nothing is there before all instants: such a query gets another list.
    fn drop_row_over_nothing(&mut self, select: &mut Select) {
        if matches!(&select.shape, Shape::Group(group) if group.sets().contains(&Vec::new())) {
            let scope = self.scope_of(select);
            let (item, of) = self.key(&scope);
            (select.shape, select.types) = (Shape::Project(vec![item], false), vec![of]);
            self.forget_unwritten(select);
        }
    }

    /// `SELECT * FROM (SELECT .., rank OVER (..)) WHERE rank <= n`.
    fn ranked(&mut self) -> Query {
        let mut inner = self.select(1);
        let scope = self.scope_of(&inner);
        (inner.shape, inner.types) = self.over_shape(&inner.from, inner.join.as_ref(), &scope);
        self.forget_unwritten(&mut inner);
        let mut types = inner.types.clone();
        let ranks =
            |call: &Over| matches!(call.call, Call::RowNumber | Call::Rank | Call::DenseRank);
        let rank = match &inner.shape {
            Shape::Over(items, calls) => {
                calls.iter().position(ranks).map(|call| items.len() + call)
            }
            _ => None,
        };
        let limit = Box::new(Expr::Literal(Value::Int(self.random.between(1, 3))));
        let filter =
            rank.map(|i| Expr::Compare("<=", Box::new(Expr::Column(i, format!("a.c{i}"))), limit));
        // The rank may be shown or not.
        if rank == Some(types.len() - 1) && self.random.chance(50) {
            types.pop();
        }
        let items = (0..types.len()).map(|i| Expr::Column(i, format!("a.c{i}"))).collect();
        let shape = Shape::Project(items, false);
        let from = Source::Derived(Box::new(Query::Select(Box::new(inner))));
        Query::Select(Box::new(Select {
            from,
            join: None,
            lookup: None,
            filter,
            age: None,
            shape,
            types,
        }))
    }

    /// SELECT items, calls OVER (..), and the types of its columns.
    fn over_shape(
        &mut self,
        from: &Source,
        join: Option<&Join>,
        scope: &[Column],
    ) -> (Shape, Vec<Type>) {
        let in_order = !matches!(from, Source::Stream(_, Some(Window::Partition(..))));
        let in_time = matches!(from, Source::Stream(..)) && join.is_none() && in_order;
        let mut types = Vec::new();
        let items = (0..1 + self.random.below(3)).map(|_| {
            let i = self.random.below(scope.len());
            types.push(scope[i].of);
            Expr::Column(i, scope[i].sql.clone())
        });
        let items = items.collect();
        let calls = (0..1 + self.random.below(2)).map(|_| {
            let (call, of) = self.over(scope, in_time);
            types.push(of);
            call
        });
        let calls = calls.collect();
        (Shape::Over(items, calls), types)
    }

    /// A scalar subquery, and the column that it is.
    fn lookup(&mut self, outer: &[Column], depth: usize) -> (Lookup, Column) {
        let source = self.source(depth);
        let inner = scope("c", &source, self.views);
        let on = self.correlation(outer, &inner).filter(|_| self.random.chance(80));
        let (aggregate, of) = self.aggregate(&inner);
        let lookup = Lookup { source, on, aggregate };
        let sql = lookup_sql(&lookup, self.times);
        (lookup, Column { sql, of })
    }

    fn some_types(&mut self) -> Vec<Type> {
        let count = 1 + self.random.below(2);
        (0..count).map(|_| *self.random.pick(&[Type::Int, Type::Text])).collect()
    }

    /// A SELECT of columns of the given types.
    fn projection(&mut self, types: &[Type]) -> Query {
        let mut select = self.select(1);
        let scope = self.scope_of(&select);
        let items = types.iter().map(|of| self.expr(&scope, *of, 1)).collect();
        select.shape = Shape::Project(items, false);
        select.types = types.to_vec();
        self.forget_unwritten(&mut select);
        Query::Select(Box::new(select))
    }

    fn select(&mut self, depth: usize) -> Select {
        let (from, join) = self.sources(depth);
        let plain = self.scope(&from, join.as_ref());
        let (lookup, scope) = if self.random.chance(15) {
            let (lookup, column) = self.lookup(&plain, depth);
            (Some(lookup), [plain.clone(), vec![column]].concat())
        } else {
            (None, plain.clone())
        };
        let filter = self.random.chance(45).then(|| self.bool(&scope, 2));
        let aged = self.event && self.times == Times::Seconds && matches!(from, Source::Stream(..));
        let age = (aged && self.random.chance(20)).then(|| {
            let op = *self.random.pick(&[">", ">=", "<", "<="]);
            (op, self.random.between(0, 5) * self.times.unit())
        });
        let mut types = Vec::new();
        let shape = match self.random.below(20) {
            0..=8 => Shape::Group(self.group(&plain, &mut types)),
            9..=12 => {
                let shape;
                (shape, types) = self.over_shape(&from, join.as_ref(), &plain);
                shape
            }
            _ => {
                let items = (0..1 + self.random.below(3)).map(|_| self.item(&scope, &mut types));
                let items = items.collect();
                Shape::Project(items, self.random.chance(25))
            }
        };
        let mut select = Select { from, join, lookup, filter, age, shape, types };
        // Where a condition rules out rows without a partner nothing waits for them.
        if select.meets_within() && select.waits() {
            select.filter = None;
        }
        self.forget_unwritten(&mut select);
        select
    }

    /// Draws what stands in FROM.
    fn sources(&mut self, depth: usize) -> (Source, Option<Join>) {
        if self.event
            && self.random.chance(20)
            && !self.corrected
            && let Some((from, join)) = self.meeting()
        {
            return (from, Some(join));
        }
        if !self.event && self.random.chance(4) {
            let (from, join) = self.nearest_rows();
            return (from, Some(join));
        }
        // An EVENT query has a bracket window other than UNBOUNDED, on one side at least.
        let mut from = match self.event {
            true => Source::Stream(self.random.below(OBJECTS), Some(self.window())),
            false => self.source(depth),
        };
        if self.random.chance(10) {
            let lateral = self.lateral(&from);
            return (from, Some(lateral));
        }
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
        (from, join)
    }

    /// What is not written is not read.
    fn forget_unwritten(&self, select: &mut Select) {
        let text = sql(&Query::Select(Box::new(select.clone())), self.times);
        let written = |lookup: &Lookup| text.contains(&lookup_sql(lookup, self.times));
        select.lookup = select.lookup.take().filter(written);
    }

    fn item(&mut self, scope: &[Column], types: &mut Vec<Type>) -> Expr {
        if self.random.chance(60) {
            let i = self.random.below(scope.len());
            types.push(scope[i].of);
            return Expr::Column(i, scope[i].sql.clone());
        }
        let of = *self.random.pick(&[Type::Int, Type::Text]);
        types.push(of);
        self.expr(scope, of, 2)
    }

    pub fn source(&mut self, depth: usize) -> Source {
        let i = self.random.below(OBJECTS);
        if !self.streams {
            return match self.random.below(4) {
                0 if depth > 1 => {
                    Source::Derived(Box::new(Query::Select(Box::new(self.select(1)))))
                }
                1 if self.versions => Source::Versions,
                _ => Source::Table(i),
            };
        }
        if self.event {
            return match self.random.below(12) {
                0 | 1 if self.tables => Source::Table(i),
                10 if self.versions => Source::Versions,
                2 if depth > 1 => {
                    Source::Derived(Box::new(Query::Select(Box::new(self.select(1)))))
                }
                3 | 4 if self.readable_view().is_some() => {
                    Source::View(self.readable_view().expect("just seen"))
                }
                5 => Source::Stream(i, None),
                6 | 11 if depth > 1 && !self.corrected => {
                    let of = self.stream_of();
                    let every = self.ticks(of);
                    let query = self.streamed();
                    // All that ever was is much, of what is told again and again.
                    let whole = of != StreamOf::Rstream && self.random.chance(25);
                    let window = (!whole).then(|| self.span());
                    Source::Elements(of, Box::new(query), every, window)
                }
                _ => Source::Stream(i, Some(self.window())),
            };
        }
        match self.random.below(13) {
            0..=2 => Source::Table(i),
            12 if self.versions => Source::Versions,
            3 if depth > 1 => Source::Derived(Box::new(Query::Select(Box::new(self.select(1))))),
            4 | 5 if !self.views.is_empty() => Source::View(self.random.below(self.views.len())),
            6 => Source::Stream(i, Some(Window::Unbounded)),
            7..=9 => self.assigned(),
            _ => Source::Stream(i, None),
        }
    }

    /// A view that an EVENT query may read.
    fn readable_view(&self) -> Option<usize> {
        // One on the ARRIVAL clock is as it was when the instant was released.
        let readable = |v: &View| v.query.event_clock() || (self.tables && !self.corrected);
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

    /// A window of a span of time.
    fn span(&mut self) -> Window {
        let unit = self.times.unit();
        let size = self.random.between(1, 8) * unit;
        match self.random.below(5) {
            0 => Window::Now,
            1 | 2 => Window::Range(size, false),
            3 => Window::Range(size, true),
            _ => Window::Current(size),
        }
    }

    pub fn window(&mut self) -> Window {
        let unit = self.times.unit();
        let size = self.random.between(1, 8) * unit;
        let count = 1 + self.random.below(4);
        match self.random.below(12) {
            // What the last rows have been is known of the last closed instant alone.
            8.. if self.corrected => Window::Current(size),
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
}

/// The columns of a source under its alias.
pub fn scope(alias: &str, source: &Source, views: &[View]) -> Vec<Column> {
    let columns = columns(source, views).into_iter();
    columns.map(|(name, of)| Column { sql: format!("{alias}.{name}"), of }).collect()
}
