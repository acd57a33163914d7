//! Ports for test servers, from one counter that all test programs of this machine share, below
//! the range that the kernel gives to outgoing connections (a client that keeps reconnecting to a
//! port in that range can end up connected to itself).

use std::fs::OpenOptions;
use std::io::{Read, Seek, Write};
use std::net::TcpListener;

const FIRST: u16 = 12_000;
const LAST: u16 = 31_900;

/// Returns the first of `count` neighbouring ports that nobody uses or was given lately.
pub fn allot(count: u16) -> u16 {
    let path = std::env::temp_dir().join("correio-test-ports");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .expect("the counter of test ports opens");
    file.lock()
        .expect("the counter of test ports can be locked");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("the counter reads");
    let start = free_from(text.trim().parse().unwrap_or(FIRST), count);
    file.set_len(0)
        .and_then(|()| file.rewind())
        .expect("the counter rewinds");
    write!(file, "{}", start + count).expect("the counter writes");
    start
}

fn free_from(mut start: u16, count: u16) -> u16 {
    for _ in 0..2 * (LAST - FIRST) {
        if start < FIRST || start > LAST - count {
            start = FIRST;
        }
        match (start..start + count).rev().find(|port| !is_free(*port)) {
            Some(taken) => start = taken + 1,
            None => return start,
        }
    }
    panic!("no {count} neighbouring ports are free");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
