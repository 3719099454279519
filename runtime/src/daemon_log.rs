//! What the daemons log: a line each on standard error, with its priority in front as sd-daemon(3)
//! has it. PID 1 keeps the lines and shows warnings and worse on the console.
//!
//! It adds no time, no colour and no module path: the time is PID 1's, the rest is for debuggers.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Sends this process's log to standard error; `SKEG_LOG` filters it, by levels such as `debug` or
/// `warn,runtime::hostnet=debug` (default: `info`).
pub fn start() {
    let asked = std::env::var("SKEG_LOG").ok();
    let asked: Option<Targets> = asked.and_then(|text| text.parse().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .event_format(Prioritized);
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
}

/// A line's text without its priority.
#[must_use]
pub fn without_priority(line: &[u8]) -> &[u8] {
    match line {
        [b'<', level, b'>', text @ ..] if level.is_ascii_digit() => text,
        _ => line,
    }
}

struct Prioritized;

impl<S, N> FormatEvent<S, N> for Prioritized
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// syslog(3)'s number: 3 error, 4 warning, 6 informational, 7 debug.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().map_or(Ok(0), |mut sink| sink.write(bytes))
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_begins_with_the_priority_that_pid_1_looks_for() {
        let sink = Sink::default();
        let written = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || written.clone())
            .event_format(Prioritized)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!("web.container:3: unknown key");
            tracing::info!("pulled web:1");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "<3>web.container:3: unknown key\n<6>pulled web:1\n");
    }

    #[test]
    fn only_a_priority_is_taken_off_a_line() {
        assert_eq!(without_priority(b"<3>disk is full"), b"disk is full");
        for kept in ["plain", "<b>bold", "<12>x", "<3"].map(str::as_bytes) {
            assert_eq!(without_priority(kept), kept);
        }
    }
}
