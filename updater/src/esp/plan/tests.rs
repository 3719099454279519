//! Every plan, cut anywhere, on an ESP that renames as FAT does.

use super::*;
use formats::digest::Hex;
use proptest::prelude::*;
use std::collections::BTreeMap;

const CLUSTER: u64 = 4096;

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// A release that boots.
    Whole,
    /// Half of one.
    Half,
}

/// An ESP in memory.
#[derive(Debug, Clone)]
struct Esp {
    files: BTreeMap<String, (Content, u64)>,
    running: Version,
    total: u64,
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn wanted(text: &str, length: u64) -> Wanted {
    Wanted {
        version: version(text),
        length,
        sha256: Hex([7; 32]),
    }
}

impl Esp {
    fn new(running: &str, names: &[&str]) -> Self {
        let file = |n: &&str| ((*n).to_owned(), (Content::Whole, 10 * CLUSTER));
        Self {
            files: names.iter().map(file).collect(),
            running: version(running),
            total: 64,
        }
    }

    fn slots(&self) -> Slots {
        let files = self.files.iter().map(|(name, (_, length))| File {
            name: name.clone(),
            length: *length,
        });
        Slots::of(&"skeg".parse().unwrap(), self.running, files.collect())
    }

    fn space(&self) -> Space {
        let used: u64 = self.files.values().map(|(_, l)| l.div_ceil(CLUSTER)).sum();
        Space {
            cluster: CLUSTER,
            total: self.total,
            // Two names after a torn rename share their clusters, and are counted twice here.
            free: self.total.saturating_sub(used),
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Remove(name) => drop(self.files.remove(name).unwrap()),
            Step::Write { name, length } => {
                let fresh = self.files.insert(name.clone(), (Content::Whole, *length));
                assert!(fresh.is_none(), "written over: {name}");
                assert!(self.space().free > 0, "the ESP is full");
            }
            Step::Verify { name, .. } => assert_eq!(self.files[name].0, Content::Whole),
            Step::Rename { from, to } => {
                let content = self.files.remove(from).unwrap();
                assert!(
                    self.files.insert(to.clone(), content).is_none(),
                    "{to} is taken"
                );
            }
        }
    }

    /// What a cut in the middle of a step may leave.
    fn cuts(&self, step: &Step) -> Vec<Self> {
        let mut left = Vec::new();
        match step {
            Step::Write { name, length } => {
                for part in [0, length / 2, *length] {
                    let mut cut = self.clone();
                    cut.files.insert(name.clone(), (Content::Half, part));
                    left.push(cut);
                }
            }
            Step::Rename { from, to } => {
                for (has_old, has_new) in [(true, true), (false, false), (false, true)] {
                    let mut cut = self.clone();
                    let content = cut.files[from];
                    if has_new {
                        cut.files.insert(to.clone(), content);
                    }
                    if !has_old {
                        cut.files.remove(from);
                    }
                    left.push(cut);
                }
            }
            Step::Remove(_) | Step::Verify { .. } => {}
        }
        left.push(self.clone());
        left
    }

    /// The promise: what the loader takes next boots, or a good one is behind it.
    fn check(&self, context: &dyn std::fmt::Debug) {
        let slots = self.slots();
        let next = slots
            .next_boot()
            .unwrap_or_else(|| panic!("nothing boots: {context:?}"));
        assert_eq!(
            self.files[&next.file].0,
            Content::Whole,
            "{context:?}: {next:?}"
        );
        let good = slots.releases.iter().any(|s| s.uki.counter.is_none());
        assert!(good, "no good release is left: {context:?}");
    }

