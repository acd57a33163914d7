//! Embedded stores: 512-byte values under 16-byte keys (mailbox, number), 100 mailboxes in turn.

use crate::child::Helper;
use crate::report::{Run, Who, emit};
use crate::server::{Scratch, disk_bytes};
use crate::stat::Latencies;
use crate::work::Scale;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

type Key = [u8; 16];

fn key(number: u64) -> Key {
    let mut k = [0; 16];
    k[..8].copy_from_slice(&(number % 100).to_be_bytes());
    k[8..].copy_from_slice(&number.to_be_bytes());
    k
}

fn value(number: u64) -> [u8; 512] {
    let mut v = [0; 512];
    let mut x = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for word in v.chunks_exact_mut(8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        word.copy_from_slice(&x.to_le_bytes());
    }
    v
}

trait Kv: Send {
    /// The same store, for another thread.
    fn handle(&self) -> Result<Box<dyn Kv>>;
    /// Insert these and return when the store says they are durable.
    fn insert(&self, from: u64, count: u64) -> Result<()>;
    /// Remove these, likewise.
    fn remove(&self, from: u64, count: u64) -> Result<()>;
    fn has(&self, number: u64) -> Result<bool>;
    /// Read everything; the number of entries and of value bytes.
    fn scan(&self) -> Result<(u64, u64)>;
}

struct Sled {
    db: sled::Db,
    /// With this, each flush is followed by fdatasync of the store's file.
    file: Option<File>,
}

impl Sled {
    fn sync(&self) -> Result<()> {
        self.db.flush()?;
        if let Some(file) = &self.file {
            file.sync_data()?;
        }
        Ok(())
    }
}

impl Kv for Sled {
    fn handle(&self) -> Result<Box<dyn Kv>> {
        let file = self.file.as_ref().map(File::try_clone).transpose()?;
        Ok(Box::new(Sled {
            db: self.db.clone(),
            file,
        }))
    }
    fn insert(&self, from: u64, count: u64) -> Result<()> {
        for i in from..from + count {
            self.db.insert(key(i), &value(i)[..])?;
        }
        self.sync()
    }
    fn remove(&self, from: u64, count: u64) -> Result<()> {
        for i in from..from + count {
            self.db.remove(key(i))?;
        }
        self.sync()
    }
    fn has(&self, number: u64) -> Result<bool> {
        Ok(self.db.get(key(number))?.is_some())
    }
    fn scan(&self) -> Result<(u64, u64)> {
        let (mut n, mut bytes) = (0, 0);
        for item in self.db.iter() {
            n += 1;
            bytes += item?.1.len() as u64;
        }
        Ok((n, bytes))
    }
}

struct Sled1(sled1::Db<1024>);

impl Kv for Sled1 {
    fn handle(&self) -> Result<Box<dyn Kv>> {
        Ok(Box::new(Sled1(self.0.clone())))
    }
    fn insert(&self, from: u64, count: u64) -> Result<()> {
        for i in from..from + count {
            self.0.insert(key(i), &value(i)[..])?;
        }
        self.0.flush()?;
        Ok(())
    }
    fn remove(&self, from: u64, count: u64) -> Result<()> {
        for i in from..from + count {
            self.0.remove(key(i))?;
        }
        self.0.flush()?;
        Ok(())
    }
    fn has(&self, number: u64) -> Result<bool> {
        Ok(self.0.get(key(number))?.is_some())
    }
    fn scan(&self) -> Result<(u64, u64)> {
        let (mut n, mut bytes) = (0, 0);
        for item in self.0.iter() {
            n += 1;
            bytes += item?.1.len() as u64;
        }
        Ok((n, bytes))
    }
}

struct Redb(Arc<redb::Database>);

const TABLE: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("mail");

impl Kv for Redb {
    fn handle(&self) -> Result<Box<dyn Kv>> {
        Ok(Box::new(Redb(self.0.clone())))
    }
    fn insert(&self, from: u64, count: u64) -> Result<()> {
        let tx = self.0.begin_write()?;
        {
            let mut table = tx.open_table(TABLE)?;
            for i in from..from + count {
                table.insert(&key(i)[..], &value(i)[..])?;
            }
        }
        tx.commit()?;
        Ok(())
    }
    fn remove(&self, from: u64, count: u64) -> Result<()> {
        let tx = self.0.begin_write()?;
        {
            let mut table = tx.open_table(TABLE)?;
            for i in from..from + count {
                table.remove(&key(i)[..])?;
            }
        }
        tx.commit()?;
        Ok(())
    }
    fn has(&self, number: u64) -> Result<bool> {
        use redb::ReadableDatabase;
        let table = self.0.begin_read()?.open_table(TABLE)?;
        Ok(table.get(&key(number)[..])?.is_some())
    }
    fn scan(&self) -> Result<(u64, u64)> {
        use redb::{ReadableDatabase, ReadableTable};
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let (mut n, mut bytes) = (0, 0);
        for item in table.iter()? {
            n += 1;
            bytes += item?.1.value().len() as u64;
        }
        Ok((n, bytes))
    }
}

