//! The files of cgroup v2 and their values that a spec's resources ask for.
//!
//! Pure. What version 2 has no file for (kernel memory, swappiness, real-time shares) is left out, as
//! the spec's conversion says.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxRdma, LinuxResources,
    LinuxThrottleDevice,
};

/// One value for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: String,
    pub(super) value: String,
    /// What is set when the kernel has no such file.
    pub(super) otherwise: Otherwise,
}

/// What to do when a file is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// It is an error.
    Fail,
    /// The kernel cannot limit it, and has no file to say so.
    PassOver,
    /// Another file, with its own value.
    Set(String, String),
}

/// Adds one setting after the other.
struct Settings(Vec<Setting>);

impl Settings {
    fn set(&mut self, file: &str, value: impl ToString) {
        self.push(file, value.to_string(), Otherwise::Fail);
    }

    fn push(&mut self, file: &str, value: String, otherwise: Otherwise) {
        let file = file.into();
        // Where there is no controller, nothing is limited, as is asked.
        let otherwise = match value.as_str() {
            "max" => Otherwise::PassOver,
            _ => otherwise,
        };
        self.0.push(Setting {
            file,
            value,
            otherwise,
        });
    }
}

pub(super) fn settings(resources: &LinuxResources) -> Vec<Setting> {
    let mut settings = Settings(Vec::new());
    if let Some(memory) = resources.memory() {
        settings.memory(memory);
    }
    if let Some(cpu) = resources.cpu() {
        settings.cpu(cpu);
    }
    if let Some(pids) = resources.pids() {
        settings.set("pids.max", or_max(pids.limit()));
    }
    if let Some(io) = resources.block_io() {
        settings.block_io(io);
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        settings.huge_pages(limit);
    }
    let mut devices: Vec<_> = resources.rdma().iter().flatten().collect();
    devices.sort_by_key(|(name, _)| name.as_str());
    for (name, limit) in devices {
        settings.rdma(name, limit);
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        settings.set(file, value);
    }
    settings.0
}

