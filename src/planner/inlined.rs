//! A view that is not maintained: its plan stands where its name stands.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{LogicalPlan, TableSource};

/// The plan of a view, as DataFusion asks for it.
pub(super) struct Inlined {
    plan: LogicalPlan,
    schema: SchemaRef,
}

impl Inlined {
    /// A view with the columns of its definition.
    pub(super) fn new(plan: LogicalPlan, schema: SchemaRef) -> Self {
        Self { plan, schema }
    }
}

impl TableSource for Inlined {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}
