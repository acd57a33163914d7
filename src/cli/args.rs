//! The command line of `mailctl` as data. The doc comments are the help; parsing touches nothing.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};

mod admin;
mod around;
mod chat;
mod mailbox;
mod people;
mod writing;

use super::ui::{Colours, Look};
pub use admin::*;
pub use around::*;
pub use chat::*;
pub use mailbox::*;
pub use people::*;
pub use writing::{
    Content, Draft, DraftSend, Forward, ReceiptPolicy, Receipts, Reply, Send, parse_undo,
};

/// Mail for the machines and people of one network.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(
    name = "mailctl",
    version,
    max_term_width = 100,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    after_help = "\
Examples:
  mailctl login ana                     become ana on this machine
  mailctl send bob -s lunch -b '12:30?'
  mailctl refresh                       show what arrived since the last time
  mailctl topic join news
  mailctl chat bob                      ask bob for a direct chat; mailctl chat accept, on his side
  mailctl                               the shell: @bob writes, !news joins, refresh reads

Further help: mailctl help exit-codes, environment, topics or formatting; mailctl errors CODE.

Exit codes: 0 done, 64 usage, 65 bad data, 67 no such user or topic, 69 server unreachable,
73 cannot create, 74 input or output, 75 try later, 77 denied, 78 configuration."
)]
pub struct Cli {
    /// What holds for every verb.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do; the shell when absent.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// A line of the shell that is a verb with its arguments.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(no_binary_name = true, disable_help_subcommand = true)]
pub struct Line {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options that stand before or after the verb.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Options of every verb")]
pub struct Globals {
    /// The server: its `server.url` file, or the text in it. Without it: the one of your last
    /// login or `use`, else ./data/server.url
    #[arg(
        long,
        global = true,
        overrides_with = "server",
        value_name = "FILE|URL",
        env = "MAILCTL_SERVER",
        hide_env_values = true
    )]
    pub server: Option<String>,
    /// Where keys, outbox and mailbox of this machine's user lie
    #[arg(
        long,
        global = true,
        overrides_with = "home",
        value_name = "DIR",
        env = "MAILCTL_HOME",
        hide_env_values = true,
        // One that is empty is as good as none, which the usual parser of paths does not let through.
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    pub home: Option<PathBuf>,
    /// Which of this home's contexts to use, for this once: a user at a server, `context ls` has them
    #[arg(
        short = 'C',
        long,
        global = true,
        overrides_with = "context",
        value_name = "NAME",
        env = "MAILCTL_CONTEXT",
        hide_env_values = true
    )]
    pub context: Option<String>,
    /// Which of this home's users to be, for this once
    #[arg(
        id = "as",
        long = "as",
        overrides_with = "as",
        global = true,
        value_name = "USER",
        env = "MAILCTL_USER",
        hide_env_values = true
    )]
    pub user: Option<String>,
    /// Results (and errors) as JSON, one object a line
    #[arg(long, global = true, overrides_with = "json")]
    pub json: bool,
    /// Never ask anything
    #[arg(long, global = true, overrides_with = "no_input")]
    pub no_input: bool,
    /// When to use colours (`NO_COLOR` is heeded too)
    #[arg(
        long,
        global = true,
        overrides_with = "color",
        value_name = "WHEN",
        default_value = "auto",
        hide = true
    )]
    pub color: Colours,
    /// Lines one below the other and nothing else, for who has the screen read out (also
    /// `MAILCTL_PLAIN=1`)
    #[arg(long, global = true, overrides_with = "plain", hide = true)]
    pub plain: bool,
    /// Read the passphrase of your key from the first line of this file, which only you can read (`-`: of
    /// stdin). At a terminal you are asked for it
    #[arg(
        long,
        global = true,
        overrides_with = "passphrase_file",
        value_name = "FILE|-"
    )]
    pub passphrase_file: Option<PathBuf>,
    /// How long a verb that ends by itself may take, in seconds
    #[arg(
        long,
        global = true,
        overrides_with = "timeout",
        value_name = "S",
        default_value = "10",
        value_parser = parse_timeout
    )]
    pub timeout: Duration,
}

