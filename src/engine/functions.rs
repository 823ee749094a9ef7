//! The functions of the language and the settings of DataFusion that give them Postgres's meaning.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::{
    FunctionRegistry, SessionState, SessionStateBuilder, SessionStateDefaults,
};
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::prelude::SessionConfig;

use super::budget;
use crate::clock::Clock;
use crate::functions::{clock_timestamp, json_operators};
use crate::planner::coercion::PostgresTypes;
use crate::planner::decorrelate::Decorrelate;
use crate::planner::grouping::EmptyGroupingSets;
use crate::planner::interval_order::IntervalOrder;
use crate::planner::meaning::PostgresMeaning;
use crate::planner::null_safe::{join_keys, join_pairs};
use crate::planner::operators::PostgresOperators;
use crate::planner::zone::SessionTimes;
use crate::planner::{common_type, functions};
use crate::sql::output::style::Style;

/// DataFusion's rules, with ours in the place of two.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let ours: [Arc<dyn OptimizerRule + Send + Sync>; 2] =
        [Arc::new(join_pairs()), Arc::new(join_keys())];
    let replaced = |rule: Arc<dyn OptimizerRule + Send + Sync>| {
        let own = ours.iter().find(|own| own.name() == rule.name());
        own.map_or(rule, Arc::clone)
    };
    Optimizer::new().rules.into_iter().map(replaced).collect()
}

/// Returns the same functions for sessions in a time zone and with a style of times.
pub fn in_zone(functions: &SessionState, zone: &str, style: Style) -> SessionState {
    // The list of catalogs is shared: another default one would take the place of the first.
    let mut config = functions.config().clone().with_create_default_catalog_and_schema(false);
    config.options_mut().extensions.insert(SessionTimes { zone: zone.into(), style });
    SessionStateBuilder::new_from_existing(functions.clone()).with_config(config).build()
}

/// Returns the functions, planners and settings that every statement shares; `clock` is that of
/// `clock_timestamp()`, and `memory_limit` bounds what queries that run once hold.
pub fn session_state(
    threads: usize,
    memory_limit: usize,
    clock: Arc<dyn Clock>,
) -> Result<SessionState> {
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
    // DataFusion takes the input of an aggregate for wrong where it computes IS TRUE: it says of
    // the expression that it is never NULL, and of the comparison that it becomes that it may be.
    options.execution.skip_physical_aggregate_schema_check = true;
    let mut rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(PostgresTypes)];
    rules.extend(Analyzer::new().rules);
    rules.push(Arc::new(PostgresMeaning));
    rules.push(Arc::new(EmptyGroupingSets));
    rules.push(Arc::new(Decorrelate { uncorrelated: false }));
    rules.push(Arc::new(IntervalOrder));
    // DataFusion's planner of subscripts takes all of them for those of arrays.
    let mut planners = vec![json_operators()];
    planners.extend(SessionStateDefaults::default_expr_planners());
    let (config, runtime) = budget::bounded(config, memory_limit)?;
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(Arc::new(runtime))
        .with_default_features()
        .with_expr_planners(planners)
        .with_analyzer_rules(rules)
        .with_optimizer_rules(optimizer_rules())
        .build();
    let operators =
        FunctionRegistry::register_expr_planner(&mut state, Arc::new(PostgresOperators));
    operators.expect("a session's state takes planners");
    let functions = functions::all().into_iter().chain(common_type::functions());
    for function in functions.chain([clock_timestamp(clock)]) {
        let registered = FunctionRegistry::register_udf(&mut state, function);
        registered.expect("a session's state takes functions");
    }
    crate::functions::register(&mut state).expect("a session's state takes functions");
    // The system catalog answers these with our own facts.
    for name in ["version", "current_schema", "session_user", "current_user"] {
        // It may not have been there.
        let _ = FunctionRegistry::deregister_udf(&mut state, name);
    }
    Ok(state)
}
