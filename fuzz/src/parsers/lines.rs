//! Scripts for what has a state: text, so that a corpus can be read and a dictionary helps.

/// Orders a script may have: more would only be slow.
const ORDERS_MAX: usize = 64;

/// Returns the orders of a script: a line each, its first byte and the rest.
pub(super) fn orders(script: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let lines = script.split(|byte| *byte == b'\n').take(ORDERS_MAX);
    lines.filter_map(|line| line.split_first().map(|(order, rest)| (*order, rest)))
}

/// Reads a number at the front; returns what follows it and one space.
pub(super) fn number(bytes: &[u8]) -> (u64, &[u8]) {
    let digits = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (number, rest) = bytes.split_at(digits);
    let number = str::from_utf8(number)
        .ok()
        .and_then(|text| text.parse().ok());
    let number = number.unwrap_or(if digits == 0 { 0 } else { u64::MAX });
    (number, rest.strip_prefix(b" ").unwrap_or(rest))
}
