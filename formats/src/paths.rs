//! Where things lie on a Skeg host. A path that two programs must agree on stands here, once.
//!
//! Paths below [`RUN`] live until the next boot, paths below [`STATE`] for ever.

/// Runtime state of all of Skeg's programs, on a tmpfs, mode 0755.
pub const RUN: &str = "/run/skeg";
/// PID 1's control socket (`SOCK_SEQPACKET`, for root and the users of engine and updater): see [`crate::registration`].
pub const INIT_SOCKET: &str = "/run/skeg/init.sock";
/// PID 1's `sd_notify` socket (`SOCK_DGRAM`), passed to services as `NOTIFY_SOCKET`.
pub const NOTIFY_SOCKET: &str = "/run/skeg/notify.sock";
/// The boot timeline, rewritten by PID 1 whenever a stage is stamped: see [`crate::boot`].
pub const BOOT_TIMELINE: &str = "/run/skeg/boot.json";
/// PID 1's view of services and degraded states, rewritten on each change: see [`crate::status`].
pub const STATUS: &str = "/run/skeg/status.json";
/// The engine's HTTP API, for root and the group [`crate::accounts::API_GROUP`].
pub const ENGINE_SOCKET: &str = "/run/skeg/engine.sock";
/// The zygote's socket (`SOCK_SEQPACKET`), which only root and the engine's user connect to.
pub const ZYGOTE_SOCKET: &str = "/run/skeg/zygote.sock";
/// Unit health, one JSON line per change: see [`crate::health`].
pub const HEALTH_SOCKET: &str = "/run/skeg/health.sock";
/// `org.freedesktop.systemd1` without a bus: where `systemctl` looks as root. See [`crate::systemd1`].
pub const SYSTEMD_PRIVATE: &str = "/run/systemd/private";
/// That this folder exists tells clients that systemd's interface is there.
pub const SYSTEMD_BOOTED: &str = "/run/systemd/system";
/// The same interface for clients that expect a bus, e.g. `busctl --address`.
pub const SYSTEMD_SOCKET: &str = "/run/skeg/systemd1.sock";
/// What the network daemon writes, the only folder that it can write to.
pub const NETWORK_FOLDER: &str = "/run/skeg/net";
/// The updater's socket for `skeg update`, mode 0600: see [`crate::update`].
pub const UPDATE_SOCKET: &str = "/run/skeg/update/update.sock";
/// Where the updater mounts the ESP while it uses it.
pub const ESP: &str = "/efi";
/// Docker's Engine API.
pub const DOCKER_SOCKET: &str = "/run/docker.sock";
/// `ca.pem`, `cert.pem` and `key.pem` here let clients reach it over TCP, with certificates of that authority.
pub const DOCKER_CERTIFICATES: &str = "/etc/skeg/docker";
/// One file a secret that units may name; read at each start of a container that has it.
pub const SECRETS: &str = "/etc/skeg/secrets";
/// Resolver configuration as the network daemon learnt it; `/etc/resolv.conf` links here.
pub const RESOLV_CONF: &str = "/run/skeg/net/resolv.conf";
/// Addresses, routes and servers of the host, written by the network daemon.
pub const NETWORK: &str = "/run/skeg/net/network.json";
/// PID 1 writes each service's standard output and error here: `<log dir>/<service>.log`.
pub const SERVICE_LOGS: &str = "/run/skeg/log";

/// Services of the image that PID 1 supervises, `NAME.service` each: see [`crate::service`].
pub const SERVICES: &str = "/usr/lib/skeg/services";
/// Their filters of system calls, `NAME.bpf` each: see [`crate::seccomp`].
pub const FILTERS: &str = "/usr/lib/skeg/seccomp";
/// Users of the image's services, in passwd(5) format; the config's `/etc/passwd` does not change them.
pub const ACCOUNTS: &str = "/usr/lib/skeg/passwd";
/// Their groups, in group(5) format.
pub const GROUPS: &str = "/usr/lib/skeg/group";
/// Kernel modules to load at boot: paths below `/usr/lib/modules`, one a line, each after its needs.
pub const MODULE_LIST: &str = "/usr/lib/skeg/modules.load";
/// Modules that are loaded only where the machine has nothing better: no hardware watchdog.
pub const SPARE_MODULE_LIST: &str = "/usr/lib/skeg/modules.spare";
/// Programs that run rarely, `NAME.zst` each: `skeg` unpacks one into memory and runs it from there.
pub const PACKED: &str = "/usr/lib/skeg/packed";
/// Debian's static e2fsck, for a STATE whose superblock reports errors.
pub const E2FSCK: &str = "/usr/lib/skeg/e2fsck";
/// What this image is, in os-release(5) format.
pub const OS_RELEASE: &str = "/usr/lib/os-release";
/// The part of `/etc` that comes with the image; copied first when `/etc` is built.
pub const IMAGE_ETC: &str = "/usr/share/skeg/etc";

/// The data partition's mount point.
pub const STATE: &str = "/var";
/// The engine's store, containers, volumes and logs.
pub const ENGINE_STATE: &str = "/var/lib/skeg";
/// The resolved host configuration: see [`crate::config`].
pub const CONFIG: &str = "/var/lib/skeg-config/current";
/// This host's id, made at its first boot; copied to `/etc/machine-id` at each.
pub const MACHINE_ID: &str = "/var/lib/skeg-config/machine-id";
/// The last time that PID 1 knew, in seconds since the epoch: the clock never starts below.
pub const LAST_TIME: &str = "/var/lib/skeg-time";
/// The host's journal, mode 0700: see [`crate::journal`].
pub const JOURNAL: &str = "/var/log/skeg";
/// The SSH server's own key.
pub const SSH_STATE: &str = "/var/lib/skeg-ssh";
/// Public keys that may log in, a file for each user; made from the configuration.
pub const AUTHORIZED_KEYS: &str = "/etc/ssh/authorized_keys.d";
/// Quadlet units, from image and config together.
pub const QUADLET: &str = "/etc/containers/systemd";

/// The cgroup (below `/sys/fs/cgroup`) that holds one folder per service.
pub const CGROUP_SERVICES: &str = "skeg.slice";
/// The cgroup that holds one folder per container.
pub const CGROUP_CONTAINERS: &str = "containers.slice";

/// GPT partition type of STATE: `variable data` of the Discoverable Partitions Specification.
pub const STATE_PARTITION_TYPE: &str = "4d21b016-b534-45c2-a9fb-5c16e091fd2d";
