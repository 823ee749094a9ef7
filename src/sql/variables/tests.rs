//! What SET takes and SHOW answers.

use super::*;
use crate::error::{Classify, SqlState};

#[track_caller]
fn set(name: &str, value: &str) -> String {
    let mut variables = Variables::default();
    variables.set(name, Some(value)).unwrap_or_else(|error| panic!("{name} = {value}: {error}"));
    variables.get(name).unwrap()
}

#[track_caller]
fn refused(name: &str, value: &str) -> Error {
    Variables::default().set(name, Some(value)).expect_err(value)
}

#[test]
fn names_are_unique_and_sorted() {
    let names: Vec<String> = VARIABLES.iter().map(|v| v.name.to_ascii_lowercase()).collect();
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(names, sorted);
}

#[test]
fn defaults_are_canonical() {
    for variable in VARIABLES.iter().filter(|variable| variable.check != Check::Fixed) {
        let canonical = variable.check.canonical(variable, variable.default).unwrap();
        assert_eq!(canonical, variable.default, "{}", variable.name);
        assert!(variable.doc.ends_with('.'), "{}", variable.name);
    }
}

#[test]
fn values_are_kept_in_their_canonical_spelling() {
    for (name, value, expected) in [
        ("TIMEZONE", "utc", "UTC"),
        ("timezone", "europe/berlin", "Europe/Berlin"),
        ("timezone", "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("timezone", "america/port_of_spain", "America/Port_of_Spain"),
        ("timezone", "-8", "-08:00"),
        ("timezone", "+5:30", "+05:30"),
        ("datestyle", "iso, dmy", "ISO, DMY"),
        ("datestyle", "ISO", "ISO, MDY"),
        ("client_encoding", "utf-8", "UTF8"),
        ("statement_timeout", "5000", "5s"),
        ("statement_timeout", "1500 ms", "1500ms"),
        ("statement_timeout", "1.5s", "1500ms"),
        ("statement_timeout", "2h", "2h"),
        ("statement_timeout", "0", "0"),
        ("default_transaction_read_only", "TRUE", "on"),
        ("synchronous_commit", "false", "off"),
        ("unbounded_state", "Refuse", "refuse"),
        ("transaction_isolation", "serializable", "read committed"),
        ("search_path", "Lab ,\"Öl\", public", "lab, \"Öl\", public"),
        ("extra_float_digits", "3", "3"),
        ("work_mem", "64MB", "64MB"),
        ("my.app", "X", "X"),
    ] {
        assert_eq!(set(name, value), expected, "{name} = {value}");
    }
}

#[test]
fn values_that_mean_nothing_are_refused() {
    for (name, value) in [
        ("timezone", "Mars/Olympus"),
        ("timezone", "99"),
        ("timezone", ""),
        ("datestyle", "Roman"),
        ("client_encoding", "latin1"),
        ("statement_timeout", "-1"),
        ("statement_timeout", "5 fortnights"),
        ("statement_timeout", "99999999999999"),
        ("unbounded_state", "maybe"),
        ("subscribe_buffer", "0"),
        ("standard_conforming_strings", "off"),
        ("extra_float_digits", "4"),
        ("transaction_isolation", "chaos"),
    ] {
        let error = refused(name, value);
        assert_eq!(error.sqlstate(), SqlState::INVALID_PARAMETER_VALUE, "{name} = {value}");
        assert!(error.hint().is_some(), "{name}");
    }
    let error = refused("unbounded_state", "maybe");
    assert_eq!(error.to_string(), "invalid value for parameter \"unbounded_state\": \"maybe\"");
}

#[test]
fn unknown_names_and_facts_are_refused() {
    let error = refused("foo", "1");
    assert_eq!(error.sqlstate(), SqlState::UNDEFINED_OBJECT);
    assert_eq!(error.to_string(), "unrecognized configuration parameter \"foo\"");
    assert!(Variables::default().get("foo").is_err());
    assert!(Variables::default().get("my.foo").is_err());
    assert!(Variables::default().reset("foo").is_err());
    let error = refused("server_version", "16");
    assert_eq!(error.to_string(), "parameter \"server_version\" cannot be changed");
    assert!(Variables::default().reset("server_version").is_err());
}

#[test]
fn transaction_that_rolls_back_takes_its_settings_with_it() {
    let mut variables = Variables::default();
    variables.set("application_name", Some("a")).unwrap();
    variables.begin();
    variables.set("application_name", Some("b")).unwrap();
    variables.set_local("work_mem", Some("1MB")).unwrap();
    assert_eq!(variables.get("work_mem").unwrap(), "1MB");
    variables.rollback();
    assert_eq!(variables.get("application_name").unwrap(), "a");
    assert_eq!(variables.get("work_mem").unwrap(), "4MB");
}

#[test]
fn local_ends_with_the_transaction_and_yields_to_set() {
    let mut variables = Variables::default();
    variables.begin();
    variables.set_local("application_name", Some("local")).unwrap();
    variables.set("application_name", Some("session")).unwrap();
    variables.set_local("unbounded_state", Some("allow")).unwrap();
    assert_eq!(variables.get("application_name").unwrap(), "session");
    assert_eq!(variables.unbounded_state(), UnboundedState::Allow);
    variables.commit();
    assert_eq!(variables.get("application_name").unwrap(), "session");
    assert_eq!(variables.unbounded_state(), UnboundedState::Warn);
}

#[test]
fn reset_goes_back_to_what_the_client_came_with() {
    let mut variables = Variables::default();
    variables.set_startup("application_name", "psql").unwrap();
    variables.set_startup("server_version", "99").unwrap();
    variables.set_startup("unknown", "1").unwrap();
    assert!(variables.set_startup("timezone", "Mars").is_err());
    variables.set("application_name", Some("x")).unwrap();
    variables.reset("application_name").unwrap();
    assert_eq!(variables.get("application_name").unwrap(), "psql");
    variables.set("application_name", Some("x")).unwrap();
    variables.set("application_name", None).unwrap();
    assert_eq!(variables.get("Application_Name").unwrap(), "psql");
    variables.set("my.x", Some("1")).unwrap();
    variables.reset_all();
    assert!(variables.get("my.x").is_err());
    assert_eq!(variables.get("server_version").unwrap(), "15.14 (Highwater 0.1.0)");
}

#[test]
fn settings_are_read_in_their_own_types() {
    let mut variables = Variables::default();
    assert_eq!(variables.search_path(), ["$user", "public"]);
    assert_eq!(variables.statement_timeout_ms(), 0);
    assert_eq!(variables.subscribe_buffer_bytes(), 64 << 20);
    assert!(variables.synchronous_commit());
    variables.set("statement_timeout", Some("2min")).unwrap();
    variables.set("synchronous_commit", Some("off")).unwrap();
    assert_eq!(variables.statement_timeout_ms(), 120_000);
    assert!(!variables.synchronous_commit());
    variables.set_fact("session_authorization", "ada");
    assert_eq!(variables.get("session_authorization").unwrap(), "ada");
}

#[test]
fn clients_are_told_what_postgres_tells_them() {
    let variables = Variables::default();
    let told: Vec<&str> = variables.reported().map(|(name, _)| name).collect();
    for name in [
        "application_name",
        "client_encoding",
        "DateStyle",
        "TimeZone",
        "IntervalStyle",
        "standard_conforming_strings",
        "server_version",
        "server_encoding",
        "integer_datetimes",
        "is_superuser",
        "session_authorization",
        "in_hot_standby",
        "default_transaction_read_only",
    ] {
        assert!(told.contains(&name), "{name}");
    }
}
