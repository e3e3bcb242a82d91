//! Frames survive any cutting, tearing and noise, and nothing is kept that has no end.

use proptest::prelude::*;
use stampo_agent_protocol::{Decoder, FRAME_BYTES, Frame, FrameError, HEADER_BYTES, encode};

/// Everything that comes out of `bytes`, which arrive in pieces of `piece`.
fn decode(bytes: &[u8], piece: usize) -> (Vec<Frame>, Vec<FrameError>) {
    let (mut decoder, mut frames, mut errors) = (Decoder::new(), Vec::new(), Vec::new());
    for mut input in bytes.chunks(piece.max(1)) {
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => errors.push(error),
            }
        }
        assert!(decoder.held() <= HEADER_BYTES + FRAME_BYTES);
    }
    (frames, errors)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(0u8..0xFF, 0..300)
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in(
        sent in proptest::collection::vec((any::<u16>(), any::<u32>(), text(), text()), 0..6),
        piece in 1usize..400,
    ) {
        let mut bytes = Vec::new();
        for (version, id, noise, payload) in &sent {
            bytes.extend(noise);
            bytes.extend(encode(*version, *id, payload).expect("short text"));
        }
        let (frames, errors) = decode(&bytes, piece);
        prop_assert_eq!(errors, vec![]);
        let expected: Vec<Frame> = sent
            .into_iter()
            .map(|(version, id, _, payload)| Frame { version, id, payload })
            .collect();
        prop_assert_eq!(frames, expected);
    }

    #[test]
    fn a_torn_frame_does_not_take_the_next_with_it(
        torn in text(), cut in 1usize..324, next in text(), piece in 1usize..400,
    ) {
        let mut bytes = encode(1, 1, &torn).expect("short text");
        bytes.truncate(cut.min(bytes.len() - 1));
        bytes.extend(encode(1, 2, &next).expect("short text"));
        let (frames, _) = decode(&bytes, piece);
        prop_assert_eq!(frames, vec![Frame { version: 1, id: 2, payload: next }]);
    }

    #[test]
    fn no_bytes_panic_and_a_good_frame_after_them_is_read(
        noise in proptest::collection::vec(any::<u8>(), 0..2_000), piece in 1usize..400,
    ) {
        let mut bytes = noise;
        bytes.extend(encode(3, 4, b"{}").expect("short text"));
        let (frames, _) = decode(&bytes, piece);
        let last = Frame { version: 3, id: 4, payload: b"{}".to_vec() };
        prop_assert_eq!(frames.last(), Some(&last));
    }
}

#[test]
fn the_longest_payload_passes_and_one_byte_more_does_not() {
    let longest = vec![b'x'; FRAME_BYTES];
    let bytes = encode(1, 1, &longest).expect("just fits");
    assert_eq!(decode(&bytes, 4096).0[0].payload, longest);
    let longer = vec![b'x'; FRAME_BYTES + 1];
    let bytes = FRAME_BYTES + 1;
    assert_eq!(encode(1, 1, &longer), Err(FrameError::TooLong { bytes }));
}

#[test]
fn a_length_that_is_too_large_is_refused_before_anything_is_kept() {
    let mut decoder = Decoder::new();
    let mut input = &b"\xFFSTA000100000001ffffffff"[..];
    let refused = decoder.next(&mut input);
    assert_eq!(
        refused,
        Err(FrameError::TooLong {
            bytes: u32::MAX as usize
        })
    );
    assert_eq!(decoder.held(), 0);
}

#[test]
fn headers_have_one_form() {
    for header in [
        &b"\xFFSTB000100000001000000000"[..],
        b"\xFFSTA00010000000100000+00",
        b"\xFFSTA0001000000010000000A",
        b"\xFFSTA    0000000100000000",
    ] {
        assert_eq!(decode(header, 99).1, [FrameError::Header], "{header:?}");
    }
    assert_eq!(encode(1, 1, b"\xFF"), Err(FrameError::Payload));
}
