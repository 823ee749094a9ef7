//! Brings types in expressions into the form in which DataFusion plans what Postgres means.
//!
//! | written | planned | because |
//! |---|---|---|
//! | `timestamp`, `timestamptz` | precision 6 | DataFusion's default is nanoseconds |
//! | `timestamp(0)`, `timestamp(3)` | cast to it, then to precision 6 | cut, but kept in µs |
//! | `float` | `double precision` | DataFusion's is 32 bits wide |
//! | `character varying`, `bpchar`, .. | `varchar` | DataFusion knows one name |
//! | `dec` | `decimal` | as above |
//! | `uuid` | `text` | it is kept as text |
//! | `j ->-1` | `j -> -1` | the tokenizer takes `->-` for an operator |
//!
//! Not done: `varchar(n)` does not cut the value, and Arrow cuts where Postgres rounds.

use std::ops::ControlFlow;

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, UnaryOperator,
    VisitMut, VisitorMut,
};

use crate::sql::{Error, Result};

/// Normalizes all expressions of a tree.
pub fn normalize<T: VisitMut>(tree: &mut T) -> Result<()> {
    match tree.visit(&mut Normalizer) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Normalizer;

impl VisitorMut for Normalizer {
    type Break = Box<Error>;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let wanted = match expr {
            Expr::BinaryOp { op, right, .. } => {
                split_minus(op, right);
                return ControlFlow::Continue(());
            }
            Expr::Cast { data_type, .. } => data_type,
            Expr::TypedString(literal) => &mut literal.data_type,
            _ => return ControlFlow::Continue(()),
        };
        let coarse = match normal_type(wanted) {
            Ok(coarse) => coarse,
            Err(error) => return ControlFlow::Break(Box::new(error)),
        };
        if coarse {
            let DataType::Timestamp(_, zone) = wanted else { return ControlFlow::Continue(()) };
            let fine = DataType::Timestamp(Some(6), *zone);
            let inner = std::mem::replace(expr, Expr::Wildcard(AttachedToken::empty()));
            *expr = Expr::Cast {
                kind: CastKind::Cast,
                expr: Box::new(inner),
                data_type: fine,
                array: false,
                format: None,
            };
        }
        ControlFlow::Continue(())
    }
}

/// Gives the minus of `->-` and `->>-` to the right side.
fn split_minus(op: &mut BinaryOperator, right: &mut Expr) {
    let BinaryOperator::Custom(text) = op else { return };
    *op = match text.as_str() {
        "->-" => BinaryOperator::Arrow,
        "->>-" => BinaryOperator::LongArrow,
        _ => return,
    };
    let positive = Box::new(std::mem::replace(right, Expr::Wildcard(AttachedToken::empty())));
    *right = Expr::UnaryOp { op: UnaryOperator::Minus, expr: positive };
}

/// Replaces a type; returns whether it is a timestamp coarser than microseconds.
fn normal_type(data_type: &mut DataType) -> Result<bool> {
    match data_type {
        DataType::Timestamp(precision, _) => match precision {
            None | Some(6..) => *precision = Some(6),
            Some(0 | 3) => return Ok(true),
            Some(other) => {
                return Err(Error::Unsupported {
                    feature: format!("a cast to timestamp({other})"),
                    hint: Some("Use precision 0, 3 or 6.".to_owned()),
                    location: None,
                });
            }
        },
        DataType::Time(precision, _) => *precision = None,
        DataType::Float(ExactNumberInfo::Precision(1..=24)) => *data_type = DataType::Real,
        DataType::Float(_) => *data_type = DataType::DoublePrecision,
        DataType::Dec(info) => *data_type = DataType::Decimal(*info),
        DataType::Character(length)
        | DataType::CharacterVarying(length)
        | DataType::CharVarying(length) => *data_type = DataType::Varchar(*length),
        DataType::Uuid => *data_type = DataType::Text,
        DataType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("bpchar") => {
            *data_type = DataType::Varchar(None);
        }
        DataType::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element),
        ) => {
            normal_type(element)?;
        }
        _ => {}
    }
    Ok(false)
}
