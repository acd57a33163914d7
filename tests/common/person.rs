//! A user of the client library: a home in a folder of its own, sessions, and chats.

#![allow(
    clippy::unwrap_used,
    reason = "a step that fails ends the test, and the line says which"
)]

use std::time::Duration;

use correio::chat::io::{End, Event};
use correio::chat::{Chat, ChatError, Told};
use correio::client::home::{Account, Home, Place};
use correio::client::session::{self, Options, Session};
use correio::protocol::names::UserName;
use correio::protocol::reply::{ChatRow, ChatState};

use super::server::Server;
use super::{PATIENCE, eventually, now};

/// A home in a folder of its own.
pub struct Person {
    _folder: tempfile::TempDir,
    pub account: Account,
}

impl Person {
    /// Registers a new user.
    pub fn new(server: &Server, name: &str) -> Self {
        Self::with_code(server, &user(name), None)
    }

    /// Another device of a user, with a home of its own.
    pub fn other_device(&self, server: &Server) -> Self {
        let mut session = self.session();
        let code = session.invite(None, true).unwrap().code;
        session.close().unwrap();
        Self::with_code(server, self.account.user(), Some(code))
    }

    fn with_code(server: &Server, user: &UserName, code: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(Some(&folder.path().join("home"))).unwrap();
        let place = Place::read(&server.url_file()).unwrap();
        let account = home.create_account(&place, user).unwrap();
        session::register(&account, "test", code, PATIENCE).unwrap();
        home.confirm(&account).unwrap();
        Self {
            _folder: folder,
            account,
        }
    }

    /// Returns the user's name.
    pub fn name(&self) -> UserName {
        self.account.user().clone()
    }

    /// Opens a standing session with a port.
    pub fn session(&self) -> Session {
        let options = Options {
            standing: true,
            want_port: true,
            timeout: PATIENCE,
            patience: PATIENCE,
            ..Options::default()
        };
        Session::open(&self.account, options).unwrap()
    }

    /// Asks for a chat, in a new session.
    pub fn ask(&self, other: &Person) -> Chat {
        Chat::ask(
            self.session(),
            &other.name(),
            &correio::chat::Options::default(),
        )
        .unwrap()
    }

    /// Accepts the open invitation there is, in a new session; waits while all ports rest.
    pub fn accept(&self) -> Chat {
        let mut session = self.session();
        let row = open_invitation(&mut session);
        let mut free = Some(session);
        eventually("a port", || {
            let options = correio::chat::Options::default();
            match Chat::accept(free.take().unwrap(), &row, &options) {
                Ok(chat) => Some(chat),
                Err((ChatError::NoPort { .. }, session)) => {
                    free = session;
                    None
                }
                Err((error, _)) => panic!("{error:?}"),
            }
        })
    }
}

/// Returns a name.
pub fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

/// Waits for an open invitation to this session's user.
pub fn open_invitation(session: &mut Session) -> ChatRow {
    let user = session.account().user().as_str().to_owned();
    eventually("an invitation", || {
        let rows = session.chats().unwrap();
        rows.into_iter()
            .find(|row| row.state == ChatState::Open && row.to == user)
    })
}

/// A chat between two devices, accepted.
pub fn chat_of(one: &Person, other: &Person) -> (Chat, Chat) {
    let asked = one.ask(other);
    (asked, other.accept())
}

/// Waits for what `choose` wants of a chat; passes over the rest.
pub fn wait_for<T>(chat: &mut Chat, what: &str, mut choose: impl FnMut(&Told) -> Option<T>) -> T {
    let until = now() + PATIENCE;
    let mut passed = Vec::new();
    while now() < until {
        let Some(told) = chat.next(until - now()) else {
            break;
        };
        if let Some(found) = choose(&told) {
            return found;
        }
        passed.push(format!("{told:?}"));
        passed.drain(..passed.len().saturating_sub(20));
    }
    panic!("{what} did not come; before it came {passed:#?}");
}

/// Waits until a chat is open.
pub fn wait_open(chat: &mut Chat) {
    wait_for(chat, "the open chat", |told| {
        matches!(told, Told::Chat(Event::Open { .. })).then_some(())
    });
}

/// Waits for the next line, shows it and returns it.
pub fn wait_line(chat: &mut Chat) -> String {
    let (seq, text) = wait_for(chat, "a line", |told| match told {
        Told::Chat(Event::Line { seq, text }) => Some((*seq, text.clone())),
        _ => None,
    });
    chat.shown(seq);
    text
}

/// Waits for the end and returns it.
pub fn wait_end(chat: &mut Chat) -> End {
    wait_for(chat, "the end", |told| match told {
        Told::Chat(Event::Ended(end)) => Some(end.clone()),
        _ => None,
    })
}

/// Says `count` numbered lines.
pub fn say_numbers(chat: &Chat, prefix: &str, count: usize) {
    let voice = chat.voice();
    for number in 0..count {
        voice.say(format!("{prefix}{number}")).unwrap();
    }
}

/// Hears `count` numbered lines, each once and in order.
pub fn hear_numbers(chat: &mut Chat, prefix: &str, count: usize) {
    for number in 0..count {
        assert_eq!(wait_line(chat), format!("{prefix}{number}"));
    }
}

/// Says and hears `count` lines on each side at the same time; each comes once and in order.
pub fn talk(one: &mut Chat, other: &mut Chat, count: usize) {
    std::thread::scope(|scope| {
        for (chat, says, hears) in [(one, "one", "other"), (other, "other", "one")] {
            let voice = chat.voice();
            scope.spawn(move || {
                for number in 0..count {
                    voice.say(format!("{says}{number}")).unwrap();
                }
            });
            scope.spawn(move || hear_numbers(chat, hears, count));
        }
    });
}

/// Lets a side leave and waits for both ends.
pub fn leave(one: &mut Chat, other: &mut Chat) {
    one.voice().leave();
    assert_eq!(wait_end(one), End::Bye { by_peer: false });
    assert_eq!(wait_end(other), End::Bye { by_peer: true });
}

/// How long a finish may take.
pub const FINISH: Duration = Duration::from_secs(2);
