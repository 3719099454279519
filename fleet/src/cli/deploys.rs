//! What operators follow: changes that go round, and who may reboot.
//!
//! It asks and prints; it changes nothing.

use super::tables::{cell, print};
use super::verbs::{Api, path};
use std::time::Duration;

impl Api {
    /// Follows a rollout; one that came back is an error.
    pub(super) async fn rollout(&self, template: &str, no_block: bool) -> Result<(), String> {
        let path = path(template)?;
        let mut last = String::new();
        loop {
            let unit = self.client.get(&path).await?;
            let rollout = &unit["rollout"];
            if rollout.is_null() {
                println!("{template}: all instances have its text");
                return Ok(());
            }
            if let Some(why) = rollout["returned"].as_str() {
                return Err(format!(
                    "{template} has the text again that ran before: {why}"
                ));
            }
            let line = format!(
                "{template}: {} of {} instances have the new text",
                cell(&rollout["changed"]),
                cell(&rollout["instances"])
            );
            if line != last {
                println!("{line}");
                last = line;
            }
            if no_block {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub(super) async fn reboots(&self) -> Result<(), String> {
        let all = self.client.get("/fleet/v2/reboots").await?;
        self.show(&all, || {
            let mut rows = Vec::new();
            for group in all["groups"].as_array().into_iter().flatten() {
                let holders = group["holders"].as_array().map_or(&[][..], Vec::as_slice);
                let slots = format!("{} of {}", holders.len(), cell(&group["slots"]));
                if holders.is_empty() {
                    rows.push(vec![
                        cell(&group["group"]),
                        slots.clone(),
                        "-".into(),
                        "-".into(),
                    ]);
                }
                rows.extend(holders.iter().map(|holder| {
                    let since = format!("{} s", cell(&holder["seconds"]));
                    vec![
                        cell(&group["group"]),
                        slots.clone(),
                        cell(&holder["id"]),
                        since,
                    ]
                }));
            }
            print(&["GROUP", "SLOTS", "MACHINE", "FOR"], &rows, self.legend);
        });
        Ok(())
    }
}
