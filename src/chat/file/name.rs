//! What a file of the other side is called here: no name leaves its folder, and none acts (P12).
//!
//! Pure: it looks at no folder. Whether a name is taken is `folder`'s business.

use crate::protocol::active::is_active;

/// Bytes of a file's name: what Linux and macOS allow.
const NAME_BYTES_MAX: usize = 255;

/// Bytes after the last dot that still count as an extension worth keeping when a name is cut.
const EXTENSION_BYTES_MAX: usize = 16;

/// What a file is called whose name says nothing.
const NAMELESS: &str = "file";

/// Names that are devices on Windows, with any extension; a shared folder may be read there.
const DEVICES: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];

/// Returns the name under which a file that somebody else calls `name` may be kept.
///
/// It is one component of at most 255 bytes, hides nothing (no leading dot), is no option (no
/// leading dash) and no device, and holds no character that acts.
pub fn safe(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).find(|part| !part.is_empty());
    let inert = |c: char| if is_active(c) { '_' } else { c };
    let name: String = last.unwrap_or_default().chars().map(inert).collect();
    let name = trimmed(&name);
    let name = match name.chars().next() {
        None => NAMELESS.to_owned(),
        Some('-') => format!("_{}", &name[1..]),
        Some(_) if is_device(name) => format!("_{name}"),
        Some(_) => name.to_owned(),
    };
    cut(&name, "", NAME_BYTES_MAX)
}

/// Returns `name`, a [`safe`] one, as its `n`th namesake: `notes (2).txt`.
pub fn numbered(name: &str, n: u32) -> String {
    cut(name, &format!(" ({n})"), NAME_BYTES_MAX)
}

/// Returns `name`, a [`safe`] one, for a folder that takes short names only.
pub fn short(name: &str) -> String {
    cut(name, "", NAME_BYTES_MAX / 2)
}

/// Without what hides a name at its front or is dropped by some systems at its end.
fn trimmed(name: &str) -> &str {
    name.trim_start_matches(is_blank).trim_end_matches(is_blank)
}

fn is_blank(c: char) -> bool {
    c == '.' || c.is_whitespace()
}

/// Puts `mark` before the extension and cuts the stem where not all of it fits.
fn cut(name: &str, mark: &str, bytes_max: usize) -> String {
    let (mut stem, extension) = split(name);
    let room = bytes_max - mark.len() - extension.len();
    if stem.len() > room {
        stem = stem[..stem.floor_char_boundary(room)].trim_end_matches(is_blank);
    }
    let name = format!("{stem}{mark}{extension}");
    // What is left of a long name may be a device, and is short then.
    if is_device(&name) {
        return format!("_{name}");
    }
    name
}

/// Splits off the extension with its dot, when it is one.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= EXTENSION_BYTES_MAX => name.split_at(at),
        _ => (name, ""),
    }
}

fn is_device(name: &str) -> bool {
    let stem = name.split(['.', ':']).next().unwrap_or_default();
    let stem = stem.trim_end().to_ascii_uppercase();
    let port = stem
        .strip_prefix("COM")
        .or_else(|| stem.strip_prefix("LPT"));
    let numbered = port.is_some_and(|n| {
        let mut digits = n.chars();
        let digit = digits.next();
        digit.is_some_and(|c| matches!(c, '0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
    });
    numbered || DEVICES.contains(&stem.as_str())
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn p12_hostile_names_become_plain_ones() {
        let long = "é".repeat(300);
        for (theirs, ours) in [
            ("notes.txt", "notes.txt"),
            ("olá mundo.txt", "olá mundo.txt"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("/", "file"),
            ("", "file"),
            (".", "file"),
            ("..", "file"),
            ("a/..", "file"),
            (" . ", "file"),
            (".bashrc", "bashrc"),
            ("...hidden", "hidden"),
            (". .bashrc", "bashrc"),
            ("-rf", "_rf"),
            ("\x1b]0;x\x07.txt", "_]0;x_.txt"),
            ("\u{202e}fdp.exe", "_fdp.exe"),
            ("a\nb\0c", "a_b_c"),
            ("con", "_con"),
            ("CON.txt", "_CON.txt"),
            ("aux .tar.gz", "_aux .tar.gz"),
            ("lpt1:x", "_lpt1:x"),
            ("com10", "com10"),
            ("name. . ", "name"),
            ("\u{200b}", "_"),
            ("a..b", "a..b"),
        ] {
            assert_eq!(safe(theirs), ours, "{theirs:?}");
        }
        assert_eq!(safe(&long), "é".repeat(127));
        let cut = safe(&format!("{long}.txt"));
        assert!(cut.ends_with("é.txt") && cut.len() <= 255, "{cut}");
        assert!(short(&long).len() <= 127);
        // Cut where an extension begins that was none before.
        let dots = safe(&format!("{}..{}", "a".repeat(250), "b".repeat(100)));
        assert_eq!(dots, format!("{}..bbb", "a".repeat(250)));
        assert_eq!(safe(&dots), dots);
        // What a cut leaves is a name that needs no further change.
        for end in ["..a.b", "..", " . ", "\u{3000}"] {
            let once = safe(&format!("{}{end}{}", "n".repeat(250), "x".repeat(20)));
            assert_eq!(safe(&once), once);
        }
        assert_eq!(safe("a..txt"), "a..txt");
        assert_eq!(safe(&format!("COM1{}x", " ".repeat(300))), "_COM1");
        let long = safe(&format!("nul{}x", " ".repeat(200)));
        assert_eq!(short(&long), "_nul");
    }

    #[test]
    fn namesakes_are_numbered_before_the_extension() {
        assert_eq!(numbered("notes.txt", 2), "notes (2).txt");
        assert_eq!(numbered("notes", 3), "notes (3)");
        let long = safe(&format!("{}.tar", "n".repeat(300)));
        assert_eq!(numbered(&long, 12).len(), 255);
        assert!(numbered(&long, 12).ends_with("n (12).tar"));
    }

    /// Written out again on purpose: a hole in [`is_active`] must not hide itself.
    fn acts(c: char) -> bool {
        c.is_control()
            || matches!(u32::from(c), 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069 | 0xfeff)
    }

    fn name_is_harmless(name: &str) -> Result<(), TestCaseError> {
        prop_assert!(!name.is_empty() && name.len() <= 255, "{name:?}");
        let parts: Vec<Component<'_>> = Path::new(name).components().collect();
        prop_assert_eq!(parts, [Component::Normal(name.as_ref())]);
        prop_assert!(!name.starts_with(['.', '-', ' ']), "{name:?}");
        prop_assert!(!name.ends_with(['.', ' ']), "{name:?}");
        prop_assert!(
            !name.contains(['/', '\\']) && !name.contains(acts),
            "{name:?}"
        );
        prop_assert!(!is_device(name), "{name:?}");
        Ok(())
    }

    proptest! {
        #[test]
        fn p12_no_name_leaves_its_folder_or_acts(
            name in prop_oneof![
                any::<String>(),
                "[./\\\\ \\-\\x00-\\x1f\u{200e}-\u{202e}éa]{0,24}",
                "(con|COM1|nul|lpt³)[. :]{0,3}[a-z]{0,3}",
                "[a-zé. ]{200,400}",
                "a{230,250}[.é ]{1,6}b{1,40}",
            ],
            n in 2_u32..,
        ) {
            let name = safe(&name);
            name_is_harmless(&name)?;
            name_is_harmless(&numbered(&name, n))?;
            name_is_harmless(&short(&name))?;
            prop_assert_eq!(safe(&name), name);
        }
    }
}
