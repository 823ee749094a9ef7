//! The list of GROUP BY, where DataFusion reads less of it than Postgres.
//!
//! | written                               | stands for                              |
//! |---------------------------------------|-----------------------------------------|
//! | `()`                                  | `GROUPING SETS (())`                    |
//! | `GROUPING SETS (ROLLUP (a, b), c)`    | `GROUPING SETS ((a, b), (a), (), (c))`  |
//! | `DISTINCT ROLLUP (a), GROUPING SETS (a, ())` | all sets of the product, each once |

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Value};

use super::rows::plain_name;
use crate::sql::DISTINCT_MARK;

/// Brings the list of a SELECT into what DataFusion reads.
pub(super) fn spell_out(group_by: &mut GroupByExpr) {
    let GroupByExpr::Expressions(groups, _) = group_by else { return };
    let marked = groups.len();
    groups.retain(|group| !is_mark(group));
    let distinct = groups.len() < marked;
    for group in groups.iter_mut() {
        let nested = matches!(group, Expr::GroupingSets(lists)
            if lists.iter().any(|list| nested(list).is_some()));
        let empty = matches!(group, Expr::Tuple(keys) if keys.is_empty());
        if nested || empty {
            *group = Expr::GroupingSets(sets(group));
        }
    }
    let of_sets =
        |group: &Expr| matches!(group, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_));
    if distinct && groups.iter().any(of_sets) {
        let mut product: Vec<Vec<Expr>> = vec![vec![]];
        for group in groups.iter() {
            let sets = sets(group);
            let with = |before: &Vec<Expr>| {
                let before = before.clone();
                sets.clone().into_iter().map(move |set| [before.clone(), set].concat())
            };
            product = product.iter().flat_map(with).collect();
        }
        let mut once: Vec<Vec<Expr>> = Vec::new();
        let within = |set: &[Expr], of: &[Expr]| set.iter().all(|key| of.contains(key));
        for set in product {
            if !once.iter().any(|known| within(&set, known) && within(known, &set)) {
                once.push(set);
            }
        }
        *groups = vec![Expr::GroupingSets(once)];
    }
}

fn is_mark(group: &Expr) -> bool {
    matches!(group, Expr::Value(value)
        if matches!(&value.value, Value::SingleQuotedString(text) if text == DISTINCT_MARK))
}

/// The grouping sets that an element of the list stands for.
fn sets(group: &Expr) -> Vec<Vec<Expr>> {
    match group {
        Expr::GroupingSets(lists) => lists
            .iter()
            .flat_map(|list| nested(list).unwrap_or_else(|| vec![list.clone()]))
            .collect(),
        Expr::Rollup(items) => rollup(items),
        Expr::Cube(items) => cube(items),
        Expr::Tuple(keys) => vec![keys.clone()],
        key => vec![vec![key.clone()]],
    }
}

/// The sets of a ROLLUP or CUBE that stands among grouping sets, where sqlparser takes it for a
/// call of a function.
fn nested(list: &[Expr]) -> Option<Vec<Vec<Expr>>> {
    let [Expr::Function(call)] = list else { return None };
    let FunctionArguments::List(list) = &call.args else { return None };
    let item = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Tuple(keys))) => Some(keys.clone()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Nested(key))) => {
            Some(vec![key.as_ref().clone()])
        }
        FunctionArg::Unnamed(FunctionArgExpr::Expr(key)) => Some(vec![key.clone()]),
        _ => None,
    };
    let items: Option<Vec<Vec<Expr>>> = list.args.iter().map(item).collect();
    match plain_name(&call.name)?.as_str() {
        "rollup" => items.map(|items| rollup(&items)),
        "cube" => items.map(|items| cube(&items)),
        _ => None,
    }
}

fn rollup(items: &[Vec<Expr>]) -> Vec<Vec<Expr>> {
    (0..=items.len()).rev().map(|length| items[..length].concat()).collect()
}

/// Every choice of the items, those with the first ones first.
fn cube(items: &[Vec<Expr>]) -> Vec<Vec<Expr>> {
    match items.split_first() {
        None => vec![vec![]],
        Some((first, rest)) => {
            let rest = cube(rest);
            let with = rest.iter().map(|set| [first.clone(), set.clone()].concat());
            with.chain(rest.clone()).collect()
        }
    }
}
