//! What /proc says of a process.

/// Field 22 of proc_pid_stat(5): tells a process from a later one of the same id.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks(&text)
}

/// The command's name may hold spaces and brackets: fields are counted after the last one.
fn ticks(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let fields: Vec<String> = (4..30).map(|n| n.to_string()).collect();
        let text = format!("7 (a) (b c)) S {}", fields.join(" "));
        assert_eq!(ticks(&text), Some(22));
        assert!(start_ticks(std::process::id()).is_some());
        assert_eq!(ticks("rubbish"), None);
    }
}
