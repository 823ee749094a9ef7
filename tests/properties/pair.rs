//! Draws joins.

use super::change::OBJECTS;
use super::draw::sortable;
use super::generate::{Generator, scope};
use super::query::{Column, Expr, Items, Join, JoinKind, Lateral, Select, Source};
use super::source::columns;
use super::value::{Type, Value};

impl Generator<'_> {
    /// Draws a join of two sources, if they have columns that can be equal.
    pub fn join(&mut self, left: &Source, right: Source) -> Option<Join> {
        use JoinKind::{Exists, Full, In, Inner, Left, Right};
        let kinds =
            [Inner, Inner, Left, Right, Full, Exists(false), Exists(true), In(false), In(true)];
        let scope = self.both(left, &right);
        let mut on = self.equality(left, &scope)?;
        if self.random.chance(35) {
            let (a, b) = (self.int(&scope, 0), self.int(&scope, 0));
            let op = *self.random.pick(&["<", "<=", "<>"]);
            let residual = Expr::Compare(op, Box::new(a), Box::new(b));
            on = Expr::Logic("AND", Box::new(on), Box::new(residual));
        }
        let kind = *self.random.pick(&kinds);
        let comma = kind == Inner && self.random.chance(40);
        Some(Join { kind, source: right, on, comma })
    }

    /// Draws two sources that meet in time: by an interval, or as of a time.
    pub fn meeting(&mut self) -> Option<(Source, Join)> {
        use JoinKind::{AsOf, Exists, Full, Inner, Left, Right, Versions};
        let left = Source::Stream(self.random.below(OBJECTS), None);
        if self.versions && self.random.chance(40) {
            let scope = self.both(&left, &Source::Versions);
            let on =
                Expr::Compare("=", column(&scope, 2 + self.random.below(2)), column(&scope, 4));
            let (kind, comma) = (Versions(self.random.chance(50)), false);
            return Some((left, Join { kind, source: Source::Versions, on, comma }));
        }
        let i = self.random.below(OBJECTS);
        let window = self.random.chance(20).then(|| self.window());
        let right = Source::Stream(i, window);
        let scope = self.both(&left, &right);
        let equality = self.equality(&left, &scope)?;
        let times = [column(&scope, 0), column(&scope, 4)];
        // Times that are equal have no distance.
        let Expr::Compare(_, a, b) = &equality else { unreachable!("an equality compares") };
        if matches!((a.as_ref(), b.as_ref()), (Expr::Column(0, _), Expr::Column(4, _))) {
            return None;
        }
        let (kind, rest) = if self.random.chance(40) {
            let op = *self.random.pick(&[">=", ">=", ">", "<=", "<"]);
            let [a, b] = times;
            (AsOf(self.random.chance(50)), Expr::Compare(op, a, b))
        } else {
            let low = self.random.between(-3, 3);
            let high = low + self.random.between(1, 4);
            let bounds = [low, high].map(|by| by * self.times.unit());
            let kinds = [Inner, Inner, Left, Left, Right, Full, Exists(false), Exists(true)];
            let rest = Expr::Within(Box::new(times.map(|time| *time)), bounds, self.times);
            (*self.random.pick(&kinds), rest)
        };
        let on = Expr::Logic("AND", Box::new(equality), Box::new(rest));
        Some((left, Join { kind, source: right, on, comma: false }))
    }

    /// Draws two tables of which each row of the first goes with the nearest of the second.
    pub fn nearest_rows(&mut self) -> (Source, Join) {
        let (left, right) = (Source::Table(0), Source::Table(1));
        let scope = self.both(&left, &right);
        let equality = Expr::Compare("=", column(&scope, 1), column(&scope, 4));
        let op = *self.random.pick(&[">=", ">", "<=", "<"]);
        let (a, b) = (*self.random.pick(&[0, 2]), *self.random.pick(&[3, 5]));
        let rest = Expr::Compare(op, column(&scope, a), column(&scope, b));
        let on = Expr::Logic("AND", Box::new(equality), Box::new(rest));
        let kind = JoinKind::AsOf(self.random.chance(50));
        (left, Join { kind, source: right, on, comma: false })
    }

    /// Draws what stands behind LATERAL.
    pub fn lateral(&mut self, left: &Source) -> Join {
        let outer = scope("a", left, self.views);
        let lateral = match self.random.below(5) {
            0 => {
                let count = 1 + self.random.below(3);
                let items = (0..count).map(|_| self.int(&outer, 1)).collect();
                Lateral::Unnest(items, self.random.chance(40))
            }
            1 => {
                let low = Expr::Literal(Value::Int(self.random.between(-1, 2)));
                Lateral::Series(low, self.int(&outer, 0))
            }
            _ => self.lateral_query(&outer),
        };
        let kind = if self.random.chance(40) { JoinKind::Left } else { JoinKind::Inner };
        let (on, comma) = (Expr::Literal(Value::Bool(true)), self.random.chance(40));
        Join { kind, source: Source::Lateral(Box::new(lateral)), on, comma }
    }

    fn lateral_query(&mut self, outer: &[Column]) -> Lateral {
        let source = self.source(1);
        let inner = scope("c", &source, self.views);
        let all = [outer, &inner].concat();
        // Of a type that is not drawn from.
        let hidden = outer.iter().map(|column| Column { of: Type::Shown, ..column.clone() });
        let own: Vec<Column> = hidden.chain(inner.iter().cloned()).collect();
        let filter = self.correlation(outer, &inner).filter(|_| self.random.chance(85));
        let mut types = Vec::new();
        let count = 1 + self.random.below(2);
        if self.random.chance(40) {
            let items = (0..count).map(|_| {
                let (aggregate, of) = self.aggregate(&own);
                types.push(of);
                aggregate
            });
            let items = Items::Aggregates(items.collect());
            return Lateral::Select { source, filter, items, types, limit: None };
        }
        let limit = self.random.chance(30).then(|| 1 + self.random.below(2));
        let items = (0..count).map(|_| {
            let of = *self.random.pick(&[Type::Int, Type::Text]);
            types.push(of);
            let seen = if limit.is_some() || self.random.chance(70) { &own } else { &all };
            self.expr(seen, of, 1)
        });
        let items = Items::Exprs(items.collect());
        Lateral::Select { source, filter, items, types, limit }
    }

    /// An equality of a column outside and one inside, where the latter stand behind the former.
    pub fn correlation(&mut self, outer: &[Column], inner: &[Column]) -> Option<Expr> {
        let both = [outer, inner].concat();
        let mut pairs = Vec::new();
        for i in 0..outer.len() {
            for j in outer.len()..both.len() {
                if both[i].of == both[j].of && matches!(both[i].of, Type::Int | Type::Text) {
                    pairs.push((i, j));
                }
            }
        }
        let (i, j) = *(!pairs.is_empty()).then(|| self.random.pick(&pairs))?;
        Some(Expr::Compare("=", column(&both, j), column(&both, i)))
    }

    /// An equality of a column of the left source and one of the right.
    fn equality(&mut self, left: &Source, scope: &[Column]) -> Option<Expr> {
        let width = columns(left, self.views).len();
        let mut pairs = Vec::new();
        for i in 0..width {
            for j in width..scope.len() {
                if scope[i].of == scope[j].of && sortable(scope[i].of) {
                    pairs.push((i, j));
                }
            }
        }
        pairs.retain(|(i, _)| scope[*i].of != Type::Time || self.random.chance(15));
        let (i, j) = *(!pairs.is_empty()).then(|| self.random.pick(&pairs))?;
        Some(Expr::Compare("=", column(scope, i), column(scope, j)))
    }

    fn both(&self, left: &Source, right: &Source) -> Vec<Column> {
        [scope("a", left, self.views), scope("b", right, self.views)].concat()
    }

    /// The columns that a SELECT from these sources may name.
    pub fn scope(&self, from: &Source, join: Option<&Join>) -> Vec<Column> {
        let shown = join.filter(|j| j.kind.shows_right());
        let right = shown.map(|j| scope("b", &j.source, self.views)).unwrap_or_default();
        [scope("a", from, self.views), right].concat()
    }

    /// The same for a SELECT.
    pub fn scope_of(&self, select: &Select) -> Vec<Column> {
        self.scope(&select.from, select.join.as_ref())
    }
}

fn column(scope: &[Column], i: usize) -> Box<Expr> {
    Box::new(Expr::Column(i, scope[i].sql.clone()))
}
