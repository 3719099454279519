//! The service file's lines: sections, keys, values, into a [`Service`].
//!
//! Pure: text in, a value or an error that names the line out.

use super::confine;
use super::value::{boolean, bytes, capabilities, count, duration, number, words};
use super::{Kind, Restart, Service, ServiceError};

/// Every key there is, with its section.
pub const KEYS: [(&str, &str); 38] = [
    ("Unit", "Description"),
    ("Unit", "After"),
    ("Unit", "Requires"),
    ("Unit", "ConditionKernelCommandLine"),
    ("Unit", "ConditionDirectoryNotEmpty"),
    ("Service", "Type"),
    ("Service", "ExecStart"),
    ("Service", "User"),
    ("Service", "Group"),
    ("Service", "CapabilityBoundingSet"),
    ("Service", "AmbientCapabilities"),
    ("Service", "NoNewPrivileges"),
    ("Service", "SystemCallFilter"),
    ("Service", "RestrictAddressFamilies"),
    ("Service", "RestrictNamespaces"),
    ("Service", "ProtectSystem"),
    ("Service", "ProtectProc"),
    ("Service", "PrivateDevices"),
    ("Service", "DevicePolicy"),
    ("Service", "ReadWritePaths"),
    ("Service", "ReadOnlyPaths"),
    ("Service", "InaccessiblePaths"),
    ("Service", "ExecPaths"),
    ("Service", "NoExecPaths"),
    ("Service", "RuntimeDirectory"),
    ("Service", "StateDirectory"),
    ("Service", "MemoryMax"),
    ("Service", "MemoryHigh"),
    ("Service", "TasksMax"),
    ("Service", "CPUWeight"),
    ("Service", "WatchdogSec"),
    ("Service", "Restart"),
    ("Service", "RestartSec"),
    ("Service", "TimeoutStartSec"),
    ("Service", "TimeoutStopSec"),
    ("Service", "FileDescriptorStoreMax"),
    ("Service", "Environment"),
    ("Service", "OOMScoreAdjust"),
];

/// Descriptors that one service may store at most, whatever its file says.
const FD_STORE_LIMIT: i64 = 4096;

/// Reads a service file; `file` is its name, e.g. `engine.service`.
///
/// # Errors
/// The first line that is not understood, or what the file lacks.
pub fn parse(file: &str, text: &str) -> Result<Service, ServiceError> {
    let error = |line, problem| ServiceError {
        file: file.to_owned(),
        line,
        problem,
    };
    let name = service_name(file).map_err(|problem| error(0, problem))?;
    let mut service = Service::new(name);
    let mut section = "";
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let read = match line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            Some(name) => known_section(name).map(|name| section = name),
            None => assign(&mut service, section, line),
        };
        read.map_err(|problem| error(index + 1, problem))?;
    }
    check(&service).map_err(|problem| error(0, problem))?;
    Ok(service)
}

fn service_name(file: &str) -> Result<&str, String> {
    let name = file.strip_suffix(".service").unwrap_or("");
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if name.is_empty() || name.len() > 32 || !name.bytes().all(plain) {
        return Err(format!(
            "expected a file named NAME.service with 1 to 32 of a-z, 0-9, - and _, found \"{file}\""
        ));
    }
    Ok(name)
}

fn known_section(name: &str) -> Result<&'static str, String> {
    ["Unit", "Service"]
        .into_iter()
        .find(|known| *known == name)
        .ok_or_else(|| format!("unknown section [{name}]: expected [Unit] or [Service]"))
}

fn assign(service: &mut Service, section: &str, line: &str) -> Result<(), String> {
    let (key, value) = line
        .split_once('=')
        .ok_or_else(|| format!("expected KEY=VALUE, found \"{line}\""))?;
    let (key, value) = (key.trim(), value.trim());
    if section.is_empty() {
        return Err(format!("{key}= stands before any section"));
    }
    if !KEYS.contains(&(section, key)) {
        return Err(unknown(section, key));
    }
    set(service, key, value).map_err(|problem| format!("{key}=: {problem}"))
}

