//! Key-value stores beside our slab over a scratch file, on the access pattern of a keyed operator.
//!
//! State is groups of ten rows. It is loaded in commits of 10,000 rows in random order; then
//! commits replace rows, rows are read by their key, and groups are read whole. Nothing is
//! synchronised: what is measured is a cache of what stands in the log.
//!
//! ```text
//! cargo run --release --manifest-path benches/stores/Cargo.toml -- sled|fjall|redb|slab [ROWS]
//! ```

#[path = "../../../src/storage/scratch.rs"]
#[expect(dead_code, reason = "the server uses more of it")]
mod scratch;
#[path = "../../../src/storage/slab.rs"]
#[expect(dead_code, reason = "the server uses more of it")]
mod slab;
#[path = "../../../src/storage/store.rs"]
#[expect(dead_code, reason = "the server uses more of it")]
mod store;

use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use redb::ReadableDatabase;
use store::Store as _;

/// Memory for caches.
const CACHE_BYTES: usize = 32 << 20;
/// Rows of a group.
const GROUP: u64 = 10;
/// Rows of a commit.
const COMMIT: usize = 10_000;
/// Bytes of a row without its key.
const VALUE: usize = 100;

type Key = [u8; 16];
type Row = (Key, [u8; VALUE]);

/// A store of rows by group and number.
trait Rows {
    fn commit(&mut self, rows: &[Row]);
    fn get(&self, key: &Key) -> usize;
    fn group(&self, prefix: &[u8]) -> usize;
}

struct Sled(sled::Tree);

impl Rows for Sled {
    fn commit(&mut self, rows: &[Row]) {
        let mut batch = sled::Batch::default();
        rows.iter().for_each(|(key, value)| batch.insert(key, value.as_slice()));
        self.0.apply_batch(batch).unwrap();
    }

    fn get(&self, key: &Key) -> usize {
        self.0.get(key).unwrap().unwrap().len()
    }

    fn group(&self, prefix: &[u8]) -> usize {
        self.0.scan_prefix(prefix).map(|row| row.unwrap().1.len()).sum()
    }
}

struct Fjall(fjall::Database, fjall::Keyspace);

impl Rows for Fjall {
    fn commit(&mut self, rows: &[Row]) {
        let mut batch = self.0.batch();
        rows.iter().for_each(|(key, value)| batch.insert(&self.1, key, value));
        batch.commit().unwrap();
    }

    fn get(&self, key: &Key) -> usize {
        self.1.get(key).unwrap().unwrap().len()
    }

    fn group(&self, prefix: &[u8]) -> usize {
        self.1.prefix(prefix).map(|row| row.value().unwrap().len()).sum()
    }
}

const TABLE: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("rows");

struct Redb(redb::Database);

impl Rows for Redb {
    fn commit(&mut self, rows: &[Row]) {
        let mut write = self.0.begin_write().unwrap();
        write.set_durability(redb::Durability::None).unwrap();
        {
            let mut table = write.open_table(TABLE).unwrap();
            for (key, value) in rows {
                table.insert(key.as_slice(), value.as_slice()).unwrap();
            }
        }
        write.commit().unwrap();
    }

    fn get(&self, key: &Key) -> usize {
        let table = self.0.begin_read().unwrap().open_table(TABLE).unwrap();
        table.get(key.as_slice()).unwrap().unwrap().value().len()
    }

    fn group(&self, prefix: &[u8]) -> usize {
        let mut end = prefix.to_vec();
        end.extend([0xFF; 8]);
        let table = self.0.begin_read().unwrap().open_table(TABLE).unwrap();
        let rows = table.range(prefix..=end.as_slice()).unwrap();
        rows.map(|row| row.unwrap().1.value().len()).sum()
    }
}

/// As `GroupedRows`: a hash table of slots by row, and a list of slots for each group.
struct Slab {
    slab: slab::Slab,
    hashes: Vec<u32>,
    index: HashTable<u32>,
    groups: Vec<Vec<u32>>,
    scratch: Arc<scratch::Scratch>,
}

fn hash(key: &[u8]) -> u64 {
    FixedState::default().hash_one(key)
}

