//! Golden bytes of every message, and that no bytes make a decoder panic.

use super::*;
use proptest::prelude::*;

fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

fn padded(head: &[u8], id: &str, tail: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.extend(id.as_bytes());
    bytes.resize(head.len() + ID_LENGTH, 0);
    bytes.extend(tail);
    bytes
}

#[test]
fn golden_bytes_of_requests() {
    let register = Request::Register {
        id: id("web"),
        pid: 0x0102,
    };
    assert_eq!(
        register.encode().bytes(),
        padded(b"SG\x01\x01", "web", b"\x02\x01\0\0")
    );
    assert_eq!(Request::List.encode().bytes(), b"SG\x01\x02");
    let release = Request::Release { id: id("web") };
    assert_eq!(release.encode().bytes(), padded(b"SG\x01\x03", "web", b""));
    assert_eq!(Request::Subscribe.encode().bytes(), b"SG\x01\x04");
    let stamp = Request::Stamp {
        name: id("web"),
        kind: StampKind::Unit,
    };
    assert_eq!(
        stamp.encode().bytes(),
        padded(b"SG\x01\x05\x01", "web", b"")
    );
    assert_eq!(
        Request::Power(Power::Reboot).encode().bytes(),
        b"SG\x01\x06\x01"
    );
}

#[test]
fn golden_bytes_of_replies() {
    assert_eq!(
        Reply::Ok { slot: 7 }.encode().bytes(),
        b"SG\x01\x80\x07\0\0\0"
    );
    assert_eq!(
        Reply::Error(ErrorCode::Full).encode().bytes(),
        b"SG\x01\x81\x03"
    );
    assert_eq!(Reply::End.encode().bytes(), b"SG\x01\x83");
    let exit = Some(Exit {
        kind: ExitKind::Signaled(9),
        at_ns: 0x0a,
    });
    let slot = Slot {
        id: id("a"),
        pid: 5,
        start_ticks: 6,
        exit,
    };
    let tail = b"\x05\0\0\0\x06\0\0\0\0\0\0\0\x02\x09\x0a\0\0\0\0\0\0\0";
    assert_eq!(
        Reply::Entry(slot).encode().bytes(),
        padded(b"SG\x01\x82", "a", tail)
    );
    assert_eq!(
        Reply::Exit(slot).encode().bytes(),
        padded(b"SG\x01\x84", "a", tail)
    );
    assert_eq!(
        Reply::decode(Reply::Exit(slot).encode().bytes()),
        Ok(Reply::Exit(slot))
    );
}

#[test]
fn another_version_is_told_apart_from_rubbish() {
    assert_eq!(Request::decode(b"SG\x02\x02"), Err(ErrorCode::Version));
    assert_eq!(Request::decode(b"xx\x01\x02"), Err(ErrorCode::Malformed));
    assert_eq!(Request::decode(b"SG\x01\x02\0"), Err(ErrorCode::Malformed));
    assert_eq!(Request::decode(b""), Err(ErrorCode::Malformed));
}

#[test]
fn an_id_holds_no_path_and_no_padding_inside() {
    for bad in ["", "a/b", "a b", "ä", &"x".repeat(65)] {
        assert_eq!(Id::new(bad), None, "{bad}");
    }
    let split = padded(b"SG\x01\x03", "a\0b", b"");
    assert_eq!(Request::decode(&split), Err(ErrorCode::Malformed));
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoders_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::decode(&bytes);
        let _ = Reply::decode(&bytes);
    }

    #[test]
    fn what_is_decoded_encodes_to_the_same_bytes(
        operation in 0u8..0x90, tail in prop::collection::vec(any::<u8>(), 0..100)
    ) {
        let mut bytes = b"SG\x01".to_vec();
        bytes.push(operation);
        bytes.extend(tail);
        if let Ok(request) = Request::decode(&bytes) {
            let message = request.encode();
            prop_assert_eq!(message.bytes(), &bytes[..]);
        }
    }
}
