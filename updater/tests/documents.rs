//! What a host believes: each attack on a document is refused by its own name.
//!
//! Pure, so nothing can have been written.

mod world;

use formats::name::Name;
use formats::signed::{Document, FormatError};
use formats::version::Version;
use updater::trust::{
    Clock, Host, Memory, TrustError, TrustedRoot, VerifiedChannel, VerifiedRelease,
};
use world::*;

/// What one host sees. Spoilt in one place by each test.
struct Sight {
    root: Vec<u8>,
    channel: Vec<u8>,
    manifest: Vec<u8>,
    memory: Memory,
    now: u64,
    running: &'static str,
    denied: Option<&'static str>,
}

impl Sight {
    fn good() -> Self {
        Self {
            root: signed(&root(), &[1, 2]),
            channel: signed(&channel(&manifest()), &[21]),
            manifest: signed(&manifest(), &[11, 13]),
            memory: Memory::default(),
            now: NOW,
            running: "1.0.0",
            denied: None,
        }
    }

    /// With this manifest, which the channel names and enough keys signed.
    fn with_manifest(change: impl FnOnce(&mut formats::manifest::Manifest)) -> Self {
        let mut manifest = manifest();
        change(&mut manifest);
        Self {
            channel: signed(&channel(&manifest), &[21]),
            manifest: signed(&manifest, &[11, 12, 13]),
            ..Self::good()
        }
    }

    fn with_channel(change: impl FnOnce(&mut formats::channel::Channel)) -> Self {
        let mut channel = channel(&manifest());
        change(&mut channel);
        Self {
            channel: signed(&channel, &[21]),
            ..Self::good()
        }
    }

    fn judged(&self) -> Result<VerifiedRelease, TrustError> {
        let clock = Clock { now: self.now };
        let name: Name = "stable".parse().unwrap();
        let root = TrustedRoot::pinned(&self.root)?;
        let channel = VerifiedChannel::verify(&root, &self.channel, &name, &self.memory, clock)?;
        let denied = |_: Version| self.denied.map(str::to_owned);
        let host = Host {
            channel: &name,
            running: self.running.parse().unwrap(),
            denied: &denied,
        };
        VerifiedRelease::verify(&root, &channel, &self.manifest, &host, clock)
    }
}

fn refused(what: &str, sight: &Sight, is_it: fn(&TrustError) -> bool) {
    let error = sight.judged().expect_err(what);
    assert!(is_it(&error), "{what}: {error:?}");
}

#[test]
fn a_good_release_is_believed() {
    let release = Sight::good().judged().unwrap();
    assert_eq!(release.version(), "1.1.0".parse().unwrap());
    assert_eq!(release.uki().length, 1000);
}

#[test]
fn whoever_signs_too_little_is_refused() {
    use TrustError as E;
    let release = |seeds: &[u8]| Sight {
        manifest: signed(&manifest(), seeds),
        ..Sight::good()
    };
    refused("unsigned", &release(&[]), |e| {
        matches!(
            e,
            E::Unsigned {
                needed: 2,
                known: 3,
                ..
            }
        )
    });
    refused("wrong key", &release(&[21, 1]), |e| {
        matches!(e, E::UnknownKeys { .. })
    });
    refused("k-1", &release(&[12]), |e| {
        matches!(
            e,
            E::Threshold {
                found: 1,
                needed: 2,
                ..
            }
        )
    });
    let padded = release(&[12, 21, 1, 99]);
    refused("k-1 and strangers", &padded, |e| {
        matches!(e, E::Threshold { found: 1, .. })
    });
    let mut twice = signed(&manifest(), &[12]);
    let line = twice.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let again = twice[line..].to_vec();
    twice.extend(again);
    let twice = Sight {
        manifest: twice,
        ..Sight::good()
    };
    refused("one key twice", &twice, |e| {
        matches!(e, E::Format(FormatError::Syntax { .. }))
    });
    let mut altered = Sight::good();
    let at = altered
        .manifest
        .iter()
        .position(|byte| *byte == b'7')
        .unwrap();
    altered.manifest[at] = b'6';
    refused("altered", &altered, |e| matches!(e, E::BadSignature { .. }));
    let channel = Sight {
        channel: signed(&channel(&manifest()), &[11, 12]),
        ..Sight::good()
    };
    refused("channel by release keys", &channel, |e| {
        matches!(
            e,
            E::UnknownKeys {
                document: "channel",
                ..
            }
        )
    });
}

#[test]
fn whatever_is_old_is_refused() {
    use TrustError as E;
    let memory = |counter| Memory {
        channel: Some("stable".parse().unwrap()),
        counter,
        sha256: Some(formats::digest::Hex([9; 32])),
    };
    let seen = |counter| Sight {
        memory: memory(counter),
        ..Sight::good()
    };
    refused("replayed channel", &seen(6), |e| {
        matches!(e, E::Replayed { seen: 6, found: 5 })
    });
    refused("two of a number", &seen(5), |e| {
        matches!(e, E::Forked { counter: 5 })
    });
    assert!(seen(4).judged().is_ok());
    let older = Sight {
        running: "1.2.0",
        ..Sight::good()
    };
    refused("older version", &older, |e| matches!(e, E::NotNewer { .. }));
    let late = |days| Sight {
        now: NOW + days * DAY,
        ..Sight::good()
    };
    refused("freeze withheld", &late(8), |e| {
        matches!(
            e,
            E::Expired {
                document: "channel",
                ..
            }
        )
    });
    let expired = Sight::with_manifest(|m| m.expires = NOW - 1);
    refused("expired release", &expired, |e| {
        matches!(
            e,
            E::Expired {
                document: "release",
                ago: 1
            }
        )
    });
    refused("expired root", &late(301), |e| {
        matches!(
            e,
            E::Expired {
                document: "root",
                ..
            }
        )
    });
    let frozen = Sight::with_channel(|c| c.frozen = true);
    refused("frozen", &frozen, |e| matches!(e, E::Frozen));
    let withheld = Sight::with_channel(|c| c.root = 2);
    refused("root withheld", &withheld, |e| {
        matches!(
            e,
            E::RootWithheld {
                needed: 2,
                found: 1
            }
        )
    });
}