struct Fjall {
    db: fjall::Database,
    mail: fjall::Keyspace,
}

impl Kv for Fjall {
    fn handle(&self) -> Result<Box<dyn Kv>> {
        Ok(Box::new(Fjall {
            db: self.db.clone(),
            mail: self.mail.clone(),
        }))
    }
    fn insert(&self, from: u64, count: u64) -> Result<()> {
        for i in from..from + count {
            self.mail.insert(key(i), value(i))?;
        }
        self.db.persist(fjall::PersistMode::SyncData)?;
        Ok(())
    }
    fn remove(&self, from: u64, count: u64) -> Result<()> {
        for i in from..from + count {
            self.mail.remove(key(i))?;
        }
        self.db.persist(fjall::PersistMode::SyncData)?;
        Ok(())
    }
    fn has(&self, number: u64) -> Result<bool> {
        Ok(self.mail.get(key(number))?.is_some())
    }
    fn scan(&self) -> Result<(u64, u64)> {
        let (mut n, mut bytes) = (0, 0);
        for item in self.mail.iter() {
            n += 1;
            bytes += item.value()?.len() as u64;
        }
        Ok((n, bytes))
    }
}

fn open(engine: &str, dir: &Path) -> Result<Box<dyn Kv>> {
    let at = dir.join("store");
    Ok(match engine {
        "sled" | "sled-fsync" => {
            let db = sled::open(&at)?;
            let file = if engine == "sled-fsync" {
                Some(File::open(at.join("db"))?)
            } else {
                None
            };
            Box::new(Sled { db, file })
        }
        "sled1" => Box::new(Sled1(sled1::Config::new().path(&at).open::<1024>()?)),
        "redb" => {
            let db = redb::Database::create(&at)?;
            let tx = db.begin_write()?;
            tx.open_table(TABLE)?;
            tx.commit()?;
            Box::new(Redb(Arc::new(db)))
        }
        "fjall" => {
            let db = fjall::Database::builder(&at).open()?;
            let mail = db.keyspace("mail", fjall::KeyspaceCreateOptions::default)?;
            Box::new(Fjall { db, mail })
        }
        _ => bail!("unknown engine {engine}"),
    })
}

fn who(engine: &str) -> Who {
    let (version, ack_means) = match engine {
        "sled" => (
            "sled 0.34.7",
            "flush(): on Linux sync_file_range, no fsync (see README)",
        ),
        "sled-fsync" => ("sled 0.34.7", "flush(), then fdatasync of its file"),
        "sled1" => ("sled 1.0.0-alpha.124", "flush()"),
        "redb" => ("redb 4", "commit, Durability::Immediate"),
        _ => ("fjall 3", "persist(SyncData)"),
    };
    Who {
        peer: engine.into(),
        version: version.into(),
        ack_means: ack_means.into(),
        disk_probe: super::probe(),
    }
}

pub fn run(engine: &str, case: &str, s: Scale) -> Result<()> {
    match case {
        "insert" => insert(engine, s),
        "recover" => recover(engine, s),
        _ => bail!("unknown case"),
    }
}

