//! Requests: `[request id][JSON header][body]` on the ROUTER socket, one struct per verb.
//!
//! A header is a JSON object whose `verb` picks the struct; unknown fields are ignored, so that a
//! newer client can talk to an older server. Only `send` and `part` have a body frame.

mod admin;
mod people;

use serde::{Deserialize, Serialize};

pub use admin::*;
pub use people::*;

use super::codes::{Code, WireError, refusal};
use super::names::{Pattern, UserName};
use super::{LogNumber, MailId};
use crate::limits;

/// A session's name on the wire: 32 hex digits, from the reply to `login`.
pub type SessionId = String;

/// A chat's (and its invitation's) name on the wire: 32 hex digits, never used twice.
pub type ChatId = String;

/// Opens a conversation: who speaks which versions. Asked first, by any key, known or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Always [`super::MAGIC`].
    pub magic: String,
    /// The oldest and the newest protocol version the client speaks.
    pub versions: (u32, u32),
    /// Features the client knows.
    #[serde(default)]
    pub features: Vec<String>,
    /// Program and version, for the server's log.
    #[serde(default)]
    pub agent: String,
}

/// Makes a user (open registration, or a code for a new user) or a further device of one (a code
/// from that user or an admin). Asking again with the same key gives the first answer again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The user to be; may be left out when the code names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// What the owner calls this device.
    #[serde(default)]
    pub device: String,
    /// Invitation code, where one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Opens a session of this key's device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user this key is expected to be, checked when given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// Topics and prefixes to join with the login.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<Pattern>,
    /// An earlier session to go on with: its lease is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<SessionId>,
    /// The stream in the client's outbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<u64>,
    /// Wants a stream: a new one when `stream` is absent or not known any more.
    #[serde(default)]
    pub want_stream: bool,
    /// Wants a port leased: standing sessions do, one-shot verbs do not.
    #[serde(default)]
    pub want_port: bool,
}

/// Lists the caller's logs beyond those that the login reply had room for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// The caller's session.
    pub session: SessionId,
    /// Lists logs with a number above this.
    #[serde(default)]
    pub after: LogNumber,
}

/// Keeps a session and its lease, and asks which logs have something above `known`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The caller's session.
    pub session: SessionId,
    /// The client has everything of its logs up to this id.
    #[serde(default)]
    pub known: MailId,
}

/// Sends one mail to one or more addresses, exactly once per (stream, number).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Send {
    /// The caller's session.
    pub session: SessionId,
    /// The stream this send is a row of.
    pub stream: u64,
    /// Its number in the stream: 1, 2, 3 ...
    pub number: u64,
    /// Every number below this has an outcome that the client holds; at least 1.
    pub settled_below: u64,
    /// Names of users and topics, each at most once.
    pub to: Vec<String>,
    /// One line, or nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// MIME type of the body.
    #[serde(default = "default_content_type")]
    pub content_type: String,
    /// Seconds after which the mail is of no use, by the broker's wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
    /// The body came before, as this many `part` requests; then there is no body frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
    /// The mail that this one answers, by its `message` number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_reply_to: Option<MailId>,
    /// The mail that began the thread, by its `message` number; left out, the one that is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<MailId>,
}

/// The content type of a mail that names none.
pub fn default_content_type() -> String {
    "text/plain; charset=utf-8".to_owned()
}

/// One piece of a body over [`limits::FRAME_BYTES_MAX`], before its `send`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The caller's session.
    pub session: SessionId,
    /// Stream and number of the send it belongs to.
    pub stream: u64,
    /// See `stream`.
    pub number: u64,
    /// 0, 1, 2 ... in order; part 0 starts the upload over.
    pub index: u32,
}

/// Reads a log after an id: refresh, resume, gap filling and history are all this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The caller's session.
    pub session: SessionId,
    /// Which log.
    pub log: LogNumber,
    /// The page begins after this id.
    pub after: MailId,
    /// The count (`n`) that came with `after`, so that the broker can say how many are missing; left
    /// out, it counts from what this device has acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Credit in mails, at most [`limits::PAGE_MAILS_MAX`].
    #[serde(default = "default_page_mails")]
    pub mails: u32,
    /// Credit in body bytes, at most [`limits::PAGE_BYTES_MAX`].
    #[serde(default = "default_page_bytes")]
    pub bytes: u64,
}

fn default_page_mails() -> u32 {
    100
}

fn default_page_bytes() -> u64 {
    limits::PAGE_BYTES_MAX as u64
}

/// Reads the newest mails of any topic the caller may read, without a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The caller's session.
    pub session: SessionId,
    /// A topic's name, or the caller's own.
    pub address: String,
    /// Mails to go back from the head.
    #[serde(default = "default_page_mails")]
    pub mails: u32,
    /// Only mails below this id; left out, from the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<MailId>,
}

