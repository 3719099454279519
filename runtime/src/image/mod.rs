//! Images: references, registries, the content store and unpacked layers.
//!
//! It never starts a container. What the engine needs is re-exported here: [`Store`], [`Image`],
//! [`Reference`], [`Registries`].

pub mod digest;
pub mod layer;
pub mod manifest;
pub mod platform;
pub mod reference;
pub mod registries;
pub mod registry;
pub mod store;
pub mod unpack;

pub use digest::{DiffId, Digest};
pub use reference::Reference;
pub use registries::Registries;
pub use store::{Image, ImageId, Phase, Progress, PullError, Store, StoreError};
