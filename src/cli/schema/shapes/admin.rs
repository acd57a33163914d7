//! What the verbs of `mailctl admin` print.

use super::super::Type::{self, Any, Bool, List, Number, OrNull, Text, Time, Word};
use super::super::{Shape, has, may, shape};
use super::DURABILITY;

const ROLE: Type = Word(&["user", "operator", "admin"]);

pub(super) static ADMIN_USER: Shape = shape(
    "a user",
    &[
        has("user", Text),
        has("devices", Number),
        has("role", ROLE),
        has("created_at", OrNull(&Time)),
        has("state", Word(&["live", "disabled", "reserved"])),
    ],
);

pub(super) static ADMIN_USER_SHOWN: Shape = shape(
    "all there is to know of a user",
    &[
        has("user", Text),
        has("role", ROLE),
        has("state", Word(&["live", "disabled", "reserved"])),
        has("created_at", Time),
        has("last_seen", OrNull(&Time)),
        has("devices", Number),
        has("sessions", Number),
        has("kicked_for_s", OrNull(&Number)),
        has("waiting", Number),
        has("bytes", Number),
        has("mails_max", Number),
        has("bytes_max", Number),
        has("subscriptions", Number),
        has("topics", List(&Text)),
    ],
);

pub(super) static ADMIN_USER_ADDED: Shape = shape(
    "a user who was added, with the code for the first device",
    &[
        has("address", Text),
        has("done", Text),
        has("code", Text),
        has("url", Text),
        has("expires_at", Time),
        has("durability", DURABILITY),
    ],
);

pub(super) static ADMIN_KEY: Shape = shape(
    "a device with its key",
    &[
        has("user", Text),
        has("device", Number),
        has("name", Text),
        has("key", Text),
        has("created_at", Time),
        has("last_seen", OrNull(&Time)),
        has("online", Bool),
    ],
);

pub(super) static ADMIN_BACKUP: Shape = shape(
    "a backup that was written",
    &[has("file", Text), has("bytes", Number)],
);

pub(super) static ADMIN_AUDIT: Shape = shape(
    "what an administrator did",
    &[
        has("number", Number),
        has("at", Time),
        has("by", OrNull(&Text)),
        has("what", Text),
        has("address", Text),
        has("counts", Any),
        has("note", Text),
    ],
);

pub(super) static ADMIN_CHECK: Shape = shape(
    "how a check came out",
    &[
        has("check", Word(&["queue", "disk", "store", "leases"])),
        has("state", Word(&["ok", "warning", "critical", "unknown"])),
        has("value", OrNull(&Number)),
        has("unit", Text),
        has("warn", OrNull(&Number)),
        has("critical", OrNull(&Number)),
        has("text", Text),
    ],
);

pub(super) static ADMIN_TOPIC: Shape = shape(
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

pub(super) static ADMIN_TOPIC_SHOWN: Shape = shape(
    "all there is to know of a topic",
    &[
        has("topic", Text),
        has("created_at", Time),
        has("subscribers", Number),
        has("mails", Number),
        has("bytes", Number),
        has("head", Number),
        has("history_mails", Number),
        has("history_seconds", Number),
        has("read", List(&Text)),
        has("send", List(&Text)),
    ],
);

pub(super) static ADMIN_DONE: Shape = shape(
    "what was done",
    &[
        has("address", Text),
        has("done", Text),
        may("to", Text),
        may("mails", Number),
        may("bytes", Number),
        may("expired", Number),
        may("waiting", Number),
        may("devices", Number),
        may("sessions", Number),
        may("readers", Number),
        may("subscriptions", Number),
        may("gained", Number),
        may("lost", Number),
        has("durability", DURABILITY),
    ],
);

pub(super) static ADMIN_WOULD: Shape = shape(
    "what would go",
    &[
        has("address", Text),
        has("dry_run", Bool),
        may("to", Text),
        may("mails", Number),
        may("bytes", Number),
        may("waiting", Number),
        may("devices", Number),
        may("sessions", Number),
        may("readers", Number),
        may("subscriptions", Number),
    ],
);

pub(super) static ADMIN_QUEUE: Shape = shape(
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

pub(super) static ADMIN_ENVELOPE: Shape = Shape {
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
        has("in_flight", List(&Number)),
        may("body", Text),
        may("body_base64", Text),
    ],
    one_of: &[],
    is_open: true,
};

pub(super) static ADMIN_LEASE: Shape = shape(
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

pub(super) static ADMIN_SESSION: Shape = shape(
    "a session",
    &[
        has("user", Text),
        has("device", Number),
        has("since", Time),
        has("last_seen", Time),
        has("port", OrNull(&Number)),
    ],
);

pub(super) static ADMIN_COPY: Shape = shape(
    "a copy of a mail, and how many devices stand where with it",
    &[
        has("kind", Word(&["mail"])),
        has("id", Number),
        has("message", Number),
        has("address", Text),
        has("from", Text),
        has("to", List(&Text)),
        has("subject", Text),
        has("sent_at", Time),
        has("expires_at", OrNull(&Time)),
        has("size", Number),
        has("state", Word(&["live", "expired"])),
        has("acknowledged", Number),
        has("in_flight", Number),
        has("waiting", Number),
        has("joined_later", Number),
    ],
);

pub(super) static ADMIN_COPY_DEVICE: Shape = shape(
    "how a device stands with it",
    &[
        has("kind", Word(&["device"])),
        has("id", Number),
        has("address", Text),
        has("user", Text),
        has("device", Number),
        has("name", Text),
        has(
            "state",
            Word(&["acknowledged", "in_flight", "waiting", "joined_later"]),
        ),
        has("online", Bool),
        has("last_seen", OrNull(&Time)),
        has("shut_out", Bool),
    ],
);

pub(super) static ADMIN_COPY_MISSING: Shape = shape(
    "a recipient at whom there is no copy",
    &[
        has("kind", Word(&["recipient"])),
        has("address", Text),
        has(
            "state",
            Word(&[
                "refused",
                "gone",
                "gone_or_refused",
                "removed",
                "no_such_address",
            ]),
        ),
        has("id", OrNull(&Number)),
        has("code", OrNull(&Text)),
    ],
);

pub(super) static ADMIN_COPY_READER: Shape = shape(
    "why a user does not get it",
    &[
        has("kind", Word(&["reader"])),
        has("user", Text),
        has(
            "state",
            Word(&[
                "no_device",
                "blocked",
                "may_not_read",
                "not_subscribed",
                "not_addressed",
            ]),
        ),
    ],
);

pub(super) static ADMIN_COPY_MORE: Shape = shape(
    "devices that are not shown",
    &[has("kind", Word(&["more"])), has("devices", Number)],
);

pub(super) static ADMIN_COPY_GONE: Shape = shape(
    "a number that no mail has which is kept",
    &[
        has("kind", Word(&["unknown"])),
        has("id", Number),
        has("state", Word(&["never", "gone"])),
    ],
);

pub(super) static ADMIN_COPY_DEED: Shape = shape(
    "a deed that may have taken it",
    &[
        has("kind", Word(&["deed"])),
        has("number", Number),
        has("at", Time),
        has("by", OrNull(&Text)),
        has("what", Text),
        has("address", Text),
        has("counts", Any),
        has("note", Text),
    ],
);