impl Globals {
    /// Returns how output is to look.
    pub fn look(&self) -> Look {
        let look = Look {
            colours: self.color,
            plain: self.plain,
        };
        look.of_environment()
    }
}

/// Every verb.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Verb {
    /// Be USER on this machine: makes a key, registers it if new, opens a session
    Login(Login),
    /// End this device's sessions; key, topics and waiting mail stay
    Logout(Logout),
    /// Make USER the one this home acts as
    Use(Use),
    /// Show who you are, and where
    Whoami,
    /// Show who is online, or was seen when; all, or these users
    Who(Who),
    /// List, name and remove the devices that are you; without a command, list them
    Device {
        /// What to do
        #[command(subcommand)]
        verb: Option<Device>,
    },
    /// Look after the key that is this device
    #[command(subcommand)]
    Key(Key),
    /// Remove your account for good
    #[command(subcommand)]
    Account(AccountDeed),
    /// Make a code with which somebody can join, once, within 24 hours; list and take back open ones
    Invite(Invite),
    /// Join a server, or add this device to your user, with a code from `invite`
    Join(Join),
    /// Send one mail to users and topics
    Send(Send),
    /// Look after what was written but not yet sent; without a command, list it
    Outbox {
        /// What to do with it
        #[command(subcommand)]
        verb: Option<Outbox>,
    },
    /// Look after drafts; without a command, list them
    Draft {
        /// What to do with one
        #[command(subcommand)]
        verb: Option<Draft>,
    },
    /// Show what arrived while you were away, and mark it as shown
    Refresh(Refresh),
    /// Say how much is unread, per address, in one line for prompts; fetches and marks nothing
    Status(Status),
    /// Show what arrives, until stopped; marks nothing as shown
    Watch(Watch),
    /// Show the newest mails of a topic, read or not
    History(History),
    /// Show one mail of this device's mailbox
    Read(Read),
    /// Answer a mail of this device's mailbox
    Reply(Reply),
    /// Pass a mail on, with what is attached to it
    Forward(Forward),
    /// Save what is attached to a mail of this device's mailbox
    Save(Save),
    /// Move mails of this device's mailbox to the trash, or remove them for good
    Rm(Rm),
    /// Say whether senders who ask are told that you have read their mail
    Receipts(Receipts),
    /// Take back what was done last: an `rm`, or a send that is held back (`send --undo`)
    Undo,
    /// Find mails of this device's mailbox, newest first
    Search(Search),
    /// Write this device's mailbox to a Maildir, an mbox or JSON lines
    Export(Exchange),
    /// Put mail of a Maildir, an mbox or JSON lines beside the received
    Import(Exchange),
    /// Send a message as other systems' sendmail does: RFC 5322 on stdin
    Sendmail(Sendmail),
    /// Join, leave and list topics; without a command, list them
    Topic {
        /// What to do
        #[command(subcommand)]
        verb: Option<Topic>,
    },
    /// Talk with a user directly: the two programs connect, nobody in between
    Chat(Chat),
    /// Take no mail and no chats from a user; without a name, list whom you block
    Block(Block),
    /// Take mail and chats from a user again
    Unblock(Unblock),
    /// Keep the mail of a topic, and do not announce it at this device
    Mute(Muting),
    /// Announce the mail of a topic again
    Unmute(Muting),
    /// Name this home's users at their servers, and choose among them; without a command, list them
    Context {
        /// What to do
        #[command(subcommand)]
        verb: Option<Context>,
    },
    /// Test what mailctl depends on, and say what to do about what fails
    Doctor(Doctor),
    /// Explain the code of an error, or list all of them
    Errors(Errors),
    /// See to users, topics, queues, leases and sessions of a running server
    #[command(subcommand)]
    Admin(Admin),
    /// Print the script with which a shell completes verbs, options, users, topics and mails
    Completions(Completions),
    /// Print or write the schema of what a verb prints under --json
    JsonSchema(JsonSchema),
    /// Print or write the manual pages
    Man(Man),
    /// Complete a command line
    #[command(name = "__complete", hide = true, disable_help_flag = true)]
    Complete(Complete),
}

