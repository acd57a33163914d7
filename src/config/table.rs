//! The table of settings: what each is called, what it means, what its text may be.

use std::path::PathBuf;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use super::value::{AUTO, Host, choice, number, optional, parse, size, time};
use super::{Config, LogFormat};
use crate::broker::io::Registration;
use crate::limits;

/// One row of the table of settings.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file and as a flag (`--name`).
    pub name: &'static str,
    /// What stands for the value in help.
    pub placeholder: &'static str,
    /// The default, as it would be written.
    pub default: &'static str,
    /// One or more sentences for help and the default file.
    pub help: &'static str,
    /// Whether a running server takes it over when it reads its settings again (SIGHUP).
    pub live: bool,
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
}

impl Key {
    /// Finds a row by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Returns the environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("MAILSERVER_{}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// Every setting, in the order of the default file.
pub const KEYS: &[Key] = &[
    Key {
        name: "data-dir",
        placeholder: "DIR",
        default: "./data",
        help: "Where keys, mail and everything else that lasts lies; relative to where mailserver is started.",
        live: false,
        set: |config, text| {
            config.data_dir = PathBuf::from(text);
            Ok(())
        },
    },
    Key {
        name: "bind",
        placeholder: "tcp://HOST:PORT",
        default: "tcp://127.0.0.1:5570",
        help: "Where clients ask. HOST is an address, or * for all; port 0 picks a free one and remembers it.",
        live: false,
        set: |config, text| parse(text).map(|value| config.bind = value),
    },
    Key {
        name: "live-bind",
        placeholder: "tcp://HOST:PORT",
        default: AUTO,
        help: "Where clients listen for live mail. auto: the host of bind, and its port plus one (0 when that is 0).",
        live: false,
        set: |config, text| optional(text).map(|value| config.live_bind = value),
    },
    Key {
        name: "http",
        placeholder: "ADDRESS:PORT",
        default: AUTO,
        help: "Where health, metrics and the dashboard are served. auto: 127.0.0.1, ten ports above bind (0 when that is 0), and nowhere when that port is taken; off: nowhere.",
        live: false,
        set: |config, text| parse(text).map(|value| config.http = value),
    },
    Key {
        name: "http-exposed",
        placeholder: "no|yes",
        default: "no",
        help: "Whether http may listen for other machines: whoever connects there sees names of users and topics, without a key.",
        live: false,
        set: |config, text| {
            choice(text, &[("no", false), ("yes", true)]).map(|value| config.http_exposed = value)
        },
    },
    Key {
        name: "chat-ports",
        placeholder: "FIRST-LAST",
        default: "5600-5699",
        help: "Ports lent to clients for direct chats; they are bound on the clients' hosts.",
        live: false,
        set: |config, text| parse(text).map(|value| config.chat_ports = value),
    },
    Key {
        name: "advertise",
        placeholder: "HOST",
        default: AUTO,
        help: "The host that clients are told to connect to. auto: the host of bind, or this host's name for *.",
        live: false,
        set: |config, text| {
            optional(text).map(|value| config.advertise = value.map(|Host(host)| host))
        },
    },
    Key {
        name: "registration",
        placeholder: "open|invite|closed",
        default: AUTO,
        help: "Who may become a user. auto: open when only this machine can connect, by invitation otherwise.",
        live: true,
        set: |config, text| {
            config.registration = choice(
                text,
                &[
                    (AUTO, None),
                    ("open", Some(Registration::Open)),
                    ("invite", Some(Registration::Invite)),
                    ("closed", Some(Registration::Closed)),
                ],
            )?;
            Ok(())
        },
    },
    Key {
        name: "registrations",
        placeholder: "N",
        default: AUTO,
        help: "New users and devices that one network address may register in an hour. auto: 200, and 20000 from this machine itself.",
        live: true,
        set: |config, text| {
            config.registrations = match text {
                AUTO => None,
                count => Some(number(count, 1, limits::ID_MAX)?),
            };
            Ok(())
        },
    },
    Key {
        name: "topics",
        placeholder: "open|admin",
        default: "open",
        help: "Who may make a topic. open: whoever first joins it.",
        live: true,
        set: |config, text| {
            choice(text, &[("open", true), ("admin", false)])
                .map(|value| config.topics_open = value)
        },
    },
    Key {
        name: "lease-ttl",
        placeholder: "TIME",
        default: "90s",
        help: "How long a session and its port live without a word from the client.",
        live: false,
        set: |config, text| {
            time(text, Duration::from_secs(1), DAY).map(|value| config.lease_ttl = value)
        },
    },
    Key {
        name: "port-rest",
        placeholder: "TIME",
        default: "60s",
        help: "How long a freed port rests before it is lent again.",
        live: false,
        set: |config, text| time(text, Duration::ZERO, DAY).map(|value| config.port_rest = value),
    },
    Key {
        name: "ports-per-user",
        placeholder: "N",
        default: "8",
        help: "Ports one user may hold at once.",
        live: true,
        set: |config, text| {
            number(text, 0, 65_535).and_then(|value| {
                config.ports_per_user = usize::try_from(value).map_err(|e| e.to_string())?;
                Ok(())
            })
        },
    },
    Key {
        name: "invitation-ttl",
        placeholder: "TIME",
        default: "5m",
        help: "How long an invitation to a chat stands open.",
        live: false,
        set: |config, text| {
            time(text, Duration::from_secs(1), DAY).map(|value| config.invitation_ttl = value)
        },
    },
    Key {
        name: "body-max",
        placeholder: "SIZE",
        default: "1 MiB",
        help: "The largest body of a mail, at most 25 MiB.",
        live: true,
        set: |config, text| {
            size(text, 1, limits::BODY_BYTES_CEILING).map(|value| config.body_max = value)
        },
    },
    Key {
        name: "mailbox-mails",
        placeholder: "N",
        default: "1000000",
        help: "Mails one mailbox or topic holds; a full mailbox refuses mail, a full topic drops its oldest.",
        live: true,
        set: |config, text| {
            number(text, 1, limits::ID_MAX).map(|value| config.mailbox_mails = value)
        },
    },
    Key {
        name: "mailbox-bytes",
        placeholder: "SIZE",
        default: "4 GiB",
        help: "Bytes one mailbox or topic holds.",
        live: true,
        set: |config, text| size(text, 1, limits::ID_MAX).map(|value| config.mailbox_bytes = value),
    },
    Key {
        name: "history-mails",
        placeholder: "N",
        default: "1000",
        help: "Mails of a topic kept for newcomers after everybody has read them.",
        live: true,
        set: |config, text| {
            number(text, 0, limits::ID_MAX).map(|value| config.history_mails = value)
        },
    },
    Key {
        name: "history-age",
        placeholder: "TIME",
        default: "30days",
        help: "How long they are kept at most, in the server's own running time.",
        live: true,
        set: |config, text| {
            time(text, Duration::ZERO, DAY * 36_500).map(|value| config.history_age = value)
        },
    },
    Key {
        name: "disk-reserve",
        placeholder: "SIZE",
        default: AUTO,
        help: "Free disk space below which no new mail is taken. auto: 64 MiB, or 5 % of the disk if that is less.",
        live: true,
        set: |config, text| {
            config.disk_reserve = match text {
                AUTO => None,
                size_text => Some(size(size_text, 0, limits::ID_MAX)?),
            };
            Ok(())
        },
    },
    Key {
        name: "memory-max",
        placeholder: "SIZE",
        default: AUTO,
        help: "Memory above which the server ends with code 75, to be started again. auto: half of the machine's.",
        live: true,
        set: |config, text| {
            config.memory_max = match text {
                AUTO => None,
                size_text => Some(size(size_text, 1 << 20, limits::ID_MAX)?),
            };
            Ok(())
        },
    },
    Key {
        name: "log",
        placeholder: "LEVEL",
        default: "info",
        help: "What is logged to standard error: error, warn, info, debug or trace, or tracing directives.",
        live: true,
        set: |config, text| {
            EnvFilter::try_new(text).map_err(|error| error.to_string())?;
            text.clone_into(&mut config.log);
            Ok(())
        },
    },
    Key {
        name: "log-format",
        placeholder: "text|json|journald",
        default: AUTO,
        help: "How a log line looks. auto: text, with priorities where systemd reads standard error. journald: entries with fields that journalctl can be asked by.",
        live: false,
        set: |config, text| {
            choice(
                text,
                &[
                    (AUTO, LogFormat::Auto),
                    ("text", LogFormat::Text),
                    ("json", LogFormat::Json),
                    ("journald", LogFormat::Journald),
                ],
            )
            .map(|value| config.log_format = value)
        },
    },
];

const DAY: Duration = Duration::from_hours(24);