#[test]
fn a_clock_that_is_wrong_by_years_is_named_as_such() {
    let at = |now| Sight {
        now,
        ..Sight::good()
    };
    let years = 366 * DAY;
    for (what, sight) in [("1970", at(7)), ("two years behind", at(NOW - 2 * years))] {
        refused(what, &sight, |e| {
            matches!(e, TrustError::ClockBehind { .. })
        });
    }
    refused("three years ahead", &at(NOW + 3 * years), |e| {
        matches!(e, TrustError::ClockAhead { .. })
    });
    let text = at(7).judged().unwrap_err().to_string();
    assert!(text.starts_with("this machine's clock is wrong"), "{text}");
}

#[test]
fn whatever_is_for_others_is_refused() {
    use TrustError as E;
    let other = || "other".parse::<Name>().unwrap();
    refused(
        "product",
        &Sight::with_manifest(|m| m.product = other()),
        |e| {
            matches!(
                e,
                E::Product {
                    document: "release",
                    ..
                }
            )
        },
    );
    refused(
        "product",
        &Sight::with_channel(|c| c.product = other()),
        |e| {
            matches!(
                e,
                E::Product {
                    document: "channel",
                    ..
                }
            )
        },
    );
    refused(
        "channel",
        &Sight::with_manifest(|m| m.channels = vec![other()]),
        |e| {
            matches!(
                e,
                E::Channel {
                    document: "release",
                    ..
                }
            )
        },
    );
    refused(
        "channel",
        &Sight::with_channel(|c| c.channel = other()),
        |e| {
            matches!(
                e,
                E::Channel {
                    document: "channel",
                    ..
                }
            )
        },
    );
    refused(
        "step",
        &Sight {
            running: "0.9.0",
            ..Sight::good()
        },
        |e| matches!(e, E::StepTooFar { .. }),
    );
    refused(
        "denied",
        &Sight {
            denied: Some("web.service: unhealthy"),
            ..Sight::good()
        },
        |e| matches!(e, E::Denied { .. }),
    );
    let mut later = manifest();
    later.created += 1;
    let mixed = Sight {
        manifest: signed(&later, &[11, 12]),
        ..Sight::good()
    };
    refused("mix and match", &mixed, |e| {
        matches!(e, E::OtherManifest { .. })
    });
}

#[test]
fn one_document_is_never_taken_for_another() {
    use TrustError as E;
    let swapped = Sight {
        manifest: sealed(&channel(&manifest()).to_bytes().unwrap(), &[11, 12]),
        ..Sight::good()
    };
    refused("channel as release", &swapped, |e| {
        matches!(e, E::Format(FormatError::Kind { .. }))
    });
    let spaced = String::from_utf8(manifest().to_bytes().unwrap())
        .unwrap()
        .replace(",\"", ", \"");
    let spaced = Sight {
        manifest: sealed(spaced.as_bytes(), &[11, 12]),
        ..Sight::good()
    };
    refused("other spelling", &spaced, |e| {
        matches!(e, E::Format(FormatError::NotCanonical { .. }))
    });
    let huge = Sight {
        manifest: vec![b'{'; 1 << 30],
        ..Sight::good()
    };
    refused("1 GB", &huge, |e| {
        matches!(e, E::Format(FormatError::TooLong { .. }))
    });
    let long = Sight {
        manifest: sealed(&vec![b' '; 17 << 10], &[11, 12]),
        ..Sight::good()
    };
    refused("17 KiB", &long, |e| {
        matches!(e, E::Format(FormatError::TooLong { .. }))
    });
}

#[test]
fn keys_are_rotated_by_the_old_threshold_and_the_new() {
    use TrustError as E;
    let old = TrustedRoot::pinned(&signed(&root(), &[1, 2])).unwrap();
    let mut next = root();
    next.version = 2;
    next.root = keys(2, &[4, 5, 6]);
    assert_eq!(
        old.rotate(&signed(&next, &[1, 3, 4, 6])).unwrap().version(),
        2
    );
    let one_old = old.rotate(&signed(&next, &[1, 4, 5])).unwrap_err();
    assert!(
        matches!(
            one_old,
            E::RootNotByOld {
                version: 2,
                before: 1,
                ..
            }
        ),
        "{one_old:?}"
    );
    let no_new = old.rotate(&signed(&next, &[1, 2, 4])).unwrap_err();
    assert!(
        matches!(no_new, E::RootNotByOwn { version: 2, .. }),
        "{no_new:?}"
    );
    next.version = 3;
    let skipped = old.rotate(&signed(&next, &[1, 2, 4, 5])).unwrap_err();
    assert!(
        matches!(
            skipped,
            E::RootOrder {
                expected: 2,
                found: 3
            }
        ),
        "{skipped:?}"
    );
    let unsigned = TrustedRoot::pinned(&signed(&root(), &[1])).unwrap_err();
    assert!(matches!(unsigned, E::RootNotByOwn { .. }), "{unsigned:?}");
}
