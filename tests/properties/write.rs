//! Changes as SQL.

use super::change::Change;
use super::query::{Expr, Times};
use super::value::{Row, Value};
use super::world::Input;

/// A change as a statement.
pub fn statement(change: &Change, times: Times) -> String {
    let values = |rows: &[Row], times: Option<(usize, Times)>| -> String {
        let rows = rows.iter().map(|row| format!("({})", literals(row, times)));
        rows.collect::<Vec<_>>().join(", ")
    };
    match change {
        Change::Rows(i, rows) => {
            format!("INSERT INTO s{i} VALUES {}", values(rows, Some((0, times))))
        }
        Change::Heartbeat(Input::Stream(i), at) => {
            format!("ALTER STREAM s{i} HEARTBEAT {}", times.instant(*at))
        }
        Change::Heartbeat(Input::Versions, at) => {
            format!("ALTER TABLE p0 HEARTBEAT {}", times.instant(*at))
        }
        Change::Version(row) => format!(
            "INSERT INTO p0 VALUES ({}) ON CONFLICT (id) \
             DO UPDATE SET k = EXCLUDED.k, v = EXCLUDED.v, since = EXCLUDED.since",
            literals(row, Some((3, times)))
        ),
        Change::DeleteVersions(rest) => format!("DELETE FROM p0 WHERE id % 3 = {rest}"),
        Change::Upsert(i, rows) => format!(
            "INSERT INTO t{i} VALUES {} \
             ON CONFLICT (id) DO UPDATE SET k = EXCLUDED.k, v = EXCLUDED.v",
            values(rows, None)
        ),
        Change::Raise(i, by, key) => format!("UPDATE t{i} SET v = v + ({by}) WHERE k = '{key}'"),
        Change::Delete(i, rest) => format!("DELETE FROM t{i} WHERE id % 3 = {rest}"),
    }
}

/// A row as SQL; `time` says where a time stands, and how it is written.
fn literals(row: &Row, time: Option<(usize, Times)>) -> String {
    let literal = |(i, value): (usize, &Value)| match (value, time) {
        (Value::Int(at), Some((place, times))) if i == place => times.instant(*at),
        (value, _) => Expr::Literal(value.clone()).sql(),
    };
    row.iter().enumerate().map(literal).collect::<Vec<_>>().join(", ")
}

/// Rows as the lines that COPY reads.
pub fn lines(rows: &[Row], times: Times) -> String {
    let field = |(i, value): (usize, &Value)| match value {
        Value::Null => "\\N".to_owned(),
        Value::Int(at) if i == 0 => times.text(*at),
        Value::Int(n) => n.to_string(),
        Value::Text(text) => text.clone(),
        other => panic!("{other:?} in a stream"),
    };
    let line = |row: &Row| row.iter().enumerate().map(field).collect::<Vec<_>>().join("\t") + "\n";
    rows.iter().map(line).collect()
}
