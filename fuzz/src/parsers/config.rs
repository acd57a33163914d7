//! Settings: in a file, in variables, as flags.

use std::path::Path;

use correio::config::{
    Config, ConfigError, Endpoint, KEYS, Origin, Setting, parse_environment, parse_file,
    unknown_variables,
};

use super::cut;

/// A file is the settings it says, or one line that says where it is wrong.
pub(super) fn file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let layer = parse_file(Path::new("server.toml"), &text);
    assert_told(layer.and_then(|layer| Config::from_layers([layer])));
}

fn assert_told(config: Result<Config, ConfigError>) {
    match config {
        Ok(config) => {
            assert_endpoint(&config.bind);
            let live = config.live_endpoint();
            assert_endpoint(&live);
            assert!(live.port == 0 || live.port != config.bind.port || live.port == u16::MAX);
            let settings = config.settings(Vec::new(), 0);
            assert!(!settings.chat_ports.is_empty() && settings.chat_ports[0] > 0);
            assert_eq!(settings.registration, config.registration_mode());
            assert!(config.disk_reserve(1 << 40) > 0 || config.disk_reserve == Some(0));
            assert!(config.memory_max(1 << 30) > 0 || config.memory_max == Some(0));
        }
        Err(error) => {
            let told = error.to_string();
            assert!(!told.contains('\n') && told.len() > 20, "{told:?}");
        }
    }
}

fn assert_endpoint(endpoint: &Endpoint) {
    let text = endpoint.to_string();
    assert_eq!(text.parse::<Endpoint>().as_ref(), Ok(endpoint), "{text}");
    assert!(!(endpoint.is_loopback() && endpoint.is_wildcard()));
    assert_eq!(endpoint.is_ipv6(), text.contains('['));
}

/// A setting by its place in the table and its value, from a variable and as a flag; then the names of
/// further variables, a line each.
pub(super) fn value(bytes: &[u8]) {
    let Some((place, rest)) = bytes.split_first() else {
        return;
    };
    let key = &KEYS[usize::from(*place) % KEYS.len()];
    let (value, names) = cut(rest, b'\n');
    let value = String::from_utf8_lossy(value).into_owned();
    let layer = parse_environment(|name| (name == key.variable()).then(|| value.clone()));
    assert_eq!(layer.len(), usize::from(!value.is_empty()));
    let by_variable = Config::from_layers([layer]);
    let flag = Setting {
        key,
        value: value.clone(),
        origin: Origin::Flag,
    };
    let by_flag = Config::from_layers([vec![flag]]);
    assert!(value.is_empty() || by_variable.is_ok() == by_flag.is_ok());
    assert_told(by_variable);
    assert_told(by_flag);
    let names = String::from_utf8_lossy(names);
    let unknown = unknown_variables(names.lines().map(str::to_owned));
    assert!(unknown.iter().all(|name| name.starts_with("MAILSERVER_")));
}