/// `mailctl outbox`.
#[derive(Debug, Clone, Copy, PartialEq, Subcommand)]
pub enum Outbox {
    /// List drafts, queued mails and sends in doubt
    Ls,
    /// Send now what was to go out; with N, that one, be it a draft
    Retry(Entry),
    /// Throw an entry away; what was tried may have arrived all the same
    Rm(TheEntry),
}

/// An entry of the outbox, or all.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub struct Entry {
    /// The entry's number in `outbox ls`
    #[arg(value_name = "N")]
    pub number: Option<u64>,
}

/// An entry of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub struct TheEntry {
    /// The entry's number in `outbox ls`
    #[arg(value_name = "N")]
    pub number: u64,
}

/// `mailctl refresh`.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
pub struct Refresh {
    /// Show at most N mails; the rest stays for the next time
    #[arg(short, long, value_name = "N")]
    pub limit: Option<usize>,
    /// Only look: store nothing, mark nothing, acknowledge nothing
    #[arg(long)]
    pub no_ack: bool,
}

/// `mailctl status`.
#[derive(Debug, Clone, Copy, PartialEq, Args)]
#[command(after_help = "\
Examples:
  mailctl status
  PS1='$(mailctl status --short --offline)> '
  mailctl status --exit-code >/dev/null && notify-send 'you have mail'")]
pub struct Status {
    /// Count only what was fetched already; asks no server
    #[arg(long)]
    pub offline: bool,
    /// The number alone
    #[arg(short, long)]
    pub short: bool,
    /// Exit with 1 when nothing is unread
    #[arg(long)]
    pub exit_code: bool,
}

/// `mailctl watch`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(after_help = "\
CMD runs in `sh -c` with the body on its stdin and MAIL_ID, MAIL_MESSAGE, MAIL_THREAD, MAIL_ADDRESS,
MAIL_FROM, MAIL_TO, MAIL_SUBJECT, MAIL_SENT_AT and MAIL_CONTENT_TYPE in its environment; one at a
time, in order.")]
pub struct Watch {
    /// Only look: store nothing, acknowledge nothing
    #[arg(long)]
    pub no_ack: bool,
    /// Run CMD for each mail
    #[arg(long, value_name = "CMD")]
    pub exec: Option<String>,
    /// What to do when CMD fails
    #[arg(
        long,
        value_name = "WHAT",
        requires = "exec",
        default_value = "continue"
    )]
    pub on_error: OnError,
}

/// What becomes of a `watch` whose command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnError {
    /// Tell it and go on with the next mail
    Continue,
    /// Tell it and end, with its exit code
    Stop,
    /// Run it again after 1, 2, 4 and 8 seconds; then tell it and go on
    Retry,
}

/// `mailctl history`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct History {
    /// The topic, or yourself
    #[arg(value_name = "T")]
    pub address: String,
    /// How many mails to go back
    #[arg(short, long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
}

/// `mailctl topic`.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Topic {
    /// Join a topic, or all under one (`lab/*`)
    Join(TopicJoin),
    /// Leave a topic, as it was joined
    Leave(TopicName),
    /// List the topics you may read
    Ls,
    /// Tell what there is to know of one topic
    Info(TopicName),
}

/// `mailctl topic join`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TopicJoin {
    /// The topic
    #[arg(value_name = "T", required = true)]
    pub topics: Vec<String>,
    /// Where to begin: `now`, `start` (all that is kept), or after the mail of this number
    #[arg(long, default_value = "now", value_parser = parse_from)]
    pub from: crate::protocol::request::From,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TopicName {
    /// The topic
    #[arg(value_name = "T")]
    pub topic: String,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .trim_end_matches('s')
        .parse()
        .map_err(|_| crate::cli::i18n::tr_later!("not a number of seconds").to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero() && time.as_secs() <= 24 * 3600)
        .ok_or_else(|| crate::cli::i18n::tr_later!("must lie above 0 and within a day").to_owned())
}

