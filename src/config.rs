//! The server's settings: one table ([`KEYS`], in `table`) feeds flags, environment, file, defaults and docs.
//!
//! A later layer wins: default, file, environment, flag. This module touches nothing: it reads no
//! file and no variable, it is given their text. `docs/mailserver.md` explains the settings to people.

mod table;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::broker::io::{Registration, Settings};
use crate::limits;
use crate::protocol::PublicKey;
pub use table::{KEYS, Key};
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
    /// For people; with priorities where systemd reads standard error.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// Entries with fields and a priority, straight to systemd's journal.
    Journald,
}

/// A value on its way into a [`Config`].
#[derive(Debug, Clone)]
pub struct Setting {
    /// Which setting.
    pub key: &'static Key,
    /// Its text.
    pub value: String,
    /// Where the text stands.
    pub origin: Origin,
}

/// Where the text of a setting stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// On the command line.
    Flag,
    /// In an environment variable.
    Variable,
    /// In a settings file.
    File {
        /// Which.
        path: PathBuf,
        /// On which line, from 1.
        line: usize,
    },
}

impl Setting {
    /// Returns where it stands: `--bind`, `MAILSERVER_BIND`, `server.toml:3`.
    pub fn place(&self) -> String {
        match &self.origin {
            Origin::Flag => format!("--{}", self.key.name),
            Origin::Variable => self.key.variable(),
            Origin::File { path, line } => format!("{}:{line}", path.display()),
        }
    }

    /// Puts it into a configuration; what is wrong with it says where it stands.
    fn put(&self, config: &mut Config) -> Result<(), ConfigError> {
        (self.key.set)(config, &self.value).map_err(|problem| ConfigError::Value {
            origin: match self.origin {
                Origin::File { .. } => format!("{} in {}", self.key.name, self.place()),
                Origin::Flag | Origin::Variable => self.place(),
            },
            value: self.value.clone(),
            problem,
        })
    }
}

/// Returns what holds of each setting, in the order of the table: the last layer that has it wins; nothing
/// where the default does.
pub fn in_force(layers: &[Vec<Setting>]) -> Vec<(&'static Key, Option<&Setting>)> {
    KEYS.iter()
        .map(|key| {
            let mut said = layers.iter().flatten();
            (key, said.rfind(|said| said.key.name == key.name))
        })
        .collect()
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
            setting.put(&mut config)?;
        }
        config.check()?;
        Ok(config)
    }

    /// Takes over those settings that a running server can change, and returns all that are not what they
    /// were: one that is not [`Key::live`] stays as it was. `layers` must be good.
    pub fn renew(&mut self, layers: &[Vec<Setting>]) -> Vec<&'static Key> {
        let mut changed = Vec::new();
        for (key, setting) in in_force(layers) {
            let mut next = self.clone();
            let text = setting.map_or(key.default, |setting| &setting.value);
            let is_new = (key.set)(&mut next, text).is_ok() && next != *self;
            if is_new {
                changed.push(key);
            }
            if is_new && key.live {
                *self = next;
            }
        }
        changed
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
            log_format: LogFormat::Auto,
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
    let table: BTreeMap<Spanned<String>, toml::Value> =
        toml::from_str(text).map_err(|error| ConfigError::Syntax {
            file: file.clone(),
            problem: syntax_problem(text, &error),
        })?;
    table
        .into_iter()
        .map(|(name, value)| {
            let line = line_of(text, name.span().start);
            let name = name.into_inner();
            let key = Key::find(&name).ok_or_else(|| unknown(&file, &name))?;
            let value = scalar(&value).ok_or_else(|| ConfigError::Value {
                origin: format!("{name} in {file}:{line}"),
                value: value.to_string(),
                problem: "give one text or number".to_owned(),
            })?;
            let path = path.to_owned();
            let origin = Origin::File { path, line };
            Ok(Setting { key, value, origin })
        })
        .collect()
}

/// Picks the settings out of environment variables; empty ones count as unset.
pub fn parse_environment(lookup: impl Fn(&str) -> Option<String>) -> Vec<Setting> {
    KEYS.iter()
        .filter_map(|key| {
            let value = lookup(&key.variable()).filter(|value| !value.is_empty())?;
            let origin = Origin::Variable;
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
    let line = error.span().map_or(1, |span| line_of(text, span.start));
    let message = error.message().replace('\n', ", ");
    format!("line {line}: {message}")
}

/// Returns the line, from 1, that a byte of a text stands on.
fn line_of(text: &str, byte: usize) -> usize {
    text.get(..byte)
        .map_or(1, |before| before.matches('\n').count() + 1)
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
            origin: Origin::Flag,
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
    fn a_problem_in_a_file_names_its_line() {
        let text = file("log = \"warn\"\n\n# more\nbind = \"here\"\n")
            .unwrap_err()
            .to_string();
        assert!(text.starts_with("bind in x.toml:4: "), "{text}");
    }

    #[test]
    fn what_is_in_force_is_the_last_that_was_said() {
        let layers = [
            parse_file(Path::new("x.toml"), "\nlog = \"warn\"\nbody-max = 5").unwrap(),
            flag("body-max", "6"),
        ];
        let place = |name| {
            let all = in_force(&layers);
            let found = all.iter().find(|(key, _)| key.name == name);
            found.unwrap().1.map(Setting::place)
        };
        assert_eq!(place("log").unwrap(), "x.toml:2");
        assert_eq!(place("body-max").unwrap(), "--body-max");
        assert_eq!(place("bind"), None);
    }

    #[test]
    fn a_running_server_takes_over_what_is_live_and_names_the_rest() {
        let mut config = file("mailbox-mails = 5\nbind = \"127.0.0.1:9\"").unwrap();
        let text = "mailbox-mails = 6\nbind = \"127.0.0.1:10\"\nbody-max = \"1024 KiB\"";
        let layers = [parse_file(Path::new("x.toml"), text).unwrap()];
        let names = |keys: Vec<&Key>| keys.iter().map(|key| key.name).collect::<Vec<_>>();
        assert_eq!(names(config.renew(&layers)), ["bind", "mailbox-mails"]);
        assert_eq!((config.mailbox_mails, config.bind.port), (6, 9));
        assert_eq!(names(config.renew(&layers)), ["bind"], "it still waits");
        assert_eq!(names(config.renew(&[])), ["bind", "mailbox-mails"]);
        assert_eq!(config.mailbox_mails, 1_000_000);
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
