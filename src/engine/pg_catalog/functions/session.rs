//! The session, the server and what one may do there.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::{Function, int_arg, text_arg};
use crate::engine::pg_catalog::server::UTF8;
use crate::engine::pg_catalog::view::CatalogView;

/// What `version()` says; clients read the number behind the first word.
const VERSION: &str = concat!(
    "PostgreSQL 15.14 (Highwater ",
    env!("CARGO_PKG_VERSION"),
    "), compiled by rustc, 64-bit"
);

/// Functions that say yes: there are no privileges to withhold, and locks are nobody's.
const GRANTED: [&str; 16] = [
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_function_privilege",
    "has_language_privilege",
    "has_schema_privilege",
    "has_sequence_privilege",
    "has_server_privilege",
    "has_table_privilege",
    "has_tablespace_privilege",
    "has_type_privilege",
    "pg_has_role",
    "pg_try_advisory_lock",
    "pg_try_advisory_xact_lock",
    "pg_advisory_unlock",
    "pg_relation_is_publishable",
];

/// Functions that say no.
const DENIED: [&str; 5] = [
    "pg_is_in_recovery",
    "pg_is_other_temp_schema",
    "pg_is_wal_replay_paused",
    "pg_jit_available",
    "row_security_active",
];

/// Functions that return nothing.
const VOID: [&str; 5] = [
    "pg_advisory_lock",
    "pg_advisory_unlock_all",
    "pg_advisory_xact_lock",
    "pg_notify",
    "pg_stat_reset",
];

pub(super) fn functions(view: &Arc<dyn CatalogView>) -> Vec<Function> {
    let identity = || {
        let view = Arc::clone(view);
        move || view.identity()
    };
    let (database, user, session_user) = (identity(), identity(), identity());
    let (schema, schemas, pid) = (identity(), identity(), identity());
    let mut functions = vec![
        Function::text("version", |_| Some(VERSION.to_owned())),
        Function::text("current_database", move |_| Some(database().database)),
        Function::text("session_user", move |_| Some(session_user().user)),
        Function::text("current_user", move |_| Some(user().user)),
        Function::text("current_schema", move |_| schema().search_path.into_iter().next()),
        Function::new("current_schemas", DataType::new_list(DataType::Utf8, true), move |args| {
            let implicit = matches!(args.first(), Some(ScalarValue::Boolean(Some(true))));
            let implicit = implicit.then(|| "pg_catalog".to_owned());
            let names = implicit.into_iter().chain(schemas().search_path);
            let names: Vec<_> = names.map(ScalarValue::from).collect();
            Ok(ScalarValue::List(ScalarValue::new_list_nullable(&names, &DataType::Utf8)))
        }),
        Function::int4("pg_backend_pid", move |_| Some(pid().pid.cast_unsigned())),
        Function::int4("pg_my_temp_schema", |_| Some(0)),
        Function::text("getdatabaseencoding", |_| Some("UTF8".to_owned())),
        Function::text("pg_client_encoding", |_| Some("UTF8".to_owned())),
        Function::text("pg_encoding_to_char", |args| {
            Some(if int_arg(args, 0)? == i64::from(UTF8) { "UTF8" } else { "" }.to_owned())
        }),
        Function::int4("pg_char_to_encoding", |args| {
            let name = text_arg(args, 0)?.to_uppercase().replace('-', "");
            Some(if name == "UTF8" { UTF8.cast_unsigned() } else { u32::MAX })
        }),
        Function::int8("txid_current", |_| Some(1)),
        Function::int8("pg_stat_get_numscans", |_| Some(0)),
    ];
    functions.extend(of_settings(view));
    functions.extend(of_server(view));
    functions.extend(GRANTED.map(|name| Function::boolean(name, |_| Some(true))));
    functions.extend(DENIED.map(|name| Function::boolean(name, |_| Some(false))));
    functions.extend(VOID.map(|name| Function::text(name, |_| Some(String::new()))));
    functions
}

fn of_settings(view: &Arc<dyn CatalogView>) -> Vec<Function> {
    let view = Arc::clone(view);
    let current = move |args: &[ScalarValue]| {
        let name = text_arg(args, 0)?;
        let settings = view.settings();
        let setting = settings.into_iter().find(|s| s.name.eq_ignore_ascii_case(&name))?;
        Some(setting.value)
    };
    vec![
        Function::text("current_setting", current),
        // Not supported: the setting keeps its value; SET changes it.
        Function::text("set_config", |args| text_arg(args, 1)),
    ]
}

fn of_server(view: &Arc<dyn CatalogView>) -> Vec<Function> {
    let (started, loaded) = (Arc::clone(view), Arc::clone(view));
    let (canceling, terminating) = (Arc::clone(view), Arc::clone(view));
    let pid = |args: &[ScalarValue]| int_arg(args, 0).and_then(|pid| i32::try_from(pid).ok());
    vec![
        Function::instant("pg_postmaster_start_time", move || started.started()),
        Function::instant("pg_conf_load_time", move || loaded.started()),
        Function::boolean("pg_cancel_backend", move |args| Some(canceling.cancel(pid(args)?)))
            .with_effect(),
        Function::boolean("pg_terminate_backend", move |args| {
            Some(terminating.terminate(pid(args)?))
        })
        .with_effect(),
    ]
}
