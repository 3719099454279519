//! `soak`: one machine test again and again, until it fails or somebody presses Ctrl-C.
//!
//! It keeps no statistics but the count: a failure's artefacts say the rest.

use crate::{Outcome, build, progress, run};

const DEFAULT: &str = "survives_a_reboot";

/// Repeats the tests whose names contain `name`.
pub fn run(name: Option<&str>) -> Outcome<()> {
    let name = name.unwrap_or(DEFAULT);
    run::prepare(&["vm", "test"])?;
    for round in 1u32.. {
        let mut ran = 0;
        let arguments = [
            "test",
            "--quiet",
            "-p",
            "qemu-tests",
            "--features",
            "qemu",
            name,
        ];
        let what = format!("round {round}: {name}");
        let good = progress::loudly(&what, &mut build::cargo(&arguments), |line| {
            ran += passed(line);
        })?;
        if !good {
            return Err(format!("failed in round {round}; the artefacts are kept"));
        }
        if ran == 0 {
            return Err(format!(
                "no machine test has `{name}` in its name; see qemu-tests/tests/"
            ));
        }
    }
    Ok(())
}

fn passed(line: &str) -> u32 {
    let rest = line.strip_prefix("test result: ok. ");
    let number = rest.and_then(|rest| rest.split(' ').next());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}