fn parse_from(text: &str) -> Result<crate::protocol::request::From, String> {
    use crate::protocol::request::From;
    match text {
        "now" => Ok(From::Now),
        "start" => Ok(From::Start),
        id => id.parse().map(From::After).map_err(|_| {
            crate::cli::i18n::tr_later!("not `now`, `start` or the number of a mail").to_owned()
        }),
    }
}

/// Returns a name as the wire has it: without the `@` that the command line accepts before it.
pub fn bare(name: &str) -> &str {
    name.strip_prefix('@').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("mailctl").chain(line.split_whitespace()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_verb() {
        let before = parse("--json --as ana --timeout 2 whoami").unwrap();
        let after = parse("whoami --json --as ana --timeout 2").unwrap();
        assert_eq!(before, after);
        assert_eq!(after.globals.timeout, Duration::from_secs(2));
        let last = parse("--as ana --json --json whoami --as bob").unwrap();
        assert_eq!(
            last.globals.user.as_deref(),
            Some("bob"),
            "the last one counts"
        );
        assert!(parse("topic ls --json").unwrap().globals.json);
    }

    #[test]
    fn a_verbs_user_is_not_the_user_to_be() {
        for line in ["login bob", "use bob", "invite bob", "join code bob"] {
            assert_eq!(parse(line).unwrap().globals.user, None, "{line}");
        }
        assert_eq!(
            parse("login bob --as ana").unwrap().globals.user.as_deref(),
            Some("ana")
        );
    }

    #[test]
    fn send_takes_several_targets_and_any_body() {
        let Some(Verb::Send(send)) = parse("send @bob news - -s hi --ttl 7d").unwrap().verb else {
            panic!("not a send");
        };
        assert_eq!(send.targets, ["@bob", "news", "-"]);
        assert_eq!(send.content.ttl, Some(7 * 24 * 3600));
        let Some(Verb::Send(send)) = parse("send bob -b -x").unwrap().verb else {
            panic!("not a send");
        };
        assert_eq!(send.content.body.as_deref(), Some("-x"));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for line in [
            "send",
            "send bob -b x -f y",
            "send bob -b x -b y",
            "send bob --ttl 0",
            "send bob --ttl never",
            "send bob -a file --content-type text/plain",
            "refresh --limit many",
            "--timeout 0 whoami",
            "logout --yes",
            "topic join",
            "topic join news --from yesterday",
            "admin queue purge",
            "chat bob carol",
            "chat bob --undelivered keep",
            "chat bob --wait 0",
            "chat bob --busy",
            "unblock",
            "who --hide --show",
            "who bob --hide",
            "device rm",
            "account rm",
            "invite rm",
            "frefresh",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_chat_is_asked_for_or_answered() {
        let chat = |line: &str| match parse(line).unwrap().verb {
            Some(Verb::Chat(chat)) => chat,
            other => panic!("{other:?}"),
        };
        let asks = chat("--json chat @bob --wait 90 --undelivered drop");
        assert_eq!((asks.user.as_deref(), asks.deed), (Some("@bob"), None));
        assert_eq!(asks.talk.wait, Some(Duration::from_secs(90)));
        assert_eq!(asks.talk.undelivered, Some(Undelivered::Drop));
        assert_eq!(chat("chat --json requests").deed, Some(ChatDeed::Requests));
        let accepts = chat("chat --wait 5m accept bob --advertise here");
        let Some(ChatDeed::Accept(args)) = accepts.deed else {
            panic!("{accepts:?}");
        };
        let talk = args.talk.or(&accepts.talk);
        assert_eq!(args.user.as_deref(), Some("bob"));
        assert_eq!(talk.wait, Some(Duration::from_mins(5)));
        assert_eq!(talk.advertise.as_deref(), Some("here"));
        let declines = chat("chat decline --busy").deed;
        assert_eq!(
            declines,
            Some(ChatDeed::Decline(ChatDecline {
                user: None,
                busy: true
            }))
        );
    }

    #[test]
    fn a_leading_at_is_accepted() {
        assert_eq!((bare("@bob"), bare("bob")), ("bob", "bob"));
    }
}