fn unknown(section: &str, key: &str) -> String {
    let elsewhere = KEYS.iter().find(|(_, known)| *known == key);
    if let Some((home, _)) = elsewhere {
        return format!("{key}= belongs into [{home}], not [{section}]");
    }
    let near = KEYS.iter().min_by_key(|(_, known)| distance(key, known));
    let near = near.map_or("Type", |(_, known)| *known);
    format!("unknown key {key}= in [{section}]: the nearest known key is {near}=")
}

fn set(service: &mut Service, key: &str, value: &str) -> Result<(), String> {
    match key {
        "Description" => value.clone_into(&mut service.description),
        "After" => service.after.extend(names(value)?),
        "Requires" => service.requires.extend(names(value)?),
        "ConditionKernelCommandLine" => service.condition = Some(word(value)?),
        "ConditionDirectoryNotEmpty" => service.condition_folder = Some(confine::path(value)?),
        "Type" => service.kind = kind(value)?,
        "ExecStart" => service.exec_start = command(value)?,
        "User" => service.user = Some(account(value)?),
        "Group" => service.group = Some(account(value)?),
        "CapabilityBoundingSet" => {
            let named = capabilities(value)?;
            *service.capabilities.get_or_insert(0) |= named;
        }
        "AmbientCapabilities" => service.ambient |= capabilities(value)?,
        "NoNewPrivileges" => service.no_new_privileges = boolean(value)?,
        "RuntimeDirectory" => service.runtime_directory = Some(confine::below("/run", value)?),
        "StateDirectory" => service.state_directory = Some(confine::below("/var/lib", value)?),
        "MemoryMax" => service.memory_max = bytes(value)?,
        "MemoryHigh" => service.memory_high = bytes(value)?,
        "TasksMax" => service.tasks_max = count(value)?,
        "CPUWeight" => service.cpu_weight = u64::try_from(number(value, 1, 10_000)?).ok(),
        "WatchdogSec" => service.watchdog = duration(value)?.filter(|d| !d.is_zero()),
        "Restart" => service.restart = restart(value)?,
        "RestartSec" => service.restart_delay = bounded(value)?,
        "TimeoutStartSec" => service.timeout_start = duration(value)?,
        "TimeoutStopSec" => service.timeout_stop = bounded(value)?,
        "FileDescriptorStoreMax" => {
            let max = number(value, 0, FD_STORE_LIMIT)?;
            service.fd_store_max = usize::try_from(max).unwrap_or(0);
        }
        "Environment" => environment(&mut service.environment, value)?,
        "OOMScoreAdjust" => {
            service.oom_score_adjust = i32::try_from(number(value, -1000, 1000)?).unwrap_or(0);
        }
        _ => confine::set(&mut service.system_calls, &mut service.view, key, value)?,
    }
    Ok(())
}

fn names(value: &str) -> Result<Vec<String>, String> {
    let name = |word: &str| service_name(&format!("{}.service", strip(word))).map(str::to_owned);
    value.split_whitespace().map(name).collect()
}

fn word(value: &str) -> Result<String, String> {
    match value.is_empty() || value.contains(char::is_whitespace) {
        true => Err(format!("expected one word, found \"{value}\"")),
        false => Ok(value.to_owned()),
    }
}

fn strip(word: &str) -> &str {
    word.strip_suffix(".service").unwrap_or(word)
}

fn kind(value: &str) -> Result<Kind, String> {
    match value {
        "simple" | "exec" => Ok(Kind::Simple),
        "notify" => Ok(Kind::Notify),
        "oneshot" => Ok(Kind::Oneshot),
        _ => Err(format!(
            "expected simple, notify or oneshot, found \"{value}\""
        )),
    }
}

fn restart(value: &str) -> Result<Restart, String> {
    match value {
        "no" => Ok(Restart::No),
        "on-failure" => Ok(Restart::OnFailure),
        "always" => Ok(Restart::Always),
        _ => Err(format!(
            "expected no, on-failure or always, found \"{value}\""
        )),
    }
}

fn command(value: &str) -> Result<Vec<String>, String> {
    let words = words(value)?;
    match words.first() {
        Some(program) if program.starts_with('/') => Ok(words),
        Some(program) => Err(format!("expected an absolute path, found \"{program}\"")),
        None => Err("expected a program and its arguments, found nothing".to_owned()),
    }
}

fn account(value: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if value.is_empty() || !value.bytes().all(plain) {
        return Err(format!("expected a name or a number, found \"{value}\""));
    }
    Ok(value.to_owned())
}

