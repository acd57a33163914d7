//! The server's settings: one table ([`KEYS`]) feeds flags, environment, file, defaults and docs.
//!
//! A later layer wins: default, file, environment, flag. This module touches nothing: it reads no
//! file and no variable, it is given their text. `docs/mailserver.md` explains the settings to people.

mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::broker::io::{Registration, Settings};
use crate::limits;
use crate::protocol::PublicKey;
use value::{AUTO, Host, choice, number, optional, parse, size, time};
pub use value::{Endpoint, Http, Ports};

/// Everything an operator may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where everything that lasts lies.
    pub data_dir: PathBuf,
    /// Where the request socket listens.
    pub bind: Endpoint,
    /// Where the live socket listens; nothing: beside `bind`.
    pub live_bind: Option<Endpoint>,
    /// Where health, metrics and the dashboard are served.
    pub http: Http,
    /// Whether others than this machine may see them.
    pub http_exposed: bool,
    /// Ports lent to clients for chats.
    pub chat_ports: Ports,
    /// The host that clients are told; nothing: the bind's host, or this host's name.
    pub advertise: Option<String>,
    /// Who may register; nothing: open on loopback, by invitation elsewhere.
    pub registration: Option<Registration>,
    /// Registrations of one address in an hour; nothing: what [`crate::limits`] says.
    pub registrations: Option<u64>,
    /// May any user make a topic by joining it?
    pub topics_open: bool,
    /// How long a session and its port live without a word.
    pub lease_ttl: Duration,
    /// How long a freed port rests.
    pub port_rest: Duration,
    /// Ports one user may hold.
    pub ports_per_user: usize,
    /// How long an invitation to a chat stands open.
    pub invitation_ttl: Duration,
    /// Bytes of a body.
    pub body_max: u64,
    /// Mails of one log.
    pub mailbox_mails: u64,
    /// Body bytes of one log.
    pub mailbox_bytes: u64,
    /// Mails of a topic kept for newcomers.
    pub history_mails: u64,
    /// How long they are kept at most.
    pub history_age: Duration,
    /// Free bytes below which no new mail is taken; nothing: see [`Config::disk_reserve`].
    pub disk_reserve: Option<u64>,
    /// Bytes of memory above which the process ends; nothing: see [`Config::memory_max`].
    pub memory_max: Option<u64>,
    /// What is logged, as `tracing` directives.
    pub log: String,
    /// How a log line looks.
    pub log_format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

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
    set: fn(&mut Config, &str) -> Result<(), String>,
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
        set: |config, text| parse(text).map(|value| config.bind = value),
    },
    Key {
        name: "live-bind",
        placeholder: "tcp://HOST:PORT",
        default: AUTO,
        help: "Where clients listen for live mail. auto: the host of bind, and its port plus one (0 when that is 0).",
        set: |config, text| optional(text).map(|value| config.live_bind = value),
    },
    Key {
        name: "http",
        placeholder: "ADDRESS:PORT",
        default: AUTO,
        help: "Where health, metrics and the dashboard are served. auto: 127.0.0.1, ten ports above bind (0 when that is 0), and nowhere when that port is taken; off: nowhere.",
        set: |config, text| parse(text).map(|value| config.http = value),
    },
    Key {
        name: "http-exposed",
        placeholder: "no|yes",
        default: "no",
        help: "Whether http may listen for other machines: whoever connects there sees names of users and topics, without a key.",
        set: |config, text| {
            choice(text, &[("no", false), ("yes", true)]).map(|value| config.http_exposed = value)
        },
    },
    Key {
        name: "chat-ports",
        placeholder: "FIRST-LAST",
        default: "5600-5699",
        help: "Ports lent to clients for direct chats; they are bound on the clients' hosts.",
        set: |config, text| parse(text).map(|value| config.chat_ports = value),
    },
    Key {
        name: "advertise",
        placeholder: "HOST",
        default: AUTO,
        help: "The host that clients are told to connect to. auto: the host of bind, or this host's name for *.",
        set: |config, text| {
            optional(text).map(|value| config.advertise = value.map(|Host(host)| host))
        },
    },
    Key {
        name: "registration",
        placeholder: "open|invite|closed",
        default: AUTO,
        help: "Who may become a user. auto: open when only this machine can connect, by invitation otherwise.",
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
        set: |config, text| {
            time(text, Duration::from_secs(1), DAY).map(|value| config.lease_ttl = value)
        },
    },
    Key {
        name: "port-rest",
        placeholder: "TIME",
        default: "60s",
        help: "How long a freed port rests before it is lent again.",
        set: |config, text| time(text, Duration::ZERO, DAY).map(|value| config.port_rest = value),
    },
    Key {
        name: "ports-per-user",
        placeholder: "N",
        default: "8",
        help: "Ports one user may hold at once.",
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
        set: |config, text| {
            time(text, Duration::from_secs(1), DAY).map(|value| config.invitation_ttl = value)
        },
    },
    Key {
        name: "body-max",
        placeholder: "SIZE",
        default: "1 MiB",
        help: "The largest body of a mail, at most 25 MiB.",
        set: |config, text| {
            size(text, 1, limits::BODY_BYTES_CEILING).map(|value| config.body_max = value)
        },
    },
    Key {
        name: "mailbox-mails",
        placeholder: "N",
        default: "1000000",
        help: "Mails one mailbox or topic holds; a full mailbox refuses mail, a full topic drops its oldest.",
        set: |config, text| {
            number(text, 1, limits::ID_MAX).map(|value| config.mailbox_mails = value)
        },
    },
    Key {
        name: "mailbox-bytes",
        placeholder: "SIZE",
        default: "4 GiB",
        help: "Bytes one mailbox or topic holds.",
        set: |config, text| size(text, 1, limits::ID_MAX).map(|value| config.mailbox_bytes = value),
    },
    Key {
        name: "history-mails",
        placeholder: "N",
        default: "1000",
        help: "Mails of a topic kept for newcomers after everybody has read them.",
        set: |config, text| {
            number(text, 0, limits::ID_MAX).map(|value| config.history_mails = value)
        },
    },
    Key {
        name: "history-age",
        placeholder: "TIME",
        default: "30days",
        help: "How long they are kept at most, in the server's own running time.",
        set: |config, text| {
            time(text, Duration::ZERO, DAY * 36_500).map(|value| config.history_age = value)
        },
    },
    Key {
        name: "disk-reserve",
        placeholder: "SIZE",
        default: AUTO,
        help: "Free disk space below which no new mail is taken. auto: 64 MiB, or 5 % of the disk if that is less.",
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
        set: |config, text| {
            text.clone_into(&mut config.log);
            Ok(())
        },
    },
    Key {
        name: "log-format",
        placeholder: "text|json",
        default: "text",
        help: "How a log line looks.",
        set: |config, text| {
            choice(
                text,
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            )
            .map(|value| config.log_format = value)
        },
    },
];

