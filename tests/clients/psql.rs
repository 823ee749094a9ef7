//! psql: its own commands, scripts, and a SUBSCRIBE that is watched.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::outside::{printed, with_program};
use crate::support::server::Server;

fn psql(server: &Server) -> Command {
    let mut command = Command::new("psql");
    command.env("PGCONNECT_TIMEOUT", "30").env("PAGER", "").args(["-X", "-v", "ON_ERROR_STOP=1"]);
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-d", "postgres"]);
    command.args(["-p", &server.postgres().port().to_string()]);
    command
}

/// What psql prints for commands, one after the other.
fn run(server: &Server, commands: &[&str]) -> String {
    let mut psql = psql(server);
    for command in commands {
        psql.args(["-c", command]);
    }
    printed(&psql.output().expect("psql runs"))
}

fn with_objects(test: impl FnOnce(&Server)) {
    with_program("psql", || {
        let server = Server::start();
        let mut client = server.connect();
        client.run("CREATE SCHEMA shop");
        client.run("CREATE TABLE airports (code TEXT PRIMARY KEY, name VARCHAR(40) NOT NULL)");
        client.run(
            "CREATE STREAM flights (ts TIMESTAMP, origin TEXT, delay INTEGER, \
                    WATERMARK FOR ts AS ts - INTERVAL '5 minutes')",
        );
        client
            .run("CREATE VIEW delays AS SELECT origin, avg(delay) AS mean FROM flights GROUP BY 1");
        client.run("CREATE TABLE shop.items (id BIGINT, price NUMERIC(10,2))");
        client.run("INSERT INTO airports VALUES ('JFK', 'Kennedy'), ('LGA', 'La Guardia')");
        test(&server);
    });
}

#[test]
fn backslash_commands_list_what_there_is() {
    with_objects(|server| {
        for (command, expected) in [
            ("\\d", &["airports", "flights", "delays"][..]),
            ("\\dt", &["airports"]),
            ("\\dv", &["delays"]),
            ("\\dt shop.*", &["items"]),
            ("\\dn", &["public", "shop"]),
            ("\\l", &["postgres"]),
            ("\\d airports", &["code", "text", "character varying(40)", "not null"]),
            ("\\d flights", &["ts", "timestamp without time zone", "origin", "delay", "integer"]),
            ("\\d delays", &["origin", "mean"]),
            ("\\d shop.items", &["id", "bigint", "numeric(10,2)"]),
            ("\\du", &["postgres"]),
            ("\\conninfo", &["postgres"]),
            ("\\encoding", &["UTF8"]),
        ] {
            let text = run(server, &[command]);
            for word in expected {
                assert!(text.contains(word), "{command}: {word} is not in\n{text}");
            }
        }
    });
}

#[test]
fn backslash_commands_that_find_nothing_do_not_fail() {
    with_objects(|server| {
        for command in
            ["\\df", "\\di", "\\ds", "\\dm", "\\dT", "\\dx", "\\dp", "\\d+", "\\db", "\\do =="]
        {
            run(server, &[command]);
        }
    });
}

#[test]
fn timing_and_expanded_output_work() {
    with_objects(|server| {
        let text = run(server, &["\\timing on", "SELECT 1 AS one", "\\x on", "SELECT 2 AS two"]);
        assert!(text.contains("Time: "), "{text}");
        assert!(text.contains("two | 2"), "{text}");
    });
}

#[test]
fn copy_goes_both_ways() {
    with_objects(|server| {
        let file = server.scratch().join("airports.csv");
        let path = file.display();
        let out =
            format!("\\copy (SELECT * FROM airports ORDER BY code) TO '{path}' WITH (FORMAT csv)");
        run(server, &[&out, "DELETE FROM airports"]);
        let text = std::fs::read_to_string(&file).expect("psql wrote the file");
        assert_eq!(text, "JFK,Kennedy\nLGA,La Guardia\n");
        let back = format!("\\copy airports FROM '{path}' WITH (FORMAT csv)");
        let text = run(server, &[&back, "SELECT count(*) FROM airports"]);
        assert!(text.contains("COPY 2"), "{text}");
    });
}

#[test]
fn a_script_runs_from_a_file() {
    with_objects(|server| {
        let file = server.scratch().join("script.sql");
        let script = "-- a comment\nBEGIN;\n\
                      INSERT INTO airports VALUES ('EWR', $$Newark; 'Liberty'$$);\n\
                      COMMIT;\nSELECT name FROM airports WHERE code = 'EWR';\n/* another */\n";
        std::fs::write(&file, script).expect("the file can be written");
        let output = psql(server).arg("-f").arg(&file).output().expect("psql runs");
        let text = printed(&output);
        assert!(text.contains("Newark; 'Liberty'"), "{text}");
    });
}

#[test]
fn an_error_points_at_its_place() {
    with_objects(|server| {
        let output = psql(server).args(["-c", "SELECT nothing FROM airports"]).output();
        let text = String::from_utf8_lossy(&output.expect("psql runs").stderr).into_owned();
        let expected = "ERROR:  column \"nothing\" does not exist\n\
                        LINE 1: SELECT nothing FROM airports\n               ^\n";
        assert!(text.starts_with(expected), "{text}");
    });
}

#[test]
fn a_subscription_is_watched_row_by_row() {
    with_objects(|server| {
        let command = "COPY (SUBSCRIBE airports) TO STDOUT";
        let mut child = psql(server)
            .args(["-c", command])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql runs");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let mut next = || lines.next().expect("a line").expect("it is text");
        let mut first = [next(), next()].map(|l| l.split_once('\t').expect("columns").1.to_owned());
        first.sort();
        assert_eq!(first, ["1\tJFK\tKennedy", "1\tLGA\tLa Guardia"]);
        server.connect().run("UPDATE airports SET name = 'Idlewild' WHERE code = 'JFK'");
        let mut changes =
            [next(), next()].map(|l| l.split_once('\t').expect("columns").1.to_owned());
        changes.sort();
        assert_eq!(changes, ["-1\tJFK\tKennedy", "1\tJFK\tIdlewild"]);
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &id]).status().expect("kill runs");
        assert!(sent.success());
        let output = child.wait_with_output().expect("psql ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("canceling statement due to user request"), "{text}");
    });
}
