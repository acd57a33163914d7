//! The English said here is that of the layers below, and the Portuguese is complete.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::cli::i18n::within;

fn path() -> PathBuf {
    "a/key".into()
}

fn denied() -> io::Error {
    ErrorKind::PermissionDenied.into()
}

fn files() -> Vec<FileError> {
    let deed = "write";
    vec![
        FileError::Full { deed, path: path() },
        FileError::Io {
            deed,
            path: path(),
            source: denied(),
        },
        FileError::Damaged {
            path: path(),
            what: "it has no header".to_owned(),
        },
    ]
}

fn keys() -> Vec<KeyError> {
    vec![
        KeyError::NoCurve,
        KeyError::Io {
            deed: "read",
            path: path(),
            source: denied(),
        },
        KeyError::Open {
            path: path(),
            mode: 0o44,
        },
        KeyError::Malformed { path: path() },
    ]
}

fn homes() -> Vec<HomeError> {
    let user = || "ana".to_owned();
    let bad = || crate::protocol::url::ServerUrl::parse("lab").unwrap_err();
    let mut all = vec![
        HomeError::NoAccount,
        HomeError::NoSuchAccount { user: user() },
        HomeError::NoDefault,
        HomeError::Ambiguous { user: user() },
        HomeError::OtherServer {
            place: "there".to_owned(),
        },
        HomeError::NoFolder,
        HomeError::Url {
            path: path(),
            source: bad(),
        },
        HomeError::BadUrl(bad()),
        HomeError::NoUrl {
            path: path(),
            source: ErrorKind::NotFound.into(),
        },
    ];
    all.extend(files().into_iter().map(HomeError::File));
    all.extend(keys().into_iter().map(HomeError::Key));
    all
}

fn clients() -> Vec<ClientError> {
    let endpoint = || "tcp://127.0.0.1:5570".to_owned();
    let not_sent = |queued| ClientError::NotSent {
        entry: 3,
        queued,
        cause: Box::new(ClientError::Unreachable {
            endpoint: endpoint(),
        }),
    };
    let refused = refusal!(
        Code::MailboxFull,
        "{}'s mailbox is full; it takes mail again when {} has read some",
        "bob",
        "bob"
    );
    let mut all = vec![
        ClientError::Unreachable {
            endpoint: endpoint(),
        },
        ClientError::WrongServer {
            endpoint: endpoint(),
        },
        ClientError::ServerChanged {
            path: "data/server.url".to_owned(),
        },
        ClientError::NoAnswer {
            endpoint: endpoint(),
            verb: "send",
            within: Duration::from_secs(10),
        },
        ClientError::InDoubt { entry: 3 },
        ClientError::Lost { entry: 3 },
        not_sent(true),
        not_sent(false),
        ClientError::RefusedKept {
            entry: 3,
            error: refused.clone(),
        },
        ClientError::DamagedEntry {
            entry: 3,
            path: path(),
            what: "its body is cut short".to_owned(),
        },
        ClientError::LoggedOut,
        ClientError::Refused(refused),
        ClientError::Malformed {
            verb: "pull",
            what: "the server went back meanwhile".to_owned(),
        },
        ClientError::Pipe(denied()),
        ClientError::NoRandom,
        ClientError::Zmq {
            deed: "connect",
            source: zmq::Error::EFAULT,
        },
    ];
    all.extend(homes().into_iter().map(ClientError::Home));
    all.extend(files().into_iter().map(ClientError::File));
    all.extend(keys().into_iter().map(ClientError::Key));
    all
}

fn chats() -> Vec<ChatError> {
    let refused = || refusal!(Code::NoPort, "every chat port is in use or at rest");
    vec![
        ChatError::Server(ClientError::LoggedOut),
        ChatError::NoPort {
            refused: refused(),
            retry_after: None,
        },
        ChatError::NoPort {
            refused: refused(),
            retry_after: Some(Duration::from_secs(4)),
        },
        ChatError::NotStanding,
        ChatError::Malformed {
            what: "the chat's name",
        },
        ChatError::Zmq {
            deed: "bind a port",
            source: zmq::Error::EFAULT,
        },
        ChatError::System {
            deed: "make a pipe",
            source: denied(),
        },
    ]
}

#[test]
fn in_english_it_is_what_the_layers_say() {
    for error in clients() {
        assert_eq!(client_text(&error), error.to_string());
    }
    for error in chats() {
        assert_eq!(chat_text(&error), error.to_string());
    }
}

#[test]
fn in_portuguese_everything_has_other_words() {
    let told = || {
        let mut told: Vec<String> = clients().iter().map(client_text).collect();
        told.extend(chats().iter().map(chat_text));
        told
    };
    let portuguese = within(Language::Portuguese, told);
    for (english, portuguese) in told().iter().zip(&portuguese) {
        assert_ne!(english, portuguese);
        let left = [" the ", " is ", "cannot"]
            .iter()
            .find(|word| portuguese.contains(**word));
        assert_eq!(left, None, "{portuguese}");
    }
}

#[test]
fn every_code_has_words_for_a_sentence_that_is_not_known() {
    for code in Code::ALL {
        let error = WireError::new(*code, "of tomorrow");
        let told = within(Language::Portuguese, || refusal_text(&error));
        assert!(told.ends_with(" O servidor diz: of tomorrow"), "{told}");
    }
}

#[test]
fn a_refusal_is_told_with_its_own_names() {
    let told = |error: &WireError| within(Language::Portuguese, || refusal_text(error));
    let far = refusal!(
        Code::NoSuchAddress,
        "no user or topic \"{}\"; did you mean {}?",
        "bbo",
        "bob {}"
    );
    assert_eq!(
        told(&far),
        "não há usuário nem tópico \"bbo\"; você quis dizer bob {}?"
    );
    let bad = refusal!(Code::BadName, "not a name: {}", NameError::Begins('#'));
    assert_eq!(told(&bad), "não é um nome: um nome não começa com '#'");
    let own = name_refusal(&NameError::Reserved);
    assert_eq!(told(&own), "essa palavra é reservada");
}