const DAY: Duration = Duration::from_hours(24);

/// A value on its way into a [`Config`].
#[derive(Debug, Clone)]
pub struct Setting {
    /// Which setting.
    pub key: &'static Key,
    /// Its text.
    pub value: String,
    /// Where the text stands, for messages: `--bind`, `MAILSERVER_BIND`, `bind in server.toml`.
    pub origin: String,
}

/// Why the settings are no good.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value is not what its key takes.
    #[error("{origin}: {value:?} will not do: {problem}")]
    Value {
        /// Where it stands.
        origin: String,
        /// What stands there.
        value: String,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// The file names a key that does not exist.
    #[error("{file}: there is no setting {name:?}{hint}; mailserver default-config lists all")]
    UnknownKey {
        /// The file.
        file: String,
        /// The key in it.
        name: String,
        /// The nearest key, as part of the sentence.
        hint: String,
    },
    /// The file is not TOML.
    #[error("{file} is not a settings file: {problem}")]
    Syntax {
        /// The file.
        file: String,
        /// What the parser says, on one line.
        problem: String,
    },
    /// Two settings do not go together.
    #[error("{0}")]
    Contradiction(String),
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self::blank();
        for key in KEYS {
            (key.set)(&mut config, key.default).expect("every default in the table is valid");
        }
        config
    }
}