impl Rows for Slab {
    fn commit(&mut self, rows: &[Row]) {
        for (key, value) in rows {
            let row = [key.as_slice(), value].concat();
            let hashed = hash(key);
            let short = (hashed >> 32) as u32;
            let found = {
                let same = |slot: &u32| {
                    self.hashes[*slot as usize] == short && &self.slab.get(*slot)[..16] == key
                };
                self.index.find(hashed, same).copied()
            };
            let group = u64::from_be_bytes(key[..8].try_into().unwrap()) as usize;
            let slot = self.slab.insert(&row);
            self.hashes.resize(self.slab.bound(), 0);
            self.hashes[slot as usize] = short;
            match found {
                Some(old) => {
                    let entry = self.index.find_mut(hashed, |other| *other == old).unwrap();
                    *entry = slot;
                    self.slab.remove(old);
                    let listed = self.groups[group].iter_mut().find(|other| **other == old);
                    *listed.unwrap() = slot;
                }
                None => {
                    let slab = &self.slab;
                    self.index.insert_unique(hashed, slot, |slot| hash(&slab.get(*slot)[..16]));
                    if self.groups.len() <= group {
                        self.groups.resize(group + 1, Vec::new());
                    }
                    self.groups[group].push(slot);
                }
            }
        }
        let held = self.slab.memory() - self.slab.bound() * 12;
        if held > CACHE_BYTES {
            self.slab.spill(&self.scratch, held - CACHE_BYTES + CACHE_BYTES / 16).unwrap();
        }
    }

    fn get(&self, key: &Key) -> usize {
        let same = |slot: &u32| &self.slab.get(*slot)[..16] == key;
        self.slab.get(*self.index.find(hash(key), same).unwrap()).len() - 16
    }

    fn group(&self, prefix: &[u8]) -> usize {
        let group = u64::from_be_bytes(prefix.try_into().unwrap()) as usize;
        self.groups[group].iter().map(|slot| self.slab.get(*slot).len() - 16).sum()
    }
}

fn open(name: &str, dir: &Path) -> Box<dyn Rows> {
    match name {
        "sled" => {
            let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES as u64);
            let db = config.flush_every_ms(None).open().unwrap();
            Box::new(Sled(db.open_tree("rows").unwrap()))
        }
        "fjall" => {
            let db = fjall::Database::builder(dir).cache_size(CACHE_BYTES as u64 / 2);
            let db = db.max_write_buffer_size(Some(CACHE_BYTES as u64 / 2)).open().unwrap();
            let rows = db.keyspace("rows", fjall::KeyspaceCreateOptions::default).unwrap();
            Box::new(Fjall(db, rows))
        }
        "redb" => {
            let db = redb::Database::builder().set_cache_size(CACHE_BYTES).create(dir.join("db"));
            Box::new(Redb(db.unwrap()))
        }
        _ => Box::new(Slab {
            slab: slab::Slab::default(),
            hashes: Vec::new(),
            index: HashTable::new(),
            groups: Vec::new(),
            scratch: scratch::Scratch::create(dir).unwrap(),
        }),
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

fn row(number: u64, version: u8) -> Row {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(number / GROUP).to_be_bytes());
    key[8..].copy_from_slice(&(number % GROUP).to_be_bytes());
    let mut value = [version; VALUE];
    value[..16].copy_from_slice(&key);
    (key, value)
}

fn main() {
    let name = std::env::args().nth(1).expect("a store");
    let rows: u64 = std::env::args().nth(2).map_or(2_000_000, |n| n.parse().unwrap());
    let dir = std::env::temp_dir().join(format!("stores-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut store = open(&name, &dir);
    let mut random = Random(7);
    let mut order: Vec<u64> = (0..rows).collect();
    (1..order.len()).rev().for_each(|i| order.swap(i, random.below(i as u64 + 1) as usize));
    let started = Instant::now();
    for numbers in order.chunks(COMMIT) {
        store.commit(&numbers.iter().map(|n| row(*n, 0)).collect::<Vec<_>>());
    }
    let loaded = rows as f64 / started.elapsed().as_secs_f64();
    let started = Instant::now();
    let replaced = rows / 4;
    for _ in 0..replaced / COMMIT as u64 {
        store.commit(&(0..COMMIT).map(|_| row(random.below(rows), 1)).collect::<Vec<_>>());
    }
    let replacing = replaced as f64 / started.elapsed().as_secs_f64();
    let started = Instant::now();
    let reads = 200_000;
    let found: usize = (0..reads).map(|_| store.get(&row(random.below(rows), 0).0)).sum();
    assert_eq!(found, reads * VALUE);
    let reading = reads as f64 / started.elapsed().as_secs_f64();
    let started = Instant::now();
    let scans = 20_000;
    let group = |n: u64| row(n * GROUP, 0).0;
    let found: usize =
        (0..scans).map(|_| store.group(&group(random.below(rows / GROUP))[..8])).sum();
    assert_eq!(found, scans * VALUE * GROUP as usize);
    let scanning = (scans as u64 * GROUP) as f64 / started.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    println!(
        "{name}: rows/s loaded {loaded:.0}, replaced {replacing:.0}, read by key {reading:.0}, \
         by group {scanning:.0}; {peak}"
    );
    drop(store);
    std::fs::remove_dir_all(&dir).unwrap();
}