fn bounded(value: &str) -> Result<std::time::Duration, String> {
    duration(value)?.ok_or_else(|| "expected a bounded time, found infinity".to_owned())
}

fn environment(all: &mut Vec<(String, String)>, value: &str) -> Result<(), String> {
    for word in words(value)? {
        let (name, text) = word
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| format!("expected NAME=VALUE, found \"{word}\""))?;
        all.retain(|(known, _)| known != name);
        all.push((name.to_owned(), text.to_owned()));
    }
    Ok(())
}

fn check(service: &Service) -> Result<(), String> {
    if service.exec_start.is_empty() {
        return Err("no ExecStart= in [Service]: expected the program to run".to_owned());
    }
    if service.kind == Kind::Oneshot && service.restart == Restart::Always {
        return Err("Type=oneshot with Restart=always would never end: use on-failure".to_owned());
    }
    confine::check(service)?;
    let own = |list: &Vec<String>| list.contains(&service.name);
    if own(&service.after) || own(&service.requires) {
        return Err("After= or Requires= names the service itself".to_owned());
    }
    Ok(())
}

/// Edits between two names, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(!x.eq_ignore_ascii_case(y));
            corner = row[j + 1];
            row[j + 1] = change.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const ENGINE: &str = "\
[Unit]
Description=Container engine
After=zygote.service net
Requires=zygote

[Service]
Type=notify
ExecStart=/usr/bin/skeg engine
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_NET_ADMIN
MemoryMax=256M
CPUWeight=200
WatchdogSec=30s
Restart=always
RestartSec=100ms
TimeoutStopSec=1min 30s
FileDescriptorStoreMax=64
Environment=A=1 'B=2 3'
OOMScoreAdjust=-900
";

    #[test]
    fn a_whole_file_is_read() {
        let service = parse("engine.service", ENGINE).unwrap();
        assert_eq!(service.after, ["zygote", "net"]);
        assert_eq!(service.kind, Kind::Notify);
        assert_eq!(service.exec_start, ["/usr/bin/skeg", "engine"]);
        assert_eq!(service.capabilities, Some(1 << 21 | 1 << 12));
        assert_eq!(service.timeout_stop, Duration::from_secs(90));
        assert_eq!(service.environment[1], ("B".into(), "2 3".into()));
        assert_eq!(service.oom_score_adjust, -900);
    }

    #[test]
    fn an_unknown_key_names_file_line_and_the_nearest_key() {
        let text = "[Service]\nExecStart=/x\nRestartSecs=1\n";
        let error = parse("a.service", text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.service:3: unknown key RestartSecs= in [Service]: the nearest known key is RestartSec="
        );
        let error = parse("a.service", "[Unit]\nType=notify\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.service:2: Type= belongs into [Service], not [Unit]"
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        for (text, problem) in [
            ("[Service]\n", "no ExecStart="),
            ("ExecStart=/x\n", "before any section"),
            ("[Service]\nExecStart=skeg\n", "absolute path"),
            (
                "[Service]\nExecStart=/x\nTimeoutStopSec=infinity\n",
                "bounded",
            ),
            ("[Service]\nExecStart=/x\nType=forking\n", "expected simple"),
            (
                "[Unit]\nAfter=a\n[Service]\nExecStart=/x\n",
                "the service itself",
            ),
            ("[Servise]\n", "unknown section"),
            ("[Service]\nnonsense\n", "KEY=VALUE"),
        ] {
            let error = parse("a.service", text).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        assert!(parse("a/b.service", ENGINE).is_err());
    }

    #[test]
    fn the_services_of_the_image_are_valid() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../image/services");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            parse(&name, &std::fs::read_to_string(&path).unwrap()).unwrap();
            seen += 1;
        }
        assert!(seen >= 3);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(\\[(Unit|Service)\\]\n)?([A-Za-z]{0,9}=?[ -~é]{0,12}\n){0,6}") {
            let _ = parse("a.service", &text);
        }

        #[test]
        fn values_of_known_keys_never_panic(key in 0usize..21, value in "\\PC{0,20}") {
            let (section, key) = KEYS[key];
            let _ = parse("a.service", &format!("[{section}]\n{key}={value}\n"));
        }
    }
}
