//! Several frames in one message: what waits together goes together.
//!
//! A message costs its two sides the same whatever it holds, and more than a short line does. Nothing ever
//! waits for a bundle to fill: only what waits anyway, because lines come faster than they go, is put
//! into one. Pure.

use std::collections::VecDeque;

use super::frame::FrameError;
use super::io::Packet;

/// First byte of a bundle.
const KIND: u8 = b'B';

/// Bytes before the first frame: kind and epoch, as in every frame.
pub(super) const HEAD: usize = 9;

/// Bytes of one bundle, at most.
const BYTES_MAX: usize = 32 * 1024;

/// Bytes of a frame that goes into one, at most.
const FRAME_BYTES: usize = 4 * 1024;

/// Puts the first of the frames that wait into one. Returns it with how many it holds; nothing when
/// the first goes better alone.
pub fn pack(waiting: &VecDeque<Packet>) -> Option<(Vec<u8>, usize)> {
    let mut room = BYTES_MAX - HEAD;
    let mut count = 0;
    for frame in waiting.iter().take_while(|frame| is_small(frame)) {
        match room.checked_sub(4 + frame.len()) {
            Some(left) => (room, count) = (left, count + 1),
            None => break,
        }
    }
    if count < 2 {
        return None;
    }
    let mut bundle = Vec::with_capacity(BYTES_MAX - room);
    bundle.push(KIND);
    bundle.extend_from_slice(&waiting.front()?[1..HEAD]);
    for frame in waiting.iter().take(count) {
        let len = u32::try_from(frame.len()).expect("a frame is far below 4 GiB");
        bundle.extend_from_slice(&len.to_be_bytes());
        bundle.extend_from_slice(frame);
    }
    Some((bundle, count))
}

/// Says whether a frame is worth the copy; a bundle that waits for room is whole already.
fn is_small(frame: &Packet) -> bool {
    frame.len() <= FRAME_BYTES && !is_bundle(frame)
}

/// Says whether a message is a bundle.
pub fn is_bundle(message: &[u8]) -> bool {
    message.first() == Some(&KIND)
}

/// Returns the frames of a bundle, in order; the last is an error when it is cut.
pub fn unpack(message: &[u8]) -> impl Iterator<Item = Result<&[u8], FrameError>> {
    let mut rest = message.get(HEAD..).unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = next(rest);
        rest = next.map_or(&[], |(_, after)| after);
        Some(next.map(|(frame, _)| frame).ok_or(FrameError::CUT))
    })
}

fn next(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = rest.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::frame::Frame;
    use super::*;
    use crate::limits;

    fn line(seq: u64, bytes: usize) -> Packet {
        let text = "x".repeat(bytes);
        Packet::Passing(Frame::Line { seq, text }.encode(7))
    }

    fn frames(bundle: &[u8]) -> Vec<Vec<u8>> {
        unpack(bundle)
            .map(|frame| frame.unwrap().to_vec())
            .collect()
    }

    #[test]
    fn what_goes_in_comes_out() {
        let waiting: VecDeque<Packet> = (1..=5).map(|seq| line(seq, 10)).collect();
        let (bundle, count) = pack(&waiting).unwrap();
        assert!(is_bundle(&bundle));
        assert_eq!(count, 5);
        let told: Vec<Vec<u8>> = waiting.iter().map(|frame| frame.to_vec()).collect();
        assert_eq!(frames(&bundle), told);
    }

    #[test]
    fn one_frame_and_large_ones_go_alone() {
        assert_eq!(pack(&VecDeque::new()), None);
        assert_eq!(pack(&[line(1, 10)].into()), None);
        assert_eq!(pack(&[line(1, 5_000), line(2, 1)].into()), None);
        let (_, count) = pack(&[line(1, 1), line(2, 1), line(3, 5_000)].into()).unwrap();
        assert_eq!(count, 2, "order is kept: what follows a large one waits");
        let (bundle, _) = pack(&[line(1, 1), line(2, 1)].into()).unwrap();
        let waiting = [Packet::Passing(bundle), line(3, 1), line(4, 1)];
        assert_eq!(pack(&waiting.into()), None, "no bundle goes into a bundle");
    }

    #[test]
    fn a_bundle_fits_a_frame() {
        let waiting: VecDeque<Packet> = (1..=64).map(|seq| line(seq, 4_000)).collect();
        let (bundle, count) = pack(&waiting).unwrap();
        assert!(bundle.len() <= BYTES_MAX && BYTES_MAX <= limits::FRAME_BYTES_MAX);
        assert!(count > 2);
    }

    #[test]
    fn p09_a_cut_bundle_gives_what_is_whole() {
        let waiting: VecDeque<Packet> = (1..=3).map(|seq| line(seq, 10)).collect();
        let (bundle, _) = pack(&waiting).unwrap();
        for end in 0..bundle.len() {
            let whole = unpack(&bundle[..end]).flatten().count();
            assert!(whole <= 2);
        }
        let mut endless = bundle[..HEAD].to_vec();
        endless.extend_from_slice(&[0xff; 4]);
        assert!(unpack(&endless).all(|frame| frame.is_err()));
        let empty = [0; 4].repeat(1_000);
        assert_eq!(unpack(&[&bundle[..HEAD], &empty].concat()).count(), 1_000);
    }
}
