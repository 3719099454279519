//! Images: references, registries, the content store and unpacked layers.
