//! Every word that an error may carry, and every exit code: what they mean and what to do. `mailctl
//! errors`, `mailctl help exit-codes` and the schema of `--json` read these tables; the server's part is
//! that of [`crate::protocol::codes`].

use crate::protocol::codes::{Code, exit};

/// Exit codes, after BSD's `sysexits.h`.
pub const EXITS: &[(u8, &str)] = &[
    (exit::OK, "done; also when the reader of stdout went away"),
    (
        exit::NOTHING,
        "nothing was found, where that was asked for: status --exit-code",
    ),
    (
        exit::USAGE,
        "the command line is not one; a question was answered with no",
    ),
    (
        exit::DATA,
        "bad data: a name, a body over the limit, no such mail or outbox entry",
    ),
    (exit::NO_USER, "no such user or topic, no such invitation"),
    (
        exit::UNAVAILABLE,
        "the server or the other side of a chat cannot be reached; nothing is in doubt",
    ),
    (exit::SOFTWARE, "a bug"),
    (exit::CANT_CREATE, "a file or folder cannot be created"),
    (
        exit::IO,
        "a file or stdout cannot be read or written (a full disk)",
    ),
    (
        exit::TEMPORARY,
        "try later: quota, the server's disk, a send in doubt, nobody took the chat",
    ),
    (exit::DENIED, "denied; a chat was declined, a file refused"),
    (
        exit::CONFIG,
        "configuration: nobody is logged in, another server than before, a key that others can read",
    ),
];

/// A word that an error may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// It comes from the server.
    pub is_servers: bool,
    /// Exit codes it may come with.
    pub exits: &'static [u8],
    /// May the same command succeed later?
    pub retryable: bool,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// Makes a row of mailctl's own: word, exit codes, retryable, meaning, advice.
const fn own(
    word: &'static str,
    exits: &'static [u8],
    retryable: bool,
    meaning: &'static str,
    advice: &'static str,
) -> Word {
    Word {
        word,
        is_servers: false,
        exits,
        retryable,
        meaning,
        advice,
    }
}

