//! The part of a plan that fills `/dev`.
//!
//! Pure, like all of the plan.

use std::path::Path;

use oci_spec::runtime::{Linux, Mount, Spec};

use super::super::devices;
use super::super::mount_options::Attributes;
use super::super::operation::Operation;
use super::mount::{self, Place};
use super::{Around, Node, Plan, Tree};

impl Plan {
    pub(super) fn add_devices(
        &mut self,
        spec: &Spec,
        linux: &Linux,
        place: &Place,
        around: &Around,
    ) -> Result<(), String> {
        let on_dev = |mount: &&Mount| mount.destination() == Path::new("/dev");
        let last = spec.mounts().iter().flatten().rfind(on_dev);
        // A `/dev` of the host's is not ours to add to.
        if last.is_some_and(mount::is_bind) {
            return Ok(());
        }
        let own_dev = last.is_some_and(|mount| mount.typ().as_deref() == Some("tmpfs"));
        let nodes = linux.devices().as_deref().unwrap_or_default();
        if own_dev || !nodes.is_empty() {
            for made in devices::operations(nodes, place.foreign && !place.prepared)? {
                let operation = match made {
                    made @ Operation::Mknod { .. } if place.prepared => {
                        self.foreign_node(made, place, around)
                    }
                    made => made,
                };
                self.push(operation);
            }
        }
        Ok(())
    }

    /// A node for a user namespace, in which none can be made: made outside by root, else the host's.
    fn foreign_node(&mut self, made: Operation, place: &Place, around: &Around) -> Operation {
        let Operation::Mknod {
            path,
            kind,
            major,
            minor,
            mode,
            uid,
            gid,
        } = made
        else {
            return made;
        };
        let (uid, gid) = place.host_ids(uid, gid);
        let node = Node {
            kind,
            major,
            minor,
            mode,
            uid,
            gid,
        };
        self.trees.push(Tree {
            source: path.clone(),
            recursive: false,
            attributes: Attributes::default(),
            ids: None,
            node: (!around.unprivileged).then_some(node),
        });
        Operation::Attach {
            tree: self.trees.len() - 1,
            source: path.clone(),
            target: path,
        }
    }
}
