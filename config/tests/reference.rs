//! `docs/CONFIG.md` says what becomes of each field, and says it as the table of fields does.
//!
//! A field that is added or decided anew fails here until the reference has it.

use config::ignition::schema::{self, Fate, Field};

fn row(path: &str, field: &Field) -> String {
    let fate = match field.fate {
        Fate::Done => "done".to_owned(),
        Fate::Ignored(reason) => format!("ignored: {reason}"),
        Fate::Refused(reason) => format!("refused: {reason}"),
    };
    format!("| `{path}` | 3.{}.0 | {fate} |", field.since)
}

#[test]
fn the_reference_names_every_field_and_its_fate() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIG.md");
    let text = std::fs::read_to_string(path).unwrap();
    let missing: Vec<String> = schema::all()
        .iter()
        .map(|(path, field)| row(path, field))
        .filter(|row| {
            !text
                .lines()
                .any(|line| line.starts_with(row.trim_end_matches(" |")))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "not in docs/CONFIG.md:\n{}",
        missing.join("\n")
    );
}