/// The words that mailctl itself adds to the server's.
const OWN: &[Word] = &[
    own(
        "usage",
        &[exit::USAGE],
        false,
        "The command line is not one.",
        "mailctl help VERB shows how it is used.",
    ),
    own(
        "cancelled",
        &[exit::USAGE],
        false,
        "A question was answered with no; nothing was done.",
        "Where no question can be asked, --yes answers it.",
    ),
    own(
        "unreachable",
        &[exit::UNAVAILABLE],
        true,
        "Nobody answers at the server's address.",
        "mailctl doctor says where it fails. Start the server, or name another with --server.",
    ),
    own(
        "no_answer",
        &[exit::UNAVAILABLE],
        true,
        "The server was reached and did not answer in time; nothing is in doubt.",
        "Try again, or allow more time with --timeout.",
    ),
    own(
        "wrong_server",
        &[exit::CONFIG],
        false,
        "What listens there does not have the server's key.",
        "If the server was set up anew, log in with its new server.url; if not, somebody else listens there: ask its administrator.",
    ),
    own(
        "server_changed",
        &[exit::CONFIG],
        false,
        "The server.url file names another server than the account's.",
        "mailctl login USER makes an account there; the old one stays in the home.",
    ),
    own(
        "in_doubt",
        &[exit::TEMPORARY],
        false,
        "A send was tried and not answered: it may or may not have been carried out.",
        "Do not send it again: the next mailctl settles it under its own number. mailctl outbox lists it.",
    ),
    own(
        "lost_outcome",
        &[exit::TEMPORARY],
        false,
        "The server has forgotten what became of a send.",
        "Ask the addressee; then send it anew, or remove it: mailctl outbox rm N.",
    ),
    own(
        "logged_out",
        &[exit::DENIED],
        false,
        "This device was logged out by another mailctl.",
        "Start again; key, topics and waiting mail are still there.",
    ),
    own(
        "not_logged_in",
        &[exit::CONFIG],
        false,
        "This home has no such user at that server.",
        "mailctl login USER; mailctl context ls shows who is logged in here.",
    ),
    own(
        "ambiguous_account",
        &[exit::CONFIG],
        false,
        "Several users or servers of this home fit.",
        "Choose: mailctl context use NAME, or --context, --as, --server for once.",
    ),
    own(
        "no_such_context",
        &[exit::CONFIG],
        false,
        "This home has no context of that name.",
        "mailctl context ls lists them, mailctl context add makes one.",
    ),
    own(
        "bad_server",
        &[exit::CONFIG],
        false,
        "That text or file does not name a server.",
        "It is a server.url file, its data folder, or correio://HOST:PORT?key=...",
    ),
    own(
        "no_home",
        &[exit::CONFIG],
        false,
        "The system does not say where your home folder is.",
        "Name a folder with --home or MAILCTL_HOME.",
    ),
    own(
        "key",
        &[exit::CONFIG],
        false,
        "The device's key cannot be used: unreadable, damaged, or readable by others.",
        "chmod 600 the file that is named; a lost key cannot be made again: invite --device at another device.",
    ),
    own(
        "client_disk_full",
        &[exit::IO, exit::CANT_CREATE],
        true,
        "This machine's disk is full; nothing was lost or acknowledged.",
        "Make room, then try again.",
    ),
    own(
        "io",
        &[exit::IO, exit::CANT_CREATE],
        false,
        "A file, a folder or stdout cannot be read or written.",
        "The text names it and the system's reason.",
    ),
    own(
        "no_such_mail",
        &[exit::DATA],
        false,
        "This device's mailbox has no mail of that number.",
        "mailctl refresh fetches what is new; mailctl history T shows what a topic keeps.",
    ),
    own(
        "no_such_attachment",
        &[exit::DATA],
        false,
        "The mail has no attachment of that number.",
        "mailctl read ID lists them.",
    ),
    own(
        "no_such_entry",
        &[exit::DATA],
        false,
        "The outbox has no entry of that number.",
        "mailctl outbox lists them.",
    ),
    own(
        "no_such_code",
        &[exit::DATA],
        false,
        "No error carries that word.",
        "mailctl errors lists all of them.",
    ),
    own(
        "nothing_to_undo",
        &[exit::DATA],
        false,
        "There is no rm that could be taken back.",
        "What was removed with --purge is gone.",
    ),
    own(
        "bad_text",
        &[exit::DATA],
        false,
        "The text of a mail with attachments must be UTF-8.",
        "Attach the other bytes too: -a FILE.",
    ),
    own(
        "malformed",
        &[exit::SOFTWARE],
        false,
        "The server's answer cannot be read.",
        "Bring mailctl and mailserver to the same release.",
    ),
    own(
        "zmq",
        &[exit::SOFTWARE],
        false,
        "ZeroMQ failed in a way that is not the network's.",
        "mailctl doctor shows its version; please report it.",
    ),
    own(
        "not_standing",
        &[exit::SOFTWARE],
        false,
        "A chat was begun in a session for single requests: a bug.",
        "Please report it.",
    ),
    own(
        "declined",
        &[exit::DENIED],
        false,
        "The other side said no to a chat.",
        "Send a mail instead: mailctl send USER.",
    ),
    own(
        "expired",
        &[exit::TEMPORARY],
        true,
        "Nobody answered the invitation to a chat in time.",
        "Ask again later, or send a mail.",
    ),
    own(
        "withdrawn",
        &[exit::TEMPORARY],
        true,
        "The invitation to a chat was taken back.",
        "Ask again.",
    ),
    own(
        "peer_lost",
        &[exit::UNAVAILABLE],
        true,
        "The other side of a chat vanished.",
        "What had not arrived was sent as mail, or waits in the outbox; ask again.",
    ),
    own(
        "peer_unreachable",
        &[exit::UNAVAILABLE],
        true,
        "The other side of a chat cannot be reached from here.",
        "Behind a NAT or in a container say where you are: --advertise HOST.",
    ),
    own(
        "flooded",
        &[exit::UNAVAILABLE],
        false,
        "The other side sent so much that the chat was ended.",
        "Block it if it goes on: mailctl block USER.",
    ),
    own(
        "bad_line",
        &[exit::DATA],
        false,
        "A line of stdin cannot be said: too long, or not UTF-8.",
        "Send it as a mail or a file: mailctl chat USER --send FILE.",
    ),
    own(
        "file_refused",
        &[exit::DENIED],
        false,
        "The other side does not take the file.",
        "It must say --receive DIR, or /accept at a terminal.",
    ),
    own(
        "file_failed",
        &[exit::UNAVAILABLE, exit::IO],
        false,
        "The chat ended before a file had arrived, or the file could not be read.",
        "The same file sent again goes on where it stopped.",
    ),
    own(
        "no_folder",
        &[exit::CANT_CREATE],
        false,
        "The folder of --receive takes no files.",
        "It must exist, be a folder, and be yours to write to.",
    ),
    own(
        "ended",
        &[exit::OK],
        false,
        "Ended after all there was to say had been said; never shown.",
        "Nothing.",
    ),
];

