//! Arrays and patterns that DataFusion writes another way.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArguments, VisitorMut};

use super::{expression, literal, text};

/// The rule.
pub(super) struct Arrays;

impl VisitorMut for Arrays {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
                let escape = escape_char.take().and_then(|escape| escape.value.into_string());
                if let Some(escape) = escape.filter(|escape| escape != "\\" && !escape.is_empty()) {
                    **pattern = escaped(pattern, &escape);
                }
            }
            Expr::Function(function) => {
                if let Some(replaced) = replace(function) {
                    *expr = replaced;
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Returns a pattern whose escape character is the backslash.
fn escaped(pattern: &Expr, escape: &str) -> Expr {
    match literal(pattern) {
        Some(literal) => text(&literal.replace(escape, "\\")),
        None => expression(&format!("replace({pattern}, {}, '\\')", text(escape))),
    }
}

fn replace(function: &mut Function) -> Option<Expr> {
    let name = function.name.0.last()?.as_ident()?.value.to_lowercase();
    let FunctionArguments::List(arguments) = &mut function.args else { return None };
    match name.as_str() {
        "generate_subscripts" => {
            let FunctionArg::Unnamed(array) = arguments.args.first()? else { return None };
            let length = format!("CAST(coalesce(array_length({array}, 1), 0) AS BIGINT)");
            Some(expression(&format!("unnest(generate_series(1, {length}))")))
        }
        "coalesce" => {
            let empty = |argument: &FunctionArg| argument.to_string() == "'{}'";
            if !arguments.args.iter().any(empty) {
                return None;
            }
            // The empty array takes the type of the others only if it has none itself.
            let others = arguments.args.iter().filter(|argument| !empty(argument));
            let others: Vec<String> = others.map(ToString::to_string).collect();
            Some(expression(&format!("coalesce({}, make_array())", others.join(", "))))
        }
        _ => None,
    }
}
