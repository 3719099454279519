//! Runs the simulator over seeds: `cargo xtask sim --seeds N`.
//!
//! It stops at the first seed that breaks a rule, shortens its trouble as far as it still does, and
//! prints what runs it again.

use clap::Parser;
use fleet::sim::{Cluster, Setup, Violation};
use std::process::ExitCode;
use std::time::Duration;

/// The fleet's planner, engines and agents on virtual time, with faults from seeds.
#[derive(Parser)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Machines.
    #[arg(long, default_value_t = 5)]
    machines: usize,
    /// Engines.
    #[arg(long, default_value_t = 3)]
    engines: usize,
    /// Units.
    #[arg(long, default_value_t = 12)]
    units: u64,
    /// Virtual seconds of trouble in each life.
    #[arg(long, default_value_t = 300)]
    trouble: u64,
    /// Print what happens to this unit.
    #[arg(long)]
    trace: Option<String>,
}

impl Arguments {
    fn life(&self, seed: u64, trouble: u64) -> Result<u64, Violation> {
        let setup = Setup {
            engines: self.engines.max(1),
            machines: self.machines.max(1),
            units: self.units.max(1),
            faults: true,
            sabotage: None,
        };
        let mut cluster = Cluster::new(seed, setup);
        cluster.trace.clone_from(&self.trace);
        cluster.live(Duration::from_secs(trouble))?;
        Ok(cluster.steps)
    }

    /// The shortest trouble that still breaks a rule, in steps of a halving.
    fn shrink(&self, seed: u64) -> u64 {
        let (mut good, mut bad) = (0, self.trouble);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            match self.life(seed, middle) {
                Ok(_) => good = middle,
                Err(_) => bad = middle,
            }
        }
        bad
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut steps, end) = (0, arguments.from.saturating_add(arguments.seeds));
    for seed in arguments.from..end {
        match arguments.life(seed, arguments.trouble) {
            Ok(number) => steps += number,
            Err(violation) => {
                let trouble = arguments.shrink(seed);
                let shortest = arguments.life(seed, trouble).err().unwrap_or(violation);
                println!("seed {seed}: {shortest}");
                println!("again: cargo xtask sim --from {seed} --seeds 1 --trouble {trouble}");
                return ExitCode::FAILURE;
            }
        }
        let done = seed - arguments.from + 1;
        if done % 100 == 0 {
            println!("  {done} seeds, {steps} steps");
        }
    }
    println!("{} seeds, {steps} steps, no rule broken", arguments.seeds);
    ExitCode::SUCCESS
}
