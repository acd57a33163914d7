//! Characters that act on whoever reads them instead of being read (P12).
//!
//! One list for everything that shows or keeps a text of somebody else: terminals
//! (`cli::untrusted`) and names of files (`chat::file::name`).

/// Says whether `c` could act on a terminal or hide in a text. Newline and tab count too: whoever
/// lets them through does so on purpose.
pub fn is_active(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        // Soft hyphen, joiners and fillers without width.
        | '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        // Bidi marks, overrides and isolates; zero-width space and joiners; line separators.
        | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Not characters: programs use them within, as ours does.
        | '\u{fdd0}'..='\u{fdef}'
        // Interlinear annotation, musical controls, tags.
        | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}