impl Config {
    /// Puts layers on the defaults, the first below the others.
    pub fn from_layers(
        layers: impl IntoIterator<Item = Vec<Setting>>,
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for setting in layers.into_iter().flatten() {
            (setting.key.set)(&mut config, &setting.value).map_err(|problem| {
                ConfigError::Value {
                    origin: setting.origin,
                    value: setting.value,
                    problem,
                }
            })?;
        }
        config.check()?;
        Ok(config)
    }

    /// Returns where the live socket listens.
    pub fn live_endpoint(&self) -> Endpoint {
        self.live_bind.clone().unwrap_or_else(|| Endpoint {
            host: self.bind.host.clone(),
            port: match self.bind.port {
                0 => 0,
                port => port.saturating_add(1),
            },
        })
    }

    /// Returns where the HTTP side listens, if it does.
    pub fn http_endpoint(&self) -> Option<Endpoint> {
        match &self.http {
            Http::Off => None,
            Http::At(endpoint) => Some(endpoint.clone()),
            Http::Auto => Some(Endpoint {
                host: "127.0.0.1".to_owned(),
                port: match self.bind.port {
                    0 => 0,
                    port => port.checked_add(10).unwrap_or(0),
                },
            }),
        }
    }

    /// Returns who may register, the default being a matter of who can connect at all.
    pub fn registration_mode(&self) -> Registration {
        let default = if self.bind.is_loopback() && self.live_endpoint().is_loopback() {
            Registration::Open
        } else {
            Registration::Invite
        };
        self.registration.unwrap_or(default)
    }

    /// Returns the bytes that must stay free on a disk of `total` bytes.
    pub fn disk_reserve(&self, total: u64) -> u64 {
        self.disk_reserve
            .unwrap_or_else(|| (64 << 20).min(total / 20))
    }

    /// Returns the bytes of memory this process may hold on a machine that has `total`.
    pub fn memory_max(&self, total: u64) -> u64 {
        self.memory_max.unwrap_or(total / 2)
    }

    /// Returns what the core needs to know.
    pub fn settings(&self, admin_keys: Vec<PublicKey>, live_port: u16) -> Settings {
        Settings {
            admin_keys,
            registration: self.registration_mode(),
            topics_open: self.topics_open,
            chat_ports: (self.chat_ports.first..=self.chat_ports.last).collect(),
            lease_ttl_ms: millis(self.lease_ttl),
            port_rest_ms: millis(self.port_rest),
            ports_per_user: self.ports_per_user,
            invitation_ttl_ms: millis(self.invitation_ttl),
            body_bytes_max: self.body_max,
            log_mails_max: self.mailbox_mails,
            log_bytes_max: self.mailbox_bytes,
            history_mails: self.history_mails,
            history_seconds: self.history_age.as_secs(),
            registrations: self.registrations.unwrap_or(limits::REGISTRATIONS_DEFAULT),
            registrations_loopback: self.registrations.unwrap_or(limits::REGISTRATIONS_LOOPBACK),
            live_port,
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        let live = self.live_endpoint();
        if live.port != 0 && live.port == self.bind.port {
            return Err(ConfigError::Contradiction(format!(
                "bind and live-bind are both on port {}; give --live-bind another port",
                live.port
            )));
        }
        match &self.http {
            Http::At(http) if !http.is_loopback() && !self.http_exposed => {
                Err(ConfigError::Contradiction(format!(
                    "http listens on {}, where other machines can see names of users and topics without a key; give a \
                     loopback address such as 127.0.0.1:{}, or allow it with --http-exposed yes",
                    http.host, http.port
                )))
            }
            _ => Ok(()),
        }
    }

    /// Any values at all: the table's defaults are put on top.
    fn blank() -> Self {
        Self {
            data_dir: PathBuf::new(),
            bind: Endpoint {
                host: String::new(),
                port: 0,
            },
            live_bind: None,
            http: Http::Off,
            http_exposed: false,
            chat_ports: Ports { first: 1, last: 1 },
            advertise: None,
            registration: None,
            registrations: None,
            topics_open: false,
            lease_ttl: Duration::ZERO,
            port_rest: Duration::ZERO,
            ports_per_user: 0,
            invitation_ttl: Duration::ZERO,
            body_max: 0,
            mailbox_mails: 0,
            mailbox_bytes: 0,
            history_mails: 0,
            history_age: Duration::ZERO,
            disk_reserve: None,
            memory_max: None,
            log: String::new(),
            log_format: LogFormat::Text,
        }
    }
}

/// Returns the default file: every setting with its explanation and its default.
pub fn default_file() -> String {
    let mut text = String::from(
        "# Settings of mailserver, all at their defaults: mailserver run --config THIS_FILE\n\
         # A flag (--bind) wins over a variable (MAILSERVER_BIND), which wins over this file.\n",
    );
    for key in KEYS {
        let Key {
            name,
            default,
            help,
            ..
        } = key;
        text.extend(["\n# ", help, "\n", name, " = \"", default, "\"\n"]);
    }
    text
}

/// Reads the text of a settings file; `path` is for messages.
pub fn parse_file(path: &Path, text: &str) -> Result<Vec<Setting>, ConfigError> {
    let file = path.display().to_string();
    let table: toml::Table =
        text.parse()
            .map_err(|error: toml::de::Error| ConfigError::Syntax {
                file: file.clone(),
                problem: syntax_problem(text, &error),
            })?;
    table
        .into_iter()
        .map(|(name, value)| {
            let key = Key::find(&name).ok_or_else(|| unknown(&file, &name))?;
            let origin = format!("{name} in {file}");
            let value = scalar(&value).ok_or_else(|| ConfigError::Value {
                origin: origin.clone(),
                value: value.to_string(),
                problem: "give one text or number".to_owned(),
            })?;
            Ok(Setting { key, value, origin })
        })
        .collect()
}

/// Picks the settings out of environment variables; empty ones count as unset.
pub fn parse_environment(lookup: impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    KEYS.iter()
        .filter_map(|key| {
            let origin = key.variable();
            let value = lookup(&origin).filter(|value| !value.is_empty())?;
            Some(Setting { key, value, origin })
        })
        .collect()
}

/// Returns those of some variables' names that look like settings and are none.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let known =
        |name: &str| name == "MAILSERVER_CONFIG" || KEYS.iter().any(|key| key.variable() == name);
    names
        .filter(|name| name.starts_with("MAILSERVER_") && !known(name))
        .collect()
}

