//! One interface to each: a record under a key, published by one transaction, looked up by another.
//!
//! None waits for the disk at each publication, as kache does not. Lookups return a copy, since a
//! record that is used has to outlive the transaction.

use std::path::Path;
use std::time::Duration;

use crate::index::{Index, Kind};
use store_format::Digest;

pub(crate) trait Engine {
    fn get(&self, key: &Digest) -> Option<Vec<u8>>;
    fn put(&self, key: &Digest, payload: &[u8]);
}

/// What can be compared, the first being what the others are compared with.
pub(crate) const NAMES: [&str; 5] = ["kache", "redb", "lmdb", "sqlite", "sqlite-as-used"];

/// Whether several processes can use one at a time.
pub(crate) fn is_shared(name: &str) -> bool {
    name != "redb"
}

pub(crate) fn open(name: &str, directory: &Path) -> Box<dyn Engine> {
    let directory = directory.join(name);
    std::fs::create_dir_all(&directory).expect("a directory");
    match name {
        "kache" => Box::new(Index::open(&directory).expect("an index")),
        "redb" => Box::new(Redb::open(&directory)),
        "lmdb" => Box::new(Lmdb::open(&directory)),
        "sqlite" => Box::new(Sqlite::open(&directory)),
        "sqlite-as-used" => Box::new(SqliteAsUsed::open(&directory)),
        name => panic!("{name} is not known"),
    }
}

impl Engine for Index {
    fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        Index::get(self, Kind::Result, key)
    }

    fn put(&self, key: &Digest, payload: &[u8]) {
        Index::put(self, Kind::Result, key, payload).expect("put");
    }
}

const TABLE: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("results");

struct Redb(redb::Database);

impl Redb {
    fn open(directory: &Path) -> Self {
        let database = redb::Database::create(directory.join("data")).expect("a database");
        let write = database.begin_write().expect("a transaction");
        write.open_table(TABLE).expect("a table");
        write.commit().expect("committed");
        Self(database)
    }
}

impl Engine for Redb {
    fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        use redb::ReadableDatabase as _;
        let read = self.0.begin_read().expect("a transaction");
        let table = read.open_table(TABLE).expect("a table");
        table.get(&key.0[..]).expect("looked up").map(|value| value.value().to_vec())
    }

    fn put(&self, key: &Digest, payload: &[u8]) {
        let mut write = self.0.begin_write().expect("a transaction");
        write.set_durability(redb::Durability::None).expect("a durability");
        write.open_table(TABLE).expect("a table").insert(&key.0[..], payload).expect("inserted");
        write.commit().expect("committed");
    }
}

struct Lmdb {
    environment: heed::Env,
    table: heed::Database<heed::types::Bytes, heed::types::Bytes>,
}

impl Lmdb {
    fn open(directory: &Path) -> Self {
        let mut options = heed::EnvOpenOptions::new();
        options.map_size(4 << 30).max_readers(512);
        // SAFETY: nobody else changes the file, and without syncs only a power cut can damage it.
        let environment = unsafe {
            options.flags(heed::EnvFlags::NO_SYNC);
            options.open(directory)
        };
        let environment = environment.expect("an environment");
        let mut write = environment.write_txn().expect("a transaction");
        let table = environment.create_database(&mut write, None).expect("a table");
        write.commit().expect("committed");
        Self { environment, table }
    }
}

impl Engine for Lmdb {
    fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        let read = self.environment.read_txn().expect("a transaction");
        self.table.get(&read, &key.0).expect("looked up").map(<[u8]>::to_vec)
    }

    fn put(&self, key: &Digest, payload: &[u8]) {
        let mut write = self.environment.write_txn().expect("a transaction");
        self.table.put(&mut write, &key.0, payload).expect("inserted");
        write.commit().expect("committed");
    }
}

/// One table and nothing else: as fast as it can be.
struct Sqlite(rusqlite::Connection);

fn connect(directory: &Path, tables: &str) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(directory.join("data")).expect("a database");
    connection.busy_timeout(Duration::from_secs(60)).expect("a bound");
    connection
        .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
        .expect("a mode");
    connection.execute_batch(tables).expect("tables");
    connection
}

fn select(connection: &rusqlite::Connection, key: impl rusqlite::ToSql) -> Option<Vec<u8>> {
    let mut select =
        connection.prepare_cached("SELECT value FROM results WHERE key = ?1").expect("prepared");
    let mut rows = select.query([key]).expect("queried");
    rows.next().expect("looked up").map(|row| row.get(0).expect("a value"))
}

fn execute(connection: &rusqlite::Connection, statement: &str, values: impl rusqlite::Params) {
    let mut statement = connection.prepare_cached(statement).expect("prepared");
    statement.execute(values).expect("executed");
}

impl Sqlite {
    fn open(directory: &Path) -> Self {
        let table = "CREATE TABLE IF NOT EXISTS results (key BLOB PRIMARY KEY, value BLOB) \
                     WITHOUT ROWID;";
        Self(connect(directory, table))
    }
}

impl Engine for Sqlite {
    fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        select(&self.0, &key.0[..])
    }

    fn put(&self, key: &Digest, payload: &[u8]) {
        execute(&self.0, "INSERT OR REPLACE INTO results VALUES (?1, ?2)", (&key.0[..], payload));
    }
}

/// The tables of the build cache that keeps its index in SQLite (kunobi's, version 2.0 on crates.io): a
/// result is a row under its digest in hexadecimal, found by crate and by unit too, and each of its
/// blobs a row that counts who needs it and a row that says that this result does.
struct SqliteAsUsed(rusqlite::Connection);

/// Of a library: the library itself and its metadata.
const BLOBS: [&str; 2] = ["rlib", "rmeta"];

impl SqliteAsUsed {
    fn open(directory: &Path) -> Self {
        let tables = "
            CREATE TABLE IF NOT EXISTS results
                (key TEXT PRIMARY KEY, crate TEXT NOT NULL, unit TEXT NOT NULL, value BLOB);
            CREATE INDEX IF NOT EXISTS by_crate ON results (crate);
            CREATE INDEX IF NOT EXISTS by_unit ON results (crate, unit);
            CREATE TABLE IF NOT EXISTS blobs
                (digest TEXT PRIMARY KEY, bytes INTEGER NOT NULL, users INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS needs
                (key TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (key, digest));
            CREATE INDEX IF NOT EXISTS by_digest ON needs (digest);";
        Self(connect(directory, tables))
    }
}

impl Engine for SqliteAsUsed {
    fn get(&self, key: &Digest) -> Option<Vec<u8>> {
        select(&self.0, key.to_string())
    }

    fn put(&self, key: &Digest, payload: &[u8]) {
        use rusqlite::TransactionBehavior::Immediate;
        let hex = key.to_string();
        let write = rusqlite::Transaction::new_unchecked(&self.0, Immediate);
        let write = write.expect("a transaction");
        for kind in BLOBS {
            let digest = format!("{hex}.{kind}");
            execute(&self.0, "INSERT OR IGNORE INTO blobs VALUES (?1, 1000, 1)", [&digest]);
            execute(&self.0, "INSERT OR REPLACE INTO needs VALUES (?1, ?2)", [&hex, &digest]);
        }
        execute(
            &self.0,
            "INSERT OR REPLACE INTO results VALUES (?1, ?2, ?3, ?4)",
            (&hex, &hex[..4], &hex[4..20], payload),
        );
        write.commit().expect("committed");
    }
}
