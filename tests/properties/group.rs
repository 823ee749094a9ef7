//! Aggregates and GROUP BY, as trees and as SQL.

use super::query::Expr;

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
    /// `bool_and`.
    BoolAnd,
    /// `bool_or`.
    BoolOr,
    /// `var_samp`, `var_pop`, `stddev_samp`, `stddev_pop`.
    Spread(&'static str),
    /// `string_agg(x, ',' ORDER BY x)`; whether it is descending.
    StringAgg(bool),
    /// `array_agg(x ORDER BY x)`; whether it is descending.
    ArrayAgg(bool),
    /// `percentile_disc(p / 100)`.
    PercentileDisc(usize),
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
    /// Its SQL.
    pub fn sql(&self) -> String {
        let argument = self.argument.as_ref().map_or("*".to_owned(), Expr::sql);
        let plain = if self.distinct { format!("DISTINCT {argument}") } else { argument.clone() };
        let order = |desc: bool| {
            let desc = if desc { " DESC" } else { "" };
            format!(" ORDER BY {argument}{desc}")
        };
        let call = match self.function {
            Function::Count => format!("count({plain})"),
            Function::Sum => format!("sum({plain})"),
            Function::Min => format!("min({plain})"),
            Function::Max => format!("max({plain})"),
            Function::Avg => format!("avg({plain})"),
            Function::BoolAnd => format!("bool_and({plain})"),
            Function::BoolOr => format!("bool_or({plain})"),
            Function::Spread(name) => format!("{name}({plain})"),
            Function::StringAgg(desc) => format!("string_agg({plain}, ','{})", order(desc)),
            Function::ArrayAgg(desc) => format!("array_agg({plain}{})", order(desc)),
            Function::PercentileDisc(percent) => {
                let share = format!("{}.{:02}", percent / 100, percent % 100);
                format!("percentile_disc({share}) WITHIN GROUP (ORDER BY {argument})")
            }
        };
        let filter = self.filter.as_ref();
        let filter = filter.map_or(String::new(), |f| format!(" FILTER (WHERE {})", f.sql()));
        format!("{call}{filter}")
    }
}

/// Which of the keys rows are grouped by.
#[derive(Clone, Debug)]
pub enum Sets {
    /// By all of them.
    All,
    /// `ROLLUP (keys)`: by all, and by all but the last, .., and by none.
    Rollup,
    /// `CUBE (keys)`: by each subset.
    Cube,
    /// `GROUPING SETS`, by the places of the keys.
    These(Vec<Vec<usize>>),
}

/// GROUP BY and HAVING.
#[derive(Clone, Debug)]
pub struct Group {
    /// Keys; they are the first columns of the result.
    pub keys: Vec<Expr>,
    /// Which of them.
    pub sets: Sets,
    /// Aggregates; they are the columns after the keys.
    pub aggregates: Vec<Aggregate>,
    /// `HAVING aggregate op number`.
    pub having: Option<(usize, &'static str, i64)>,
    /// `grouping(keys)`, by their places; the last column of the result.
    pub grouping: Option<Vec<usize>>,
}

impl Group {
    /// The sets of keys, by their places.
    pub fn sets(&self) -> Vec<Vec<usize>> {
        let width = self.keys.len();
        match &self.sets {
            Sets::All => vec![(0..width).collect()],
            Sets::Rollup => (0..=width).map(|n| (0..n).collect()).collect(),
            Sets::Cube => {
                let subset = |bits: usize| (0..width).filter(|i| bits >> i & 1 == 1).collect();
                (0..1 << width).map(subset).collect()
            }
            Sets::These(sets) => sets.clone(),
        }
    }

    /// The columns of the result.
    pub fn items(&self) -> Vec<String> {
        let keys = self.keys.iter().map(Expr::sql);
        let mut items: Vec<String> =
            keys.chain(self.aggregates.iter().map(Aggregate::sql)).collect();
        items.extend(self.grouping.iter().map(|places| {
            let named: Vec<String> = places.iter().map(|i| self.keys[*i].sql()).collect();
            format!("grouping({})", named.join(", "))
        }));
        items
    }

    /// The value of `grouping(keys)` where rows are grouped by a set: a bit for each key that is
    /// not in it, the last key's the lowest.
    pub fn grouping(&self, set: &[usize]) -> Option<i64> {
        let bit = |i: &usize| i64::from(!set.contains(i));
        self.grouping.as_ref().map(|keys| keys.iter().fold(0, |bits, i| 2 * bits + bit(i)))
    }

    /// `GROUP BY` and `HAVING`.
    pub fn sql(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(Expr::sql).collect();
        let all = keys.join(", ");
        let mut text = match &self.sets {
            Sets::All if keys.is_empty() => String::new(),
            Sets::All => format!(" GROUP BY {all}"),
            Sets::Rollup => format!(" GROUP BY ROLLUP ({all})"),
            Sets::Cube => format!(" GROUP BY CUBE ({all})"),
            Sets::These(sets) => {
                let named = |set: &Vec<usize>| -> String {
                    let names: Vec<&str> = set.iter().map(|i| keys[*i].as_str()).collect();
                    format!("({})", names.join(", "))
                };
                let sets: Vec<String> = sets.iter().map(named).collect();
                format!(" GROUP BY GROUPING SETS ({})", sets.join(", "))
            }
        };
        if let Some((i, op, number)) = self.having {
            text.push_str(&format!(" HAVING {} {op} {number}", self.aggregates[i].sql()));
        }
        text
    }
}
