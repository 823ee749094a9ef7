//! Disks that are full or fail, for a while or for good.

use crate::support::client::{Client, Failure};
use crate::support::server::Server;

/// Inserts long rows; returns which were taken, and how many were refused for want of space.
fn insert(client: &mut Client, count: usize) -> (Vec<String>, usize) {
    let (mut taken, mut refused) = (Vec::new(), 0);
    for id in 0..count {
        match client.query(&format!("INSERT INTO t SELECT {id}, repeat('x', 1000000)")) {
            Ok(_) => taken.push(id.to_string()),
            Err(failure) => {
                let said = failure.said();
                assert_eq!(said.code, "53100", "{said}");
                assert!(said.message.starts_with("could not extend the log in"), "{said}");
                refused += 1;
            }
        }
    }
    (taken, refused)
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let server = Server::armed("disk.allocate@2=full*24");
    let mut client = server.connect();
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, note TEXT)");
    client.run("CREATE TABLE copied (id BIGINT PRIMARY KEY, note TEXT)");
    client.run("CREATE SINK copying INTO copied AS SELECT id, note FROM t");
    client.run("CREATE STREAM made (id BIGINT) WITH (connector = 'datagen', rate = '1000')");
    let (taken, refused) = insert(&mut client, 40);
    assert!(taken.len() > 8 && refused > 0, "{} taken, {refused} refused", taken.len());
    assert_eq!(client.run("SELECT id FROM t ORDER BY id").lines(), taken);
    assert_eq!(client.run("SELECT id FROM copied ORDER BY id").lines(), taken);
    assert!(client.run("SELECT name FROM hw.sinks WHERE state <> 'running'").rows.is_empty());
    // Room for everything.
    client.run("CHECKPOINT");
    let server = server.crash();
    let mut client = server.connect();
    assert_eq!(client.run("SELECT id FROM t ORDER BY id").lines(), taken);
    assert_eq!(client.run("SELECT id FROM copied ORDER BY id").lines(), taken);
    let made = client.run("SELECT count(*) = count(DISTINCT id) FROM made");
    assert_eq!(made.lines(), ["t"], "no row is there twice");
}

/// What is on the disk after a write or sync that failed is not known: the process ends, and does
/// not try again.
#[test]
fn a_disk_that_fails_ends_the_process() {
    for fault in ["disk.sync@9=io", "disk.write@12=io", "disk.sync@9=full"] {
        let mut server = Server::armed(fault);
        let mut client = server.connect();
        let mut taken = vec!["0".to_owned()];
        client.run("CREATE TABLE t (id BIGINT PRIMARY KEY)");
        client.run("INSERT INTO t VALUES (0)");
        let failure = loop {
            match client.query(&format!("INSERT INTO t VALUES ({})", taken.len())) {
                Ok(_) => taken.push(taken.len().to_string()),
                Err(failure) => break failure,
            }
        };
        assert!(matches!(failure, Failure::Broken(_)), "{fault}: {failure}");
        assert!(!server.end().success(), "{fault}");
        assert!(server.stderr().contains("; ending"), "{}", server.stderr());
        let server = server.again(None);
        let found = server.connect().run("SELECT id FROM t ORDER BY id").lines();
        // The one that failed may be there.
        assert!(found.starts_with(&taken) && found.len() <= taken.len() + 1, "{fault}: {found:?}");
    }
}

#[test]
fn a_checkpoint_that_fails_is_given_up() {
    for fault in ["disk.put@3=full", "disk.put@3=io", "disk.make_dir@5=io", "disk.allocate@2=io"] {
        let server = Server::armed(fault);
        let mut client = server.connect();
        client.run("CREATE TABLE t (id BIGINT PRIMARY KEY)");
        client.run("INSERT INTO t VALUES (1)");
        let said = client.fail("CHECKPOINT");
        assert!(["58030", "53100"].contains(&said.code.as_str()), "{fault}: {said}");
        client.run("INSERT INTO t VALUES (2)");
        client.run("CHECKPOINT");
        client.run("INSERT INTO t VALUES (3)");
        let server = server.crash();
        assert_eq!(server.connect().run("SELECT * FROM t ORDER BY 1").lines(), ["1", "2", "3"]);
    }
}

/// From the rename on nobody knows which log counts.
#[test]
fn a_checkpoint_that_may_count_ends_the_process() {
    for fault in ["disk.rename@5=io", "disk.sync_dir@16=io"] {
        let mut server = Server::armed(fault);
        let mut client = server.connect();
        client.run("CREATE TABLE t (id BIGINT PRIMARY KEY)");
        client.run("INSERT INTO t VALUES (1)");
        let failed = client.query("CHECKPOINT");
        assert!(matches!(failed, Err(Failure::Broken(_))), "{fault}");
        assert!(!server.end().success(), "{fault}");
        let server = server.again(None);
        let mut client = server.connect();
        assert_eq!(client.run("SELECT * FROM t").lines(), ["1"]);
        client.run("INSERT INTO t VALUES (2)");
        client.run("CHECKPOINT");
        let server = server.crash();
        assert_eq!(server.connect().run("SELECT * FROM t ORDER BY 1").lines(), ["1", "2"]);
    }
}
