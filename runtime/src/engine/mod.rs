//! The engine: one daemon that keeps images, containers, volumes, logs and units.
