//! Draws random expressions, aggregates and calls with OVER.

use super::generate::Generator;
use super::group::{Aggregate, Function, Group, Sets};
use super::over::{Call, Frame, Over};
use super::query::{Column, Expr};
use super::value::{Type, Value};

impl Generator<'_> {
    /// Draws GROUP BY; adds the types of its columns.
    pub fn group(&mut self, scope: &[Column], types: &mut Vec<Type>) -> Group {
        let mut keys = Vec::new();
        let count = *self.random.pick(&[0, 1, 1, 1, 2]);
        for _ in 0..count {
            let (key, of) = self.key(scope);
            keys.push(key);
            types.push(of);
        }
        let sets = if self.random.chance(25) { self.sets(&keys) } else { Sets::All };
        let (aggregates, having) = self.aggregates(scope, types);
        let grouping = (!matches!(sets, Sets::All) && self.random.chance(40)).then(|| {
            types.push(Type::Int);
            let mut places: Vec<usize> = (0..keys.len()).collect();
            self.random.shuffle(&mut places);
            places.truncate(1 + self.random.below(keys.len()));
            places
        });
        Group { keys, sets, aggregates, having, grouping }
    }

    /// Sets of keys, if these are columns and all are different.
    fn sets(&mut self, keys: &[Expr]) -> Sets {
        let column = |key: &Expr| match key {
            Expr::Column(i, _) => Some(*i),
            _ => None,
        };
        let columns: Vec<Option<usize>> = keys.iter().map(column).collect();
        let twice = columns.len() == 2 && columns[0] == columns[1];
        if columns.is_empty() || columns.contains(&None) || twice {
            return Sets::All;
        }
        match self.random.below(3) {
            0 => Sets::Rollup,
            1 => Sets::Cube,
            _ => {
                // Every key is in one of them.
                let mut sets = vec![(0..keys.len()).collect()];
                for _ in 0..1 + self.random.below(2) {
                    let set = (0..keys.len()).filter(|_| self.random.chance(50)).collect();
                    sets.push(set);
                }
                self.random.shuffle(&mut sets);
                Sets::These(sets)
            }
        }
    }

    pub fn key(&mut self, scope: &[Column]) -> (Expr, Type) {
        let plain: Vec<usize> = (0..scope.len()).filter(|i| sortable(scope[*i].of)).collect();
        if plain.is_empty() || self.random.chance(20) {
            let of = *self.random.pick(&[Type::Int, Type::Text]);
            return (self.no_literal(scope, of), of);
        }
        let i = *self.random.pick(&plain);
        (Expr::Column(i, scope[i].sql.clone()), scope[i].of)
    }

    pub fn aggregates(
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

    pub fn aggregate(&mut self, scope: &[Column]) -> (Aggregate, Type) {
        let distinct = self.random.chance(25);
        let filter = self.random.chance(20).then(|| self.bool(scope, 1));
        let desc = self.random.chance(50);
        let (function, argument, of) = match self.random.below(13) {
            0..=2 => (Function::Count, None, Type::Int),
            3 => {
                let of = *self.random.pick(&[Type::Int, Type::Text]);
                (Function::Count, Some(self.expr(scope, of, 1)), Type::Int)
            }
            4 | 5 => (Function::Sum, Some(self.int(scope, 1)), Type::Int),
            6 => (Function::Avg, Some(self.int(scope, 1)), Type::Real),
            7 => {
                let names = ["var_samp", "var_pop", "stddev_samp", "stddev_pop"];
                let name = self.random.pick(&names);
                (Function::Spread(name), Some(self.int(scope, 1)), Type::Real)
            }
            8 => (Function::StringAgg(desc), Some(self.no_literal(scope, Type::Text)), Type::Text),
            9 => (Function::ArrayAgg(desc), Some(self.no_literal(scope, Type::Int)), Type::Shown),
            10 => {
                let function = if desc { Function::BoolAnd } else { Function::BoolOr };
                (function, Some(self.bool(scope, 1)), Type::Shown)
            }
            11 => {
                let of = *self.random.pick(&[Type::Int, Type::Text]);
                let percent = *self.random.pick(&[0, 25, 50, 90, 100]);
                (Function::PercentileDisc(percent), Some(self.no_literal(scope, of)), of)
            }
            _ => {
                let of = *self.random.pick(&[Type::Int, Type::Text]);
                let function = if desc { Function::Min } else { Function::Max };
                (function, Some(self.expr(scope, of, 1)), of)
            }
        };
        let percentile = matches!(function, Function::PercentileDisc(_));
        let distinct = distinct && argument.is_some() && !percentile;
        (Aggregate { function, argument, distinct, filter }, of)
    }

    /// Draws a call with OVER. `in_time` says that ties of the first column are in order of
    /// arrival.
    pub fn over(&mut self, scope: &[Column], in_time: bool) -> (Over, Type) {
        let of = *self.random.pick(&[Type::Int, Type::Text]);
        let partition = if self.random.chance(60) { vec![self.key(scope).0] } else { Vec::new() };
        let places: Vec<usize> = (0..scope.len()).filter(|i| sortable(scope[*i].of)).collect();
        // Where rows are told apart, or ties are broken in a known way, the order may count.
        let total = places.len() == scope.len() && self.random.chance(50);
        let by_time = in_time && self.random.chance(60);
        let column = |i: usize| Expr::Column(i, scope[i].sql.clone());
        let mut order: Vec<(Expr, bool)> = if by_time {
            vec![(column(0), false)]
        } else {
            let mut places = places;
            self.random.shuffle(&mut places);
            places.truncate(if total { scope.len() } else { self.random.below(3) });
            places.into_iter().map(|i| (column(i), self.random.chance(40))).collect()
        };
        let (call, of) = match self.random.below(12) {
            0 | 1 if by_time || total => (Call::RowNumber, Type::Int),
            2 | 3 if by_time || total => {
                (Call::Lag(self.expr(scope, of, 1), *self.random.pick(&[-2, -1, 1, 2])), of)
            }
            4 if by_time || total => (Call::First(self.expr(scope, of, 1)), of),
            5 if by_time || total => (Call::Last(self.expr(scope, of, 1)), of),
            6 => (Call::Rank, Type::Int),
            7 => (Call::DenseRank, Type::Int),
            _ => {
                let (aggregate, of) = self.framed(scope);
                (Call::Aggregate(aggregate), of)
            }
        };
        let framed = matches!(call, Call::First(_) | Call::Last(_) | Call::Aggregate(_));
        let distances = order.len() == 1
            && matches!(&order[0].0, Expr::Column(i, _)
                if matches!(scope[*i].of, Type::Int | Type::Time));
        let frame = match self.random.below(4) {
            0 | 1 if framed && (by_time || total) && !order.is_empty() => {
                let (low, high) = self.bounds(1);
                Frame::Rows(low, high)
            }
            2 if framed && distances => {
                let Expr::Column(i, _) = &order[0].0 else { unreachable!("just seen") };
                let of = scope[*i].of;
                let unit = if of == Type::Time { self.times.unit() } else { 1 };
                let (low, high) = self.bounds(unit);
                Frame::Range(low, high, of)
            }
            _ => Frame::Default,
        };
        if order.is_empty() && matches!(call, Call::Rank | Call::DenseRank) {
            order.extend(columns_of(scope, Type::Int).first().map(|i| (column(*i), false)));
        }
        (Over { call, partition, order, frame }, of)
    }

    /// The ends of a frame, the first before the second.
    fn bounds(&mut self, unit: i64) -> (Option<i64>, Option<i64>) {
        let low = self.random.between(-3, 1);
        let high = self.random.between(low, 3);
        let open = |drawn: bool, n: i64| (!drawn).then_some(n * unit);
        (open(self.random.chance(25), low), open(self.random.chance(20), high))
    }

    /// An aggregate that may have a frame.
    fn framed(&mut self, scope: &[Column]) -> (Aggregate, Type) {
        let (mut aggregate, of) = self.aggregate(scope);
        use Function::{ArrayAgg, PercentileDisc, StringAgg};
        aggregate.distinct = false;
        if matches!(aggregate.function, StringAgg(_) | ArrayAgg(_) | PercentileDisc(_)) {
            let (function, argument) = (Function::Sum, Some(self.int(scope, 1)));
            return (Aggregate { function, argument, ..aggregate }, Type::Int);
        }
        (aggregate, of)
    }

    /// An expression that is no literal: that would be the number of a column.
    fn no_literal(&mut self, scope: &[Column], of: Type) -> Expr {
        match self.expr(scope, of, 1) {
            Expr::Literal(one) => {
                Expr::Coalesce(Expr::Literal(one).into(), self.literal(of).into())
            }
            other => other,
        }
    }

    pub fn expr(&mut self, scope: &[Column], of: Type, depth: usize) -> Expr {
        if of == Type::Int { self.int(scope, depth) } else { self.text(scope, depth) }
    }

    pub fn literal(&mut self, of: Type) -> Expr {
        Expr::Literal(match of {
            Type::Text => Value::Text((*self.random.pick(&["a", "b", "c"])).to_owned()),
            Type::Int | Type::Time | Type::Real | Type::Shown => {
                Value::Int(self.random.between(-2, 5))
            }
        })
    }

    /// A column of the type, or a literal.
    pub fn leaf(&mut self, scope: &[Column], of: Type) -> Expr {
        let found = columns_of(scope, of);
        if found.is_empty() || self.random.chance(8) {
            return self.literal(of);
        }
        let i = *self.random.pick(&found);
        Expr::Column(i, scope[i].sql.clone())
    }

    pub fn int(&mut self, scope: &[Column], depth: usize) -> Expr {
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

    pub fn text(&mut self, scope: &[Column], depth: usize) -> Expr {
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

    pub fn bool(&mut self, scope: &[Column], depth: usize) -> Expr {
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

/// The places of the columns of a type.
pub fn columns_of(scope: &[Column], of: Type) -> Vec<usize> {
    (0..scope.len()).filter(|i| scope[*i].of == of).collect()
}

/// Whether columns of a type are compared as SQL does.
pub fn sortable(of: Type) -> bool {
    !matches!(of, Type::Real | Type::Shown)
}
