//! English and Portuguese: the language of this process, and how a text is written in both.
//!
//! How to write a text that people read:
//! - The English stands in the code, as the key: `tr!("no mail yet")` is a `&'static str`,
//!   `tr!("sent to {}: {}", address, id)` or `tr!("sent to {to}: {id}", to = address, id = id)` a `String`. Only
//!   plain placeholders: what needs a width or `{:?}` is formatted before. Without arguments no braces.
//! - What is counted: `tr_n!(count, "{n} mail for {user}", "{n} mails for {user}", user = name)`, `count: u64`.
//!   A whole sentence each time: other languages change more words than one.
//! - In a `const` table: `tr_later!("leave a topic")`, and [`text()`] where it is shown. A server's refusal is made
//!   with `refusal!` of [`crate::protocol::codes`]. Help of verbs and options is found by itself.
//! - Then an entry in `locale/pt_BR.po` (glossary at its top); `cargo test --test words` says what is missing.
//! - Not translated: JSON, codes, verbs, options, what goes to others (mails, chat lines) or into files. Values of
//!   others are made visible before they are put in, as ever; a template is ours and only puts values in place.
//!
//! Under `--json` everything is English. This module prints nothing.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::sync::OnceLock;

pub mod catalogue;
pub mod help;

use catalogue::Entry;

/// Names the language, before the locale does.
pub const LANGUAGE: &str = "MAILCTL_LANG";

/// A language that `mailctl` speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    /// The one the code is written in.
    #[default]
    English,
    /// As in Brazil.
    Portuguese,
}

impl Language {
    /// Returns the language that the environment asks for.
    pub fn of_environment() -> Self {
        // POSIX: the first of these that says anything counts.
        let names = [LANGUAGE, "LC_ALL", "LC_MESSAGES", "LANG"];
        let said = names
            .iter()
            .filter_map(std::env::var_os)
            .find(|value| !value.is_empty());
        said.map_or_else(Self::default, |value| Self::of(&value.to_string_lossy()))
    }

    /// Returns the language of a locale's name.
    fn of(locale: &str) -> Self {
        let tag = locale.split(['_', '-', '.', '@']).next();
        if tag.is_some_and(|tag| tag.eq_ignore_ascii_case("pt")) {
            Self::Portuguese
        } else {
            Self::English
        }
    }
}

/// The language of this process; English until it is chosen.
static CHOSEN: OnceLock<Language> = OnceLock::new();

thread_local! {
    static HERE: Cell<Option<Language>> = const { Cell::new(None) };
}

/// Chooses the language of this process, for good.
pub fn choose(language: Language) {
    // Chosen before: that one stays.
    CHOSEN.set(language).ok();
}

/// Does something in a language, on this thread: for tests.
pub fn within<T>(language: Language, deed: impl FnOnce() -> T) -> T {
    let before = HERE.replace(Some(language));
    let done = deed();
    HERE.set(before);
    done
}

/// Returns the language that texts are in.
pub fn language() -> Language {
    HERE.get()
        .or_else(|| CHOSEN.get().copied())
        .unwrap_or_default()
}

/// The Portuguese texts; read at the first one that is needed.
fn portuguese() -> &'static HashMap<Cow<'static, str>, Entry> {
    static PORTUGUESE: OnceLock<HashMap<Cow<'static, str>, Entry>> = OnceLock::new();
    PORTUGUESE.get_or_init(|| catalogue::texts(catalogue::PORTUGUESE))
}

fn entry(key: &str) -> Option<&'static Entry> {
    match language() {
        Language::English => None,
        Language::Portuguese => portuguese().get(key),
    }
}

/// Returns a text without placeholders in the language of this process.
pub fn text(key: &'static str) -> &'static str {
    translated(key).unwrap_or(key)
}

/// Returns the translation of a text; none in English, or where the catalogue lacks it.
pub fn translated(key: &str) -> Option<&'static str> {
    entry(key)
        .and_then(|entry| entry.forms.first())
        .map(|form| &**form)
}

/// Returns the translation of a text that counts.
pub fn translated_n(key: &str, n: u64) -> Option<&'static str> {
    let forms = &entry(key)?.forms;
    // As in `Plural-Forms` of the catalogue.
    let form = forms.get(usize::from(n > 1)).or_else(|| forms.first());
    form.map(|form| &**form)
}

/// Translates a text of the server's into the language of this process: the sentence that gives `text` with
/// `words` put in, with `said` put in. None where it is not known.
pub fn told(text: &str, words: &[String], said: &[String]) -> Option<String> {
    if language() == Language::English {
        return None;
    }
    let (words, said) = (values(words), values(said));
    let mut known = portuguese().iter().filter(|(_, entry)| entry.is_servers);
    let (_, entry) = known.find(|(key, _)| fill(key, &words) == text)?;
    entry.forms.first().map(|form| fill(form, &said))
}

