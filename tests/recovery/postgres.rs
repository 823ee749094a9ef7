//! What goes into PostgreSQL is there once, whoever is killed.

use crate::support::client::Client;
use crate::support::postgres::Postgres;
use crate::support::random::Random;
use crate::support::server::Server;

/// Rounds, each of which ends with a killed server, ours or theirs.
const ROUNDS: u64 = 8;

fn create(client: &mut Client, postgres: &Postgres) {
    let mut theirs = postgres.connect();
    theirs.run("CREATE TABLE totals (k TEXT PRIMARY KEY, total NUMERIC(12, 2), last TIMESTAMPTZ)");
    theirs.run("CREATE TABLE copied (id BIGINT, k TEXT, tags INT[])");
    client.run("CREATE STREAM s (id BIGINT, k TEXT, v NUMERIC(10, 2), at TIMESTAMPTZ)");
    client.run(
        "CREATE VIEW totals AS SELECT k, sum(v)::numeric(12, 2) AS total, max(at) AS last
         FROM s GROUP BY k HAVING count(*) % 3 > 0",
    );
    let address = postgres.address();
    client.run(&format!(
        "CREATE SINK keyed TO POSTGRES '{address}' (table = 'totals') KEY (k)
         WITH (interval = '5 ms') AS SELECT k, total, last FROM totals"
    ));
    client.run(&format!(
        "CREATE SINK plain TO POSTGRES '{address}' (table = 'public.copied')
         WITH (interval = '20 ms') AS SELECT id, k, ARRAY[id, id + 1] AS tags FROM s"
    ));
}

/// What both servers say, which is the same.
fn compare(client: &mut Client, theirs: &mut Client, step: &str) {
    for (ours, other) in [
        ("SELECT k, total, last FROM totals ORDER BY k", "SELECT * FROM totals ORDER BY k"),
        ("SELECT id, k, ARRAY[id, id + 1] FROM s ORDER BY id", "SELECT * FROM copied ORDER BY id"),
    ] {
        client.run("SET TimeZone = 'UTC'");
        theirs.run("SET TimeZone = 'UTC'");
        assert_eq!(theirs.run(other).lines(), client.run(ours).lines(), "{step}: {ours}");
    }
}

#[test]
fn changes_of_a_sink_stand_in_postgres_once() {
    let Some(postgres) = Postgres::start() else { return };
    let mut random = Random::new(5);
    let mut server = Server::start();
    create(&mut server.connect(), &postgres);
    let mut id = 0;
    for round in 0..ROUNDS {
        let mut client = server.connect();
        for _ in 0..random.between(1, 10) {
            let rows = (0..random.between(1, 20)).map(|_| {
                id += 1;
                let k = ["'it''s'", "'b\\c'", "'c'"][id % 3];
                format!("({id}, {k}, {}.25, '2024-05-01 12:00:{:02}+02')", id % 7, id % 60)
            });
            let rows: Vec<String> = rows.collect();
            client.run(&format!("INSERT INTO s VALUES {}", rows.join(", ")));
            if random.chance(20) {
                client.run("FLUSH");
                compare(&mut client, &mut postgres.connect(), &format!("round {round}"));
            }
            if random.chance(15) {
                client.run("CHECKPOINT");
            }
        }
        match random.chance(40) {
            true => {
                postgres.end();
                client.run("INSERT INTO s VALUES (1000000, 'z', 1, '2024-05-01 12:00:00Z')");
                // Checkpoints do not wait, and have what is to be written.
                if random.chance(60) {
                    client.run("CHECKPOINT");
                    client.run("INSERT INTO s VALUES (1000001, 'b', 1, '2024-05-01 12:00:00Z')");
                    server = server.crash();
                }
                postgres.begin();
            }
            false => server = server.crash(),
        }
    }
    let mut client = server.connect();
    client.run("FLUSH");
    compare(&mut client, &mut postgres.connect(), "at the end");
    let states = client.run("SELECT name, state FROM hw.sinks ORDER BY name").lines();
    assert_eq!(states, ["keyed|running", "plain|running"]);
}

#[test]
fn what_is_not_there_is_refused_at_once() {
    let Some(postgres) = Postgres::start() else { return };
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE STREAM s (id BIGINT)");
    let address = postgres.address();
    for (sink, part) in [
        (format!("TO POSTGRES '{address}' (table = 'nothing')"), "42P01"),
        ("TO POSTGRES 'host=127.0.0.1 port=1 user=x' (table = 't')".to_owned(), "connect"),
        ("TO POSTGRES 'nonsense' (table = 't')".to_owned(), "address"),
        (format!("TO POSTGRES '{address}'"), "a table"),
    ] {
        let said = client.fail(&format!("CREATE SINK x {sink} AS SELECT id FROM s"));
        assert!(said.message.contains(part), "{sink}: {said:?}");
    }
    assert_eq!(client.run("SELECT count(*) FROM hw.sinks").value().as_deref(), Some("0"));
}
