//! What `--json` prints, verb by verb, as data: `mailctl json-schema` makes JSON Schemas (2020-12) of it, and
//! the tests hold what the verbs really print to them, closed to fields that do not stand here.
//!
//! Published schemas are open: fields and kinds may come, these stay.

use serde_json::{Map, Value, json};

use super::codes;

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// Any text.
    Text,
    /// A time: RFC 3339, UTC.
    Time,
    /// A whole number from 0 to 2^53.
    Number,
    /// Yes or no.
    Bool,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list.
    List(&'static Type),
    /// An object.
    Object(&'static [Field]),
    /// The same, or null.
    OrNull(&'static Type),
    /// Anything.
    Any,
}

use Type::{Any, Bool, List, Number, Object, OrNull, Text, Time, Word};

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    name: &'static str,
    holds: Type,
    always: bool,
}

/// A field that is always there.
const fn has(name: &'static str, holds: Type) -> Field {
    Field {
        name,
        holds,
        always: true,
    }
}

/// A field that may be absent.
const fn may(name: &'static str, holds: Type) -> Field {
    Field {
        name,
        holds,
        always: false,
    }
}

/// An object that a verb may print.
#[derive(Debug)]
pub struct Shape {
    /// What it is, for people.
    title: &'static str,
    fields: &'static [Field],
    /// One of these stands too.
    one_of: &'static [&'static [Field]],
    /// Has fields that are not listed here.
    is_open: bool,
}

const fn shape(title: &'static str, fields: &'static [Field]) -> Shape {
    Shape {
        title,
        fields,
        one_of: &[],
        is_open: false,
    }
}

/// What a verb prints to stdout. Every verb may print [`ERROR`] and [`NOTE`] to stderr.
#[derive(Debug)]
pub struct Row {
    /// The verb, with the one below it.
    pub verb: &'static str,
    shapes: &'static [&'static Shape],
}

