//! A chat in sixty lines: ask a user, or accept whoever asked; say what is typed, show what is heard.
//!
//! Start a server, then, for two users in two terminals:
//!
//! ```text
//! cargo run --example client -- data/server.url ana ana-home
//! cargo run --example chat -- data/server.url ana ana-home bob
//! ```
//! and the same the other way round. Whoever asks second accepts: the two meet in one chat.

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Duration;

use correio::chat::io::Event;
use correio::chat::{Chat, Options, Told, Voice};
use correio::client::home::{Home, Place};
use correio::client::session::{self, Session};
use correio::protocol::names::UserName;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, user, folder, other] = args.as_slice() else {
        return Err("usage: chat SERVER.URL USER HOME OTHER".into());
    };
    let home = Home::open(Some(Path::new(folder)))?;
    let account = home.create_account(&Place::parse(server)?, &UserName::parse(user)?)?;
    session::register(&account, "example", None, Duration::from_secs(10))?;
    home.confirm(&account)?;

    // A session that stays, with a port of this machine lent by the server. The chat keeps it.
    let session = Session::open(&account, session::Options::standing())?;
    let mut chat = Chat::ask(session, &UserName::parse(other)?, &Options::default())
        .map_err(|(error, _)| error)?;
    let voice = chat.voice();
    std::thread::spawn(move || say_what_is_typed(&voice));

    let mut out = std::io::stdout();
    loop {
        match chat.next(Duration::from_mins(1)) {
            Some(Told::Chat(Event::Open { .. })) => {
                let words = chat.fingerprint().unwrap_or_default();
                writeln!(out, "here is {other}; you both see: {words}")?;
            }
            Some(Told::Chat(Event::Line { seq, text })) => {
                writeln!(out, "{other}| {}", text.escape_debug())?;
                // Only what was shown is acknowledged: the other side hears it as delivered.
                chat.shown(seq);
            }
            Some(Told::Chat(Event::Ended(end))) => break writeln!(out, "over: {end:?}")?,
            _ => {}
        }
    }
    let finished = chat.finish();
    for line in finished.undelivered {
        writeln!(out, "never arrived: {}", line.text)?;
    }
    if let Some(session) = finished.session {
        session.close_within(Duration::from_secs(1))?;
    }
    Ok(())
}

/// Says each line; the end of the input is goodbye.
fn say_what_is_typed(voice: &Voice) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if voice.say(line).is_err() {
            return;
        }
    }
    voice.leave();
}
