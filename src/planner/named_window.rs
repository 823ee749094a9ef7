//! WINDOW: a window that another one extends.
//!
//! # Semantics
//! `OVER (w ORDER BY y)` has the partition and the order of `w`, and adds to them. DataFusion knows
//! `OVER w` only, and leaves out what `w` says where something is added.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, NamedWindowExpr, Select, VisitMut, VisitorMut, WindowSpec, WindowType};

use crate::sql::Exclude;
use crate::sql::names::fold;

/// Spells out the named windows that windows of a SELECT extend.
pub(super) fn extend(select: &mut Select) {
    if select.named_window.is_empty() {
        return;
    }
    let mut named = Named(Vec::new());
    for definition in &mut select.named_window {
        if let NamedWindowExpr::WindowSpec(spec) = &mut definition.1 {
            named.extend(spec);
            named.0.push((fold(&definition.0), spec.clone()));
        }
    }
    let definitions = std::mem::take(&mut select.named_window);
    let _ = VisitMut::visit(select, &mut named);
    select.named_window = definitions;
}

/// Windows by their names.
struct Named(Vec<(String, WindowSpec)>);

impl Named {
    fn extend(&self, spec: &mut WindowSpec) {
        let Some(name) = &spec.window_name else { return };
        let name = fold(name);
        let Some((_, base)) = self.0.iter().find(|(known, _)| *known == name) else { return };
        let is_mark = |expr: &&Expr| Exclude::of_expr(expr).is_some();
        let own = spec.partition_by.iter().filter(|expr| !is_mark(expr)).count();
        // What both say stays as it is written, and is an error of the planner.
        if own == 0 && (spec.order_by.is_empty() || base.order_by.is_empty()) {
            spec.window_name = None;
            let partition = base.partition_by.iter().filter(|expr| !is_mark(expr));
            spec.partition_by.extend(partition.cloned());
            if spec.order_by.is_empty() {
                spec.order_by.clone_from(&base.order_by);
            }
        }
    }
}

impl VisitorMut for Named {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let Some(WindowType::WindowSpec(spec)) = &mut function.over
        {
            self.extend(spec);
        }
        ControlFlow::Continue(())
    }
}