const fn row(verb: &'static str, shapes: &'static [&'static Shape]) -> Row {
    Row { verb, shapes }
}

const DURABILITY: Type = Word(&["fsync", "replicated"]);

static MAIL: Shape = Shape {
    title: "a mail",
    fields: &[
        has("kind", Word(&["mail"])),
        has("id", Number),
        has("prev", Number),
        has("message", Number),
        may("in_reply_to", Number),
        has("thread", Number),
        has("address", Text),
        has("from", Text),
        has("to", List(&Text)),
        has("subject", Text),
        has("sent_at", Time),
        may("expires_at", Time),
        has("content_type", Text),
        has("size", Number),
        may(
            "attachments",
            List(&Object(&[
                has("n", Number),
                has("name", Text),
                has("content_type", Text),
                has("size", Number),
            ])),
        ),
    ],
    one_of: &[&[has("body", Text)], &[has("body_base64", Text)]],
    is_open: false,
};

static TRIMMED: Shape = shape(
    "mails that went unread",
    &[
        has("kind", Word(&["trimmed"])),
        has("address", Text),
        has("count", Number),
        has("from_id", Number),
    ],
);

static INVITATION: Shape = shape(
    "a request for a chat; missed: one that is over",
    &[
        has("kind", Word(&["invitation", "missed"])),
        has("from", Text),
        has("chat", Text),
        has("asked_at", Time),
        may("expires_at", Time),
        has(
            "state",
            Word(&[
                "open",
                "accepted",
                "declined",
                "busy",
                "withdrawn",
                "expired",
                "unknown",
            ]),
        ),
    ],
);

static LOGIN: Shape = shape(
    "who one is now",
    &[
        has("user", Text),
        has("device", Number),
        has("server", Text),
        has("new_device", Bool),
        has("default", Bool),
        has("topics", List(&Text)),
        has("waiting", Number),
    ],
);

static LOGOUT: Shape = shape(
    "who was logged out",
    &[has("user", Text), has("forgotten", Bool)],
);

static USE: Shape = shape(
    "who is the default now",
    &[has("user", Text), has("server", Text)],
);

static WHOAMI: Shape = shape(
    "who one is, and where",
    &[
        has("user", Text),
        has("device", OrNull(&Number)),
        has("server", Text),
        has("key", Text),
        has("home", Text),
    ],
);

static INVITED: Shape = shape(
    "a code to join with",
    &[
        has("code", Text),
        has("url", Text),
        has("user", OrNull(&Text)),
        has("expires_at", Time),
        has("durability", DURABILITY),
    ],
);

static SENT: Shape = shape(
    "one recipient's outcome: stored",
    &[
        has("address", Text),
        has("id", Number),
        has("durability", DURABILITY),
        has("duplicate", Bool),
    ],
);

static REFUSED: Shape = shape(
    "one recipient's outcome: refused",
    &[
        has("address", Text),
        has("code", Text),
        has("text", Text),
        has("retryable", Bool),
    ],
);

static ENTRY: Shape = shape(
    "an entry of the outbox",
    &[
        has("entry", Number),
        has(
            "state",
            Word(&[
                "draft",
                "queued",
                "scheduled",
                "held",
                "in_doubt",
                "lost",
                "sending",
            ]),
        ),
        has("to", List(&Text)),
        has("subject", Text),
        has("size", Number),
        has("at", OrNull(&Time)),
    ],
);

static KEPT: Shape = shape(
    "a mail that was kept in the outbox",
    &[
        has("entry", Number),
        has("state", Text),
        has("to", List(&Text)),
        may("subject", Text),
        may("at", OrNull(&Time)),
        may("changed", Bool),
    ],
);

static DRAFT: Shape = shape(
    "a draft",
    &[
        has("entry", Number),
        has("state", Word(&["draft"])),
        has("to", List(&Text)),
        has("subject", Text),
        has("content_type", Text),
        has("size", Number),
        has("in_reply_to", OrNull(&Number)),
        has("body", Text),
    ],
);

static RECEIPTS: Shape = shape(
    "whether senders are told that their mail was read",
    &[has("user", Text), has("receipts", Text)],
);

static ENTRY_REMOVED: Shape = shape(
    "an entry that is gone",
    &[has("entry", Number), has("removed", Bool)],
);

static REMOVED: Shape = shape(
    "a mail in the trash, or gone",
    &[has("id", Number), has("removed", Bool), has("purged", Bool)],
);

static RESTORED: Shape = shape(
    "a mail that is back",
    &[has("id", Number), has("restored", Bool)],
);

static SAVED: Shape = shape(
    "an attachment that was saved",
    &[
        has("id", Number),
        has("n", Number),
        has("name", Text),
        has("path", Text),
        has("size", Number),
    ],
);

static JOINED: Shape = shape(
    "a topic that was joined or left",
    &[
        has("topic", Text),
        has("subscribed", Bool),
        may("waiting", Number),
    ],
);

static TOPIC: Shape = shape(
    "a topic that one may read",
    &[
        has("topic", Text),
        has("subscribed", Bool),
        has("waiting", Number),
        has("muted", Bool),
        may("prefix", Bool),
    ],
);

static TOPIC_INFO: Shape = shape(
    "all about a topic",
    &[
        has("topic", Text),
        has("subscribed", Bool),
        has("waiting", Number),
        has("mails", Number),
        has("bytes", Number),
        has("head", Number),
        has("subscribers", Number),
        has("created_at", Time),
    ],
);

static MUTED: Shape = shape(
    "a topic that is announced or not",
    &[has("topic", Text), has("muted", Bool), may("changed", Bool)],
);

static STATUS: Shape = shape(
    "what is unread",
    &[
        has("user", Text),
        has("unread", Number),
        has(
            "addresses",
            List(&Object(&[has("address", Text), has("unread", Number)])),
        ),
        has("complete", Bool),
    ],
);

static CHAT: Shape = shape(
    "what happens in a chat",
    &[
        has(
            "kind",
            Word(&[
                "waiting",
                "open",
                "line",
                "delivered",
                "broken",
                "mended",
                "bye",
                "lost",
                "declined",
                "expired",
            ]),
        ),
        has("chat", Text),
        has("peer", Text),
        may("seq", Number),
        may("text", Text),
        has("at", Time),
        may("reason", Text),
        may("expires_at", Time),
        may("fingerprint", Text),
        may("by", Text),
    ],
);

static CHAT_FILE: Shape = shape(
    "a step of a file",
    &[
        has("kind", Word(&["file"])),
        has("chat", Text),
        has("peer", Text),
        has("incoming", Bool),
        has("file", OrNull(&Number)),
        has("name", Text),
        has("size", Number),
        has("blake3", Text),
        has(
            "state",
            Word(&[
                "offered", "accepted", "sent", "received", "refused", "failed",
            ]),
        ),
        may("offset", Number),
        may("path", Text),
        may("reason", Text),
        has("at", Time),
    ],
);

static UNDELIVERED: Shape = shape(
    "lines of a chat that did not arrive (on stderr)",
    &[
        has("kind", Word(&["undelivered"])),
        has("chat", Text),
        has("peer", Text),
        has("count", Number),
        has("sent", Number),
        has("queued", Number),
        has("refused", Number),
        has("dropped", Number),
    ],
);

static ANSWERED: Shape = shape(
    "an invitation that was answered",
    &[has("chat", Text), has("from", Text), has("answer", Text)],
);

static BLOCK: Shape = shape(
    "a user who is blocked or not",
    &[has("user", Text), may("blocked", Bool)],
);

static CONTEXT: Shape = shape(
    "a user at a server, under a name",
    &[
        has("context", Text),
        has("user", Text),
        has("server", Text),
        has("default", Bool),
        has("given", Bool),
        may("source", OrNull(&Text)),
        may("key", Text),
        may("home", Text),
    ],
);

static CONTEXT_REMOVED: Shape = shape(
    "a name that is gone",
    &[has("context", Text), has("removed", Bool)],
);

static CHECK: Shape = shape(
    "a check",
    &[
        has("check", Text),
        has("level", Word(&["ok", "warn", "fail"])),
        has("text", Text),
        has("advice", OrNull(&Text)),
        has("exit", OrNull(&Number)),
    ],
);

static CODE: Shape = shape(
    "the code of an error",
    &[
        has("code", Text),
        has("exits", List(&Number)),
        has("retryable", Bool),
        has("side", Word(&["server", "mailctl"])),
        has("meaning", Text),
        has("advice", Text),
    ],
);

static SCRIPT: Shape = shape(
    "a script for a shell",
    &[has("shell", Text), has("script", Text)],
);

static PAGE: Shape = shape(
    "a manual page",
    &[
        has("page", Text),
        has("section", Text),
        may("roff", Text),
        may("path", Text),
    ],
);

static SCHEMA: Shape = shape(
    "the schema of a verb",
    &[has("verb", Text), may("path", Text), may("schema", Any)],
);

static ADMIN_USER: Shape = shape(
    "a user",
    &[
        has("user", Text),
        has("devices", Number),
        has("role", Text),
        has("created_at", OrNull(&Time)),
        has("state", Word(&["live", "reserved"])),
    ],
);

static ADMIN_TOPIC: Shape = shape(
    "a topic",
    &[
        has("topic", Text),
        has("subscribers", Number),
        has("mails", Number),
        has("bytes", Number),
        has("head", Number),
        has("created_at", Time),
    ],
);

static ADMIN_DONE: Shape = shape(
    "what was done",
    &[
        has("address", Text),
        has("done", Text),
        has("durability", DURABILITY),
    ],
);

static ADMIN_QUEUE: Shape = shape(
    "what waits for a device",
    &[
        has("address", Text),
        has("user", OrNull(&Text)),
        has("device", OrNull(&Number)),
        has("waiting", Number),
        has("bytes", Number),
        has("oldest", OrNull(&Time)),
        has("oldest_id", OrNull(&Number)),
    ],
);

static ADMIN_ENVELOPE: Shape = Shape {
    title: "the envelope of a mail that waits",
    fields: &[
        has("id", Number),
        has("prev", Number),
        has("n", Number),
        has("address", Text),
        has("from", Text),
        has("to", List(&Text)),
        has("subject", Text),
        has("sent_at", Time),
        has("content_type", Text),
        has("size", Number),
        has("state", Text),
    ],
    one_of: &[],
    is_open: true,
};

static ADMIN_LEASE: Shape = shape(
    "a port",
    &[
        has("port", Number),
        has("user", OrNull(&Text)),
        has("device", OrNull(&Number)),
        has("epoch", OrNull(&Number)),
        has("state", Word(&["free", "offered", "held", "resting"])),
        has("expires_at", OrNull(&Time)),
    ],
);

static ADMIN_SESSION: Shape = shape(
    "a session",
    &[
        has("user", Text),
        has("device", Number),
        has("since", Time),
        has("last_seen", Time),
        has("port", OrNull(&Number)),
    ],
);

static STATS: Shape = Shape {
    title: "counters of the server",
    fields: &[],
    one_of: &[],
    is_open: true,
};

/// Every verb that ends a path, in the order of the help.
pub static VERBS: &[Row] = &[
    row("login", &[&LOGIN]),
    row("logout", &[&LOGOUT]),
    row("use", &[&USE]),
    row("whoami", &[&WHOAMI]),
    row("invite", &[&INVITED]),
    row("join", &[&LOGIN]),
    row("send", &[&SENT, &REFUSED, &KEPT]),
    row("draft ls", &[&ENTRY]),
    row("draft open", &[&DRAFT]),
    row("draft edit", &[&KEPT, &DRAFT]),
    row("draft send", &[&SENT, &REFUSED]),
    row("draft rm", &[&ENTRY_REMOVED]),
    row("outbox ls", &[&ENTRY]),
    row("outbox retry", &[&SENT, &REFUSED]),
    row("outbox rm", &[&ENTRY_REMOVED]),
    row("refresh", &[&MAIL, &TRIMMED, &INVITATION]),
    row("watch", &[&MAIL, &TRIMMED, &INVITATION]),
    row("history", &[&MAIL]),
    row("read", &[&MAIL]),
    row("save", &[&SAVED]),
    row("rm", &[&REMOVED]),
    row("undo", &[&RESTORED, &KEPT]),
    row("reply", &[&SENT, &REFUSED, &KEPT]),
    row("receipts", &[&RECEIPTS]),
    row("topic join", &[&JOINED]),
    row("topic leave", &[&JOINED]),
    row("topic ls", &[&TOPIC]),
    row("topic info", &[&TOPIC_INFO]),
    row("chat", &[&CHAT, &CHAT_FILE, &UNDELIVERED]),
    row("chat requests", &[&INVITATION]),
    row("chat accept", &[&CHAT, &CHAT_FILE, &UNDELIVERED]),
    row("chat decline", &[&ANSWERED]),
    row("block", &[&BLOCK]),
    row("unblock", &[&BLOCK]),
    row("mute", &[&MUTED]),
    row("unmute", &[&MUTED]),
    row("status", &[&STATUS]),
    row("context ls", &[&CONTEXT]),
    row("context add", &[&CONTEXT]),
    row("context use", &[&CONTEXT]),
    row("context rm", &[&CONTEXT_REMOVED]),
    row("context show", &[&CONTEXT]),
    row("doctor", &[&CHECK]),
    row("errors", &[&CODE]),
    row("admin user ls", &[&ADMIN_USER]),
    row("admin user rm", &[&ADMIN_DONE]),
    row("admin user free", &[&ADMIN_DONE]),
    row("admin topic ls", &[&ADMIN_TOPIC]),
    row("admin topic create", &[&ADMIN_DONE]),
    row("admin topic rm", &[&ADMIN_DONE]),
    row("admin queue ls", &[&ADMIN_QUEUE]),
    row("admin queue show", &[&ADMIN_QUEUE]),
    row("admin queue peek", &[&ADMIN_ENVELOPE]),
    row("admin lease ls", &[&ADMIN_LEASE]),
    row("admin session ls", &[&ADMIN_SESSION]),
    row("admin stats", &[&STATS]),
    row("completions", &[&SCRIPT]),
    row("man", &[&PAGE]),
    row("json-schema", &[&SCHEMA]),
];

/// Returns the schema of what a verb prints under `--json`, on stdout and stderr, one object a line.
/// `is_closed` forbids what does not stand here, as the tests want it.
pub fn of(row: &Row, is_closed: bool) -> Value {
    let shapes = row.shapes.iter().map(|shape| object(shape, is_closed));
    let errors = [error(is_closed), note(is_closed)];
    let any: Vec<Value> = shapes.chain(errors).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("mailctl {} --json", row.verb),
        "description": "a line of stdout, or of stderr where it is an error or a note",
        "anyOf": any,
    })
}