/// Reads a piece of one body that was too large for its page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// The caller's session.
    pub session: SessionId,
    /// The log that holds the mail.
    pub log: LogNumber,
    /// The mail.
    pub id: MailId,
    /// First byte wanted.
    pub offset: u64,
}

/// Acknowledges logs up to an id each: cumulative, forward only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The caller's session.
    pub session: SessionId,
    /// Pairs of log and id, at most [`limits::ACKS_MAX`].
    pub logs: Vec<(LogNumber, MailId)>,
}

/// Where a new subscription starts reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// At the topic's head: mails from now on.
    #[default]
    Now,
    /// At the oldest mail that is kept.
    Start,
    /// After this id.
    After(MailId),
}

/// Joins a topic (made on the spot where the server allows it) or a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The caller's session.
    pub session: SessionId,
    /// The topic or prefix.
    pub topic: Pattern,
    /// Where to start. Joining again moves the start only when this is not `now`.
    #[serde(default)]
    pub from: From,
}

/// Leaves a topic or prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// The caller's session.
    pub session: SessionId,
    /// The topic or prefix, as it was joined.
    pub topic: Pattern,
}

/// Lists the topics the caller may read, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topics {
    /// The caller's session.
    pub session: SessionId,
    /// Names after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Tells what there is to know of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// The caller's session.
    pub session: SessionId,
    /// The topic's name.
    pub topic: String,
}

/// Makes a single-use code, good for 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The caller's session; an admin key needs none.
    #[serde(default)]
    pub session: SessionId,
    /// The name the new user must take; left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    /// For a further device of an existing user: the caller, or `user` when an admin asks.
    #[serde(default)]
    pub device: bool,
}

/// Asks for a port when the session has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The caller's session.
    pub session: SessionId,
}

/// Speaks of a lease by port and epoch: confirms it (bound), reports it busy, gives it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseWord {
    /// The caller's session.
    pub session: SessionId,
    /// The leased port.
    pub port: u16,
    /// The lease's epoch.
    pub epoch: u64,
}

/// Ends this one session and gives its port back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close {
    /// The caller's session.
    pub session: SessionId,
}

/// Ends all sessions of this device; with `forget`, removes the device too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logout {
    /// Remove the device, its cursors and streams: its key is worth nothing afterwards.
    #[serde(default)]
    pub forget: bool,
}

/// Asks a user for a direct chat, on the session's confirmed lease. Asking again within the session
/// returns the same invitation; asking somebody whose invitation to the caller is open accepts that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatAsk {
    /// The caller's session, which holds a confirmed lease.
    pub session: SessionId,
    /// Who is asked.
    pub user: UserName,
    /// Host under which the other side can reach the caller, where that is not the address the broker
    /// sees (NAT): a name or an address without brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The client's own word for this ask, 1 to 32 bytes, new for each ask and the same in its retries:
    /// a retry then gets the first answer again, even when the invitation was answered meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// Accepts an invitation, on the session's confirmed lease. The first device that accepts wins; the
/// winning session may repeat it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatAccept {
    /// The caller's session, which holds a confirmed lease.
    pub session: SessionId,
    /// Which invitation.
    pub chat: ChatId,
    /// See [`ChatAsk::host`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// Declines an invitation, for all of the user's devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatDecline {
    /// The caller's session.
    pub session: SessionId,
    /// Which invitation.
    pub chat: ChatId,
    /// Says "busy" to the other side instead of "declined".
    #[serde(default)]
    pub busy: bool,
}

/// Takes back an invitation that this session made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatWithdraw {
    /// The caller's session.
    pub session: SessionId,
    /// Which invitation.
    pub chat: ChatId,
}

/// Lists invitations that concern the caller: open ones to the user, those the user missed, and those
/// that this session made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chats {
    /// The caller's session.
    pub session: SessionId,
}

/// Says that the user was shown these missed invitations; they are told no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatSeen {
    /// The caller's session.
    pub session: SessionId,
    /// Which, at most [`limits::INVITATIONS_TO_USER_MAX`]; unknown ones are no error.
    pub chats: Vec<ChatId>,
}

/// Blocks a user, or takes that back: his mail to the caller is refused, his invitations are answered
/// as busy. What both send to topics is not touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The caller's session.
    pub session: SessionId,
    /// Who is (no longer) blocked.
    pub user: UserName,
}

/// Lists whom the caller blocks, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocks {
    /// The caller's session.
    pub session: SessionId,
    /// Names after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// One request, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the struct of its name")]
