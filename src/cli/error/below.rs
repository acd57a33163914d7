//! What the layers below have to say about their failures, in the language of this process. They know one
//! language, so their errors are told anew here; in English word for word, which a test checks.

use std::borrow::Cow;
use std::io;

use crate::auth::keys::KeyError;
use crate::auth::seal::SealError;
use crate::chat::ChatError;
use crate::chat::file::FolderError;
use crate::cli::i18n::{self, Language, tr, translated};
use crate::cli::times::span;
use crate::client::exchange::LineError;
use crate::client::home::HomeError;
use crate::client::mbox::MboxError;
use crate::client::search::QueryError;
use crate::client::{ClientError, FileError};
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::names::NameError;
use crate::protocol::url::UrlError;

/// Returns a word or phrase of a layer below: what was tried, what is wrong with a file. What is no such phrase
/// stays as it is.
pub fn known(phrase: &str) -> Cow<'_, str> {
    if let Some(said) = translated(phrase) {
        return Cow::Borrowed(said);
    }
    if let Some(said) = os_number(phrase).map(io::Error::from_raw_os_error) {
        return Cow::Owned(os_text(&said));
    }
    i18n::matched(phrase, |value| known(value).into_owned())
        .map_or(Cow::Borrowed(phrase), Cow::Owned)
}

/// Returns the number in what the standard library says of the operating system's error.
fn os_number(phrase: &str) -> Option<i32> {
    let (_, number) = phrase.strip_suffix(')')?.rsplit_once(" (os error ")?;
    number.parse().ok()
}

/// Returns why a text is no query.
pub fn query_text(error: &QueryError) -> String {
    match error {
        QueryError::Value {
            field,
            value,
            takes,
        } => tr!(
            "{field}:{value} means nothing; {field}: takes {takes}",
            field = field,
            value = value,
            takes = known(takes)
        ),
        QueryError::Empty => tr!("search for what?").to_owned(),
    }
}

/// Returns why a stream is no mbox.
pub fn mbox_text(error: &MboxError) -> String {
    match error {
        MboxError::NotMbox => {
            tr!("it is no mbox: it does not begin with a line `From ...`").to_owned()
        }
        MboxError::TooLarge(message) => tr!("message {} is larger than 64 MiB", message),
        MboxError::Io(error) => os_text(error),
    }
}

/// Returns why a line is no mail.
pub fn line_text(error: &LineError) -> String {
    match error {
        LineError::NotJson { column } => tr!("it is no JSON of a mail (column {})", column),
        LineError::NotBase64 => tr!("its body_base64 is no base64").to_owned(),
        LineError::Bodies => tr!("it has not just one of body and body_base64").to_owned(),
        LineError::Header => tr!("its header does not fit its body").to_owned(),
        LineError::Without { field } => tr!("it has no {}", field),
    }
}

/// Returns why a folder takes no files.
pub fn folder_text(error: &FolderError) -> String {
    tr!(
        "cannot receive files into {}: {}",
        error.path.display(),
        os_text(&error.source)
    )
}

