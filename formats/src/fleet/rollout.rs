//! `rollout/<template>`: a changed text goes round the instances of a `Count=`, or came back.
//!
//! There while it goes round, and after it came back until the next change.

use serde::{Deserialize, Serialize};

/// A template's change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutRecord {
    /// The text that ran before, which is returned to.
    pub good: String,
    /// Why it came back; nothing while it goes round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_record() {
        let mut record = RolloutRecord {
            good: "x".into(),
            returned: None,
        };
        assert_eq!(serde_json::to_string(&record).unwrap(), r#"{"good":"x"}"#);
        record.returned = Some("y".into());
        let golden = r#"{"good":"x","returned":"y"}"#;
        assert_eq!(serde_json::to_string(&record).unwrap(), golden);
        assert_eq!(
            serde_json::from_str::<RolloutRecord>(golden).unwrap(),
            record
        );
    }
}
