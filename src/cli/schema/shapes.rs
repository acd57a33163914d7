//! What each verb prints, as rows of a table.

mod admin;

use super::Type::{self, Any, Bool, Called, List, Number, Object, OrNull, Text, Time, Word};
use super::{Field, Row, Shape, has, may, row, shape};
use admin::{
    ADMIN_AUDIT, ADMIN_BACKUP, ADMIN_CHECK, ADMIN_COPY, ADMIN_COPY_DEED, ADMIN_COPY_DEVICE,
    ADMIN_COPY_GONE, ADMIN_COPY_MISSING, ADMIN_COPY_MORE, ADMIN_COPY_READER, ADMIN_DONE,
    ADMIN_ENVELOPE, ADMIN_KEY, ADMIN_LEASE, ADMIN_QUEUE, ADMIN_SESSION, ADMIN_TOPIC,
    ADMIN_TOPIC_SHOWN, ADMIN_USER, ADMIN_USER_ADDED, ADMIN_USER_SHOWN, ADMIN_WOULD,
};

const DURABILITY: Type = Word(&["fsync", "replicated"]);

const ATTACHMENTS: Type = List(&Object(&[
    has("n", Number),
    has("name", Text),
    has("content_type", Text),
    has("size", Number),
]));

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
        may("flags", List(&Text)),
        may("attachments", ATTACHMENTS),
    ],
    one_of: &[&[has("body", Text)], &[has("body_base64", Text)]],
    is_open: false,
};

static IMPORTED: Shape = Shape {
    title: "a mail that was imported",
    fields: &[
        has("kind", Word(&["imported"])),
        has("id", Text),
        has("from", Text),
        has("to", List(&Text)),
        has("subject", Text),
        has("sent_at", OrNull(&Time)),
        has("content_type", Text),
        has("size", Number),
        has("flags", List(&Text)),
        may("attachments", ATTACHMENTS),
    ],
    one_of: &[&[has("body", Text)], &[has("body_base64", Text)]],
    is_open: false,
};

static EXPORTED: Shape = shape(
    "what was exported (on stderr when the export goes to stdout)",
    &[
        has("form", FORM),
        has("path", Text),
        has("mails", Number),
        has("there", Number),
    ],
);

static TAKEN_IN: Shape = shape(
    "what was imported",
    &[
        has("form", FORM),
        has("path", Text),
        has("added", Number),
        has("here", Number),
    ],
);

const FORM: Type = Word(&["maildir", "mbox", "jsonl"]);

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

static INVITE_OPEN: Shape = shape(
    "an invitation that nobody has used",
    &[
        has("id", Text),
        has("user", OrNull(&Text)),
        has("device", Bool),
        has("expires_at", Time),
    ],
);

static INVITE_REMOVED: Shape = shape(
    "an invitation that was taken back",
    &[has("id", Text), has("removed", Bool)],
);

static WHO: Shape = shape(
    "a user, and when he was here",
    &[
        has("user", Text),
        has("online", Bool),
        has("last_seen", OrNull(&Time)),
        has("since", OrNull(&Time)),
    ],
);

static HIDDEN: Shape = shape(
    "whether others see that one is here",
    &[has("hidden", Bool)],
);

static DEVICE: Shape = shape(
    "a device of one's own",
    &[
        has("device", Number),
        has("name", Text),
        has("since", Time),
        has("last_seen", OrNull(&Time)),
        has("online", Bool),
        has("this", Bool),
        has("waiting", Number),
    ],
);

static DEVICE_NAMED: Shape = shape(
    "a device that was renamed or removed",
    &[
        has("device", Number),
        has("name", Text),
        may("removed", Bool),
    ],
);

static KEY: Shape = shape(
    "the key of this device",
    &[
        has("user", Text),
        has("key", Text),
        has("fingerprint", Text),
        may("path", Text),
        may("protected", Bool),
    ],
);

static KEY_FILE: Shape = shape(
    "whether the key's file is under a passphrase",
    &[has("user", Text), has("path", Text), has("protected", Bool)],
);

static ACCOUNT_REMOVED: Shape = shape(
    "a user who is no more",
    &[has("user", Text), has("server", Text), has("removed", Bool)],
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

const REFUSAL: &[Field] = &[
    has("address", Text),
    has("code", Text),
    has("text", Text),
    has("retryable", Bool),
    may("draft", Number),
];

static REFUSED: Shape = shape("one recipient's outcome: refused", REFUSAL);

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
                "damaged",
                "sending",
            ]),
        ),
        has("to", List(&Text)),
        has("subject", Text),
        has("size", Number),
        has("at", OrNull(&Time)),
        has("refused", List(&Object(REFUSAL))),
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
    &[has("id", Called), has("removed", Bool), has("purged", Bool)],
);

static RESTORED: Shape = shape(
    "a mail that is back",
    &[has("id", Called), has("restored", Bool)],
);