pub enum Request {
    Hello(Hello),
    Register(Register),
    Login(Login),
    Logs(Logs),
    Heartbeat(Heartbeat),
    Send(Send),
    Part(Part),
    Fetch(Fetch),
    History(History),
    Body(Body),
    Ack(Ack),
    Join(Join),
    Leave(Leave),
    Topics(Topics),
    Topic(Topic),
    Invite(Invite),
    Lease(Lease),
    LeaseConfirm(LeaseWord),
    LeaseBusy(LeaseWord),
    LeaseRelease(LeaseWord),
    ChatAsk(ChatAsk),
    ChatAccept(ChatAccept),
    ChatDecline(ChatDecline),
    ChatWithdraw(ChatWithdraw),
    Chats(Chats),
    ChatSeen(ChatSeen),
    Block(Block),
    Unblock(Block),
    Blocks(Blocks),
    Who(Who),
    Hide(Hide),
    Devices(Devices),
    DeviceRm(DeviceRm),
    DeviceRename(DeviceRename),
    Rotate(Rotate),
    Codes(Codes),
    CodeRm(CodeRm),
    AccountRm(AccountRm),
    Close(Close),
    Logout(Logout),
    Admin(Admin),
}

impl Request {
    /// Returns the session the request names; nothing for verbs that need none.
    pub fn session(&self) -> &str {
        match self {
            Self::Hello(_)
            | Self::Register(_)
            | Self::Login(_)
            | Self::Logout(_)
            | Self::Admin(_) => "",
            Self::Invite(inner) => &inner.session,
            Self::Logs(inner) => &inner.session,
            Self::Heartbeat(inner) => &inner.session,
            Self::Send(inner) => &inner.session,
            Self::Part(inner) => &inner.session,
            Self::Fetch(inner) => &inner.session,
            Self::History(inner) => &inner.session,
            Self::Body(inner) => &inner.session,
            Self::Ack(inner) => &inner.session,
            Self::Join(inner) => &inner.session,
            Self::Leave(inner) => &inner.session,
            Self::Topics(inner) => &inner.session,
            Self::Topic(inner) => &inner.session,
            Self::Lease(inner) => &inner.session,
            Self::LeaseConfirm(inner) | Self::LeaseBusy(inner) | Self::LeaseRelease(inner) => {
                &inner.session
            }
            Self::ChatAsk(inner) => &inner.session,
            Self::ChatAccept(inner) => &inner.session,
            Self::ChatDecline(inner) => &inner.session,
            Self::ChatWithdraw(inner) => &inner.session,
            Self::Chats(inner) => &inner.session,
            Self::ChatSeen(inner) => &inner.session,
            Self::Block(inner) | Self::Unblock(inner) => &inner.session,
            Self::Blocks(inner) => &inner.session,
            Self::Who(inner) => &inner.session,
            Self::Hide(inner) => &inner.session,
            Self::Devices(inner) => &inner.session,
            Self::DeviceRm(inner) => &inner.session,
            Self::DeviceRename(inner) => &inner.session,
            Self::Rotate(inner) => &inner.session,
            Self::Codes(inner) => &inner.session,
            Self::CodeRm(inner) => &inner.session,
            Self::AccountRm(inner) => &inner.session,
            Self::Close(inner) => &inner.session,
        }
    }
}

macro_rules! verbs {
    ($($word:literal => $variant:ident,)+) => {
        /// Every verb this build knows, in the order of `docs/protocol.md`.
        pub const VERBS: &[&str] = &[$($word,)+];

        impl Request {
            /// Returns the verb on the wire.
            pub fn verb(&self) -> &'static str {
                match self { $(Request::$variant(_) => $word,)+ }
            }

            /// Decodes a header frame. The error is what the client is told.
            pub fn decode(header: &[u8]) -> Result<Self, WireError> {
                let verb = verb_of(header)?;
                match verb.as_ref() {
                    $($word => parse(header).map(Request::$variant),)+
                    other => Err(refusal!(
                        Code::Unsupported,
                        "this server does not know the verb {}",
                        format!("{:?}", clip(other))
                    )),
                }
            }

            /// Encodes a header frame.
            pub fn encode(&self) -> Vec<u8> {
                match self { $(Request::$variant(inner) => header($word, inner),)+ }
            }
        }
    };
}

verbs! {
    "hello" => Hello,
    "register" => Register,
    "login" => Login,
    "logs" => Logs,
    "heartbeat" => Heartbeat,
    "send" => Send,
    "part" => Part,
    "fetch" => Fetch,
    "history" => History,
    "body" => Body,
    "ack" => Ack,
    "join" => Join,
    "leave" => Leave,
    "topics" => Topics,
    "topic" => Topic,
    "invite" => Invite,
    "lease" => Lease,
    "lease_confirm" => LeaseConfirm,
    "lease_busy" => LeaseBusy,
    "lease_release" => LeaseRelease,
    "chat_ask" => ChatAsk,
    "chat_accept" => ChatAccept,
    "chat_decline" => ChatDecline,
    "chat_withdraw" => ChatWithdraw,
    "chats" => Chats,
    "chat_seen" => ChatSeen,
    "block" => Block,
    "unblock" => Unblock,
    "blocks" => Blocks,
    "who" => Who,
    "hide" => Hide,
    "devices" => Devices,
    "device_rm" => DeviceRm,
    "device_rename" => DeviceRename,
    "rotate" => Rotate,
    "codes" => Codes,
    "code_rm" => CodeRm,
    "account_rm" => AccountRm,
    "close" => Close,
    "logout" => Logout,
    "admin" => Admin,
}

