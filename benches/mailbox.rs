//! What the roads in and out of the mailbox cost beside the bare files, and a search, on this machine's disk.
//!
//! `cargo bench --bench mailbox [-- MAILS [DIRECTORY]]` makes an mbox of MAILS messages (100,000) of some 1,200 bytes, imports it,
//! imports it again, exports it, and searches. Beside the import stands what it costs to write the same bytes to as many
//! files, each synced, by as many threads. It prints; it judges nothing but that nothing was lost.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and prints"
)]

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use correio::client::exchange::{Importer, MaildirOut, Message, message_of};
use correio::client::mailbox::{Flags, Held, Mailbox};
use correio::client::mbox;
use correio::client::search::{Query, search};

const MAILS: usize = 100_000;

/// Threads of the bare run: as many as the import has.
const WRITERS: usize = 16;

const WORDS: [&str; 16] = [
    "printer", "queue", "release", "meeting", "lunch", "corner", "disk", "backup", "server",
    "noon", "ticket", "window", "garden", "letter", "friday", "copper",
];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let count = arguments.first().map_or(Ok(MAILS), |count| count.parse())?;
    let base = arguments.get(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(base)?;
    let at = |name: &str| folder.path().join(name);
    let messages: Vec<Vec<u8>> = (0..count).map(message).collect();
    println!("{count} mails");

    let spent = bare(&at("bare"), &messages)?;
    told("bare: written and synced, a file each", count, spent);

    let mut out = BufWriter::new(File::create(at("mbox"))?);
    for bytes in &messages {
        let message = Message {
            bytes: bytes.clone(),
            flags: Flags::SEEN,
        };
        mbox::write(&mut out, "ana@x", "Mon Nov 30 12:00:00 2026", &message)?;
    }
    out.into_inner()?.sync_all()?;

    let mailbox = Mailbox::open(&at("account"), "server")?;
    for name in ["import", "import of the same again"] {
        let started = Instant::now();
        let mut importer = Importer::begin(&mailbox)?;
        for message in mbox::Reader::new(BufReader::new(File::open(at("mbox"))?)) {
            importer.add(message?)?;
        }
        let done = importer.finish()?;
        assert_eq!(
            usize::try_from(done.added + done.here)?,
            count,
            "none is lost"
        );
        told(name, count, started.elapsed());
    }

    let held = mailbox.held()?;
    assert_eq!(held.len(), count, "none is doubled");
    let started = Instant::now();
    let mut out = BufWriter::new(File::create(at("out.mbox"))?);
    for held in &held {
        mbox::write(&mut out, "a", "b", &message_of(&mailbox, held)?)?;
    }
    out.into_inner()?.sync_all()?;
    told("export to an mbox", count, started.elapsed());
    let mut back: Vec<Vec<u8>> = mbox::Reader::new(BufReader::new(File::open(at("out.mbox"))?))
        .map(|message| message.map(|message| message.bytes))
        .collect::<Result<_, _>>()?;
    let mut gone_out = messages;
    back.sort();
    gone_out.sort();
    assert!(back == gone_out, "every byte comes back");

    to_maildir(&mailbox, &held, &at("maildir"))?;
    searches(&mailbox)
}

fn to_maildir(mailbox: &Mailbox, held: &[Held], folder: &Path) -> Result<(), Failure> {
    let started = Instant::now();
    let mut out = MaildirOut::open(folder)?;
    for held in held {
        out.add(mailbox.name_elsewhere(held), message_of(mailbox, held)?)?;
    }
    out.finish()?;
    told("export to a Maildir", held.len(), started.elapsed());
    Ok(())
}

fn searches(mailbox: &Mailbox) -> Result<(), Failure> {
    let now = chrono::DateTime::parse_from_rfc3339("2026-11-30T12:00:00Z")?;
    for query in [
        "copper",
        "\"copper garden\"",
        "from:user7 since:2026",
        "nowhere",
    ] {
        let wanted = Query::parse(&[query.to_owned()], &now)?;
        for run in ["first", "again"] {
            let started = Instant::now();
            let found = search(mailbox, &wanted)?;
            println!(
                "search {query}, {run}: {:.0} ms, {} found",
                started.elapsed().as_secs_f64() * 1000.0,
                found.hits.len()
            );
        }
    }
    Ok(())
}

fn told(what: &str, count: usize, spent: Duration) {
    let seconds = spent.as_secs_f64();
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    println!("{what}: {:.0} mails/s ({seconds:.1} s)", count / seconds);
}

/// Message `n`: a header, and a hundred words that differ from mail to mail.
fn message(n: usize) -> Vec<u8> {
    let mut text = format!(
        "From: user{} <user{}@example.org>\nTo: bob@example.org\nSubject: {} {n}\nMessage-ID: <{n}@example.org>\n\
         Date: Mon, {} Nov 2026 12:00:00 +0000\n\n",
        n % 100,
        n % 100,
        WORDS[n % 16],
        n % 28 + 1
    );
    let mut seed = n.wrapping_mul(2_654_435_761).wrapping_add(1);
    for word in 0..140 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text.push_str(WORDS[(seed >> 33) % 16]);
        text.push(if word % 12 == 11 { '\n' } else { ' ' });
    }
    text.push('\n');
    text.into_bytes()
}

/// Writes and syncs files, and nothing else.
fn bare(folder: &Path, messages: &[Vec<u8>]) -> Result<Duration, Failure> {
    fs::create_dir(folder)?;
    let started = Instant::now();
    let numbered: Vec<(usize, &Vec<u8>)> = messages.iter().enumerate().collect();
    std::thread::scope(|scope| {
        let share = numbered.len().div_ceil(WRITERS).max(1);
        let writers: Vec<_> = numbered
            .chunks(share)
            .map(|chunk| {
                scope.spawn(move || {
                    chunk.iter().try_for_each(|(n, bytes)| {
                        let mut file = File::create(folder.join(n.to_string()))?;
                        file.write_all(bytes)?;
                        file.sync_all()
                    })
                })
            })
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().expect("writing does not panic"))
    })?;
    File::open(folder)?.sync_all()?;
    Ok(started.elapsed())
}
