//! Texts as they are compared: without case, accents and punctuation.
//!
//! A folded text is its words, each with one space before and after: ` see you at 5 `. So a word is looked for with a
//! space before it, and a phrase is words in a row. Scripts without spaces have each sign as a word.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Adds the words of a text to a folded one.
pub(super) fn add(folded: &mut String, text: &str) {
    part(folded);
    if text.is_ascii() {
        text.bytes().for_each(|byte| push(folded, char::from(byte)));
    } else {
        let bare = text.nfkd().filter(|c| !is_combining_mark(*c));
        bare.for_each(|c| push(folded, c));
    }
    part(folded);
}

/// Folds a text.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len() + 2);
    add(&mut folded, text);
    folded
}

/// Ends a word, if one is begun.
fn part(folded: &mut String) {
    if !folded.ends_with(' ') {
        folded.push(' ');
    }
}

fn push(folded: &mut String, c: char) {
    if !c.is_alphanumeric() {
        part(folded);
    } else if is_a_word(c) {
        part(folded);
        folded.push(c);
        folded.push(' ');
    } else {
        // A letter that has no small form of its own may fold to several signs, marks among them.
        let small = c.to_lowercase().filter(|c| c.is_alphanumeric());
        folded.extend(small);
    }
}

/// Says whether a sign is a word: Chinese, Japanese kana, Thai and the like are written without spaces.
fn is_a_word(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_accents_and_punctuation_do_not_count() {
        assert_eq!(fold("See you, at 5!"), " see you at 5 ");
        assert_eq!(fold("João & AÇÃO"), " joao acao ");
        assert_eq!(fold("bob@example.org"), " bob example org ");
        assert_eq!(fold("東京へ"), " 東 京 へ ");
        assert_eq!(fold("ﬁn ＡＢ"), " fin ab ");
        assert_eq!(fold(" \n--"), " ");
    }

    proptest::proptest! {
        #[test]
        fn every_word_stands_between_single_spaces(text: String) {
            let folded = fold(&text);
            proptest::prop_assert!(folded.starts_with(' ') && folded.ends_with(' '));
            proptest::prop_assert!(!folded.contains("  "), "{folded:?}");
        }
    }
}
