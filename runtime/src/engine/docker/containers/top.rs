//! The processes of a container, read from /proc: there is no `ps` on the host.

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde_json::{Value, json};

use super::super::Arced;
use super::super::asked::Asked;
use super::super::refusal::Refusal;
use super::{Id, find, life};
use crate::container::cgroup::Cgroup;

const FULL: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
/// USER_HZ on every architecture that this runs on.
const TICKS: u64 = 100;

struct Process {
    uid: u32,
    pid: u32,
    parent: u32,
    terminal: bool,
    ticks: u64,
    start_ns: u64,
    name: String,
    command: String,
}

pub async fn top(
    Shared(engine): Arced,
    Path(id): Id,
    asked: Asked,
) -> Result<Json<Value>, Refusal> {
    let container = find(&engine, &id)?;
    if !container.state().phase.is_up() {
        return Err(life::not_running(&container));
    }
    let titles = titles(asked.text("ps_args").unwrap_or("-ef"))?;
    let path = engine.cgroup_of(&container.config.id);
    let path = path.ok_or_else(|| Refusal::new(500, "there are no cgroups"))?;
    let mut pids = Cgroup::open(&path)?.processes()?;
    pids.sort_unstable();
    // One that ends meanwhile is not shown.
    let found = pids.into_iter().filter_map(read);
    let rows: Vec<Vec<String>> = found
        .map(|p| titles.iter().map(|title| cell(&p, title)).collect())
        .collect();
    Ok(Json(json!({"Titles": titles, "Processes": rows})))
}

/// Of `-ef`, `aux`-like words of two styles, and `-o A,B`.
fn titles(arguments: &str) -> Result<Vec<String>, Refusal> {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let named = match words[..] {
        ["-ef" | "ef" | "-eF"] => FULL.map(str::to_owned).to_vec(),
        ["aux" | "-aux"] => ["USER", "PID", "TTY", "STIME", "TIME", "COMMAND"]
            .map(str::to_owned)
            .to_vec(),
        ["-o" | "o" | "-eo", list] | ["-e", "-o", list] => {
            list.split(',').map(str::to_uppercase).collect()
        }
        _ => Vec::new(),
    };
    let known = ["USER", "COMMAND", "ARGS", "COMM"];
    let is_known = |t: &String| FULL.contains(&t.as_str()) || known.contains(&t.as_str());
    if named.is_empty() || !named.iter().all(is_known) {
        return Err(Refusal::unsupported(
            &format!("ps {arguments}"),
            "use -ef, aux, or -o with some of user,uid,pid,ppid,c,stime,tty,time,comm,args,cmd",
        ));
    }
    Ok(named)
}

fn read(pid: u32) -> Option<Process> {
    let of = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).ok();
    let stat = String::from_utf8_lossy(&of("stat")?).into_owned();
    let status = String::from_utf8_lossy(&of("status")?).into_owned();
    let uids = status.lines().find_map(|l| l.strip_prefix("Uid:"))?;
    // The name, in brackets, may hold anything: fields are counted from behind it.
    let (head, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| -> Option<u64> { fields.get(at)?.parse().ok() };
    let name = head.split_once('(')?.1.to_owned();
    let words = of("cmdline")?;
    let words = words.split(|b| *b == 0).filter(|w| !w.is_empty());
    let words: Vec<_> = words
        .map(|w| String::from_utf8_lossy(w).into_owned())
        .collect();
    Some(Process {
        uid: uids.split_whitespace().next()?.parse().ok()?,
        pid,
        parent: u32::try_from(number(1)?).ok()?,
        terminal: number(4)? != 0,
        ticks: number(11)? + number(12)?,
        start_ns: crate::engine::clock::wall_of_ticks(number(19)?),
        command: if words.is_empty() {
            format!("[{name}]")
        } else {
            words.join(" ")
        },
        name,
    })
}

fn cell(p: &Process, title: &str) -> String {
    match title {
        "UID" => user(p.uid),
        "USER" => user(p.uid),
        "PID" => p.pid.to_string(),
        "PPID" => p.parent.to_string(),
        "C" => "0".into(),
        "STIME" => {
            let time = super::super::time::rfc3339(p.start_ns);
            time.get(11..16).unwrap_or_default().to_owned()
        }
        "TTY" => if p.terminal { "pts/0" } else { "?" }.into(),
        "TIME" => {
            let seconds = p.ticks / TICKS;
            format!(
                "{:02}:{:02}:{:02}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            )
        }
        "COMM" => p.name.clone(),
        _ => p.command.clone(),
    }
}

fn user(uid: u32) -> String {
    if uid == 0 {
        "root".into()
    } else {
        uid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_shown_and_columns_that_are_not_there_are_refused() {
        let p = read(std::process::id()).unwrap();
        assert_eq!(cell(&p, "PID"), std::process::id().to_string());
        assert!(!cell(&p, "CMD").is_empty());
        assert_eq!(titles("-o pid,comm").unwrap(), ["PID", "COMM"]);
        assert_eq!(titles("-o pid,wchan").unwrap_err().status, 501);
    }
}