fn insert(engine: &str, s: Scale) -> Result<()> {
    let who = who(engine);
    let span = Duration::from_secs_f64(s.seconds * 0.6);
    for (threads, batch) in [(1u64, 1u64), (1, 16), (1, 256), (1, 1024), (16, 1)] {
        let mut runs = Vec::new();
        for _ in 0..s.runs {
            let scratch = Scratch::new(engine)?;
            let kv = open(engine, scratch.path())?;
            let next = Arc::new(AtomicU64::new(0));
            let start = Instant::now();
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    let (kv, next) = (kv.handle()?, next.clone());
                    Ok(std::thread::spawn(move || -> Result<Latencies> {
                        let mut lat = Latencies::default();
                        while start.elapsed() < span {
                            let from = next.fetch_add(batch, Ordering::SeqCst);
                            let at = Instant::now();
                            kv.insert(from, batch)?;
                            lat.add(at.elapsed());
                        }
                        Ok(lat)
                    }))
                })
                .collect::<Result<_>>()?;
            let mut lat = Latencies::default();
            for w in workers {
                lat.merge(w.join().expect("worker")?);
            }
            let wall = start.elapsed().as_secs_f64();
            let n = lat.len() as f64;
            lat.sort();
            runs.push(vec![
                ("items_per_s", n * batch as f64 / wall),
                ("syncs_per_s", n / wall),
                ("sync_p50_us", lat.us(50.0)),
                ("sync_p99_us", lat.us(99.0)),
            ]);
        }
        emit(
            &who,
            "insert",
            &format!("threads={threads} items_per_sync={batch}"),
            &runs,
            "",
        );
    }
    Ok(())
}

/// One million inserts, SIGKILL, then how long opening takes, scanning, removing all; each run on
/// a fresh store.
fn recover(engine: &str, s: Scale) -> Result<()> {
    let who = who(engine);
    // A million inserts take sled1 minutes.
    let items = if engine == "sled1" {
        s.restart.min(100_000)
    } else {
        s.restart
    };
    let count = items.to_string();
    let mut runs: Vec<Run> = Vec::new();
    for _ in 0..s.runs {
        let scratch = Scratch::new(engine)?;
        let dir = scratch.path().to_str().context("path")?;
        let mut load = Helper::start(&["kv-load", engine, dir, &count])?;
        let loaded = load.numbers()?;
        drop(load); // SIGKILL
        let full = disk_bytes(scratch.path()) as f64;
        let mut again = Helper::start(&["kv-open", engine, dir, &count])?;
        let got = again.numbers()?;
        drop(again); // SIGKILL
        if got[2] as u64 != items {
            bail!("{} of {items} entries after a kill", got[2]);
        }
        let mut drain = Helper::start(&["kv-drain", engine, dir, &count])?;
        let drained = drain.numbers()?;
        drop(drain);
        runs.push(vec![
            ("load_items_per_s", items as f64 / loaded[0]),
            ("disk_bytes_per_item", full / items as f64),
            ("open_after_kill_ms", got[0]),
            ("first_get_ms", got[1]),
            ("scan_items_per_s", items as f64 / got[3]),
            ("rss_open_mib", got[4]),
            ("rss_scanned_mib", got[5]),
            ("remove_items_per_s", items as f64 / drained[0]),
            (
                "disk_mib_after_removing_all",
                disk_bytes(scratch.path()) as f64 / 1048576.0,
            ),
        ]);
    }
    emit(
        &who,
        "recover",
        &format!("items={items} items_per_sync=1024"),
        &runs,
        "",
    );
    Ok(())
}

fn own_rss_mib() -> f64 {
    std::fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|v| v.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or(f64::NAN)
        / 1024.0
}

pub fn child(role: &str, words: &[String]) -> Result<()> {
    let arg = |i: usize| words.get(i).map(String::as_str).context("too few words");
    let (engine, dir, items) = (arg(0)?, Path::new(arg(1)?), arg(2)?.parse::<u64>()?);
    let start = Instant::now();
    let kv = open(engine, dir)?;
    let opened = start.elapsed().as_secs_f64() * 1e3;
    let text = match role {
        "kv-load" | "kv-drain" => {
            let start = Instant::now();
            let mut from = 0;
            while from < items {
                let batch = (items - from).min(1024);
                if role == "kv-load" {
                    kv.insert(from, batch)?;
                } else {
                    kv.remove(from, batch)?;
                }
                from += batch;
            }
            format!("{}", start.elapsed().as_secs_f64())
        }
        "kv-open" => {
            if !kv.has(items / 2)? {
                bail!("an entry is missing");
            }
            let first = start.elapsed().as_secs_f64() * 1e3;
            let rss = own_rss_mib();
            let start = Instant::now();
            let (n, bytes) = kv.scan()?;
            if bytes != n * 512 {
                bail!("{bytes} bytes in {n} entries");
            }
            let scanned = start.elapsed().as_secs_f64();
            format!("{opened} {first} {n} {scanned} {rss} {}", own_rss_mib())
        }
        _ => bail!("unknown child role {role}"),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    // The parent ends this process with SIGKILL: no orderly close of the store.
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}
