//! All variables, by name.

use super::{Check, Variable};

/// All variables, by name.
pub const VARIABLES: &[Variable] = &[
    told("application_name", "", Check::Text, "Names the client in pg_stat_activity."),
    ignored("backslash_quote", "safe_encoding"),
    ours("bytea_output", "hex", Check::Enum(&["hex"]), "How bytea is printed."),
    ignored("check_function_bodies", "on"),
    told("client_encoding", "UTF8", Check::Encoding, "The encoding of text on the wire."),
    ours(
        "client_min_messages",
        "notice",
        Check::Enum(&[
            "debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error",
        ]),
        "The least level of messages that are sent to the client.",
    ),
    ignored("constraint_exclusion", "partition"),
    ignored("cursor_tuple_fraction", "0.1"),
    told("DateStyle", "ISO, MDY", Check::DateStyle, "How dates are printed and read."),
    ignored("default_statistics_target", "100"),
    ignored("default_table_access_method", "heap"),
    ignored("default_tablespace", ""),
    ignored("default_text_search_config", "pg_catalog.english"),
    ignored("default_transaction_deferrable", "off"),
    ours(
        "default_transaction_isolation",
        "read committed",
        Check::Isolation,
        "The isolation of new transactions.",
    ),
    told(
        "default_transaction_read_only",
        "off",
        Check::Bool,
        "Whether new transactions may only read.",
    ),
    ignored("default_with_oids", "off"),
    ignored("effective_cache_size", "4GB"),
    ignored("enable_bitmapscan", "on"),
    ignored("enable_hashagg", "on"),
    ignored("enable_hashjoin", "on"),
    ignored("enable_indexscan", "on"),
    ignored("enable_mergejoin", "on"),
    ignored("enable_nestloop", "on"),
    ignored("enable_seqscan", "on"),
    ignored("enable_sort", "on"),
    ignored("escape_string_warning", "on"),
    ours(
        "extra_float_digits",
        "1",
        Check::Int(-15, 3),
        "Accepted for compatibility: floats are printed so that they read back exactly.",
    ),
    ignored("force_parallel_mode", "off"),
    ignored("geqo", "on"),
    ours("highwater_version", env!("CARGO_PKG_VERSION"), Check::Fixed, "The server's own version."),
    ours(
        "idle_in_transaction_session_timeout",
        "0",
        Check::Millis,
        "Accepted for compatibility: idle transactions hold no locks.",
    ),
    ignored("idle_session_timeout", "0"),
    told("in_hot_standby", "off", Check::Fixed, "Whether the server only reads."),
    told("integer_datetimes", "on", Check::Fixed, "Times are counted in microseconds."),
    told(
        "IntervalStyle",
        "postgres",
        Check::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]),
        "How intervals are printed.",
    ),
    told("is_superuser", "on", Check::Fixed, "Whether the user may do everything."),
    ignored("jit", "off"),
    ours("lc_collate", "C", Check::Fixed, "Text is ordered by code points."),
    ours("lc_ctype", "C.UTF-8", Check::Fixed, "Which characters are letters."),
    ignored("lc_messages", "C"),
    ignored("lc_monetary", "C"),
    ignored("lc_numeric", "C"),
    ignored("lc_time", "C"),
    ours(
        "lock_timeout",
        "0",
        Check::Millis,
        "Accepted for compatibility: statements take no locks.",
    ),
    ignored("log_min_duration_statement", "-1"),
    ignored("log_statement", "none"),
    ignored("maintenance_work_mem", "64MB"),
    ours("max_identifier_length", "63", Check::Fixed, "Longest name, in bytes."),
    ours("max_index_keys", "32", Check::Fixed, "Most columns of a key."),
    ignored("max_parallel_workers_per_gather", "2"),
    ignored("password_encryption", "scram-sha-256"),
    ignored("plan_cache_mode", "auto"),
    ignored("quote_all_identifiers", "off"),
    ignored("random_page_cost", "4"),
    ignored("row_security", "on"),
    told(
        "search_path",
        "\"$user\", public",
        Check::Names,
        "The schemas in which unqualified names are sought.",
    ),
    ignored("seq_page_cost", "1"),
    told("server_encoding", "UTF8", Check::Fixed, "The encoding of text in the server."),
    told(
        "server_version",
        "15.14 (Highwater 0.1.0)",
        Check::Fixed,
        "What the server speaks and is.",
    ),
    ours("server_version_num", "150014", Check::Fixed, "The version of Postgres it speaks."),
    told("session_authorization", "postgres", Check::Fixed, "The user of the session."),
    ignored("session_replication_role", "origin"),
    ignored("ssl_renegotiation_limit", "0"),
    told(
        "standard_conforming_strings",
        "on",
        Check::Enum(&["on"]),
        "Backslashes in plain strings are plain.",
    ),
    ours(
        "statement_timeout",
        "0",
        Check::Millis,
        "Cancels a statement that runs longer; 0 is never. SUBSCRIBE is exempt.",
    ),
    ours(
        "subscribe_buffer",
        "64MB",
        Check::Bytes,
        "How many bytes of changes may wait for a subscriber before it is cut off.",
    ),
    ignored("synchronize_seqscans", "on"),
    ours(
        "synchronous_commit",
        "on",
        Check::Enum(&["on", "off", "local", "remote_write", "remote_apply"]),
        "Whether a commit waits until it is on disk; only off does not.",
    ),
    ignored("tcp_keepalives_count", "0"),
    ignored("tcp_keepalives_idle", "0"),
    ignored("tcp_keepalives_interval", "0"),
    ignored("temp_buffers", "8MB"),
    told("TimeZone", "UTC", Check::TimeZone, "In which zone timestamptz is printed and read."),
    ignored("transaction_deferrable", "off"),
    ours(
        "transaction_isolation",
        "read committed",
        Check::Isolation,
        "The isolation of the transaction.",
    ),
    ours("transaction_read_only", "off", Check::Bool, "Whether the transaction may only read."),
    ignored("transaction_timeout", "0"),
    ignored("transform_null_equals", "off"),
    ours(
        "unbounded_state",
        "warn",
        Check::Enum(&["allow", "warn", "refuse"]),
        "What becomes of a query whose state grows without bound.",
    ),
    ignored("work_mem", "4MB"),
    ignored("xmlbinary", "base64"),
    ignored("xmloption", "content"),
];

/// A variable that clients are told of.
const fn told(
    name: &'static str,
    default: &'static str,
    check: Check,
    doc: &'static str,
) -> Variable {
    Variable { name, default, check, reported: true, doc }
}

/// A variable that clients are not told of.
const fn ours(
    name: &'static str,
    default: &'static str,
    check: Check,
    doc: &'static str,
) -> Variable {
    Variable { name, default, check, reported: false, doc }
}

/// A variable of Postgres without meaning here.
const fn ignored(name: &'static str, default: &'static str) -> Variable {
    let doc = "Accepted for compatibility; has no effect.";
    Variable { name, default, check: Check::Text, reported: false, doc }
}