fn or_max(value: i64) -> String {
    if value <= 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

impl Settings {
    fn memory(&mut self, memory: &LinuxMemory) {
        if let Some(limit) = memory.limit() {
            self.set("memory.max", or_max(limit));
        }
        if let Some(reservation) = memory.reservation().filter(|bytes| *bytes >= 0) {
            self.set("memory.low", reservation);
        }
        // The spec counts memory and swap together, the kernel apart. A kernel without swap
        // accounting has no file.
        let swap = match (memory.swap(), memory.limit().unwrap_or(0)) {
            (Some(-1), _) => "max".to_owned(),
            (Some(0), 0) => "0".to_owned(),
            (Some(swap), limit) if limit > 0 && swap >= limit => (swap - limit).to_string(),
            _ => return,
        };
        self.push("memory.swap.max", swap, Otherwise::PassOver);
    }

    fn cpu(&mut self, cpu: &LinuxCpu) {
        if let Some(shares) = cpu.shares().filter(|shares| *shares > 0) {
            self.set("cpu.weight", weight(shares));
        }
        if cpu.quota().is_some() || cpu.period().is_some() {
            let period = cpu.period().filter(|period| *period > 0);
            let quota = or_max(cpu.quota().unwrap_or(-1));
            self.set("cpu.max", format!("{quota} {}", period.unwrap_or(100_000)));
        }
        if let Some(burst) = cpu.burst() {
            self.set("cpu.max.burst", burst);
        }
        if let Some(idle) = cpu.idle() {
            self.set("cpu.idle", idle);
        }
        if let Some(cpus) = cpu.cpus().as_ref().filter(|cpus| !cpus.is_empty()) {
            self.set("cpuset.cpus", cpus);
        }
        if let Some(mems) = cpu.mems().as_ref().filter(|mems| !mems.is_empty()) {
            self.set("cpuset.mems", mems);
        }
    }

    fn block_io(&mut self, io: &LinuxBlockIo) {
        if let Some(weight) = io.weight().filter(|weight| *weight > 0) {
            let other = format!("default {}", io_weight(weight));
            self.weight(weight.to_string(), other);
        }
        for device in io.weight_device().iter().flatten() {
            if let Some(weight) = device.weight() {
                let device = format!("{}:{}", device.major(), device.minor());
                let other = format!("{device} {}", io_weight(weight));
                self.weight(format!("{device} {weight}"), other);
            }
        }
        for (key, devices) in [
            ("rbps", io.throttle_read_bps_device()),
            ("wbps", io.throttle_write_bps_device()),
            ("riops", io.throttle_read_iops_device()),
            ("wiops", io.throttle_write_iops_device()),
        ] {
            for device in devices.iter().flatten() {
                self.set("io.max", throttle(key, device));
            }
        }
    }

    /// The scheduler BFQ has its own file, in the spec's scale.
    fn weight(&mut self, bfq: String, other: String) {
        let otherwise = Otherwise::Set("io.weight".into(), other);
        self.push("io.bfq.weight", bfq, otherwise);
    }

    fn huge_pages(&mut self, limit: &LinuxHugepageLimit) {
        let (size, value) = (limit.page_size(), or_max(limit.limit()));
        self.set(&format!("hugetlb.{size}.max"), value.clone());
        let reserved = format!("hugetlb.{size}.rsvd.max");
        self.push(&reserved, value, Otherwise::PassOver);
    }

    fn rdma(&mut self, name: &str, limit: &LinuxRdma) {
        let mut value = name.to_owned();
        for (key, limit) in [
            ("hca_handle", limit.hca_handles()),
            ("hca_object", limit.hca_objects()),
        ] {
            if let Some(limit) = limit {
                value += &format!(" {key}={limit}");
            }
        }
        self.set("rdma.max", value);
    }
}

fn throttle(key: &str, device: &LinuxThrottleDevice) -> String {
    let rate = match device.rate() {
        0 => "max".to_owned(),
        rate => rate.to_string(),
    };
    format!("{}:{} {key}={rate}", device.major(), device.minor())
}

/// Weights of version 1 (10 to 1000) as those of version 2 (1 to 10000), linearly.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

/// cgroup v1 shares (2 to 262144, 1024 by default) as a weight (1 to 10000, 100 by default), on the
/// curve that keeps both ends and the default.
fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    (10f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(resources: &str) -> Vec<String> {
        let resources = serde_json::from_str(resources).unwrap();
        let settings = settings(&resources);
        settings
            .iter()
            .map(|setting| format!("{} {}", setting.file, setting.value))
            .collect()
    }

    #[test]
    fn the_ends_and_the_default_of_shares_are_those_of_weights() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 100, 10_000]);
        assert_eq!([10, 1000].map(io_weight), [1, 10_000]);
    }

    #[test]
    fn docker_s_swap_is_the_kernel_s_memory_and_swap() {
        let resources = r#"{"memory": {"limit": 100, "swap": 150},
            "cpu": {"quota": 50000, "period": 100000}, "pids": {"limit": -1}}"#;
        assert_eq!(
            written(resources),
            [
                "memory.max 100",
                "memory.swap.max 50",
                "cpu.max 50000 100000",
                "pids.max max"
            ]
        );
        let none = r#"{"memory": {"swap": 0}}"#;
        assert_eq!(written(none), ["memory.swap.max 0"]);
    }

    #[test]
    fn throttles_huge_pages_and_rdma_are_lines_by_device() {
        let resources = r#"{
            "blockIO": {"weight": 1000,
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1048576}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 10}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
            "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
            "unified": {"misc.max": "sev 5"}}"#;
        assert_eq!(
            written(resources),
            [
                "io.bfq.weight 1000",
                "io.max 8:0 rbps=1048576",
                "io.max 8:16 wiops=10",
                "hugetlb.2MB.max 4194304",
                "hugetlb.2MB.rsvd.max 4194304",
                "rdma.max mlx5_1 hca_handle=3 hca_object=10000",
                "misc.max sev 5"
            ]
        );
    }

    #[test]
    fn a_period_alone_keeps_the_quota_unlimited() {
        assert_eq!(
            written(r#"{"cpu": {"period": 5000}}"#),
            ["cpu.max max 5000"]
        );
    }
}
