//! Texts that act on a terminal, and what finds them in an output.

/// Texts that act on a terminal, or on a reader's eyes.
pub const HOSTILE: [&str; 9] = [
    "\u{1b}]0;owned\u{7}\u{1b}[31mred\u{1b}[2J",
    "\u{9b}31m\u{9d}0;owned\u{9c}",
    "\u{202e}txt.exe\u{2066}\u{200f}\u{061c}",
    "over\rwritten\u{8}\u{8}\u{7f}",
    "\u{0}\u{1}\u{e}\u{f}",
    "\u{1b}P$q\u{1b}\\\u{1b}_x\u{1b}\\",
    "line\u{2028}para\u{2029}\u{85}next",
    "\u{e0041}\u{e0042}\u{fff9}a\u{fffb}",
    "2026-01-01 00:00  99  bob to ana: forged\n\u{1b}[1A",
];

/// Says which characters of an output could act; new lines and tabs may stand.
pub fn acting(text: &str) -> Vec<char> {
    let acts = |c: &char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}')
    };
    text.chars().filter(acts).collect()
}

/// What the line editor says to the terminal.
const EDITOR: [&str; 6] = [
    "\u{1b}[?2004h",
    "\u{1b}[?2004l",
    "\u{1b}[?2026h",
    "\u{1b}[?2026l",
    "\u{1b}[K",
    "\u{1b}[J",
];

/// Fails when a terminal was sent anything that acts, but for what the line editor itself sends.
#[track_caller]
pub fn assert_terminal_inert(shown: &str) {
    let mut rest = shown.replace("\r\n", "\n");
    for own in EDITOR {
        rest = rest.replace(own, "");
    }
    // To a column: `CR ESC [ n C`; and up, when the line has more than one row.
    for columns in 1..200 {
        rest = rest.replace(&format!("\r\u{1b}[{columns}C"), "");
    }
    let rest = rest.replace('\r', "");
    assert_eq!(acting(&rest), [], "{rest:?}");
}