/// Returns every word: the server's, in the order of its table, then mailctl's own.
pub fn all() -> Vec<Word> {
    let servers = Code::ALL.iter().map(|code| of_server(*code));
    servers.chain(OWN.iter().copied()).collect()
}

/// Returns what there is to know of a word.
pub fn find(word: &str) -> Option<Word> {
    all().into_iter().find(|row| row.word == word)
}

fn of_server(code: Code) -> Word {
    Word {
        word: code.word(),
        is_servers: true,
        exits: exit_of(code),
        retryable: code.retryable(),
        meaning: code.meaning().trim(),
        advice: advice(code),
    }
}

/// Returns the code's exit as a row of the table of exits.
fn exit_of(code: Code) -> &'static [u8] {
    match code.exit() {
        exit::DATA => &[exit::DATA],
        exit::NO_USER => &[exit::NO_USER],
        exit::TEMPORARY => &[exit::TEMPORARY],
        exit::DENIED => &[exit::DENIED],
        exit::CONFIG => &[exit::CONFIG],
        _ => &[exit::SOFTWARE],
    }
}

/// What the person who meets a refusal of the server does about it.
const fn advice(code: Code) -> &'static str {
    match code {
        Code::BadRequest | Code::Unsupported | Code::VersionMismatch => {
            "Bring mailctl and mailserver to the same release: mailctl doctor shows both."
        }
        Code::TooLarge => {
            "Make it smaller, or give a large file in a chat: mailctl chat USER --send FILE."
        }
        Code::BadName => {
            "Letters, digits and most signs, at most 64 bytes; no spaces, not several scripts in one word: mailctl help topics."
        }
        Code::NotRegistered => "Log in first: mailctl login USER.",
        Code::Denied => "Ask an administrator of the server.",
        Code::NeedsCode => {
            "If you are that user: mailctl invite --device at a device that is logged in, then mailctl join here. If not, take another name."
        }
        Code::BadCode => "Codes are good once, for 24 hours: ask for a new one.",
        Code::RegistrationClosed => {
            "Ask somebody who is registered for an invitation: mailctl invite, then mailctl join here."
        }
        Code::WrongUser => {
            "Use a home of its own for another user, or its own login: mailctl login USER."
        }
        Code::NameTaken => "Take another name; an administrator can free a removed user's.",
        Code::NoSuchAddress => "The nearest names are in the text; mailctl topic ls lists topics.",
        Code::IsAUser => "Send to it: mailctl send USER.",
        Code::NoSession | Code::PartsMissing => "Run it again; mailctl does so by itself.",
        Code::StreamUnknown | Code::Settled => {
            "Ask the addressee whether it arrived; mailctl outbox lists what is in doubt."
        }
        Code::NumberReused => {
            "The home was copied or put back from a backup: send it anew, and use one home at one place."
        }
        Code::WindowFull | Code::TooManyStreams => {
            "Settle what is in the outbox: mailctl outbox retry."
        }
        Code::MailboxFull => "The addressee must read or remove mail; try later.",
        Code::DiskFull => "The server's administrator must make room; try later.",
        Code::Busy => "Wait as long as the error says.",
        Code::NoPort => "Wait as long as the error says, or end another chat or watch of yours.",
        Code::LeaseLost => "Start the chat again.",
        Code::Blocked => "That is the addressee's choice.",
        Code::PeerBusy => "Ask later, or send a mail.",
        Code::NoInvitation => "mailctl chat requests lists who asks.",
        Code::Taken => "It goes on at the device that took it.",
        Code::LimitReached => "Leave, withdraw or remove some: the text says of what.",
        Code::ShuttingDown => "Try again in a moment; mailctl does so by itself.",
        Code::Internal => "Report it; the server's log has the cause under the reference.",
        Code::Unknown => "Bring mailctl to the server's release.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_stands_once_and_says_what_to_do() {
        let all = all();
        for (at, row) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other.word != row.word));
            assert!(
                !row.meaning.is_empty() && row.meaning.ends_with('.'),
                "{row:?}"
            );
            assert!(
                !row.advice.is_empty() && row.advice.ends_with('.'),
                "{row:?}"
            );
            let known = |exit| EXITS.iter().any(|(code, _)| code == exit);
            assert!(row.exits.iter().all(known), "{row:?}");
        }
    }

    #[test]
    fn a_servers_word_has_the_exit_of_the_servers_table() {
        for code in Code::ALL {
            assert_eq!(find(code.word()).unwrap().exits, [code.exit()], "{code}");
        }
    }
}
