//! Units: Quadlet files, parsed and resolved.