fn error(is_closed: bool) -> Value {
    let words: Vec<&str> = codes::all().iter().map(|row| row.word).collect();
    let code = if is_closed {
        json!({"enum": words})
    } else {
        json!({"type": "string", "examples": words})
    };
    let hints = json!({"type": "array", "items": {"type": "string"}});
    let inner = json!({
        "type": "object",
        "properties": {
            "code": code,
            "text": {"type": "string"},
            "retryable": {"type": "boolean"},
            "ref": {"type": ["string", "null"]},
            "hints": hints,
        },
        "required": ["code", "text", "retryable", "ref"],
        "additionalProperties": !is_closed,
    });
    versioned(
        "an error (on stderr)",
        &json!({"error": inner}),
        &["error"],
        is_closed,
    )
}

fn note(is_closed: bool) -> Value {
    let fields = json!({"note": {"type": "string"}});
    versioned(
        "a word on the side (on stderr)",
        &fields,
        &["note"],
        is_closed,
    )
}

fn versioned(title: &str, fields: &Value, required: &[&str], is_closed: bool) -> Value {
    let mut properties = fields.clone();
    properties["v"] = json!({"const": 1});
    let required: Vec<&str> = required.iter().copied().chain(["v"]).collect();
    json!({
        "title": title,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": !is_closed,
    })
}

