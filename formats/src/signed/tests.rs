//! Golden bytes of the three documents, and what no parser may do with anything else.

use super::*;
use crate::channel::{Channel, Pointer, Rollout};
use crate::digest::Hex;
use crate::manifest::{File, Manifest, Role};
use crate::root::{Keys, Root};
use proptest::prelude::*;

const ROOT: &str = concat!(
    r#"{"document":"skeg-root-1","product":"skeg-vm","version":1,"created":5,"expires":9,"#,
    r#""root":{"threshold":1,"keys":["0101"#,
    "010101010101010101010101010101010101010101010101010101010101",
    r#""]},"release":{"threshold":1,"keys":["0202"#,
    "020202020202020202020202020202020202020202020202020202020202",
    r#""]},"channel":{"threshold":1,"keys":["0303"#,
    "030303030303030303030303030303030303030303030303030303030303",
    r#""]}}"#,
);
const CHANNEL: &str = concat!(
    r#"{"document":"skeg-channel-1","product":"skeg-vm","channel":"stable","counter":4,"created":5,"#,
    r#""expires":9,"root":1,"frozen":false,"release":{"version":"1.1.0","length":344,"sha256":"0404"#,
    "040404040404040404040404040404040404040404040404040404040404",
    r#""},"rollout":{"start":6,"curve":[[3600,100000],[86400,1000000]]}}"#,
);
const MANIFEST: &str = concat!(
    r#"{"document":"skeg-release-1","product":"skeg-vm","version":"1.1.0","channels":["beta","stable"],"#,
    r#""minimum":"1.0.0","created":5,"expires":9,"commit":"0505"#,
    "050505050505050505050505050505050505050505050505050505050505",
    r#"","files":[{"role":"uki","length":7,"sha256":"0606"#,
    "060606060606060606060606060606060606060606060606060606060606",
    r#""},{"role":"loader","length":8,"sha256":"0707"#,
    "070707070707070707070707070707070707070707070707070707070707",
    r#""}]}"#,
);

fn root() -> Root {
    let keys = |byte| Keys {
        threshold: 1,
        keys: vec![Hex([byte; 32])],
    };
    Root {
        document: Root::KIND.to_owned(),
        product: "skeg-vm".parse().unwrap(),
        version: 1,
        created: 5,
        expires: 9,
        root: keys(1),
        release: keys(2),
        channel: keys(3),
    }
}

fn channel() -> Channel {
    Channel {
        document: Channel::KIND.to_owned(),
        product: "skeg-vm".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        counter: 4,
        created: 5,
        expires: 9,
        root: 1,
        frozen: false,
        release: Pointer {
            version: "1.1.0".parse().unwrap(),
            length: 344,
            sha256: Hex([4; 32]),
        },
        rollout: Rollout {
            start: 6,
            curve: vec![(3600, 100_000), (86_400, 1_000_000)],
        },
    }
}

fn manifest() -> Manifest {
    let file = |role, length, byte| File {
        role,
        length,
        sha256: Hex([byte; 32]),
    };
    Manifest {
        document: Manifest::KIND.to_owned(),
        product: "skeg-vm".parse().unwrap(),
        version: "1.1.0".parse().unwrap(),
        channels: vec!["beta".parse().unwrap(), "stable".parse().unwrap()],
        minimum: "1.0.0".parse().unwrap(),
        created: 5,
        expires: 9,
        commit: Hex([5; 32]),
        files: vec![file(Role::Uki, 7, 6), file(Role::Loader, 8, 7)],
    }
}

fn golden<D: Document + PartialEq + std::fmt::Debug>(value: &D, text: &str) {
    assert_eq!(String::from_utf8(value.to_bytes().unwrap()).unwrap(), text);
    assert_eq!(&D::parse(text.as_bytes()).unwrap(), value);
}

#[test]
fn golden_bytes() {
    golden(&root(), ROOT);
    golden(&channel(), CHANNEL);
    golden(&manifest(), MANIFEST);
}

