//! Clients that only listen, in processes of their own: 5,000 of them have more open files than one
//! process may have.

use std::fmt::Write;
use std::io::Read;

use anyhow::{Context, Result};
use correio::auth::keys::KeyPair;

use super::Clients;
use super::login::Wishes;
use super::receiver::{Acks, CorreioReceiver};
use crate::child::Helper;
use crate::target::{Held, Receiver, Waiting};

/// Clients in one process: each has eight open files.
const CLIENTS_PER_PROCESS: usize = 1_500;

/// Brings users online in child processes; they go when the return is dropped.
pub fn hold(clients: &Clients, users: &[String]) -> Result<Held> {
    let data = clients.data.to_str().context("a folder that is no text")?;
    let port = clients.port.to_string();
    let mut children = Vec::new();
    for users in users.chunks(CLIENTS_PER_PROCESS) {
        let mut child = Helper::start(&["correio-idle", data, &port])?;
        child.tell(&written(clients, users)?)?;
        children.push(child);
    }
    for child in &mut children {
        child.line().context("idle clients did not come online")?;
    }
    Ok(Box::new(children))
}

/// One line per user: the name and both halves of the key.
fn written(clients: &Clients, users: &[String]) -> Result<String> {
    let mut text = String::new();
    for user in users {
        let keys = clients.key_of(user)?;
        let [public, secret] = [&keys.public, keys.secret()].map(hex);
        writeln!(text, "{user} {public} {secret}")?;
    }
    Ok(text)
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The child: logs everybody in, says so in a line, and keeps them until it is killed.
pub fn child(words: &[String]) -> Result<()> {
    let [data, port] = words else {
        anyhow::bail!("wanted: folder and port");
    };
    let clients = Clients::at(data.into(), port.parse()?);
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(keep(&clients, &text))
}

async fn keep(clients: &Clients, text: &str) -> Result<()> {
    let mut receivers: Vec<Box<dyn Receiver>> = Vec::new();
    for line in text.lines() {
        let (user, keys) = line.split_once(' ').context("a line without a key")?;
        let keys = KeyPair::parse(&keys.replace(' ', "\n")).context("no key")?;
        clients.know(user, keys);
        let wishes = Wishes {
            topic: None,
            stream: false,
        };
        let login = clients.login(user, wishes)?;
        receivers.push(Box::new(CorreioReceiver::start(login, Acks::Shipped)?));
    }
    let held = Waiting::start(receivers);
    println!("online");
    std::future::pending::<()>().await;
    drop(held);
    Ok(())
}