/// Returns what an error of this device's side of a session says.
pub fn client_text(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable { endpoint } => tr!(
            "no server answers at {}; is it running? Start it with `mailserver`, or name another with --server",
            endpoint
        ),
        ClientError::WrongServer { endpoint } => tr!(
            "what listens at {} is not the server with the expected key; if the server was set up anew, log in again \
             with its new server.url",
            endpoint
        ),
        ClientError::ServerChanged { path } => tr!(
            "{} now belongs to another server than the one of this account; log in there with `mailctl login`, or \
             choose the server with --server",
            path
        ),
        ClientError::NoAnswer {
            endpoint,
            verb,
            within,
        } => tr!(
            "the server at {} did not answer `{}` within {}; try again, or allow more with --timeout",
            endpoint,
            verb,
            span(*within)
        ),
        ClientError::InDoubt { entry } => tr!(
            "in doubt: kept in the outbox as {}; it settles by itself, do not send it again",
            entry
        ),
        ClientError::Lost { entry } => tr!(
            "in doubt for good: the server no longer knows what became of the send kept in the outbox as {entry}; ask \
             the addressee, then send it anew or remove it with `mailctl outbox rm {entry}`",
            entry = entry
        ),
        ClientError::DamagedEntry { entry, path, what } => tr!(
            "{} is damaged ({}); it was set aside and is not sent, the others are; remove it with `mailctl outbox rm {}`",
            path.display(),
            known(what),
            entry
        ),
        ClientError::NotSent {
            entry,
            queued: true,
            cause,
        } => tr!(
            "not sent, kept in the outbox as {}: it goes out by itself when the server is back; {}",
            entry,
            client_text(cause)
        ),
        ClientError::NotSent { entry, cause, .. } => tr!(
            "not sent, kept in the outbox as {}: a draft, send it with `mailctl outbox retry {}`; {}",
            entry,
            entry,
            client_text(cause)
        ),
        ClientError::RefusedKept { entry, error } => tr!(
            "{}; kept as draft {}",
            format!("{} ({})", refusal_text(error), error.code),
            entry
        ),
        ClientError::Interrupted => {
            tr!("stopped; the server was not waited for any longer").to_owned()
        }
        ClientError::LoggedOut => {
            tr!("this device was logged out; start again to be logged in").to_owned()
        }
        ClientError::Refused(refused) => format!("{} ({})", refusal_text(refused), refused.code),
        ClientError::Malformed { verb, what } => tr!(
            "the server's answer to `{}` could not be read ({}); is it a newer version?",
            verb,
            known(what)
        ),
        ClientError::File(error) => file_text(error),
        ClientError::Home(error) => home_text(error),
        ClientError::Key(error) => key_text(error),
        ClientError::Pipe(cause) => tr!(
            "cannot make a pipe: {}; are too many files open? See `ulimit -n`",
            os_text(cause)
        ),
        ClientError::NoRandom => {
            tr!("the system gives no random bytes; is it still starting?").to_owned()
        }
        ClientError::Zmq { deed, source } => tr!("ZeroMQ failed to {}: {}", known(deed), source),
    }
}

/// Returns what an error about a chat says.
pub fn chat_text(error: &ChatError) -> String {
    match error {
        ChatError::Server(error) => client_text(error),
        ChatError::NoPort { refused, .. } => {
            let text = refusal_text(refused);
            match error.pause() {
                Some(pause) => tr!("{}; try again in {}", text, pause),
                None => text,
            }
        }
        ChatError::NotStanding => {
            tr!("a chat needs a session that stays: open it with Options::standing()").to_owned()
        }
        ChatError::Malformed { what } => tr!(
            "the server's introduction could not be read ({}); is it a newer version?",
            known(what)
        ),
        ChatError::Zmq { deed, source } => tr!("ZeroMQ failed to {}: {}", known(deed), source),
        ChatError::System { deed, source } => tr!(
            "cannot {}: {}; are too many files or processes open? See `ulimit -a`",
            known(deed),
            os_text(source)
        ),
    }
}

fn file_text(error: &FileError) -> String {
    match error {
        FileError::Full { deed, path } => tr!(
            "the disk is full: cannot {} {}; make room and try again, nothing was lost or acknowledged",
            known(deed),
            path.display()
        ),
        FileError::Io { deed, path, source } => tr!(
            "cannot {} {}: {}",
            known(deed),
            path.display(),
            os_text(source)
        ),
        FileError::Damaged { path, what } => tr!(
            "{} is damaged ({}); move it away and run the command again",
            path.display(),
            known(what)
        ),
    }
}

fn home_text(error: &HomeError) -> String {
    match error {
        HomeError::NoAccount => {
            tr!("nobody is logged in here; start with: mailctl login USER").to_owned()
        }
        HomeError::NoSuchAccount { user } => tr!(
            "{user} is not logged in here; log in with: mailctl login {user}",
            user = user
        ),
        HomeError::NoDefault => tr!(
            "several users are logged in here; choose one: mailctl use USER, --as or MAILCTL_USER"
        )
        .to_owned(),
        HomeError::Ambiguous { user } => tr!(
            "{} is logged in at several servers; choose one with --server",
            user
        ),
        HomeError::NoSuchContext { name } => tr!(
            "no context is called {} here; list them with: mailctl context ls",
            name
        ),
        HomeError::OtherServer { place } => tr!(
            "nobody here is logged in at that server; log in with: mailctl --server {} login USER",
            place
        ),
        HomeError::NoFolder => {
            tr!("cannot tell where your home folder is; name one with --home or MAILCTL_HOME")
                .to_owned()
        }
        HomeError::Url { path, source } => format!("{}: {}", path.display(), url_text(source)),
        HomeError::BadUrl(error) => url_text(error),
        HomeError::NoUrl { path, source } => tr!(
            "cannot read the server's address from {}: {}; is the server running? It writes server.url into its data \
             folder when it is ready",
            path.display(),
            os_text(source)
        ),
        HomeError::File(error) => file_text(error),
        HomeError::Key(error) => key_text(error),
    }
}