static SAVED: Shape = shape(
    "an attachment that was saved",
    &[
        has("id", Called),
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
        may("changed", Bool),
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
    row("who", &[&WHO, &HIDDEN]),
    row("device ls", &[&DEVICE]),
    row("device rm", &[&DEVICE_NAMED]),
    row("device rename", &[&DEVICE_NAMED]),
    row("key show", &[&KEY]),
    row("key protect", &[&KEY_FILE]),
    row("key unprotect", &[&KEY_FILE]),
    row("key rotate", &[&KEY]),
    row("account rm", &[&ACCOUNT_REMOVED]),
    row("invite", &[&INVITED]),
    row("invite ls", &[&INVITE_OPEN]),
    row("invite rm", &[&INVITE_REMOVED]),
    row("join", &[&LOGIN]),
    row("send", &[&SENT, &REFUSED, &KEPT]),
    row("outbox ls", &[&ENTRY]),
    row("outbox retry", &[&SENT, &REFUSED]),
    row("outbox rm", &[&ENTRY_REMOVED]),
    row("draft ls", &[&ENTRY]),
    row("draft open", &[&DRAFT]),
    row("draft edit", &[&KEPT, &DRAFT]),
    row("draft send", &[&SENT, &REFUSED]),
    row("draft rm", &[&ENTRY_REMOVED]),
    row("refresh", &[&MAIL, &TRIMMED, &INVITATION]),
    row("status", &[&STATUS]),
    row("watch", &[&MAIL, &TRIMMED, &INVITATION]),
    row("history", &[&MAIL]),
    row("read", &[&MAIL, &IMPORTED]),
    row("reply", &[&SENT, &REFUSED, &KEPT]),
    row("forward", &[&SENT, &REFUSED, &KEPT]),
    row("save", &[&SAVED]),
    row("rm", &[&REMOVED]),
    row("receipts", &[&RECEIPTS]),
    row("undo", &[&RESTORED, &KEPT]),
    row("search", &[&MAIL, &IMPORTED]),
    row("export", &[&EXPORTED]),
    row("import", &[&TAKEN_IN]),
    row("sendmail", &[&SENT, &REFUSED]),
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
    row("context ls", &[&CONTEXT]),
    row("context add", &[&CONTEXT]),
    row("context use", &[&CONTEXT]),
    row("context rm", &[&CONTEXT_REMOVED]),
    row("context show", &[&CONTEXT]),
    row("doctor", &[&CHECK]),
    row("errors", &[&CODE]),
    row("admin user ls", &[&ADMIN_USER]),
    row("admin user show", &[&ADMIN_USER_SHOWN]),
    row("admin user add", &[&ADMIN_USER_ADDED]),
    row("admin user disable", &[&ADMIN_DONE]),
    row("admin user enable", &[&ADMIN_DONE]),
    row("admin user role", &[&ADMIN_DONE]),
    row("admin user quota", &[&ADMIN_DONE]),
    row("admin user rm", &[&ADMIN_DONE, &ADMIN_WOULD]),
    row("admin user free", &[&ADMIN_DONE]),
    row("admin user key ls", &[&ADMIN_KEY]),
    row("admin user key revoke", &[&ADMIN_DONE, &ADMIN_WOULD]),
    row("admin topic ls", &[&ADMIN_TOPIC]),
    row("admin topic show", &[&ADMIN_TOPIC_SHOWN]),
    row("admin topic create", &[&ADMIN_DONE]),
    row("admin topic retention", &[&ADMIN_DONE]),
    row("admin topic grant", &[&ADMIN_DONE]),
    row("admin topic revoke", &[&ADMIN_DONE]),
    row("admin topic rm", &[&ADMIN_DONE, &ADMIN_WOULD]),
    row("admin queue ls", &[&ADMIN_QUEUE]),
    row("admin queue show", &[&ADMIN_QUEUE]),
    row("admin queue peek", &[&ADMIN_ENVELOPE]),
    row("admin queue purge", &[&ADMIN_DONE, &ADMIN_WOULD]),
    row("admin queue move", &[&ADMIN_DONE, &ADMIN_WOULD]),
    row("admin queue release", &[&ADMIN_DONE, &ADMIN_WOULD]),
    row("admin lease ls", &[&ADMIN_LEASE]),
    row("admin lease release", &[&ADMIN_DONE]),
    row("admin session ls", &[&ADMIN_SESSION]),
    row("admin session kick", &[&ADMIN_DONE]),
    row(
        "admin explain",
        &[
            &ADMIN_COPY,
            &ADMIN_COPY_DEVICE,
            &ADMIN_COPY_MISSING,
            &ADMIN_COPY_READER,
            &ADMIN_COPY_MORE,
            &ADMIN_COPY_GONE,
            &ADMIN_COPY_DEED,
        ],
    ),
    row("admin audit", &[&ADMIN_AUDIT]),
    row("admin backup", &[&ADMIN_BACKUP]),
    row("admin check", &[&ADMIN_CHECK]),
    row("admin stats", &[&STATS]),
    row("completions", &[&SCRIPT]),
    row("man", &[&PAGE]),
    row("json-schema", &[&SCHEMA]),
];