#[test]
fn golden_envelope() {
    let signature = |byte| Signature {
        key: Hex([byte; 32]),
        signature: Hex([byte + 1; 64]),
    };
    let file = seal(b"{}", &[signature(8), signature(2), signature(8)]);
    let line = |key: &str, signature: &str| {
        let (key, signature) = (key.repeat(32), signature.repeat(64));
        format!("{{\"key\":\"{key}\",\"signature\":\"{signature}\"}}\n")
    };
    let expected = format!("{{}}\n{}{}", line("02", "03"), line("08", "09"));
    assert_eq!(String::from_utf8(file.clone()).unwrap(), expected);
    let envelope = Envelope::parse::<Channel>(&file).unwrap();
    assert_eq!(envelope.document, b"{}");
    assert_eq!(envelope.signatures, [signature(2), signature(8)]);
}

#[test]
fn what_cannot_be_meant_is_no_document() {
    let channel_with = |change: fn(&mut Channel)| {
        let mut value = channel();
        change(&mut value);
        value.to_bytes()
    };
    assert!(channel_with(|c| c.expires = 5).is_err());
    assert!(channel_with(|c| c.rollout.curve = vec![(5, 1), (5, 2)]).is_err());
    assert!(channel_with(|c| c.rollout.curve = vec![(5, 3), (6, 2)]).is_err());
    assert!(channel_with(|c| c.rollout.curve = vec![(5, 1_000_001)]).is_err());
    let manifest_with = |change: fn(&mut Manifest)| {
        let mut value = manifest();
        change(&mut value);
        value.to_bytes()
    };
    assert!(manifest_with(|m| m.files.clear()).is_err());
    assert!(manifest_with(|m| m.files.reverse()).is_err());
    assert!(manifest_with(|m| m.files[0].length = 1 << 30).is_err());
    assert!(manifest_with(|m| m.minimum = "1.1.1".parse().unwrap()).is_err());
    assert!(manifest_with(|m| m.channels.reverse()).is_err());
    let root_with = |change: fn(&mut Root)| {
        let mut value = root();
        change(&mut value);
        value.to_bytes()
    };
    assert!(root_with(|r| r.release.threshold = 0).is_err());
    assert!(root_with(|r| r.release.threshold = 2).is_err());
    assert!(root_with(|r| r.root.keys = vec![Hex([1; 32]); 2]).is_err());
    assert!(root_with(|r| r.version = 0).is_err());
}

#[test]
fn the_share_rises_in_straight_lines_from_none_to_the_last_point() {
    let rollout = channel().rollout;
    let shares = [0, 6, 6 + 1800, 6 + 3600, 6 + 45_000, 6 + 86_400, u64::MAX];
    let expected = [0, 0, 50_000, 100_000, 550_000, 1_000_000, 1_000_000];
    assert_eq!(shares.map(|at| rollout.share(at)), expected);
    let curve = vec![];
    let at_once = Rollout { start: 6, curve };
    assert_eq!([5, 6].map(|at| at_once.share(at)), [0, 1_000_000]);
}

fn any_kind(bytes: &[u8]) -> [bool; 3] {
    [
        Root::parse(bytes).is_ok_and(|value| value.to_bytes().unwrap() == bytes),
        Channel::parse(bytes).is_ok_and(|value| value.to_bytes().unwrap() == bytes),
        Manifest::parse(bytes).is_ok_and(|value| value.to_bytes().unwrap() == bytes),
    ]
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        any_kind(&bytes);
        let _ = Envelope::parse::<Manifest>(&bytes);
    }

    /// A changed byte is refused, or is another document that is written just so.
    #[test]
    fn what_parses_is_what_is_written(which in 0usize..3, at: prop::sample::Index, by in 1u8..) {
        let text = [ROOT, CHANNEL, MANIFEST][which];
        let mut bytes = text.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= by;
        let parsed = [
            Root::parse(&bytes).is_ok(),
            Channel::parse(&bytes).is_ok(),
            Manifest::parse(&bytes).is_ok(),
        ];
        prop_assert_eq!(parsed, any_kind(&bytes));
    }

    #[test]
    fn a_share_never_falls(points in prop::collection::btree_map(0u64..100_000, 0u32..=1_000_000, 0..10), one in 0u64..200_000, two in 0u64..200_000) {
        let mut shares: Vec<_> = points.values().copied().collect();
        shares.sort_unstable();
        let curve: Vec<_> = points.keys().copied().zip(shares).collect();
        let rollout = Rollout { start: 1000, curve };
        prop_assert!(rollout.share(one.min(two)) <= rollout.share(one.max(two)));
    }
}