/// Returns why a text is not a server's address.
pub fn url_text(error: &UrlError) -> String {
    tr!(
        "not a server address ({}); it looks like correio://HOST:PORT?key=<64 hex digits>",
        known(error.what())
    )
}

fn key_text(error: &KeyError) -> String {
    match error {
        KeyError::NoCurve => tr!(
            "this libzmq has no CURVE encryption, and Correio speaks nothing else; install a libzmq built with \
             libsodium (Debian and Ubuntu: apt install libzmq5) and start again"
        )
        .to_owned(),
        KeyError::Io { deed, path, source } => tr!(
            "cannot {} the key {}: {}",
            known(deed),
            path.display(),
            os_text(source)
        ),
        KeyError::Open { path, mode } => tr!(
            "the key {path} can be read by others (mode {mode}); make it private with: chmod 600 {path}",
            path = path.display(),
            mode = format!("{mode:04o}")
        ),
        KeyError::Malformed { path } => tr!("{} does not hold a key", path.display()),
        KeyError::Locked { path } => tr!("the key {} is under a passphrase", path.display()),
        KeyError::Shut {
            path,
            source: SealError::Wrong,
        } => tr!("the key {} stays shut: that is not its passphrase", path.display()),
        KeyError::Shut {
            path,
            source: SealError::Memory,
        } => tr!(
            "the key {} stays shut: there is not enough memory to try a passphrase",
            path.display()
        ),
    }
}

/// Makes the refusal of a name, as the server makes it.
pub(super) fn name_refusal(error: &NameError) -> WireError {
    refusal!(Code::BadName, "{}", error)
}

/// Returns what a server says with a refusal. A sentence that this build does not know, of another version,
/// stands in the server's own English behind what its code means.
pub fn refusal_text(error: &WireError) -> String {
    let said: Vec<String> = error.words.iter().map(|word| name_text(word)).collect();
    match i18n::told(&error.text, &error.words, &said) {
        Some(told) => told,
        None => match translated(error.code.meaning().trim()) {
            Some(meaning) => tr!("{} The server says: {}", meaning, error.text),
            None => error.text.clone(),
        },
    }
}

/// Returns what is wrong with a name, where a word of a refusal says that; other words as they are.
fn name_text(word: &str) -> String {
    let quoted = |before: &str, after: &str| {
        let inside = word.strip_prefix(before)?.strip_suffix(after)?;
        (inside.chars().count() < 10).then(|| inside.to_owned())
    };
    if let Some(mark) = quoted("a name does not begin with ", "") {
        return tr!("a name does not begin with {}", mark);
    }
    if let Some(mark) = quoted("", " does not belong in this kind of name") {
        return tr!("{} does not belong in this kind of name", mark);
    }
    known(word).into_owned()
}

/// Returns what the operating system says. Its rarer words stay as they are.
pub fn os_text(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    if i18n::language() == Language::English {
        return error.to_string();
    }
    match error.kind() {
        Kind::NotFound => tr!("no such file or folder"),
        Kind::PermissionDenied => tr!("permission denied"),
        Kind::AlreadyExists => tr!("it exists already"),
        Kind::IsADirectory => tr!("it is a folder"),
        Kind::NotADirectory => tr!("it is no folder"),
        Kind::DirectoryNotEmpty => tr!("the folder is not empty"),
        Kind::ReadOnlyFilesystem => tr!("it can only be read"),
        Kind::StorageFull => tr!("no room is left on the disk"),
        Kind::QuotaExceeded => tr!("your share of the disk is used up"),
        Kind::FileTooLarge => tr!("the file is too large"),
        Kind::BrokenPipe => tr!("nobody reads any more"),
        Kind::InvalidData => tr!("it is no text in UTF-8"),
        Kind::UnexpectedEof => tr!("it ends too early"),
        Kind::ConnectionRefused => tr!("the connection was refused"),
        Kind::AddrInUse => tr!("the address is in use"),
        Kind::OutOfMemory => tr!("no memory is left"),
        // Of the operating system's, what is not above has no other words.
        _ if error.raw_os_error().is_some() => return error.to_string(),
        _ => return known(&error.to_string()).into_owned(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
