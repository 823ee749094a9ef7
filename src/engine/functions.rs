//! The functions of the language and the settings of DataFusion that give them Postgres's meaning.

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::execution::{FunctionRegistry, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

use crate::functions;
use crate::planner::decorrelate::Decorrelate;
use crate::planner::grouping::EmptyGroupingSets;
use crate::planner::text_time::TextTimes;

/// Returns the functions, planners and settings that every statement shares.
pub fn session_state(threads: usize) -> SessionState {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads)
        .with_information_schema(false)
        .with_default_catalog_and_schema("highwater", "public");
    let options = config.options_mut();
    options.sql_parser.dialect = datafusion::common::config::Dialect::PostgreSQL;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    options.execution.time_zone = Some("UTC".to_owned());
    options.optimizer.skip_failed_rules = false;
    let mut state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    functions::register(&mut state).expect("names of functions are free");
    state.add_analyzer_rule(Arc::new(TextTimes));
    state.add_analyzer_rule(Arc::new(EmptyGroupingSets));
    state.add_analyzer_rule(Arc::new(Decorrelate { uncorrelated: false }));
    // The system catalog answers these with our own facts.
    for name in ["version", "current_schema", "session_user", "current_user"] {
        // It may not have been there.
        let _ = FunctionRegistry::deregister_udf(&mut state, name);
    }
    state
}