/// Translates a sentence of a layer below that has values in it already: the known one that leaves least to its
/// values, which `say` translates.
pub fn matched(text: &str, say: impl Fn(&str) -> String) -> Option<String> {
    if language() == Language::English {
        return None;
    }
    let known = portuguese().iter().filter(|(_, entry)| entry.is_below);
    let (entry, values) = known
        .filter_map(|(key, entry)| Some((entry, catalogue::values(key, text)?)))
        .min_by_key(|(_, values)| values.iter().map(|(_, value)| value.len()).sum::<usize>())?;
    let said: Vec<String> = values.iter().map(|(_, value)| say(value)).collect();
    let names = values.iter().map(|(name, _)| *name);
    let values: Vec<(&str, &dyn Display)> = names
        .zip(said.iter().map(|value| value as &dyn Display))
        .collect();
    entry.forms.first().map(|form| fill(form, &values))
}

fn values(words: &[String]) -> Vec<(&str, &dyn Display)> {
    words
        .iter()
        .map(|word| ("", word as &dyn Display))
        .collect()
}

/// Puts values into the places of a template: `{}` one after the other, `{0}` by place, `{name}` by name.
pub fn fill(template: &str, values: &[(&str, &dyn Display)]) -> String {
    let mut filled = String::with_capacity(template.len() + 16 * values.len());
    let mut next = 0;
    for piece in catalogue::pieces(template) {
        let place = match piece {
            catalogue::Piece::Text(text) => {
                filled.push_str(text);
                continue;
            }
            catalogue::Piece::Place(place) => place,
        };
        let at = match place.parse() {
            Ok(at) => Some(at),
            Err(_) if place.is_empty() => {
                next += 1;
                Some(next - 1)
            }
            Err(_) => values.iter().position(|(name, _)| *name == place),
        };
        // A test holds every template to the places of its key, so there is a value.
        if let Some((_, value)) = at.and_then(|at| values.get(at)) {
            write!(filled, "{value}").ok();
        }
    }
    filled
}

/// Returns a text in the language of this process; see [`crate::cli::i18n`].
macro_rules! tr {
    ($text:literal $(,)?) => {
        $crate::cli::i18n::text($text)
    };
    ($text:literal, $($name:ident = $value:expr),+ $(,)?) => {
        match $crate::cli::i18n::translated($text) {
            None => format!($text, $($name = $value),+),
            Some(template) => $crate::cli::i18n::fill(
                template,
                &[$((stringify!($name), &$value as &dyn std::fmt::Display)),+],
            ),
        }
    };
    ($text:literal, $($value:expr),+ $(,)?) => {
        match $crate::cli::i18n::translated($text) {
            None => format!($text, $($value),+),
            Some(template) => $crate::cli::i18n::fill(
                template,
                &[$(("", &$value as &dyn std::fmt::Display)),+],
            ),
        }
    };
}

/// Returns a text that counts `n` things in the language of this process; see [`crate::cli::i18n`].
macro_rules! tr_n {
    ($count:expr, $one:literal, $many:literal $(, $name:ident = $value:expr)* $(,)?) => {{
        let n: u64 = $count;
        match $crate::cli::i18n::translated_n($one, n) {
            None if n == 1 => format!($one, n = n $(, $name = $value)*),
            None => format!($many, n = n $(, $name = $value)*),
            Some(template) => $crate::cli::i18n::fill(
                template,
                &[("n", &n as &dyn std::fmt::Display) $(, (stringify!($name), &$value))*],
            ),
        }
    }};
}

/// Marks a text of a table, which is translated where it is shown; see [`crate::cli::i18n`].
macro_rules! tr_later {
    ($text:literal) => {
        $text
    };
}

pub(crate) use {tr, tr_later, tr_n};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_of_portuguese_is_portuguese() {
        for locale in ["pt", "pt_BR.UTF-8", "pt-BR", "pt_PT@euro", "PT"] {
            assert_eq!(Language::of(locale), Language::Portuguese, "{locale}");
        }
        for locale in ["C", "en_US.UTF-8", "ptx", "", "de"] {
            assert_eq!(Language::of(locale), Language::English, "{locale}");
        }
    }

    #[test]
    fn values_stand_where_the_template_has_them() {
        let values: [(&str, &dyn Display); 2] = [("to", &"bob {}"), ("n", &7)];
        assert_eq!(fill("{} de {}", &values), "bob {} de 7");
        assert_eq!(fill("{1} para {0}{{}}", &values), "7 para bob {}{}");
        assert_eq!(fill("{n}: {to}", &values), "7: bob {}");
        assert_eq!(fill("{x}{9}{", &values), "{");
    }

    #[test]
    fn a_text_is_in_the_language_of_its_place() {
        let both = || {
            let zero = tr_n!(0, "{n} mail", "{n} mails");
            (tr!("yes"), tr_n!(1, "{n} mail", "{n} mails"), zero)
        };
        assert_eq!(both(), ("yes", "1 mail".into(), "0 mails".into()));
        assert_eq!(
            within(Language::Portuguese, both),
            ("sim", "1 mensagem".into(), "0 mensagem".into())
        );
        assert_eq!(language(), Language::English);
    }
}
