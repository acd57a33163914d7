//! The few words two people read to each other to know that nobody is in between.
//!
//! Proquints (Wilkerson, arXiv:0901.4016): sixteen bits are one word of five letters that can be
//! spoken in any language. Pure; the chat shows them, people compare them.

use crate::protocol::PublicKey;

/// Words of a fingerprint: 80 bits.
const WORDS: usize = 5;

const LABEL: &[u8] = b"correio-chat-fingerprint-1";
const KEY_LABEL: &[u8] = b"correio-key-fingerprint-1";
const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWELS: &[u8; 4] = b"aiou";

/// Returns the words for the keys of the two devices of a chat, the same on both sides.
pub fn fingerprint(one: &PublicKey, other: &PublicKey) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(LABEL);
    hasher.update(one.min(other));
    hasher.update(one.max(other));
    words(&hasher.finalize().as_bytes()[..2 * WORDS])
}

/// Returns the words for one key.
pub fn key_words(key: &PublicKey) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(KEY_LABEL);
    hasher.update(key);
    words(&hasher.finalize().as_bytes()[..2 * WORDS])
}

/// Spells bytes, two a word.
fn words(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let words = pairs.iter().map(|pair| word(u16::from_be_bytes(*pair)));
    words.collect::<Vec<_>>().join("-")
}

/// Consonant, vowel, consonant, vowel, consonant: 4, 2, 4, 2 and 4 bits, the highest first.
fn word(bits: u16) -> String {
    let consonant = |shift: u32| char::from(CONSONANTS[usize::from(bits >> shift & 15)]);
    let vowel = |shift: u32| char::from(VOWELS[usize::from(bits >> shift & 3)]);
    [
        consonant(12),
        vowel(10),
        consonant(6),
        vowel(4),
        consonant(0),
    ]
    .iter()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_published_ones() {
        // The examples of the proposal.
        for (address, spelt) in [
            ([127, 0, 0, 1], "lusab-babad"),
            ([63, 84, 220, 193], "gutih-tugad"),
            ([63, 118, 7, 35], "gutuk-bisog"),
            ([140, 98, 193, 141], "mudof-sakat"),
            ([64, 255, 6, 200], "haguz-biram"),
            ([128, 30, 52, 45], "mabiv-gibot"),
            ([147, 67, 119, 2], "natag-lisaf"),
            ([212, 58, 253, 68], "tibup-zujah"),
            ([216, 35, 68, 215], "tobog-higil"),
            ([216, 68, 232, 21], "todah-vobij"),
            ([198, 81, 129, 136], "sinid-makam"),
            ([12, 110, 110, 204], "budov-kuras"),
        ] {
            assert_eq!(words(&address), spelt);
        }
    }

    #[test]
    fn both_sides_say_the_same_words() {
        let (one, other) = ([1; 32], [2; 32]);
        let words = fingerprint(&one, &other);
        assert_eq!(words, fingerprint(&other, &one));
        assert_eq!(words.split('-').count(), WORDS);
        assert!(words.split('-').all(|word| word.len() == 5));
    }

    #[test]
    fn words_of_a_pair_never_change() {
        // Two versions of this program must say the same, so this is fixed for good.
        assert_eq!(
            fingerprint(&[1; 32], &[2; 32]),
            "dafan-gofiv-lamuj-rovum-farub"
        );
    }

    #[test]
    fn another_key_is_other_words() {
        let mut other = [2; 32];
        let words = fingerprint(&[1; 32], &other);
        other[31] ^= 1;
        assert_ne!(words, fingerprint(&[1; 32], &other));
    }
}