    /// Carries a plan out and checks each cut; gives what a host may find when it comes back.
    fn run(&mut self, steps: &[Step]) -> Vec<Self> {
        let mut all = Vec::new();
        for step in steps {
            for cut in self.cuts(step) {
                cut.check(&(step, &cut));
                all.push(cut);
            }
            self.apply(step);
            self.check(&(step, "done"));
        }
        all
    }
}

#[test]
fn a_plan_removes_writes_reads_back_and_names() {
    let esp = Esp::new(
        "1.1.0",
        &["skeg_1.0.0.efi", "skeg_1.1.0.efi", "skeg_0.9.0.efi"],
    );
    let wanted = wanted("1.2.0", 8 * CLUSTER);
    let steps = stage(&esp.slots(), esp.space(), &wanted).unwrap();
    let partial = "skeg_1.2.0.new".to_owned();
    let expected = [
        Step::Remove("skeg_0.9.0.efi".into()),
        Step::Write {
            name: partial.clone(),
            length: 8 * CLUSTER,
        },
        Step::Verify {
            name: partial.clone(),
            release: wanted,
        },
        Step::Rename {
            from: partial,
            to: "skeg_1.2.0+3.efi".into(),
        },
    ];
    assert_eq!(steps, expected);
}

#[test]
fn too_little_room_is_told_before_anything_is_removed() {
    let mut esp = Esp::new("1.1.0", &["skeg_1.0.0.efi", "skeg_1.1.0.efi"]);
    esp.total = 24;
    let refused = stage(&esp.slots(), esp.space(), &wanted("1.2.0", 10 * CLUSTER));
    assert!(
        matches!(refused, Err(Refusal::NoSpace { .. })),
        "{refused:?}"
    );
    // An older one more is room enough.
    esp.total = 34;
    esp.files
        .insert("skeg_0.9.0.efi".into(), (Content::Whole, 10 * CLUSTER));
    assert!(stage(&esp.slots(), esp.space(), &wanted("1.2.0", 10 * CLUSTER)).is_ok());
}

#[test]
fn a_host_that_runs_from_elsewhere_or_has_it_already_stages_nothing() {
    let esp = Esp::new("1.1.0", &["skeg_1.0.0.efi"]);
    let refused = stage(&esp.slots(), esp.space(), &wanted("1.2.0", 1));
    assert_eq!(refused, Err(Refusal::NotFromHere(version("1.1.0"))));
    let esp = Esp::new("1.1.0", &["skeg_1.1.0.efi"]);
    let refused = stage(&esp.slots(), esp.space(), &wanted("1.1.0", 1));
    assert_eq!(refused, Err(Refusal::Runs(version("1.1.0"))));
}

#[test]
fn the_only_release_is_never_denied() {
    let esp = Esp::new("1.1.0", &["skeg_1.1.0.efi", "skeg_1.0.0+0-3.efi"]);
    assert_eq!(
        deny(&esp.slots(), version("1.1.0")),
        Err(Refusal::NothingElse)
    );
    assert_eq!(deny(&esp.slots(), version("1.0.0")), Ok(Vec::new()));
    assert_eq!(
        deny(&esp.slots(), version("2.0.0")),
        Err(Refusal::Absent(version("2.0.0")))
    );
}

#[test]
fn a_person_goes_back_and_forth_and_nothing_is_lost() {
    let mut esp = Esp::new("1.1.0", &["skeg_1.0.0.efi", "skeg_1.1.0.efi"]);
    let back = prefer(&esp.slots(), version("1.0.0")).unwrap();
    esp.run(&back);
    assert_eq!(esp.slots().next_boot().unwrap().file, "skeg_1.0.0.efi");
    let forth = prefer(&esp.slots(), version("1.1.0")).unwrap();
    esp.run(&forth);
    assert_eq!(esp.slots().next_boot().unwrap().file, "skeg_1.1.0+3.efi");
    assert_eq!(esp.files.len(), 2);
}

/// Hosts before an update.
fn hosts() -> impl Strategy<Value = Esp> {
    let rest = [
        "skeg_0.8.0.efi",
        "skeg_0.9.0.efi",
        "skeg_1.2.0+0-3.efi",
        "skeg_1.2.0.new",
        "skeg_1.1.0.new",
        "skeg_1.2.0+3.efi",
        "foreign.efi",
    ];
    let rest = prop::sample::subsequence(rest.to_vec(), 0..=rest.len());
    (rest, 30u64..90).prop_map(|(rest, total)| {
        let names: Vec<&str> = rest.into_iter().chain(["skeg_1.0.0.efi"]).collect();
        let mut esp = Esp::new("1.0.0", &names);
        esp.total = total.max(esp.files.len() as u64 * 10 + 1);
        esp
    })
}

proptest! {
    #[test]
    fn a_host_boots_after_any_cut_and_any_number_of_cuts(
        mut esp in hosts(), length in 1u64..12, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)
    ) {
        let wanted = wanted("1.2.0", length * CLUSTER);
        for cut in cuts {
            let Ok(steps) = stage(&esp.slots(), esp.space(), &wanted) else { return Ok(()) };
            let all = esp.clone().run(&steps);
            esp = all[cut.index(all.len())].clone();
        }
        // However often it was cut, it ends: staged, on trial, blessed or denied.
        let Ok(steps) = stage(&esp.slots(), esp.space(), &wanted) else { return Ok(()) };
        esp.run(&steps);
        prop_assert_eq!(esp.slots().next_boot().unwrap().file.clone(), "skeg_1.2.0+3.efi");
        prop_assert!(esp.slots().partial.is_empty());

        let mut refused = esp.clone();
        let denied = deny(&refused.slots(), version("1.2.0")).unwrap();
        refused.run(&denied);
        prop_assert_eq!(refused.slots().next_boot().unwrap().uki.version, version("1.0.0"));

        esp.running = version("1.2.0");
        let steps = bless(&esp.slots());
        esp.run(&steps);
        prop_assert_eq!(esp.slots().next_boot().unwrap().file.clone(), "skeg_1.2.0.efi");
        prop_assert!(bless(&esp.slots()).is_empty());
    }
}
