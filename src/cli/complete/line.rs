//! A bash command line as far as it is typed, cut into words, and how a word is put into one.
//!
//! Names may hold any printable character (`$(reboot)` is a name), and what is completed becomes part
//! of a command: so every character that means something to a shell is escaped.

/// Cuts a line into words as bash does, without expanding anything; the last word is the unfinished
/// one, perhaps empty. Assignments before the command are no words of it.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut began = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let word = words.last_mut().expect("there is always a last word");
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if began {
                    words.push(String::new());
                }
                began = false;
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => word.extend(chars.next()),
            _ => word.push(c),
        }
        began = true;
    }
    let assignments = words.iter().take_while(|word| is_assignment(word)).count();
    words.split_off(assignments.min(words.len() - 1))
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Escapes a word so that bash reads it as it is.
pub(super) fn escaped(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    for c in word.chars() {
        let is_plain = c.is_alphanumeric() || "-_./:@%+=,".contains(c);
        if !is_plain {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_cut_as_bash_cuts_it() {
        for (line, expected) in [
            ("mailctl send bo", &["mailctl", "send", "bo"][..]),
            ("mailctl  send ", &["mailctl", "send", ""]),
            ("A=1 B='x y' mailctl re", &["mailctl", "re"]),
            (
                r#"mailctl -s "two words" b\ c 'd"#,
                &["mailctl", "-s", "two words", "b c", "d"],
            ),
            (r#"mailctl "a\"b" '\'"#, &["mailctl", "a\"b", "\\"]),
            ("mailctl '' x", &["mailctl", "", "x"]),
            ("mailctl --as=", &["mailctl", "--as="]),
            ("", &[""]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn p12_a_completed_name_is_no_command() {
        assert_eq!(escaped("$(reboot);`x`"), r"\$\(reboot\)\;\`x\`");
        assert_eq!(escaped("joão-2"), "joão-2");
        assert_eq!(escaped("lab/printer"), "lab/printer");
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_read_back(word in "[^\\s\0][^\0\\s]*") {
            let line = format!("mailctl {}", escaped(&word));
            prop_assert_eq!(words(&line), ["mailctl", &word]);
        }

        #[test]
        fn any_line_is_cut(line: String) {
            prop_assert!(!words(&line).is_empty());
        }
    }
}