fn syntax_problem(text: &str, error: &toml::de::Error) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map_or(1, |before| before.matches('\n').count() + 1);
    let message = error.message().replace('\n', ", ");
    format!("line {line}: {message}")
}

fn unknown(file: &str, name: &str) -> ConfigError {
    ConfigError::UnknownKey {
        file: file.to_owned(),
        name: name.to_owned(),
        hint: nearest(name).map_or_else(String::new, |key| format!("; did you mean {key:?}?")),
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let name = name.replace('_', "-");
    KEYS.iter()
        .map(|key| (strsim::damerau_levenshtein(&name, key.name), key.name))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map(|(_, key)| key)
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Config, ConfigError> {
        parse_file(Path::new("x.toml"), text).and_then(|layer| Config::from_layers([layer]))
    }

    fn flag(name: &str, value: &str) -> Vec<Setting> {
        vec![Setting {
            key: Key::find(name).unwrap(),
            value: value.to_owned(),
            origin: format!("--{name}"),
        }]
    }

    #[test]
    fn the_default_file_is_exactly_the_defaults() {
        let layer = parse_file(Path::new("x.toml"), &default_file()).unwrap();
        assert_eq!(layer.len(), KEYS.len());
        assert_eq!(Config::from_layers([layer]), Ok(Config::default()));
    }

    #[test]
    fn defaults_are_the_limits() {
        let settings = Config::default().settings(Vec::new(), 0);
        let expected = Settings::default();
        assert_eq!(format!("{settings:?}"), format!("{expected:?}"));
    }

    #[test]
    fn a_flag_wins_over_a_variable_wins_over_a_file() {
        let file =
            || parse_file(Path::new("x.toml"), "body-max = \"1 KiB\"\nlog = \"warn\"").unwrap();
        let environment = || {
            parse_environment(|name| (name == "MAILSERVER_BODY_MAX").then(|| "2 KiB".to_owned()))
        };
        let config =
            Config::from_layers([file(), environment(), flag("body-max", "3KiB")]).unwrap();
        assert_eq!((config.body_max, config.log.as_str()), (3 << 10, "warn"));
        let config = Config::from_layers([file(), environment()]).unwrap();
        assert_eq!(config.body_max, 2 << 10);
        assert_eq!(Config::from_layers([file()]).unwrap().body_max, 1 << 10);
    }

    #[test]
    fn unknown_keys_are_errors_that_name_the_nearest() {
        let text = file("lease_tll = \"90s\"").unwrap_err().to_string();
        assert!(text.contains("did you mean \"lease-ttl\""), "{text}");
        let text = file("colour = 1").unwrap_err().to_string();
        assert!(
            text.contains("\"colour\"") && !text.contains("mean"),
            "{text}"
        );
    }

    #[test]
    fn variables_that_set_nothing_are_noticed() {
        let names = [
            "MAILSERVER_BIND",
            "MAILSERVER_BNID",
            "MAILSERVER_CONFIG",
            "PATH",
        ];
        let unknown = unknown_variables(names.iter().map(ToString::to_string));
        assert_eq!(unknown, ["MAILSERVER_BNID"]);
    }

    #[test]
    fn every_problem_is_one_line_that_says_where() {
        for text in [
            "bind = \"here\"",
            "bind = \"tcp://example.org:1\"",
            "bind = [1]",
            "chat-ports = \"9-8\"",
            "chat-ports = 0",
            "body-max = \"26 MiB\"",
            "body-max = \"99999999999999999999 GiB\"",
            "lease-ttl = \"soon\"",
            "registration = \"all\"",
            "live-bind = \"tcp://127.0.0.1:5570\"",
            "advertise = \"a b\"",
            "http = \"here\"",
            "http = \"0.0.0.0:5580\"",
            "http = \"*:5580\"",
            "http-exposed = \"perhaps\"",
            "\n\nbind = ",
        ] {
            let problem = file(text).unwrap_err().to_string();
            assert!(
                !problem.contains('\n') && problem.len() > 20,
                "{text}: {problem}"
            );
        }
        assert!(
            file("\n\nbind = ")
                .unwrap_err()
                .to_string()
                .contains("line 3")
        );
    }

    #[test]
    fn who_can_connect_decides_who_may_register() {
        let mode = |text| file(text).unwrap().registration_mode();
        assert_eq!(mode(""), Registration::Open);
        assert_eq!(mode("bind = \"[::1]:0\""), Registration::Open);
        assert_eq!(mode("bind = \"*:5570\""), Registration::Invite);
        assert_eq!(mode("live-bind = \"0.0.0.0:1\""), Registration::Invite);
        assert_eq!(
            mode("bind = \"*:1\"\nregistration = \"open\""),
            Registration::Open
        );
    }

    #[test]
    fn http_is_on_loopback_unless_it_is_said_twice() {
        let at = |text| file(text).map(|config| config.http_endpoint().map(|at| at.to_string()));
        assert_eq!(at(""), Ok(Some("tcp://127.0.0.1:5580".to_owned())));
        assert_eq!(
            at("bind = \"*:0\""),
            Ok(Some("tcp://127.0.0.1:0".to_owned()))
        );
        assert_eq!(at("http = \"off\""), Ok(None));
        let own = Ok(Some("tcp://[::1]:9".to_owned()));
        assert_eq!(at("http = \"http://[::1]:9\""), own);
        let refused = at("http = \"*:9\"").unwrap_err().to_string();
        assert!(refused.contains("--http-exposed yes"), "{refused}");
        let open = at("http = \"*:9\"\nhttp-exposed = \"yes\"");
        assert_eq!(open, Ok(Some("tcp://*:9".to_owned())));
    }

    #[test]
    fn endpoints_round_trip_and_live_lies_beside() {
        for text in ["tcp://127.0.0.1:5570", "tcp://[::1]:0", "tcp://*:1"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        let live = |text| file(text).unwrap().live_endpoint().to_string();
        assert_eq!(live(""), "tcp://127.0.0.1:5571");
        assert_eq!(live("bind = \"[::1]:0\""), "tcp://[::1]:0");
    }
}
