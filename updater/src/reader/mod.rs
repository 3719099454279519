//! The reader of ostree's archive format: commits, folders and files, each checked by its checksum.
//!
//! Reads what a signed manifest names, and nothing else; never writes a repository.
