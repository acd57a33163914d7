//! Every word that an error may carry, and every exit code: what they mean and what to do. `mailctl
//! errors`, `mailctl help exit-codes` and the schema of `--json` read these tables; the server's part is
//! that of [`crate::protocol::codes`].

use super::i18n::tr_later;
use crate::protocol::codes::{Code, exit};

/// Exit codes, after BSD's `sysexits.h`.
pub const EXITS: &[(u8, &str)] = &[
    (
        exit::OK,
        tr_later!("done; also when the reader of stdout went away"),
    ),
    (
        exit::NOTHING,
        tr_later!("nothing was found, where that was asked for: status --exit-code"),
    ),
    (
        exit::USAGE,
        tr_later!("the command line is not one; a question was answered with no"),
    ),
    (
        exit::DATA,
        tr_later!("bad data: a name, a body over the limit, no such mail or outbox entry"),
    ),
    (
        exit::NO_USER,
        tr_later!("no such user or topic, no such invitation"),
    ),
    (
        exit::UNAVAILABLE,
        tr_later!("the server or the other side of a chat cannot be reached; nothing is in doubt"),
    ),
    (exit::SOFTWARE, tr_later!("a bug")),
    (
        exit::CANT_CREATE,
        tr_later!("a file or folder cannot be created"),
    ),
    (
        exit::IO,
        tr_later!("a file or stdout cannot be read or written (a full disk)"),
    ),
    (
        exit::TEMPORARY,
        tr_later!("try later: quota, the server's disk, a send in doubt, nobody took the chat"),
    ),
    (
        exit::DENIED,
        tr_later!("denied; a chat was declined, a file refused"),
    ),
    (
        exit::CONFIG,
        tr_later!(
            "configuration: nobody is logged in, another server than before, a key that others can read"
        ),
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
    /// What it means: a text that is translated where it is shown.
    pub meaning: &'static str,
    /// What to do; likewise.
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
        tr_later!("The command line is not one."),
        tr_later!("mailctl help VERB shows how it is used."),
    ),
    own(
        "cancelled",
        &[exit::USAGE],
        false,
        tr_later!("A question was answered with no; nothing was done."),
        tr_later!("Where no question can be asked, --yes answers it."),
    ),
    own(
        "unreachable",
        &[exit::UNAVAILABLE],
        true,
        tr_later!("Nobody answers at the server's address."),
        tr_later!(
            "mailctl doctor says where it fails. Start the server, or name another with --server."
        ),
    ),
    own(
        "no_answer",
        &[exit::UNAVAILABLE],
        true,
        tr_later!("The server was reached and did not answer in time; nothing is in doubt."),
        tr_later!("Try again, or allow more time with --timeout."),
    ),
    own(
        "wrong_server",
        &[exit::CONFIG],
        false,
        tr_later!("What listens there does not have the server's key."),
        tr_later!(
            "If the server was set up anew, log in with its new server.url; if not, somebody else listens there: ask its administrator."
        ),
    ),
    own(
        "server_changed",
        &[exit::CONFIG],
        false,
        tr_later!("The server.url file names another server than the account's."),
        tr_later!("mailctl login USER makes an account there; the old one stays in the home."),
    ),
    own(
        "in_doubt",
        &[exit::TEMPORARY],
        false,
        tr_later!("A send was tried and not answered: it may or may not have been carried out."),
        tr_later!(
            "Do not send it again: the next mailctl settles it under its own number. mailctl outbox lists it."
        ),
    ),
    own(
        "lost_outcome",
        &[exit::TEMPORARY],
        false,
        tr_later!("The server has forgotten what became of a send."),
        tr_later!("Ask the addressee; then send it anew, or remove it: mailctl outbox rm N."),
    ),
    own(
        "interrupted",
        &[exit::TEMPORARY],
        true,
        tr_later!("A wait for the server was ended by Ctrl-C."),
        tr_later!("Try again; a send that was under way is in the outbox: mailctl outbox."),
    ),
    own(
        "wrong_passphrase",
        &[exit::DENIED],
        false,
        tr_later!("The passphrase does not open the key."),
        tr_later!(
            "Try again; one that is forgotten cannot be given back: remove the device on another one."
        ),
    ),
    own(
        "exists",
        &[exit::CANT_CREATE],
        false,
        tr_later!("There is a file or folder already where one would be made."),
        tr_later!("Name another, or move it away."),
    ),
    own(
        "bad_import",
        &[exit::DATA],
        false,
        tr_later!("Something in what was imported is no mail; the rest was taken in."),
        tr_later!("The text says which; what is here already is not imported again."),
    ),
    own(
        "logged_out",
        &[exit::DENIED],
        false,
        tr_later!("This device was logged out by another mailctl."),
        tr_later!("Start again; key, topics and waiting mail are still there."),
    ),
    own(
        "not_logged_in",
        &[exit::CONFIG],
        false,
        tr_later!("This home has no such user at that server."),
        tr_later!("mailctl login USER; mailctl context ls shows who is logged in here."),
    ),
    own(
        "ambiguous_account",
        &[exit::CONFIG],
        false,
        tr_later!("Several users or servers of this home fit."),
        tr_later!("Choose: mailctl context use NAME, or --context, --as, --server for once."),
    ),
    own(
        "no_such_context",
        &[exit::CONFIG],
        false,
        tr_later!("This home has no context of that name."),
        tr_later!("mailctl context ls lists them, mailctl context add makes one."),
    ),
    own(
        "bad_server",
        &[exit::CONFIG],
        false,
        tr_later!("That text or file does not name a server."),
        tr_later!("It is a server.url file, its data folder, or correio://HOST:PORT?key=..."),
    ),
    own(
        "no_home",
        &[exit::CONFIG],
        false,
        tr_later!("The system does not say where your home folder is."),
        tr_later!("Name a folder with --home or MAILCTL_HOME."),
    ),
    own(
        "key",
        &[exit::CONFIG],
        false,
        tr_later!("The device's key cannot be used: unreadable, damaged, or readable by others."),
        tr_later!(
            "chmod 600 the file that is named; a lost key cannot be made again: invite --device at another device."
        ),
    ),
    own(
        "client_disk_full",
        &[exit::IO, exit::CANT_CREATE],
        true,
        tr_later!("This machine's disk is full; nothing was lost or acknowledged."),
        tr_later!("Make room, then try again."),
    ),
    own(
        "io",
        &[exit::IO, exit::CANT_CREATE],
        false,
        tr_later!("A file, a folder or stdout cannot be read or written."),
        tr_later!(
            "Look at what the text names: whether it is there, whose it is, its mode, and the room on its disk."
        ),
    ),
    own(
        "no_such_mail",
        &[exit::DATA],
        false,
        tr_later!("This device's mailbox has no mail of that number."),
        tr_later!(
            "mailctl refresh fetches what is new; mailctl history T shows what a topic keeps."
        ),
    ),
    own(
        "no_such_attachment",
        &[exit::DATA],
        false,
        tr_later!("The mail has no attachment of that number."),
        tr_later!("mailctl read ID lists them."),
    ),
    own(
        "no_such_entry",
        &[exit::DATA],
        false,
        tr_later!("The outbox has no entry of that number."),
        tr_later!("mailctl outbox lists them."),
    ),
    own(
        "no_such_code",
        &[exit::DATA],
        false,
        tr_later!("No error carries that word."),
        tr_later!("mailctl errors lists all of them."),
    ),
    own(
        "nothing_to_undo",
        &[exit::DATA],
        false,
        tr_later!("There is nothing that could be taken back."),
        tr_later!("What was sent, or removed with --purge, does not come back."),
    ),
    own(
        "bad_text",
        &[exit::DATA],
        false,
        tr_later!("The text of a mail with attachments must be UTF-8."),
        tr_later!("Attach the other bytes too: -a FILE."),
    ),
    own(
        "malformed",
        &[exit::SOFTWARE],
        false,
        tr_later!("The server's answer cannot be read."),
        tr_later!("Bring mailctl and mailserver to the same release."),
    ),
    own(
        "zmq",
        &[exit::SOFTWARE],
        false,
        tr_later!("ZeroMQ failed in a way that is not the network's."),
        tr_later!("mailctl doctor shows its version; please report it."),
    ),
    own(
        "not_standing",
        &[exit::SOFTWARE],
        false,
        tr_later!("A chat was begun in a session for single requests: a bug."),
        tr_later!("Please report it."),
    ),
    own(
        "declined",
        &[exit::DENIED],
        false,
        tr_later!("The other side said no to a chat."),
        tr_later!("Send a mail instead: mailctl send USER."),
    ),
    own(
        "expired",
        &[exit::TEMPORARY],
        true,
        tr_later!("Nobody answered the invitation to a chat in time."),
        tr_later!("Ask again later, or send a mail."),
    ),
    own(
        "withdrawn",
        &[exit::TEMPORARY],
        true,
        tr_later!("The invitation to a chat was taken back."),
        tr_later!("Ask again."),
    ),
    own(
        "peer_lost",
        &[exit::UNAVAILABLE],
        true,
        tr_later!("The other side of a chat vanished."),
        tr_later!("What had not arrived was sent as mail, or waits in the outbox; ask again."),
    ),
    own(
        "peer_unreachable",
        &[exit::UNAVAILABLE],
        true,
        tr_later!("The other side of a chat cannot be reached from here."),
        tr_later!("Behind a NAT or in a container say where you are: --advertise HOST."),
    ),
    own(
        "flooded",
        &[exit::UNAVAILABLE],
        false,
        tr_later!("The other side sent so much that the chat was ended."),
        tr_later!("Block it if it goes on: mailctl block USER."),
    ),
    own(
        "bad_line",
        &[exit::DATA],
        false,
        tr_later!("A line of stdin cannot be said: too long, or not UTF-8."),
        tr_later!("Send it as a mail or a file: mailctl chat USER --send FILE."),
    ),
    own(
        "file_refused",
        &[exit::DENIED],
        false,
        tr_later!("The other side does not take the file."),
        tr_later!("It must say --receive DIR, or /accept at a terminal."),
    ),
    own(
        "file_failed",
        &[exit::UNAVAILABLE, exit::IO],
        false,
        tr_later!("The chat ended before a file had arrived, or the file could not be read."),
        tr_later!("The same file sent again goes on where it stopped."),
    ),
    own(
        "no_folder",
        &[exit::CANT_CREATE],
        false,
        tr_later!("The folder of --receive takes no files."),
        tr_later!("It must exist, be a folder, and be yours to write to."),
    ),
    own(
        "ended",
        &[exit::OK],
        false,
        tr_later!("Ended after all there was to say had been said; never shown."),
        tr_later!("Nothing."),
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
            tr_later!(
                "Bring mailctl and mailserver to the same release: mailctl doctor shows both."
            )
        }
        Code::TooLarge => {
            tr_later!(
                "Make it smaller, or give a large file in a chat: mailctl chat USER --send FILE."
            )
        }
        Code::BadName => {
            tr_later!(
                "Letters, digits and most signs, at most 64 bytes; no spaces, not several scripts in one word: mailctl help topics."
            )
        }
        Code::NotRegistered => tr_later!("Log in first: mailctl login USER."),
        Code::Denied | Code::ShutOut => tr_later!("Ask an administrator of the server."),
        Code::NeedsCode => {
            tr_later!(
                "If you are that user: mailctl invite --device at a device that is logged in, then mailctl join here. If not, take another name."
            )
        }
        Code::BadCode => tr_later!("Codes are good once, for 24 hours: ask for a new one."),
        Code::RegistrationClosed => {
            tr_later!(
                "Ask somebody who is registered for an invitation: mailctl invite, then mailctl join here."
            )
        }
        Code::WrongUser => {
            tr_later!(
                "Use a home of its own for another user, or its own login: mailctl login USER."
            )
        }
        Code::NameTaken => {
            tr_later!("Take another name; an administrator can free a removed user's.")
        }
        Code::NoSuchDevice => tr_later!("mailctl device ls lists your devices."),
        Code::NoSuchAddress => {
            tr_later!("The nearest names are in the text; mailctl topic ls lists topics.")
        }
        Code::IsAUser => tr_later!("Send to it: mailctl send USER."),
        Code::NoSession | Code::PartsMissing => {
            tr_later!("Run it again; mailctl does so by itself.")
        }
        Code::StreamUnknown | Code::Settled => {
            tr_later!(
                "Ask the addressee whether it arrived; mailctl outbox lists what is in doubt."
            )
        }
        Code::NumberReused => {
            tr_later!(
                "The home was copied or put back from a backup: send it anew, and use one home at one place."
            )
        }
        Code::WindowFull | Code::TooManyStreams => {
            tr_later!("Settle what is in the outbox: mailctl outbox retry.")
        }
        Code::MailboxFull => tr_later!("The addressee must read or remove mail; try later."),
        Code::DiskFull => tr_later!("The server's administrator must make room; try later."),
        Code::Busy => tr_later!("Wait as long as the error says."),
        Code::NoPort => {
            tr_later!("Wait as long as the error says, or end another chat or watch of yours.")
        }
        Code::LeaseLost => tr_later!("Start the chat again."),
        Code::Blocked => tr_later!("That is the addressee's choice."),
        Code::PeerBusy => tr_later!("Ask later, or send a mail."),
        Code::NoInvitation => tr_later!("mailctl chat requests lists who asks."),
        Code::Taken => tr_later!("It goes on at the device that took it."),
        Code::LimitReached => tr_later!("Leave, withdraw or remove some: the text says of what."),
        Code::ShuttingDown => tr_later!("Try again in a moment; mailctl does so by itself."),
        Code::Internal => {
            tr_later!("Report it; the server's log has the cause under the reference.")
        }
        Code::Unknown => tr_later!("Bring mailctl to the server's release."),
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