fn object(shape: &Shape, is_closed: bool) -> Value {
    let is_closed = is_closed && !shape.is_open;
    let one = |extra: &[Field]| {
        let all: Vec<Field> = shape.fields.iter().chain(extra).copied().collect();
        let (properties, required) = fields(&all, is_closed);
        versioned(
            shape.title,
            &Value::Object(properties),
            &required,
            is_closed,
        )
    };
    match shape.one_of {
        [] => one(&[]),
        several => json!({"oneOf": several.iter().map(|extra| one(extra)).collect::<Vec<_>>()}),
    }
}

fn fields(all: &[Field], is_closed: bool) -> (Map<String, Value>, Vec<&'static str>) {
    let property = |field: &Field| (field.name.to_owned(), schema(field.holds, is_closed));
    let required = all.iter().filter(|field| field.always);
    (
        all.iter().map(property).collect(),
        required.map(|field| field.name).collect(),
    )
}

fn schema(holds: Type, is_closed: bool) -> Value {
    match holds {
        Text => json!({"type": "string"}),
        Time => json!({"type": "string", "format": "date-time"}),
        Number => json!({"type": "integer", "minimum": 0, "maximum": 1_u64 << 53}),
        Bool => json!({"type": "boolean"}),
        Word(words) => json!({"enum": words}),
        List(of) => json!({"type": "array", "items": schema(*of, is_closed)}),
        Object(of) => {
            let (properties, required) = fields(of, is_closed);
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": !is_closed,
            })
        }
        OrNull(of) => json!({"anyOf": [schema(*of, is_closed), {"type": "null"}]}),
        Any => json!(true),
    }
}

#[cfg(test)]
mod tests;