fn verb_of(header: &[u8]) -> Result<std::borrow::Cow<'_, str>, WireError> {
    #[derive(Deserialize)]
    struct Verb<'a> {
        #[serde(borrow)]
        verb: std::borrow::Cow<'a, str>,
    }
    if header.len() > limits::FRAME_BYTES_MAX {
        return Err(refusal!(Code::TooLarge, "the header is over 64 KiB"));
    }
    let parsed: Verb<'_> = serde_json::from_slice(header).map_err(|e| bad_header(&e))?;
    Ok(parsed.verb)
}

fn parse<'a, T: Deserialize<'a>>(header: &'a [u8]) -> Result<T, WireError> {
    serde_json::from_slice(header).map_err(|e| bad_header(&e))
}

fn bad_header(error: &serde_json::Error) -> WireError {
    // The error quotes the header, which may be as long as a whole frame.
    let why: String = error.to_string().chars().take(200).collect();
    refusal!(
        Code::BadRequest,
        "the header is not what its verb takes: {}",
        why
    )
}

fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

fn header<T: Serialize>(verb: &'static str, inner: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Tagged<'a, T> {
        verb: &'static str,
        #[serde(flatten)]
        inner: &'a T,
    }
    serde_json::to_vec(&Tagged { verb, inner })
        .expect("request headers are maps with text keys, which JSON always holds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_round_trip() {
        let send = Request::Send(Send {
            session: "ab".into(),
            stream: 7,
            number: 1,
            settled_below: 1,
            to: vec!["bob".into(), "news".into()],
            subject: "hi".into(),
            content_type: default_content_type(),
            ttl_s: None,
            parts: None,
            in_reply_to: Some(41),
            thread: Some(40),
        });
        assert_eq!(Request::decode(&send.encode()), Ok(send));
        let join = Request::Join(Join {
            session: "ab".into(),
            topic: Pattern::parse("lab/*").unwrap(),
            from: From::After(9),
        });
        assert_eq!(Request::decode(&join.encode()), Ok(join));
        for user in [None, Some("bob".parse().unwrap())] {
            let who = Request::Who(Who {
                session: "ab".into(),
                user,
                after: Some("ana".into()),
            });
            assert_eq!(Request::decode(&who.encode()), Ok(who));
        }
        let hide = Request::Hide(Hide {
            session: "ab".into(),
            hidden: true,
        });
        assert_eq!(Request::decode(&hide.encode()), Ok(hide));
        let session = || SessionId::from("ab");
        for request in [
            Request::Devices(Devices {
                session: session(),
                after: 3,
            }),
            Request::DeviceRm(DeviceRm {
                session: session(),
                device: 3,
            }),
            Request::DeviceRename(DeviceRename {
                session: session(),
                device: 3,
                name: "desk".into(),
            }),
            Request::Rotate(Rotate {
                session: session(),
                key: "07".repeat(32),
            }),
            Request::Codes(Codes { session: session() }),
            Request::CodeRm(CodeRm {
                session: session(),
                id: "0badc0de".into(),
            }),
            Request::AccountRm(AccountRm {
                session: session(),
                user: "ana".parse().unwrap(),
            }),
        ] {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_verbs_are_said() {
        let header = br#"{"verb":"close","session":"x","of_tomorrow":[1]}"#;
        assert_eq!(
            Request::decode(header),
            Ok(Request::Close(Close {
                session: "x".into()
            }))
        );
        let code = |header: &[u8]| Request::decode(header).unwrap_err().code;
        assert_eq!(code(br#"{"verb":"fly"}"#), Code::Unsupported);
        assert_eq!(code(br#"{"verb":"close"}"#), Code::BadRequest);
        assert_eq!(code(b"\xff\x00"), Code::BadRequest);
        assert_eq!(code(b"[]"), Code::BadRequest);
        assert_eq!(
            code(br#"{"verb":"login","topics":["a b"]}"#),
            Code::BadRequest
        );
    }

    #[test]
    fn p09_an_error_quotes_little_of_what_was_sent() {
        let header = format!(r#"{{"verb":"admin","what":"{}"}}"#, "x".repeat(60_000));
        let error = Request::decode(header.as_bytes()).unwrap_err();
        assert!(error.text.len() < 1_000, "{} bytes", error.text.len());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answered(header: Vec<u8>) {
            drop(Request::decode(&header));
        }
    }
}
